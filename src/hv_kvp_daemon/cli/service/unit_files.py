"""The files that make the daemon a service, for one installation.

The templates are the project's ``systemd/``, man pages and completions.  Each file has a
line that says who wrote it; only files with this mark are replaced or removed unasked.
"""

from __future__ import annotations

import os
import re
import sys
import sysconfig
from collections.abc import Collection
from typing import Final, NamedTuple

import hv_kvp_daemon
from hv_kvp_daemon.cli.command import CommandError
from hv_kvp_daemon.pools.place import OTHER_DIRECTORY, POOL_DIRECTORY
from hv_kvp_daemon.service.program import PROCESS_NAME

UNIT: Final = "hv-kvp-daemon.service"

#: Other names of the unit: what cloud-init orders itself after, and what kickstarts, LISA
#: and administrators call the service.
ALIASES: Final = ("hv_kvp_daemon.service", "hypervkvpd.service")

_SYSTEM: Final = "/etc/systemd/system"
UNIT_PATH: Final = f"{_SYSTEM}/{UNIT}"
DROP_IN_PATH: Final = f"{_SYSTEM}/{UNIT}.d/chardev.conf"
IP_UNIT_PATH: Final = f"{_SYSTEM}/hv-kvp-ip.service"
IP_SOCKET_PATH: Final = f"{_SYSTEM}/hv-kvp-ip.socket"
RULES_PATH: Final = "/etc/udev/rules.d/90-hv-kvp-daemon.rules"
TMPFILES_PATH: Final = "/etc/tmpfiles.d/hv-kvp-daemon.conf"

#: Man pages and completions: the template of each, and its path.
_MANUALS: Final = {
    "man/hv-kvp.1": "/usr/local/share/man/man1/hv-kvp.1",
    "man/hv-kvp-daemon.8": "/usr/local/share/man/man8/hv-kvp-daemon.8",
    "man/kvp-pool.5": "/usr/local/share/man/man5/kvp-pool.5",
    "completions/hv-kvp.bash": "/usr/local/share/bash-completion/completions/hv-kvp",
    "completions/_hv-kvp": "/usr/local/share/zsh/site-functions/_hv-kvp",
}

#: Units in the order in which they are stopped.
UNIT_PATHS: Final = (UNIT_PATH, IP_SOCKET_PATH, IP_UNIT_PATH)

#: All files of an installation.
PATHS: Final = (
    *(DROP_IN_PATH, *UNIT_PATHS, RULES_PATH, TMPFILES_PATH),
    *_MANUALS.values(),
)

#: Units of the distributions' daemons.  Where there is one, its name becomes an alias, too:
#: then whoever starts or enables it by its name gets this service.  (UNIT is overridden.)
OTHER_UNITS: Final = (*ALIASES, "hyperv-daemons.hv-kvp-daemon.service")

#: Where systemd looks for units, in the order in which they override each other.
_UNIT_DIRECTORIES: Final = (
    _SYSTEM,
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)

_MARK: Final = "Written by hv-kvp install-service, removed by hv-kvp uninstall-service."

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


