"""``install-service`` and ``uninstall-service``: this installation as the machine's service.

In: files of the project, and what is on the machine.  Out: files under /etc and
/usr/local, and a systemd that knows them; or below ``--root``, for an image.
Rule: what is needed and what may be lost is said before the first change; only
files that were written by these commands are removed.
"""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from hv_kvp_daemon.cli import terminal
from hv_kvp_daemon.cli.arguments import OTHER_DIRECTORY
from hv_kvp_daemon.cli.command import EXIT_DONE, EXIT_NOT_FOUND, CommandError, UsageError
from hv_kvp_daemon.pools.opening import make_directory
from hv_kvp_daemon.service.options import POOL_DIRECTORY
from hv_kvp_daemon.transport.chardev import DEVICE

from . import unit_files
from .unit_files import ALIAS_PATH, RULES_PATH, TMPFILES_PATH, UNIT, UNIT_PATH, File

if TYPE_CHECKING:
    import argparse

_NETLINK = (
    "over netlink, any local user can answer in the daemon's name, and since Linux 6.6 listen"
    " to all pairs; where users are not trusted: hv-kvp install-service --transport chardev"
)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--root", default="/", metavar="DIR", help="an image's root, instead of this machine"
    )
    parser.add_argument("--dry-run", action="store_true", help="only show what would be done")
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")


