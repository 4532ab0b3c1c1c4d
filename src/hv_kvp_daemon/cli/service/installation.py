# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""What is installed: the program that a unit is to start, and what a unit starts already."""

from __future__ import annotations

import os
import shlex
import stat
import sys
import sysconfig
from typing import TYPE_CHECKING, Final, NamedTuple

import hv_kvp_daemon
from hv_kvp_daemon.cli.command import CommandError
from hv_kvp_daemon.service.program import PROCESS_NAME, is_script

from . import exec_start
from .unit_files import DROP_IN_PATH, OPTIONS_PATH, UNIT, UNIT_PATH, unit_paths, vendor_paths

if TYPE_CHECKING:
    from .exec_start import ExecStart
    from .install_root import InstallRoot

ADVICE: Final = "install the package where only root may write, such as in /opt"


class PackagedUnit(NamedTuple):
    """A unit of this daemon that a distribution's package has brought."""

    path: str
    command: ExecStart


def packaged(root: InstallRoot) -> PackagedUnit | None:
    """Return the unit of a distribution's package, unless that is another project's."""
    for path in vendor_paths(UNIT):
        command = exec_start.find(root.read(path))
        program = root.outside(command.program, follow=True) if command else ""
        if command and os.path.isfile(program) and is_script(program):
            return PackagedUnit(path, command)
    return None


def require_unmasked(root: InstallRoot) -> None:
    """Check that an administrator has not masked the unit, which no drop-in undoes.

    :raises CommandError: it is masked.
    """
    for path in unit_paths(UNIT):
        if root.target(path) == "/dev/null":
            raise CommandError(
                f"{UNIT} is masked by {root.outside(path)}: systemctl unmask {UNIT}"
            )


def former(root: InstallRoot, package: PackagedUnit | None) -> ExecStart | None:
    """Return the command of the installed service, unless another project wrote it."""
    for path in DROP_IN_PATH, OPTIONS_PATH, UNIT_PATH:
        command = None if root.is_foreign(path) else exec_start.find(root.read(path))
        if command:
            return command
    return package.command if package else None


def program(root: InstallRoot) -> str:
    """Return the path of this installation's daemon, as the root has it.

    :raises CommandError: there is none, or the root does not have it.
    """
    own = os.path.dirname(os.path.realpath(sys.argv[0]))
    places = (own, sysconfig.get_path("scripts"))
    found = next(
        (path for place in places if os.access(path := f"{place}/{PROCESS_NAME}", os.X_OK)), ""
    )
    if not found:
        raise CommandError(
            f"no {PROCESS_NAME} in {' or '.join(places)}; install the package first"
        )
    image = os.path.realpath(root.path).rstrip("/")
    if os.path.realpath(found).startswith(f"{image}/"):
        found = os.path.realpath(found)[len(image) :]
    _require(root, found)
    return found


def _require(root: InstallRoot, path: str) -> None:
    """Check that a root has a script, and the interpreter that its first line names.

    :raises CommandError: it has not.
    """
    first = root.read(root.inside(path)).partition("\n")[0]
    # The kernel ends the path at a blank.
    interpreter = first.removeprefix("#!").split()[:1] if first.startswith("#!") else []
    for each in (path, *interpreter):
        if not os.access(root.outside(each, follow=True), os.X_OK):
            advice = (
                f"install the package in the image, and run: chroot {shlex.quote(root.path)}"
                " PATH/TO/hv-kvp install-service"
                if root.path != "/"
                else "install the package again, in a directory without blanks in its path"
            )
            raise CommandError(f"{root.path} has no program {each}: {advice}")


def require_reachable(root: InstallRoot, program: str) -> None:
    """Check that the service may enter all directories that its program is in.

    It runs as root without CAP_DAC_OVERRIDE, which is what lets root into a private home.

    :raises CommandError: it may not.
    """
    for place in _places(root, program):
        status = os.lstat(root.outside(place))
        private = stat.S_ISDIR(status.st_mode) and not status.st_mode & stat.S_IXOTH
        if private and status.st_uid:
            raise CommandError(f"{place} is private, so the service may not enter it; {ADVICE}")


def writers(root: InstallRoot, program: str) -> list[str]:
    """Return where others than root may write what the service is started from.

    What is below a directory that is returned is left out.
    """
    found: list[str] = []
    for place in _places(root, program):
        if not place.startswith(tuple(f"{each}/" for each in found)) and _is_writable_by_others(
            root.outside(place)
        ):
            found.append(place)
    return found


def _places(root: InstallRoot, program: str) -> list[str]:
    """Return the files that a program is started from, and all directories above, sorted.

    The files are the program and, where it is this machine's and this installation's, the
    interpreter and the modules.
    """
    files = [program]
    if root.path == "/" and os.path.dirname(program) == sysconfig.get_path("scripts"):
        package = os.path.dirname(hv_kvp_daemon.__file__)
        files += [sys.executable, os.__file__]
        files += [f"{where}/{name}" for where, _, names in os.walk(package) for name in names]
    found: set[str] = set()
    for file in files:
        # Also the directory of a link: a user who may write there can replace the link.
        for place in file, root.inside(file):
            above = place
            while above != "/" and above not in found:
                found.add(above)
                above = os.path.dirname(above)
    return sorted(place for place in found if root.exists(place))


def _is_writable_by_others(path: str) -> bool:
    status = os.lstat(path)
    if stat.S_ISLNK(status.st_mode):
        return status.st_uid != 0
    shared = status.st_mode & (stat.S_IWOTH | (stat.S_IWGRP if status.st_gid else 0))
    # In a directory with the sticky bit, such as /tmp, only root replaces root's files.
    sticky = stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX
    return status.st_uid != 0 or bool(shared and not sticky)
