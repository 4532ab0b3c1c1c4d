"""Files of ``[section]`` headings and ``key=value`` lines.

systemd's units and NetworkManager's keyfiles have this form; systemd's state files
and sysconfig's ifcfg files have it without headings.
"""

from __future__ import annotations

from hv_kvp_daemon.guest.files import read_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    #: Keys and values by section; the section before the first heading is "".
    Sections: TypeAlias = dict[str, dict[str, str]]


def read_sections(root: str, path: str) -> Sections:
    """Read such a file below ``root``; empty if there is none.

    The last value of a key counts.  Quotes around a value are removed.
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
