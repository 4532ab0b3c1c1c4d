# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The files that make the daemon a service, for one installation.

The templates are the project's ``systemd/``, man pages and completions.  Each file has a
line that says who wrote it; only files with this mark are replaced or removed unasked.

Where a distribution's package has brought the unit, only what was chosen is written: options
in a drop-in, and tmpfiles.d for another pool directory.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Collection
from typing import Final, NamedTuple

import hv_kvp_daemon
from hv_kvp_daemon.cli.command import CommandError
from hv_kvp_daemon.pools.place import OTHER_DIRECTORY, POOL_DIRECTORY
from hv_kvp_daemon.service.options import PROGRAM
from hv_kvp_daemon.service.program import PROCESS_NAME

from .exec_start import ExecStart, quoted

#: A name that no distribution gives to its own daemon's unit, so that both can be installed.
UNIT: Final = "hv-kvp.service"

#: Other names of the unit: what cloud-init orders itself after, and what kickstarts, LISA
#: and administrators call the service.  The last one is also Debian's and Ubuntu's unit.
ALIASES: Final = ("hv_kvp_daemon.service", "hypervkvpd.service", "hv-kvp-daemon.service")

_SYSTEM: Final = "/etc/systemd/system"
UNIT_PATH: Final = f"{_SYSTEM}/{UNIT}"
WATCH_PATH: Final = f"{_SYSTEM}/hv-kvp-watch@.service"
DROP_IN_PATH: Final = f"{_SYSTEM}/{UNIT}.d/chardev.conf"
OPTIONS_PATH: Final = f"{_SYSTEM}/{UNIT}.d/options.conf"
IP_UNIT_PATH: Final = f"{_SYSTEM}/hv-kvp-ip.service"
IP_SOCKET_PATH: Final = f"{_SYSTEM}/hv-kvp-ip.socket"
# The programs that need D-Bus: each has a socket and a template, which are the same everywhere.
_BUS_PROGRAMS: Final = ("resolvectl", "nmcli")
_SOCKET_PATHS: Final = tuple(f"{_SYSTEM}/hv-kvp-{name}.socket" for name in _BUS_PROGRAMS)
_TEMPLATE_PATHS: Final = tuple(f"{_SYSTEM}/hv-kvp-{name}@.service" for name in _BUS_PROGRAMS)
BOOT_PATH: Final = f"{_SYSTEM}/multi-user.target.d/hv-kvp.conf"
RULES_PATH: Final = "/etc/udev/rules.d/90-hv-kvp-daemon.rules"
TMPFILES_PATH: Final = "/etc/tmpfiles.d/hv-kvp-daemon.conf"

#: Man pages and completions: the template of each, and its path.
_MANUALS: Final = {
    "man/hv-kvp.1": "/usr/local/share/man/man1/hv-kvp.1",
    "man/hv-kvp-daemon.8": "/usr/local/share/man/man8/hv-kvp-daemon.8",
    "man/kvp-pool.5": "/usr/local/share/man/man5/kvp-pool.5",
    "completions/hv-kvp.bash": "/usr/local/share/bash-completion/completions/hv-kvp",
    "completions/_hv-kvp": "/usr/local/share/zsh/site-functions/_hv-kvp",
    "completions/hv-kvp-daemon.bash": (
        "/usr/local/share/bash-completion/completions/hv-kvp-daemon"
    ),
    "completions/_hv-kvp-daemon": "/usr/local/share/zsh/site-functions/_hv-kvp-daemon",
}

#: Package managers, and how each installs a package again.
MANAGERS: Final = {
    "apt": "apt-get install --reinstall",
    "dnf": "dnf reinstall",
    "zypper": "zypper install --force",
    "tdnf": "tdnf reinstall",
}

#: Units in the order in which they are stopped.
UNIT_PATHS: Final = (UNIT_PATH, IP_SOCKET_PATH, IP_UNIT_PATH, *_SOCKET_PATHS)

#: All files of an installation.
PATHS: Final = (
    *(DROP_IN_PATH, OPTIONS_PATH, *UNIT_PATHS, *_TEMPLATE_PATHS),
    *(BOOT_PATH, RULES_PATH, TMPFILES_PATH, WATCH_PATH),
    *_MANUALS.values(),
)

#: The programs of an installation, and where they are linked for shells to find them.
PROGRAMS: Final = ("hv-kvp", PROGRAM, PROCESS_NAME)
LINKS: Final = "/usr/local/bin"
_ON_PATH: Final = (LINKS, "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/sbin")