def files(daemon: str, pool_dir: str, transport: str, aliases: Collection[str]) -> list[File]:
    """Return the files for an installation.

    An empty ``pool_dir`` leaves the choice to each start (`pools.place`).
    ``daemon`` is the absolute path of ``hv_kvp_daemon``; ``transport`` is auto,
    netlink or chardev; ``aliases`` are the other names that the unit gets.

    :raises CommandError: a template is not part of this installation.
    """
    options = f" --pool-dir {_quoted(pool_dir)}" if pool_dir else ""
    netlink = " --transport netlink" if transport == "netlink" else ""
    command = f"ExecStart={_quoted(daemon)} -n --clear-stale"
    unit = _template("systemd/hv-kvp-daemon.service")
    unit = _replaced(unit, "ExecStart=.*", f"{command}{netlink}{options}")
    if pool_dir:
        for key, value in ("RequiresMountsFor", pool_dir), ("ReadWritePaths", f"-{pool_dir}"):
            unit = _replaced(unit, f"{key}=.*", f"{key}={_quoted(value)}")
    if any(f"{path}/".startswith(_HOMES) for path in (daemon, sys.prefix, sys.base_prefix)):
        unit = _replaced(unit, "ProtectHome=.*", "ProtectHome=read-only")
    # A unit that conflicts with itself is logged at each start.
    others = [name for name in OTHER_UNITS if name not in aliases]
    conflicts = " ".join(["Conflicts=shutdown.target", *others])
    unit = _replaced(unit, "Conflicts=.*", conflicts)
    made = [
        File(UNIT_PATH, f"# {_MARK}\n{unit}"),
        File(IP_UNIT_PATH, f"# {_MARK}\n{_ip_unit(daemon)}"),
        File(IP_SOCKET_PATH, f"# {_MARK}\n" + _template("systemd/hv-kvp-ip.socket")),
        File(RULES_PATH, f"# {_MARK}\n" + _template("systemd/90-hv-kvp-daemon.rules")),
        File(TMPFILES_PATH, f"# {_MARK}\n" + _tmpfiles(pool_dir)),
    ]
    if transport == "chardev":
        text = _template("systemd/chardev.conf")
        text = _replaced(text, "ExecStart=/.*", f"{command} --transport chardev{options}")
        made.append(File(DROP_IN_PATH, f"# {_MARK}\n{text}"))
    made += [File(path, _marked(name, _template(name))) for name, path in _MANUALS.items()]
    return made


def is_ours(text: str) -> bool:
    """Return whether a text is of `files`: one of its first lines has the mark."""
    return any(_MARK in line for line in text.split("\n", 3)[:3])


def other_directory_link(pool_dir: str) -> str:
    """Return the target of the link at OTHER_DIRECTORY that leads to a pool directory.

    Relative, so that it stays inside an image wherever that is mounted.
    """
    return os.path.relpath(pool_dir, os.path.dirname(OTHER_DIRECTORY))


def daemon_path(root: str) -> str:
    """Return the path of this installation's daemon, inside ``root`` where it is there.

    :raises CommandError: there is none.
    """
    places = (os.path.dirname(os.path.abspath(sys.argv[0])), sysconfig.get_path("scripts"))
    for place in places:
        path = os.path.join(place, PROCESS_NAME)
        if os.access(path, os.X_OK):
            inside = os.path.relpath(path, root) if root != "/" else ""
            return path if not inside or inside.startswith("..") else f"/{inside}"
    raise CommandError(f"no {PROCESS_NAME} in {' or '.join(places)}; install the package first")


def _ip_unit(daemon: str) -> str:
    text = _template("systemd/hv-kvp-ip.service")
    command = os.path.join(os.path.dirname(daemon), "hv-kvp")
    return _replaced(text, "ExecStart=.*", f"ExecStart={_quoted(command)} ip --serve")


def _tmpfiles(pool_dir: str) -> str:
    text = _template("systemd/hv-kvp-daemon.tmpfiles.conf")
    if not pool_dir:
        return text
    text = _replaced(text, f"d {POOL_DIRECTORY} .*", f"d {_quoted(pool_dir)} 0755 root root -")
    # The link at the usual place leads to the directory that was chosen.
    target = other_directory_link(pool_dir).replace("%", "%%")
    link = f"L {OTHER_DIRECTORY} - - - - {target}"
    return _replaced(text, "L .*", "" if pool_dir == OTHER_DIRECTORY else link)


def _marked(name: str, text: str) -> str:
    """Return a text with the mark as a comment of its language."""
    if name.startswith("man/"):
        return f'.\\" {_MARK}\n{text}'
    first, newline, rest = text.partition("\n")  # #compdef must be the first
    return f"{first}{newline}# {_MARK}\n{rest}"


def _replaced(text: str, pattern: str, line: str) -> str:
    """Replace the one line that matches.

    :raises CommandError: none does, or more than one.
    """
    made, count = re.subn(f"(?m)^{pattern}$", lambda _: line, text)
    if count != 1:
        raise CommandError(f"the unit's template has {count} lines {pattern}")
    return made


def _quoted(path: str) -> str:
    """Return a path as systemd.syntax(7) has it: ``%`` doubled, quoted if it has blanks."""
    if any(character in path for character in "\"'\\\n"):
        raise CommandError(f"a unit cannot hold this path: {path}")
    path = path.replace("%", "%%")
    return f'"{path}"' if " " in path else path


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
