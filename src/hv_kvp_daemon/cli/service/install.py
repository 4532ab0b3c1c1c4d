"""``install-service`` and ``uninstall-service``: the daemon as a service of the machine.

Everything that must be possible is checked, and everything that may be lost is asked for,
before the first change.  Only files that these commands wrote are removed.
"""

from __future__ import annotations

import argparse
import os

from hv_kvp_daemon.cli import terminal
from hv_kvp_daemon.cli.command import EXIT_DONE, EXIT_NOT_FOUND, Command, CommandError
from hv_kvp_daemon.pools.place import OTHER_DIRECTORY, POOL_DIRECTORY
from hv_kvp_daemon.service.options import UsageError
from hv_kvp_daemon.transport.driver import DEVICE

from . import unit_files
from .install_root import InstallRoot
from .unit_files import RULES_PATH, TMPFILES_PATH, UNIT, UNIT_PATH

_NETLINK = (
    "over netlink, any local user can answer in the daemon's name and, since Linux 6.6, read"
    " all pairs; where users are not trusted: hv-kvp install-service --transport chardev"
)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--root", default="/", metavar="DIR", help="an image's root, instead of this machine"
    )
    parser.add_argument("--dry-run", action="store_true", help="only show what would be done")
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")


def _add_install_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--pool-dir",
        metavar="DIR",
        help=f"the pools (default: {POOL_DIRECTORY} or {OTHER_DIRECTORY}, as each start finds"
        " them)",
    )
    parser.add_argument(
        "--transport",
        choices=("auto", "netlink", "chardev"),
        default="auto",
        help="how the daemon reaches the driver (default: %(default)s)",
    )
    _add_common(parser)


def _install(options: argparse.Namespace) -> int:
    """Write the files, replace the distribution's units, and start the service."""
    root = InstallRoot(options)
    pool_dir = options.pool_dir or ""
    if pool_dir and not os.path.isabs(pool_dir):
        raise UsageError(f"--pool-dir {pool_dir}: a service needs an absolute path")
    daemon = unit_files.daemon_path(root.path)
    aliases, replaced = _aliases(root)
    files = unit_files.files(daemon, pool_dir, options.transport, aliases)
    root.require_writable([file.path for file in files])
    foreign = [file.path for file in files if root.is_foreign(file.path)]
    if foreign and not root.confirmed(f"Replace files of others: {', '.join(foreign)}?"):
        return EXIT_DONE
    if replaced and not root.confirmed(f"Stop and replace {', '.join(replaced)}?"):
        return EXIT_DONE
    if options.transport != "chardev":
        root.remove(unit_files.DROP_IN_PATH)
    for file in files:
        root.write(file)
    for name in replaced:
        root.run("systemctl", "stop", name)
    _link(root, aliases, pool_dir or POOL_DIRECTORY)
    root.run("systemd-tmpfiles", "--create", TMPFILES_PATH)
    _reload_udev(root)
    root.run("systemctl", "daemon-reload")
    # It may still wait for a carrier, as another version.
    root.run("systemctl", "try-restart", os.path.basename(unit_files.IP_UNIT_PATH))
    if os.path.exists(DEVICE):
        # The udev rule starts the service when the device is added, which it was already.
        root.run("systemctl", "restart", UNIT)
    if options.transport != "chardev":
        terminal.say(_NETLINK)
    return EXIT_DONE


def _link(root: InstallRoot, aliases: dict[str, str], pool_dir: str) -> None:
    for name, path in aliases.items():
        for former in unit_files.alias_paths(name):
            root.unlink(former, "/dev/null", UNIT_PATH)
        root.link(path, UNIT_PATH)
    if root.target(OTHER_DIRECTORY) == pool_dir:
        # An absolute link, which earlier versions made: from outside, the path of an
        # image would lead to this machine's pools.
        root.link(OTHER_DIRECTORY, unit_files.other_directory_link(pool_dir))


def _uninstall(options: argparse.Namespace) -> int:
    """Remove what `_install` wrote; the pools stay."""
    root = InstallRoot(options)
    present = [path for path in unit_files.PATHS if root.exists(path)]
    ours = [path for path in present if not root.is_foreign(path)]
    if not ours:
        terminal.say("hv-kvp install-service has written nothing here")
        return EXIT_NOT_FOUND
    root.require_writable(ours)
    if not root.confirmed(f"Stop and remove {UNIT}?"):
        return EXIT_DONE
    units = [os.path.basename(path) for path in unit_files.UNIT_PATHS if path in ours]
    if units:
        root.run("systemctl", "stop", *units)
    for path in ours:
        root.remove(path)
    for name in unit_files.OTHER_UNITS:
        for path in unit_files.alias_paths(name):
            root.unlink(path, UNIT_PATH)
    if RULES_PATH in ours:
        _reload_udev(root)
    root.run("systemctl", "daemon-reload")
    for path in present:
        if path not in ours:
            terminal.say(f"{path} stays: hv-kvp did not write it")
    return EXIT_DONE


def _reload_udev(root: InstallRoot) -> None:
    """Have udev read its rules, where it runs: in containers it does not."""
    if os.path.exists("/run/udev/control"):
        root.run("udevadm", "control", "--reload")


def _aliases(root: InstallRoot) -> tuple[dict[str, str], list[str]]:
    """Return the aliases to make, with the path of each, and the units that they replace.

    :raises CommandError: another unit overrides each place that there is.
    """
    aliases, replaced = {}, []
    for name in unit_files.OTHER_UNITS:
        theirs = [path for path in unit_files.unit_paths(name) if _is_unit(root, path)]
        place, instead = unit_files.alias_paths(name)
        if instead in theirs:
            raise CommandError(f"{root.outside(instead)} is another unit; move it away")
        if theirs:
            replaced.append(name)
        if theirs or name in unit_files.ALIASES:
            # What is in /run overrides /usr/local.
            at_once = {place, f"/run/systemd/system/{name}"} & {*theirs}
            aliases[name] = instead if at_once else place
    return aliases, replaced


def _is_unit(root: InstallRoot, path: str) -> bool:
    """Whether there is a unit file of somebody else: no mask, and no alias of ours."""
    return root.exists(path) and root.target(path) not in {"/dev/null", UNIT_PATH}


INSTALL = Command(
    "install-service",
    "make this installation the machine's service",
    _add_install_arguments,
    _install,
)
UNINSTALL = Command(
    "uninstall-service", "remove the service; the pools stay", _add_common, _uninstall
)