#: Units of the distributions' daemons.  Where there is one, its name becomes an alias, too:
#: then starting or enabling it by that name acts on this service.
OTHER_UNITS: Final = (*ALIASES, "hyperv-daemons.hv-kvp-daemon.service")

#: The name of the drop-in with which a package keeps another daemon's unit from starting.
REPLACING: Final = "hv-kvp.conf"

#: Where packages have their units.
_VENDORS: Final = ("/usr/lib/systemd/system", "/lib/systemd/system")

#: Where systemd looks for units, in the order in which they override each other.
_UNIT_DIRECTORIES: Final = (
    _SYSTEM,
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    *_VENDORS,
)

_MARK: Final = "Written by hv-kvp install-service, removed by hv-kvp uninstall-service."

# Of man pages; everything else has "#".
_COMMENTS: Final = dict.fromkeys(("1", "5", "8"), '.\\"')

# Directories that ProtectHome=yes hides.
_HOMES: Final = ("/home/", "/root/", "/run/user/")


class File(NamedTuple):
    """A file of the service: its path in the root, and its text."""

    path: str
    text: str


def unit_paths(name: str) -> tuple[str, ...]:
    """Return where a unit of this name can be."""
    return tuple(f"{folder}/{name}" for folder in _UNIT_DIRECTORIES)


def alias_paths(name: str) -> tuple[str, str]:
    """Return where an alias goes, and where instead if another file is in its way.

    ``systemctl enable`` follows an alias in a vendor's directory, and refuses one in /etc
    ("alias name or linked unit file").  /usr/local overrides the distribution's units.
    """
    return f"/usr/local/lib/systemd/system/{name}", f"{_SYSTEM}/{name}"


def is_packaged(path: str) -> bool:
    """Return whether a package has brought this unit file."""
    return os.path.dirname(path) in _VENDORS


def vendor_paths(name: str) -> tuple[str, ...]:
    """Return where a package has a unit of this name."""
    return tuple(f"{folder}/{name}" for folder in _VENDORS)


def replacing_paths(name: str) -> tuple[str, ...]:
    """Return where a package of this daemon keeps another daemon's unit from starting.

    The drop-in's condition does not hold while it is there.
    """
    return tuple(f"{folder}/{name}.d/{REPLACING}" for folder in _VENDORS)


def program_links(program: str) -> dict[str, str]:
    """Return the links that lead shells to an installation, with the target of each.

    None, where the daemon's program is in a directory that shells search.
    """
    directory = os.path.dirname(program)
    if directory in _ON_PATH:
        return {}
    return {f"{LINKS}/{name}": f"{directory}/{name}" for name in PROGRAMS}


def files(command: ExecStart, aliases: Collection[str]) -> list[File]:
    """Return the files for an installation.

    ``aliases`` are the other names that the unit gets.

    :raises CommandError: a template is not part of this installation, or systemd cannot
        hold a path.
    """
    unit = _template("systemd/hv-kvp.service")
    unit = _replaced(unit, "ExecStart=.*", f"ExecStart={command}")
    pool_dir = command.options.pool_dir
    for line in _pool_lines(pool_dir):
        unit = _replaced(unit, f"{line.partition('=')[0]}=.*", line)
    places = (command.program, sys.prefix, sys.base_prefix)
    if any(f"{path}/".startswith(_HOMES) for path in places):
        unit = _replaced(unit, "ProtectHome=.*", "ProtectHome=read-only")
    # A unit that conflicts with itself is logged at each start.
    others = [name for name in OTHER_UNITS if name not in aliases]
    conflicts = " ".join(["Conflicts=shutdown.target", *others])
    unit = _replaced(unit, "Conflicts=.*", conflicts)
    return [
        _marked(UNIT_PATH, unit),
        _marked(IP_UNIT_PATH, _ip_unit(command)),
        *(
            _marked(path, _template(f"systemd/{os.path.basename(path)}"))
            for path in (IP_SOCKET_PATH, *_SOCKET_PATHS, *_TEMPLATE_PATHS)
        ),
        _marked(BOOT_PATH, _template("systemd/multi-user.target.d/hv-kvp.conf")),
        _marked(RULES_PATH, _template("systemd/90-hv-kvp-daemon.rules")),
        _marked(TMPFILES_PATH, _tmpfiles(pool_dir)),
        _marked(WATCH_PATH, _watch(command)),
        *_chardev(command),
        *(_marked(path, _template(name)) for name, path in _MANUALS.items()),
    ]


