# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The name and version of the distribution, from its release files.

The C daemon reads /etc/os-release, else the first three raw lines of
/etc/SuSE-release or /etc/redhat-release.  If that file has no name, the name is
uname's sysname ("Linux"); if it has no version, the version is empty; the next file
is not consulted for it.  This module gives the host the same, except that

- /usr/lib/os-release is read if there is none in /etc, as os-release(5) demands;
- an apostrophe within double quotes stays (the C daemon drops quotes of both kinds
  wherever they are);
- control characters are removed, and with them the carriage returns of a file that
  was edited on Windows;
- a line may be longer than the C daemon's buffer of 512 bytes.
"""

from __future__ import annotations

import os

from .files import read_text

_CONTROLS = dict.fromkeys((*range(0x20), *range(0x7F, 0xA0)))


def read_identity(root: str = "/") -> tuple[str, str, str]:
    """Return the values of OSName, OSMajorVersion and OSMinorVersion; each may be empty.

    They come from the release files below ``root``.  Whatever those are or contain, no
    exception is raised; bytes that are not UTF-8 become U+FFFD.
    """
    name, major, minor = _read(root)
    return name.translate(_CONTROLS), major.translate(_CONTROLS), minor.translate(_CONTROLS)


def _read(root: str) -> tuple[str, str, str]:
    for path in ("/etc/os-release", "/usr/lib/os-release"):
        text = read_text(root, path, "replace")
        if text is not None:
            return _from_assignments(text)
    for path in ("/etc/SuSE-release", "/etc/redhat-release"):
        text = read_text(root, path, "replace")
        if text is not None:
            return _from_lines(text)
    return os.uname().sysname, "", ""


def _from_assignments(text: str) -> tuple[str, str, str]:
    name, version = os.uname().sysname, ""
    # Not splitlines(), which splits at other characters, too, that a value may contain.
    for line in text.split("\n"):
        key, _, value = line.partition("=")
        if key == "NAME":
            name = _unquoted(value)
        elif key == "VERSION_ID":
            version = _unquoted(value)
    return name, version, ""


def _unquoted(value: str) -> str:
    """Remove the quotes and backslashes of a shell assignment's right side."""
    text = []
    quote = ""
    characters = iter(value)
    for character in characters:
        if character == "\\":
            text.append(next(characters, ""))
        elif character == quote:
            quote = ""
        elif not quote and character in ("'", '"'):
            quote = character
        else:
            text.append(character)
    return "".join(text)


def _from_lines(text: str) -> tuple[str, str, str]:
    if not text:
        return os.uname().sysname, "", ""
    name, major, minor, *_ = (*text.split("\n", 3), "", "")
    return name, major, minor
