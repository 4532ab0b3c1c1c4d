# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Files of ``[section]`` headings and ``key=value`` lines.

systemd's units and NetworkManager's keyfiles have this form; systemd's state files
and sysconfig's ifcfg files, which a shell reads, have it without headings.
"""

from __future__ import annotations

from hv_kvp_daemon.guest.files import read_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    #: Keys and values by section; the section before the first heading is "".
    Sections: TypeAlias = dict[str, dict[str, str]]


def unquoted(value: str) -> str:
    """Return a value without the quotes around it."""
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        return value[1:-1]
    return value


def shell_word(value: str) -> str:
    """Return the word that a shell assigns; what follows it may be a comment.

    Backslashes, and quotes around a part of the word, are not supported.
    """
    if value[:1] in ('"', "'"):
        return value[1:].partition(value[0])[0]
    words = value.partition(";")[0].split()
    return words[0] if words else ""


def read_sections(root: str, path: str, value_of: Callable[[str], str] = unquoted) -> Sections:
    """Read such a file below ``root``; empty if there is none.

    The last value of a key counts.  ``value_of`` makes the value of what follows the
    ``=``, without white space at either end.
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
                section[key.rstrip()] = value_of(value.strip())
    return sections