def package_files(command: ExecStart, packaged: ExecStart) -> list[File]:
    """Return the files beside a unit that a package has brought, for a command of its own.

    :raises CommandError: as `files`.
    """
    if str(command) == str(packaged):
        return []
    pool_dir = command.options.pool_dir
    mounts, *writable = _pool_lines(pool_dir) or [""]
    lines = ["[Unit]", mounts, "[Service]", "ExecStart=", f"ExecStart={command}", *writable]
    made = [_marked(OPTIONS_PATH, "".join(f"{line}\n" for line in lines if line))]
    if pool_dir:
        made.append(_marked(TMPFILES_PATH, _tmpfiles(pool_dir)))
    return made + _chardev(command)


def _pool_lines(pool_dir: str) -> list[str]:
    """Return the lines of the unit that name a pool directory; none, if a start chooses it."""
    if not pool_dir:
        return []
    return [f"RequiresMountsFor={quoted(pool_dir)}", f"ReadWritePaths={quoted(f'-{pool_dir}')}"]


def _chardev(command: ExecStart) -> list[File]:
    if command.options.transport != "chardev":
        return []
    text = _replaced(_template("systemd/chardev.conf"), "ExecStart=/.*", f"ExecStart={command}")
    return [_marked(DROP_IN_PATH, text)]


def is_ours(text: str) -> bool:
    """Return whether a text is of `files`: one of its first lines has the mark."""
    return any(_MARK in line for line in text.split("\n", 3)[:3])


def other_directory_link(pool_dir: str) -> str:
    """Return the target of the link at OTHER_DIRECTORY that leads to a pool directory.

    Relative, so that it stays inside an image wherever that is mounted.
    """
    return os.path.relpath(pool_dir, os.path.dirname(OTHER_DIRECTORY))


def _ip_unit(command: ExecStart) -> str:
    text = _template("systemd/hv-kvp-ip.service")
    return _replaced(text, "ExecStart=.*", f"ExecStart={_tool(command)} ip --serve")


def _tool(command: ExecStart) -> str:
    """Return ``hv-kvp`` of the daemon's installation, as a unit has it."""
    return quoted(os.path.join(os.path.dirname(command.program), "hv-kvp"))


def _tmpfiles(pool_dir: str) -> str:
    text = _template("systemd/hv-kvp-daemon.tmpfiles.conf")
    if not pool_dir:
        return text
    text = _replaced(text, f"d {POOL_DIRECTORY} .*", f"d {quoted(pool_dir)} 0755 root root -")
    # The link at the usual place leads to the directory that was chosen.
    target = other_directory_link(pool_dir).replace("%", "%%")
    link = f"L {OTHER_DIRECTORY} - - - - {target}"
    return _replaced(text, "L .*", "" if pool_dir == OTHER_DIRECTORY else link)


def _watch(command: ExecStart) -> str:
    text = _template("systemd/hv-kvp-watch@.service")
    options = "--key=%I --present --exec /etc/hv-kvp-watch/%i"
    pool_dir = command.options.pool_dir
    if pool_dir:
        text = _replaced(text, "RequiresMountsFor=.*", f"RequiresMountsFor={quoted(pool_dir)}")
        options += f" --pool-dir {quoted(pool_dir.replace('$', '$$'))}"
    start = f"ExecStart={_tool(command)} watch external {options}"
    return _replaced(text, "ExecStart=.*", start)


def _marked(path: str, text: str) -> File:
    """Return a file that has the mark as a comment of its language."""
    mark = f"{_COMMENTS.get(path.rpartition('.')[2], '#')} {_MARK}\n"
    first, newline, rest = text.partition("\n")
    # By their first line, zsh knows a completion, and man what a page needs: tbl.
    if first.startswith(("#compdef", "'\\\"")):
        return File(path, f"{first}{newline}{mark}{rest}")
    return File(path, f"{mark}{text}")


def _replaced(text: str, pattern: str, line: str) -> str:
    """Replace the one line that matches.

    :raises CommandError: none does, or more than one.
    """
    made, count = re.subn(f"(?m)^{pattern}$", lambda _: line, text)
    if count != 1:
        raise CommandError(f"the unit's template has {count} lines {pattern}")
    return made


def _template(name: str) -> str:
    """Return a template: from the installed package, else from the checkout."""
    package = os.path.dirname(os.path.abspath(hv_kvp_daemon.__file__))
    checkout = os.path.dirname(os.path.dirname(package))
    folder, _, rest = name.partition("/")
    places = (
        os.path.join(package, "data", name),
        os.path.join(checkout, folder, rest),
        os.path.join(checkout, "docs", folder, rest),
    )
    path = next(filter(os.path.isfile, places), None)
    if path is None:
        raise CommandError(f"this installation has no {name}")
    with open(path, encoding="utf-8") as file:
        return file.read()
