# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""``install-service``: the daemon as a service of the machine.

Everything that must be possible is checked, and everything that may be lost is asked for,
before the first change.  A second installation, as after an upgrade, keeps the options of
the first.
"""

from __future__ import annotations

import argparse
import os
import time
from copy import copy
from typing import TYPE_CHECKING, Final

from hv_kvp_daemon.cli import arguments, terminal
from hv_kvp_daemon.cli.command import EXIT_DECLINED, EXIT_DONE, Command, CommandError
from hv_kvp_daemon.pools.place import OTHER_DIRECTORY, POOL_DIRECTORY
from hv_kvp_daemon.service.options import Options, UsageError
from hv_kvp_daemon.service.status import StatusError, find
from hv_kvp_daemon.transport.driver import DEVICE

from . import exec_start, installation, unit_files
from .exec_start import ExecStart
from .install_root import InstallRoot
from .unit_files import TMPFILES_PATH, UNIT, UNIT_PATH

if TYPE_CHECKING:
    from collections.abc import Collection

    from hv_kvp_daemon.service.status import DaemonStatus

    from .installation import PackagedUnit
    from .unit_files import File

_NETLINK = (
    "over netlink, any local user can answer in the daemon's name and, since Linux 6.6, read"
    " what the host sets; where users are not trusted:"
    " hv-kvp install-service --transport chardev"
)

# Seconds that a daemon has to reach the driver; that takes 1 to 4 (`transport.netlink_link`).
_PATIENCE: Final = 10.0
_PAUSE: Final = 0.1


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--pool-dir",
        type=arguments.path,
        metavar="DIR",
        help=f"the pools; auto: {POOL_DIRECTORY} or {OTHER_DIRECTORY}, as each start finds"
        " them (default: as installed before, else auto)",
    )
    parser.add_argument(
        "--transport",
        choices=("auto", "netlink", "chardev"),
        help="how the daemon reaches the driver (default: as installed before, else auto)",
    )
    arguments.add_root(parser)


def _install(options: argparse.Namespace) -> int:
    """Write the files, replace the distribution's units, and start the service."""
    root = InstallRoot(options)
    package = installation.packaged(root)
    if package:
        installation.require_unmasked(root)
    program = package.command.program if package else installation.program(root)
    former = installation.former(root, package)
    command = ExecStart(program, _daemon_options(options, former))
    aliases, replaced = _aliases(root, package)
    files = (
        unit_files.package_files(command, package.command)
        if package
        else unit_files.files(command, aliases)
    )
    root.require_writable([file.path for file in files])
    installation.require_reachable(root, program)
    foreign = [file.path for file in files if root.is_foreign(file.path)]
    if foreign and not root.confirmed(f"Replace files of others: {', '.join(foreign)}?"):
        return EXIT_DECLINED
    if replaced and not root.confirmed(f"Stop and replace {', '.join(replaced)}?"):
        return EXIT_DECLINED
    _warn(root, command)
    if package and not replaced and _is_in_place(root, files):
        print(f"nothing to do: {_outcome(root, package, dry_run=False)}")
        return EXIT_DONE
    for path in unit_files.PATHS:
        if path not in {file.path for file in files}:
            root.remove(path)
    for file in files:
        root.write(file)
    for name in replaced:
        root.run("systemctl", "stop", name)
    _link_aliases(root, aliases, package.path if package else UNIT_PATH)
    _link_programs(root, {} if package else unit_files.program_links(program), former)
    _link_pools(root, command, former)
    root.run("systemd-tmpfiles", "--create", os.path.basename(TMPFILES_PATH))
    root.reload_udev()
    root.run("systemctl", "daemon-reload")
    # It may still wait for a carrier, as another version.
    root.run("systemctl", "try-restart", os.path.basename(unit_files.IP_UNIT_PATH))
    # The udev rule starts the service when the device is added, which it was already.
    root.run("systemctl", "restart" if os.path.exists(DEVICE) else "try-restart", UNIT)
    print(_outcome(root, package, dry_run=options.dry_run))
    return EXIT_DONE


def _is_in_place(root: InstallRoot, files: Collection[File]) -> bool:
    """Return whether a root has these files, and no others of `unit_files.PATHS`."""
    paths = {file.path for file in files}
    return all(root.read(file.path) == file.text for file in files) and not any(
        root.exists(path) and not root.is_foreign(path)
        for path in unit_files.PATHS
        if path not in paths
    )


def _daemon_options(given: argparse.Namespace, former: ExecStart | None) -> Options:
    """Return the options of the command line, and else of the earlier installation."""
    options = copy(former.options) if former else Options()
    if not former:
        options.no_daemon = options.clear_stale = True
    if given.transport:
        options.transport = Options().transport
    if given.pool_dir is not None:
        options.pool_dir = ""
    kept = [word for word in exec_start.words(options) if word not in exec_start.ALWAYS]
    if kept:
        terminal.say(f"as installed before: {' '.join(kept)}")
    if given.transport:
        options.transport = given.transport
    if given.pool_dir not in {None, "auto"}:
        if not os.path.isabs(given.pool_dir):
            raise UsageError(f"--pool-dir {given.pool_dir}: a service needs an absolute path")
        options.pool_dir = os.path.normpath(given.pool_dir)
    return options


