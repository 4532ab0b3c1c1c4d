# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Paths of a mounted image, resolved as the image itself would.

An absolute link in an image names a place of that image.  To the kernel it is a place of
this machine: a command that follows it changes the machine on which the image is built.
"""

from __future__ import annotations

import os
from typing import Final

from hv_kvp_daemon.cli.command import CommandError

# As many as the kernel follows (MAXSYMLINKS).
_MOST_LINKS: Final = 40

_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def resolve(root: str, path: str, *, follow: bool = False) -> str:
    """Return where a path of an image is, with links followed as if ``root`` were ``/``.

    The last component is followed only with ``follow``.  What is missing is no error.

    :raises CommandError: there are too many links.
    """
    done: list[str] = []
    left = path.split("/")[::-1]
    links = 0
    while left:
        name = left.pop()
        if name == "..":
            del done[-1:]
        if name in {"", ".", ".."}:
            continue
        done.append(name)
        if not (left or follow):
            break
        try:
            target = os.readlink(os.path.join(root, *done))
        except OSError:
            continue  # no link, or nothing
        links += 1
        if links > _MOST_LINKS:
            raise CommandError(f"{os.path.join(root, *done)}: too many symbolic links")
        if target.startswith("/"):
            done.clear()
        else:
            done.pop()
        left += target.split("/")[::-1]
    return os.path.join(root, *done)


def open_directory(root: str, path: str, *, create: bool = False) -> int:
    """Open a directory of an image, and return a descriptor that leads nowhere else.

    With ``create``, directories that are missing are made, with mode 0755.

    :raises OSError: there is none, or the kernel refuses.
    """
    place = os.path.relpath(resolve(root, path, follow=True), root)
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for name in place.split("/"):
        try:
            if create:
                _make_directory(fd, name)
            # A component that has become a link meanwhile is not followed.
            below = os.open(name, _FLAGS, dir_fd=fd)
        finally:
            os.close(fd)
        fd = below
    return fd


def _make_directory(folder: int, name: str) -> None:
    """Make a directory in another, unless there is something of that name."""
    try:
        os.mkdir(name, 0o755, dir_fd=folder)
    except FileExistsError:
        return
    fd = os.open(name, _FLAGS, dir_fd=folder)
    try:
        os.fchmod(fd, 0o755)  # whatever the umask
    finally:
        os.close(fd)
