# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The file of a journal: ``.hv_kvp_journal_1`` beside ``.kvp_pool_1``.

Tools list ``.kvp_pool_*``, so it has another name.  The first change that needs it creates
it, with its room, so that a full disk does not prevent a change or a delete; and with mode
0600, since a pool may be as private as that.

The directory may belong to another user than the one who works in it, or to all, as /tmp
does.  So the journal is opened, created and renamed in the directory that has the very file
of the pool, whatever the path leads to; and it is not believed if it belongs to a third
user, who could have anything written into the pool.
"""

from __future__ import annotations

import errno
import os

from .errors import PoolError
from .opening import open_directory, open_directory_of, open_pool, sync_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from .config import PoolConfig
    from .locked_pool import LockedPool

#: What the name of a damaged journal ends with after it was set aside.
DAMAGED: Final = ".damaged"

_CANNOT_RESERVE: Final = (errno.EOPNOTSUPP, errno.EINVAL)


class JournalFile:
    """The journal's file, open as ``fd`` or -1; ``room`` is the length of a new one.

    ``pool`` is the pool that it belongs to.  While that has no file, or without one, as in
    tests, the directory is the one that the path leads to.

    Each method but `close` may raise an ``OSError`` or a `PoolError`.
    """

    __slots__ = ("_config", "_identity", "_name_on_disk", "_pool", "_room", "fd", "path")

    def __init__(self, config: PoolConfig, pool: LockedPool | None, room: int) -> None:
        self.path = journal_path(os.path.dirname(config.path), config.number)
        self.fd = -1
        self._config = config
        self._pool = pool
        self._room = room
        self._identity = (0, 0)  # st_dev and st_ino of the descriptor
        self._name_on_disk = False

    def open(self, *, create: bool) -> bool:
        """Open the file that is at the path now; False if there is none."""
        if self.fd >= 0:
            if self._is_at_path():
                return True
            # It was removed or set aside; another process would not find what is written
            # there.
            self.close()
        folder = self._open_directory()
        try:
            self.fd = open_pool(self._config.number, self.path, write=True, parent=folder)
        except FileNotFoundError:
            if not create:
                return False
            self.fd = self._make(folder)
        finally:
            os.close(folder)
        status = os.fstat(self.fd)
        self._identity = (status.st_dev, status.st_ino)
        self._name_on_disk = False
        self._check_owner(status.st_uid)
        return True

    def flush(self) -> None:
        """Wait until what was written is on the disk, and the name, if the pool is synced."""
        if not self._config.sync:
            return
        os.fdatasync(self.fd)
        if not self._name_on_disk:
            sync_directory(os.path.dirname(self.path))
            self._name_on_disk = True

    def set_aside(self) -> str:
        """Rename the file, and return its new path; the next `open` creates another."""
        name = os.path.basename(self.path)
        folder = self._open_directory()
        try:
            os.rename(name, f"{name}{DAMAGED}", src_dir_fd=folder, dst_dir_fd=folder)
        finally:
            os.close(folder)
        return f"{self.path}{DAMAGED}"

    def close(self) -> None:
        """Close the descriptor; a later use opens the file again."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def _is_at_path(self) -> bool:
        try:
            status = os.lstat(self.path)
        except FileNotFoundError:
            return False
        return (status.st_dev, status.st_ino) == self._identity

    def _open_directory(self) -> int:
        if self._pool is None or self._pool.fd < 0:
            return open_directory(os.path.dirname(self.path))
        return open_directory_of(self._config.path, self._pool.fd)

    def _make(self, folder: int) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        name = os.path.basename(self.path)
        fd = os.open(name, flags, 0o600, dir_fd=folder)
        try:
            os.posix_fallocate(fd, 0, self._room)
        except BaseException as error:
            # Not every file system can; glibc then writes, but not every library does.
            if isinstance(error, OSError) and error.errno in _CANNOT_RESERVE:
                return fd
            os.close(fd)
            os.unlink(name, dir_fd=folder)
            raise
        return fd

    def _check_owner(self, owner: int) -> None:
        """Refuse a file that belongs neither to root nor to this user nor to the pool's."""
        trusted = {0, os.geteuid()}
        if self._pool is not None and self._pool.fd >= 0:
            trusted.add(os.fstat(self._pool.fd).st_uid)
        if owner not in trusted:
            self.close()
            number, path = self._config.number, self._config.path
            reason = f"its journal {self.path} belongs to user {owner}"
            raise PoolError(number, path, f"{reason}, who could change the pool")


def journal_path(directory: str, number: int) -> str:
    """Return the path of a pool's journal."""
    return os.path.join(directory, f".hv_kvp_journal_{number}")