def _link_aliases(root: InstallRoot, aliases: dict[str, str], unit: str) -> None:
    """Make the aliases; remove those of an earlier installation, and masks that block them."""
    for name in unit_files.OTHER_UNITS:
        masks = ("/dev/null",) if name in aliases else ()
        for path in unit_files.alias_paths(name):
            if path != aliases.get(name):
                root.unlink(path, UNIT_PATH, unit, *masks)
    for path in aliases.values():
        root.link(path, unit)


def _link_programs(root: InstallRoot, links: dict[str, str], former: ExecStart | None) -> None:
    """Link the programs to where shells find them, unless others have the names."""
    before = unit_files.program_links(former.program) if former else {}
    for path, target in before.items():
        if path not in links:
            root.unlink(path, target)
    for path, target in links.items():
        ours = {target, before.get(path)}
        if root.exists(path) and root.target(path) not in ours and not root.is_dangling(path):
            terminal.say(f"{path} stays: it is another program than {target}")
        else:
            root.link(path, target)


def _link_pools(root: InstallRoot, command: ExecStart, former: ExecStart | None) -> None:
    """Have the link of an earlier installation lead to the pools; systemd-tmpfiles would not.

    Earlier versions made an absolute one, by which the path of an image leads to the pools
    of the machine that has mounted it.
    """
    pool_dir = command.options.pool_dir or POOL_DIRECTORY
    before = {pool_dir}
    if former and command.options.pool_dir:
        before.add(unit_files.other_directory_link(former.options.pool_dir or POOL_DIRECTORY))
    if pool_dir != OTHER_DIRECTORY and root.target(OTHER_DIRECTORY) in before:
        root.link(OTHER_DIRECTORY, unit_files.other_directory_link(pool_dir))


def _warn(root: InstallRoot, command: ExecStart) -> None:
    writers = installation.writers(root, command.program)
    if writers:
        terminal.say(
            f"root's service starts what others may write: {', '.join(writers)};"
            f" {installation.ADVICE}"
        )
    if command.options.transport != "chardev":
        terminal.say(_NETLINK)


def _outcome(root: InstallRoot, package: PackagedUnit | None, *, dry_run: bool) -> str:
    """Return one line about what the service does now."""
    unit = f"{package.path}, a package's unit," if package else UNIT
    if dry_run:
        return "nothing was changed (--dry-run)"
    if root.path != "/":
        return f"{unit} is installed in {root.path}"
    if not root.is_live:
        return f"{unit} is installed; no systemd runs here, so nothing was started"
    if not os.path.exists(DEVICE):
        return f"{unit} is installed; udev starts it when there is a {DEVICE} (hv-kvp doctor)"
    try:
        daemon = _serving_daemon()
    except (OSError, StatusError) as error:
        return f"{unit} is installed, and its daemon in an unknown state: {error}"
    if daemon is None:
        return f"{unit} is installed, but no daemon runs: hv-kvp doctor"
    if not daemon.serving:
        return f"{unit} is installed, but does not serve: {daemon.state} (hv-kvp doctor)"
    return f"{unit} serves (pid {daemon.pid}): {daemon.state}; pools in {daemon.pool_dir}"


def _serving_daemon() -> DaemonStatus | None:
    """Return the daemon that was just started, as soon as it serves or has had time for it."""
    ends = time.monotonic() + _PATIENCE
    with terminal.Progress("waiting for the driver"):
        while True:
            daemon = find()
            if (daemon and daemon.serving) or time.monotonic() > ends:
                return daemon
            time.sleep(_PAUSE)


def _aliases(
    root: InstallRoot, package: PackagedUnit | None
) -> tuple[dict[str, str], list[str]]:
    """Return the aliases to make, with the path of each, and the units that they replace.

    A package brings its own aliases, and may keep another daemon's unit from starting.

    :raises CommandError: another unit overrides each place that there is.
    """
    aliases, replaced = {}, []
    for name in unit_files.OTHER_UNITS:
        if package and any(map(root.exists, unit_files.replacing_paths(name))):
            continue
        theirs = [path for path in unit_files.unit_paths(name) if root.is_others_unit(path)]
        place, instead = unit_files.alias_paths(name)
        if instead in theirs:
            raise CommandError(f"{root.outside(instead)} is another unit; move it away")
        if theirs:
            replaced.append(name)
        if theirs or (name in unit_files.ALIASES and not package):
            # What is in /run overrides /usr/local.
            at_once = {place, f"/run/systemd/system/{name}"} & {*theirs}
            aliases[name] = instead if at_once else place
    return aliases, replaced


INSTALL = Command(
    "install-service",
    "make this installation the machine's service",
    _add_arguments,
    _install,
)
