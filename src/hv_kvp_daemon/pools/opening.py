"""Opens and creates pool files and their directory, with their modes.

Only regular files are opened.  The directory of the pools belongs to root, but its entries
may be damaged, or put there on purpose: opening a device can already act on it, and a
FIFO can block.  The mode of an existing file is never changed: Ignition creates pools
of mode 0600 when they hold secrets, and relies on that.
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


def open_pool(pool: int, path: str, *, write: bool) -> int:
    """Open an existing pool file and return the descriptor.

    :raises NotAPoolError: something else is there.
    :raises FileNotFoundError: nothing is there.
    :raises OSError: the kernel refuses, for reasons of its own.
    """
    # Before, because opening alone can act on a device; and after, because only the
    # descriptor cannot be exchanged any more.
    _check(pool, path, os.lstat(path))
    fd = os.open(path, _FLAGS | (os.O_RDWR if write else os.O_RDONLY))
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


def make_directory(path: str, *, sync: bool) -> None:
    """Create a directory and those above it, as far as they are missing.

    With ``sync`` their names are on the disk before this returns.

    :raises NotADirectoryError: something else is there, or above.
    :raises OSError: the kernel refuses.
    """
    # A link to a missing directory names what to create (/var/lib/hyperv is such a link).
    path = os.path.realpath(path)
    if os.path.isdir(path):
        return
    parent = os.path.dirname(path)
    make_directory(parent, sync=sync)
    try:
        os.mkdir(path, DIRECTORY_MODE)
    except FileExistsError as error:
        if os.path.isdir(path):
            return  # another program was quicker
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path) from error
    # By a descriptor: who may write above it can put a link in its place.
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fchmod(fd, DIRECTORY_MODE)
    finally:
        os.close(fd)
    if sync:
        sync_directory(parent)


def sync_directory(path: str) -> None:
    """Put the names in a directory on the disk; fdatasync of a new file does not.

    :raises OSError: the kernel refuses.
    """
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _check(pool: int, path: str, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "of an unknown kind")
        raise NotAPoolError(pool, path, kind)
