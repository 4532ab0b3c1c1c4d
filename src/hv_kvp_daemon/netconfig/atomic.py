# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Files that are replaced as a whole: a reader, and a crash, finds the old or the new one.

The temporary file is in the same directory, where it gets the right SELinux label.  Its name
begins with a dot and ends in no manager's suffix, so none of them reads it.
"""

from __future__ import annotations

import os
from typing import NamedTuple


class Content(NamedTuple):
    """The text of a file and its permissions."""

    text: str
    mode: int


def read(path: str) -> Content | None:
    """Return the content of a file; None if there is none.

    :raises OSError: it cannot be read.
    """
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
            return Content(file.read(), os.fstat(file.fileno()).st_mode & 0o7777)
    except FileNotFoundError:
        return None


def put(path: str, content: Content | None) -> None:
    """Make a file have this content, or for None remove it; it is on the disk then.

    :raises OSError: it cannot be written; then it is as it was.
    """
    directory, name = os.path.split(path)
    if content is None:
        try:
            os.unlink(path)
        except FileNotFoundError:
            return
        _sync(directory)
        return
    os.makedirs(directory, mode=0o755, exist_ok=True)
    temporary = f"{directory}/.{name}.hv-kvp-new"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(temporary, flags, 0o600)
    try:
        with open(fd, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            file.write(content.text)
            file.flush()
            # Not before: until then the text may be a secret of another file.
            os.fchmod(fd, content.mode)
            os.fsync(fd)
        os.rename(temporary, path)
    except OSError:
        os.unlink(temporary)
        raise
    _sync(directory)


def _sync(directory: str) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
