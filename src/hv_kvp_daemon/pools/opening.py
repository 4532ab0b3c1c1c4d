# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Opens and creates pool files and their directory, with their modes.

Only regular files are opened.  The directory of the pools belongs to root, but its entries
may be damaged, or put there on purpose: opening a device can already act on it, and a
FIFO can block.  The mode of an existing file is never changed: Ignition creates pools
of mode 0600 when they hold secrets, and relies on that.

Root's commands also work in a directory that another user owns, who can exchange it and its
entries at any moment.  So what belongs to a pool is found by a descriptor of the directory
that has this very file, and a mode is only given to what was created here.
"""

from __future__ import annotations

import errno
import os
import stat

from .errors import NotAPoolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

#: The modes of what is created here, whatever the umask.  Microsoft's LISA expects them.
FILE_MODE: Final = 0o644
DIRECTORY_MODE: Final = 0o755

# O_NONBLOCK has no effect on a regular file, except that a lease on it (F_SETLEASE)
# gives EAGAIN instead of a wait of up to 45 s.
_FLAGS: Final = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY

_KINDS: Final = {
    stat.S_IFDIR: "a directory",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}


def open_pool(pool: int | None, path: str, *, write: bool, parent: int | None = None) -> int:
    """Open an existing pool file, or one beside the pools, and return the descriptor.

    With ``parent``, a descriptor of its directory, only the last part of the path counts.

    :raises NotAPoolError: something else is there.
    :raises FileNotFoundError: nothing is there.
    :raises OSError: the kernel refuses, for reasons of its own.
    """
    # Before, because opening alone can act on a device; and after, because only the
    # descriptor cannot be exchanged any more.
    name = path if parent is None else os.path.basename(path)
    _check(pool, path, os.lstat(name, dir_fd=parent))
    fd = os.open(name, _FLAGS | (os.O_RDWR if write else os.O_RDONLY), dir_fd=parent)
    try:
        _check(pool, path, os.fstat(fd))
    except BaseException:
        os.close(fd)
        raise
    return fd


def create_pool(pool: int, path: str, *, sync: bool) -> int:
    """Open a pool file for writing; create it, and its directory, if it is missing.

    :raises NotAPoolError: something else is there.
    :raises OSError: the kernel refuses.
    """
    try:
        return open_pool(pool, path, write=True)
    except FileNotFoundError:
        make_directory(os.path.dirname(path), sync=sync)
    try:
        fd = os.open(path, _FLAGS | os.O_RDWR | os.O_CREAT | os.O_EXCL, FILE_MODE)
    except FileExistsError:
        # Another program was quicker, so the mode is for it to choose.
        return open_pool(pool, path, write=True)
    try:
        os.fchmod(fd, FILE_MODE)
    except BaseException:
        os.close(fd)
        raise
    return fd


def open_directory(path: str) -> int:
    """Open a directory, to work below it whatever its path leads to later.

    It need not be readable, and so cannot be listed or synced by this descriptor.

    :raises NotADirectoryError: something else is there.
    :raises OSError: the kernel refuses.
    """
    return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def open_directory_of(path: str, fd: int) -> int:
    """Open the directory of a file that is open as ``fd``, as `open_directory` does.

    :raises OSError: ESTALE if the path leads to another file by now.
    """
    directory, name = os.path.split(path)
    folder = open_directory(directory)
    if _is_file(folder, name, fd):
        return folder
    os.close(folder)
    raise OSError(errno.ESTALE, "it was replaced meanwhile", path)


def _is_file(folder: int, name: str, fd: int) -> bool:
    try:
        there = os.stat(name, dir_fd=folder, follow_symlinks=False)
        return os.path.samestat(there, os.fstat(fd))
    except OSError:
        return False


def make_directory(path: str, *, sync: bool) -> None:
    """Create a directory and those above it, as far as they are missing.

    With ``sync`` their names are on the disk before this returns.

    :raises NotADirectoryError: something else is there, or above.
    :raises OSError: the kernel refuses.
    """
    # A link to a missing directory names what to create (/var/lib/hyperv is such a link).
    os.close(_make_directory(os.path.realpath(path), sync=sync))


def _make_directory(path: str, *, sync: bool) -> int:
    """Return a descriptor of the directory, as `open_directory` does."""
    try:
        return open_directory(path)
    except FileNotFoundError:
        parent = _make_directory(os.path.dirname(path), sync=sync)
    name = os.path.basename(path)
    try:
        os.mkdir(name, DIRECTORY_MODE, dir_fd=parent)
        _set_mode(parent, name)
        if sync:
            sync_directory(".", parent)
    except FileExistsError:
        pass  # another program was quicker
    finally:
        os.close(parent)
    return open_directory(path)


def _set_mode(parent: int, name: str) -> None:
    """Give a new directory its mode, which the umask may have reduced.

    Not where another user can put a directory of this user's in its place, which may be
    private: there it keeps the mode that the umask allowed.
    """
    status = os.fstat(parent)
    others_write = status.st_mode & 0o022 and not status.st_mode & stat.S_ISVTX
    if others_write or status.st_uid not in {0, os.geteuid()}:
        return
    fd = os.open(
        name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent
    )
    try:
        os.fchmod(fd, DIRECTORY_MODE)
    finally:
        os.close(fd)


def sync_directory(path: str, parent: int | None = None) -> None:
    """Put the names in a directory on the disk; fdatasync of a new file does not.

    A relative ``path`` is that below the directory ``parent``.

    :raises OSError: the kernel refuses.
    """
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=parent)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _check(pool: int | None, path: str, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "of an unknown kind")
        raise NotAPoolError(pool, path, kind)
