"""What the distribution calls itself.

In: the release files below a root directory.  Out: an `OsIdentity`.
Rule: the host gets what the C daemon gives on the same guest, and no file,
whatever is in it or stands in its place, raises anything.

The C daemon reads /etc/os-release, else the first three raw lines of
/etc/SuSE-release or /etc/redhat-release.  A name that the file does not give is
uname's sysname ("Linux"), a version that it does not give is empty; the next
file is not asked for what the first one lacks.  The same holds here, with these
differences:

- /usr/lib/os-release is read where there is none in /etc, as os-release(5) asks;
- an apostrophe within double quotes is kept (C drops quotes of both kinds
  wherever they stand);
- control characters are left out, so also the carriage returns of a file that
  was edited on Windows;
- a line may be longer than C's buffer of 512 bytes.
"""

from __future__ import annotations

import os
import stat

# Distributions write less than 1 KiB.  One read of a regular file gives as much
# as it has, up to this.
_READ_LIMIT = 64 * 1024

_CONTROLS = dict.fromkeys((*range(0x20), *range(0x7F, 0xA0)))


class OsIdentity:
    """The texts of OSName, OSMajorVersion and OSMinorVersion.

    Each may be empty.  They are decoded from UTF-8 with replacement characters
    and hold no control characters.
    """

    __slots__ = ("major", "minor", "name")

    def __init__(self, name: str, major: str = "", minor: str = "") -> None:
        self.name = name.translate(_CONTROLS)
        self.major = major.translate(_CONTROLS)
        self.minor = minor.translate(_CONTROLS)


def read_identity(root: str = "/") -> OsIdentity:
    """Return the identity in the release files below ``root``.  Raises nothing.

    At most the first 64 KiB of a file are looked at.
    """
    for path in ("etc/os-release", "usr/lib/os-release"):
        text = _read(os.path.join(root, path))
        if text is not None:
            return _from_assignments(text)
    for path in ("etc/SuSE-release", "etc/redhat-release"):
        text = _read(os.path.join(root, path))
        if text is not None:
            return _from_lines(text)
    return OsIdentity(os.uname().sysname)


def read_regular(path: str, limit: int, errors: str) -> str | None:
    """Return a regular file's text, or None where there is no readable one: never an error.

    At most ``limit`` bytes of it; ``errors`` is what becomes of those that are no UTF-8.
    """
    try:
        # Without O_NONBLOCK a FIFO of that name would hold up the daemon.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return None
        return os.read(fd, limit).decode("utf-8", errors)
    except OSError:
        return None
    finally:
        os.close(fd)


def _read(path: str) -> str | None:
    # A distribution without the file is the usual case, and an unreadable one is
    # no different to the host.
    return read_regular(path, _READ_LIMIT, "replace")


def _from_assignments(text: str) -> OsIdentity:
    name, version = os.uname().sysname, ""
    # Not splitlines(): it also splits at characters that a value may hold.
    for line in text.split("\n"):
        key, _, value = line.partition("=")
        if key == "NAME":
            name = _unquoted(value)
        elif key == "VERSION_ID":
            version = _unquoted(value)
    return OsIdentity(name, version)


def _unquoted(value: str) -> str:
    """Undo the quotes and backslashes of a shell assignment's right side."""
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


def _from_lines(text: str) -> OsIdentity:
    if not text:
        return OsIdentity(os.uname().sysname)
    name, major, minor, *_ = (*text.split("\n", 3), "", "")
    return OsIdentity(name, major, minor)
