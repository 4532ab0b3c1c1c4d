# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Small text files that other programs own.

A file that is missing, unreadable or not a regular file is treated as absent: to
the host that makes no difference, and no file of a guest may stop the daemon.
"""

from __future__ import annotations

import os
import stat

# Distributions write less than 1 KiB of os-release and some hundred bytes of state;
# an interfaces(5) for 500 interfaces has 50 KiB.
_READ_LIMIT = 256 * 1024


def below(root: str, path: str) -> str:
    """Return an absolute path as it is below a root directory."""
    return f"{root.rstrip('/')}/{path.lstrip('/')}"


def read_text(root: str, path: str, errors: str = "surrogateescape") -> str | None:
    """Return the text of a regular file below ``root``, at most 256 KiB, or None.

    ``errors`` says what becomes of bytes that are not UTF-8: by default surrogates,
    as in the name of an interface.
    """
    try:
        # O_NONBLOCK, or a FIFO of that name would block the daemon.
        fd = os.open(
            below(root, path), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
        )
    except (OSError, ValueError):
        return None  # ValueError: a NUL in a path that another file names
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return None
        return os.read(fd, _READ_LIMIT).decode("utf-8", errors)
    except OSError:
        return None
    finally:
        os.close(fd)


def list_names(root: str, path: str) -> list[str]:
    """Return the sorted names in a directory below ``root``; none if it cannot be read."""
    try:
        return sorted(os.listdir(below(root, path)))
    except (OSError, ValueError):
        return []  # as above