def arguments_install_service(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``install-service``."""
    parser.add_argument(
        "--pool-dir",
        metavar="DIR",
        help=f"the pools (default: {OTHER_DIRECTORY} where that is there, else"
        f" {POOL_DIRECTORY})",
    )
    parser.add_argument(
        "--transport",
        choices=("auto", "netlink", "chardev"),
        default="auto",
        help="how the daemon reaches the driver (default: %(default)s)",
    )
    _add_common(parser)


def run_install_service(options: argparse.Namespace) -> int:
    """Write the files, mask the distribution's units, and start the service."""
    place = Place(options)
    pool_dir = options.pool_dir or _found_pool_dir(place)
    if not os.path.isabs(pool_dir):
        raise UsageError(f"--pool-dir {pool_dir}: a service needs an absolute path")
    daemon = unit_files.daemon_path(place.root)
    masked = _others(place)
    files = unit_files.files(daemon, pool_dir, options.transport, masked)
    place.require_writable([file.path for file in files])
    foreign = [file.path for file in files if _is_foreign(place, file.path)]
    if foreign and not place.may(f"Replace {', '.join(foreign)}, which is not ours?"):
        return EXIT_DONE
    if masked and not place.may(f"Stop and mask {', '.join(masked)}?"):
        return EXIT_DONE
    if options.transport != "chardev":
        place.remove(unit_files.DROP_IN_PATH)
    for file in files:
        place.write(file)
    place.link(ALIAS_PATH, UNIT_PATH)
    for name in masked:
        place.run("systemctl", "stop", name)
        place.link(os.path.join(os.path.dirname(UNIT_PATH), name), "/dev/null")
    place.run("systemd-tmpfiles", "--create", TMPFILES_PATH)
    place.run("udevadm", "control", "--reload")
    place.run("systemctl", "daemon-reload")
    if os.path.exists(DEVICE):
        # The rule starts it with the device, which is here already.
        place.run("systemctl", "restart", UNIT)
    if options.transport != "chardev":
        terminal.say(_NETLINK)
    return EXIT_DONE


def arguments_uninstall_service(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``uninstall-service``."""
    _add_common(parser)


def run_uninstall_service(options: argparse.Namespace) -> int:
    """Take away what `run_install_service` wrote; pools stay."""
    place = Place(options)
    present = [path for path in unit_files.PATHS if place.exists(path)]
    ours = [path for path in present if not _is_foreign(place, path)]
    if not ours:
        terminal.say("nothing here was written by hv-kvp install-service")
        return EXIT_NOT_FOUND
    place.require_writable(ours)
    if not place.may(f"Stop and remove {UNIT}?"):
        return EXIT_DONE
    masked = unit_files.masked_by(place.read(UNIT_PATH)) if UNIT_PATH in ours else []
    if UNIT_PATH in ours:
        place.run("systemctl", "stop", UNIT)
    for path in ours:
        place.remove(path)
    place.unlink(ALIAS_PATH, UNIT_PATH)
    for name in masked:
        place.unlink(os.path.join(os.path.dirname(UNIT_PATH), name), "/dev/null")
    if RULES_PATH in ours:
        place.run("udevadm", "control", "--reload")
    place.run("systemctl", "daemon-reload")
    for path in present:
        if path not in ours:
            terminal.say(f"{path} stays: hv-kvp did not write it")
    return EXIT_DONE


def _found_pool_dir(place: Place) -> str:
    """An existing /var/lib/hyperv holds the pools that others read: it stays the place."""
    other = place.inside(OTHER_DIRECTORY)
    if os.path.isdir(other) and not os.path.islink(other):
        return OTHER_DIRECTORY
    return POOL_DIRECTORY


def _others(place: Place) -> list[str]:
    """The distribution's units that are there and not masked."""
    return [
        name
        for name in unit_files.OTHER_UNITS
        if any(place.exists(f"{folder}/{name}") for folder in unit_files.UNIT_DIRECTORIES)
        and place.target(f"{os.path.dirname(UNIT_PATH)}/{name}") != "/dev/null"
    ] + unit_files.masked_by(place.read(UNIT_PATH))


def _is_foreign(place: Place, path: str) -> bool:
    return place.exists(path) and not unit_files.is_ours(place.read(path))


class Place:
    """A machine or an image, changed or (``--dry-run``) only told about."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.root = os.path.abspath(options.root)
        if not os.path.isdir(self.root):
            raise CommandError(f"--root {options.root}: no such directory")
        self._dry = options.dry_run
        self._yes = options.yes
        self._live = self.root == "/" and os.path.isdir("/run/systemd/system")

    def inside(self, path: str) -> str:
        """Where a path of the machine is from here."""
        return os.path.join(self.root, path.lstrip("/"))

    def exists(self, path: str) -> bool:
        """Whether something is there, be it a link that leads nowhere."""
        return os.path.lexists(self.inside(path))

    def target(self, path: str) -> str:
        """Where a symbolic link leads, or nothing."""
        try:
            return os.readlink(self.inside(path))
        except OSError:
            return ""  # no link, or nothing

    def read(self, path: str) -> str:
        """A text, empty where there is none."""
        try:
            with open(self.inside(path), encoding="utf-8", errors="replace") as file:
                return file.read()
        except OSError:
            return ""  # then it cannot be told to be ours

    def may(self, question: str) -> bool:
        """Whether to go on."""
        return self._dry or terminal.confirmed(question, yes=self._yes)

    def require_writable(self, paths: list[str]) -> None:
        """Make sure that all of it can be done.

        :raises CommandError: it cannot.
        """
        for path in [] if self._dry else paths:
            folder = os.path.dirname(self.inside(path))
            while not os.path.lexists(folder):
                folder = os.path.dirname(folder)
            if not os.access(folder, os.W_OK):
                raise CommandError(f"{folder} may not be written; run it as root")

    def write(self, file: File) -> None:
        """Write a file (0644), in one piece."""
        path = self.inside(file.path)
        if self._dry:
            print(f"write {path}")
            if not file.path.startswith("/usr/local"):
                print("".join(f"    {line}\n" for line in file.text.splitlines()), end="")
            return
        make_directory(os.path.dirname(path), sync=False)
        new = f"{path}.new"
        # Not through a link that somebody left under this name.
        if os.path.lexists(new):
            os.unlink(new)
        with open(new, "x", encoding="utf-8") as out:
            os.fchmod(out.fileno(), 0o644)
            out.write(file.text)
        os.replace(new, path)

    def remove(self, path: str) -> None:
        """Remove a file that is ours, and its directory if that is a unit's and empty."""
        if not self.exists(path) or _is_foreign(self, path):
            return
        if self._dry:
            print(f"remove {self.inside(path)}")
            return
        os.unlink(self.inside(path))
        folder = os.path.dirname(self.inside(path))
        if folder.endswith(".d") and UNIT in folder and not os.listdir(folder):
            os.rmdir(folder)

    def link(self, path: str, target: str) -> None:
        """Make a symbolic link, in place of another link.

        :raises CommandError: something else is there.
        """
        here = self.inside(path)
        if self._dry:
            print(f"link {here} -> {target}")
            return
        if os.path.islink(here):
            os.unlink(here)
        elif os.path.lexists(here):
            raise CommandError(f"{here} is there and is no link; move it away")
        os.symlink(target, here)

    def unlink(self, path: str, target: str) -> None:
        """Remove a symbolic link that leads there."""
        if self.target(path) == target:
            if self._dry:
                print(f"remove {self.inside(path)}")
            else:
                os.unlink(self.inside(path))

    def run(self, *argv: str) -> None:
        """Tell systemd or udev, where they run; not for an image."""
        if not self._live:
            return
        if self._dry:
            print("run", *argv)
            return
        with terminal.Progress(" ".join(argv)):
            done = subprocess.run(argv, check=False)  # noqa: S603 - the commands above
        if done.returncode:
            raise CommandError(f"{' '.join(argv)} ended with status {done.returncode}")
