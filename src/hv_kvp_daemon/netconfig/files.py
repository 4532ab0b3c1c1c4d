"""Small text files of other programs: state, settings, profiles.

In: a path below a root directory.  Out: its text, or what one of the two usual
forms makes of it.  Rule: a file that is missing, too large, no regular file or
not ours to read is no answer, and never an error.
"""

from __future__ import annotations

import os

from hv_kvp_daemon.guest.os_release import read_regular

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    #: Keys and values by section; the section before the first heading is "".
    Sections: TypeAlias = dict[str, dict[str, str]]

# State files have some hundred bytes; an interfaces(5) for 500 interfaces, 50 KiB.
_READ_LIMIT = 256 * 1024


def read_text(root: str, path: str) -> str | None:
    """Return a regular file's text below ``root``, at most 256 KiB; None if it has none.

    Bytes that are no UTF-8 come back as surrogates, as in an interface's name.
    """
    return read_regular(below(root, path), _READ_LIMIT, "surrogateescape")


def list_names(root: str, path: str) -> list[str]:
    """Return the sorted names in a directory below ``root``; none if it cannot be read."""
    try:
        return sorted(os.listdir(below(root, path)))
    except OSError:
        return []


def below(root: str, path: str) -> str:
    """Return an absolute path as it is below a root directory."""
    return os.path.join(root, path.lstrip("/"))


def read_sections(root: str, path: str) -> Sections:
    """Read ``[section]`` headings and ``key=value`` lines; empty where there is no file.

    That is the form of systemd's units and NetworkManager's keyfiles, and without
    a heading that of systemd's state files and of sysconfig.  Of two values for one
    key the last counts.  Quotes around a value are taken off.
    """
    section: dict[str, str] = {}
    sections: Sections = {"": section}
    for line in (read_text(root, path) or "").splitlines():
        text = line.strip()
        if text.startswith("[") and text.endswith("]"):
            section = sections.setdefault(text[1:-1], {})
        elif text and text[0] not in "#;":
            key, separator, value = text.partition("=")
            if separator:
                section[key.rstrip()] = _unquoted(value.strip())
    return sections


def _unquoted(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        return value[1:-1]
    return value
