# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""A pool file under its locks: opened, locked, recovered, and known by its version.

Other programs write, remove and replace the file, so it is used only while both of its
locks are held, and only after a look at the path under them: a lock on a file that was
replaced protects nothing.  There is one descriptor, because closing a second one of the
same file would drop the POSIX locks of a program that has loaded this as a library.
A change that was interrupted is completed first (`recovery`).

**What may be trusted without a look.**  ``trusted`` is the version of the file
(`file_version`) at which it was last found to be whole.  While the path leads to a file
of that version

- there is nothing to recover: a program that writes down a change gives the file
  another version first;
- a record may be read without the locks, if the version is still the same afterwards:
  a write sets the file's times before it puts its first byte in place;
- the key index is true, if it was built at that version (`records`).

A racy version is not trusted, since two contents can have it.  After a change of our own
the file is given a time that no other write leaves, so it is trusted at once.
"""

from __future__ import annotations

import errno
import os
import time

from .errors import OutdatedError, PoolError
from .file_version import is_racy, version_of
from .locking import PoolLock
from .opening import create_pool, open_pool, sync_directory
from .recovery import end_of_records, recover
from .writer import Writer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Final

    from .config import PoolConfig
    from .file_version import FileVersion

# How often a file may be replaced while its locks are waited for.
_REOPEN_LIMIT: Final = 8

# What an open for writing fails with where one for reading may succeed.
_NOT_WRITABLE: Final = (errno.EACCES, errno.EPERM, errno.EROFS)


class LockedPool:
    """The file of one pool.

    ``reading``, ``writing`` and ``creating`` are contexts: within one the file is locked,
    recovered and open as ``fd``, and the context gives its length in bytes.  Where there
    is no file the length is 0 and ``fd`` -1; ``creating`` makes it.  An ``OSError``
    within a context leaves it as a `PoolError`.

    Without ``admits`` readers are kept out for as long as the file is locked to write.

    ``version`` is that of the file when it was locked, None where there is none;
    ``was_trusted`` is whether it was trusted then; ``mtime`` (nanoseconds) is from before a
    recovery, which changes the file.  Who changes the file first sets
    ``trusted`` to None, in case the change fails.
    """

    __slots__ = (
        *("_admits", "_can_write", "_identity", "_is_outdated", "_is_retry"),
        *("_name_on_disk", "_pid", "_reported", "_shared_at"),
        *("config", "creating", "fd", "lock", "mtime", "reading"),
        *("trusted", "version", "was_trusted"),
        *("writer", "writing"),
    )

    def __init__(self, config: PoolConfig, *, admits: bool = True) -> None:
        self.config = config
        self._admits = admits
        self.fd = -1
        self.version: FileVersion | None = None
        self.trusted: FileVersion | None = None
        self.was_trusted = False
        self.mtime = 0
        self.writer = Writer(self)
        self.reading = _Locked(self, write=False, create=False)
        self.writing = _Locked(self, write=True, create=False)
        self.creating = _Locked(self, write=True, create=True)
        self.lock = PoolLock(config)
        self._identity = (0, 0)  # st_dev and st_ino of the descriptor
        self._can_write = False
        self._name_on_disk = False
        self._pid = 0  # of the process that has opened the descriptor
        # The version when readers were let in, which any write changes.
        self._shared_at: FileVersion | None = None
        # Whether a request has to begin anew, and whether this one does.
        self._is_outdated = self._is_retry = False
        # Whether it was reported that a change cannot be completed.
        self._reported = False

    def open(self) -> None:
        """Open the file without its locks; create a missing one, if writing is allowed.

        :raises PoolError: it cannot be opened or created.
        """
        try:
            if self.fd < 0:
                self._open(write=False, create=self.config.writable)
        except OSError as error:
            raise self.config.error(error) from error

    def close(self) -> None:
        """Close the file and its journal; a later use opens them again."""
        self._close()

    def flush(self, *, last: bool = False) -> None:
        """Wait until what was written is on the disk, if this pool is synced.

        The name of the file as well, whichever program created it.  After the ``last``
        write of a change readers are let in.

        :raises OSError: the kernel could not write it.
        """
        if not self.config.sync:
            return
        if last and self._admits:
            self.lock.downgrade(self.fd)
        os.fdatasync(self.fd)
        if not self._name_on_disk:
            sync_directory(os.path.dirname(self.config.path))
            self._name_on_disk = True

    def admit_readers(self) -> None:
        """Let readers in, but no other writers, until `exclude_readers`.

        Only if the file can be given a time that no other write leaves; and not in a
        request that begins anew, so that it does so once.
        """
        if not self.config.sync or not self._admits or self._is_retry:
            return
        now = time.time_ns()
        try:
            os.utime(self.fd, ns=(now, now))
            self._shared_at = version_of(os.fstat(self.fd))
        except OSError:
            return
        if self._shared_at[3] == now:
            self.lock.downgrade(self.fd)

    def exclude_readers(self) -> bool:
        """Keep readers out again; False if writers were let in for a moment, and none came.

        :raises OutdatedError: one came, and the request begins anew.
        :raises PoolError, OSError: the locks are lost.
        """
        if not self.lock.is_shared or self.lock.upgrade(self.fd):
            return True
        if version_of(os.lstat(self.config.path)) == self._shared_at:
            return False
        self._is_outdated = True
        config = self.config
        raise OutdatedError(config.number, config.path, "changed by another program")

    def begin(self) -> None:
        """Begin a request, or the same one anew, which does not wait for longer."""
        self._is_retry, self._is_outdated = self._is_outdated, False
        if not self._is_retry:
            self.lock.ends = 0.0

    def is_unchanged(self) -> bool:
        """Whether all that was read until now is of the trusted version.

        By one lstat(2), without the locks.  fstat(2) would cost 0.8 us less, but a file
        that is renamed in the tick in which it was written keeps its version (Linux
        before 6.13).
        """
        try:
            return version_of(os.lstat(self.config.path)) == self.trusted
        except OSError:
            return False  # met again, and reported, under the locks

    def end_change(self, size: int) -> None:
        """After a change that left so many bytes: give the file a version of its own.

        Before Linux 6.13 all writes in one tick leave the same time, so a write of another
        program right after ours would not show.  The time that is set here is finer than
        a tick, and the next write replaces it.

        The version is not trusted if another program may have written, because only one
        lock is held or the length is another; if the time cannot be set so finely; or if
        the journal could not be cleared.
        """
        now = time.time_ns()
        try:
            os.utime(self.fd, ns=(now, now))
            status = os.fstat(self.fd)
        except OSError:
            return  # the change itself is made
        if (
            status.st_size == size
            and status.st_mtime_ns == now
            and self.lock.is_complete
            and self.writer.journal.is_clear
        ):
            self.trusted = version_of(status)

    def enter(self, *, write: bool, create: bool) -> int:
        """Lock and recover the file, and return its length.  For the contexts."""
        try:
            size = self._acquire(write, create)
            self.was_trusted = self.version == self.trusted
            self.mtime = self.version[3] if self.version else 0
            return size if self.was_trusted else self._examine(size, write)
        except BaseException as error:
            self.lock.release(self.fd)
            if isinstance(error, OSError):
                raise self.config.error(error) from error
            raise

    def _acquire(self, write: bool, create: bool) -> int:
        """Open if need be, lock, look at the path, and return the file's length."""
        if write and not self.config.writable:
            raise PoolError(self.config.number, self.config.path, "opened for reading only")
        for _ in range(_REOPEN_LIMIT):
            # A process that was forked since has the same open file, and so the same locks.
            is_ours = self.fd >= 0 and self._pid == os.getpid()
            if (not is_ours or (write and not self._can_write)) and not self._open(
                write=write, create=create
            ):
                self.version = None
                return 0
            try:
                self.lock.acquire(self.fd, exclusive=write)
                self.version = version_of(os.lstat(self.config.path))
                if self.version[:2] == self._identity:
                    return self.version[2]
            except FileNotFoundError:
                pass  # removed, as well as replaced
            self.lock.release(self.fd)
            self._close()
        reason = f"replaced {_REOPEN_LIMIT} times meanwhile"
        raise PoolError(self.config.number, self.config.path, reason)

    def _examine(self, size: int, write: bool) -> int:
        """Recover a file of a version that is not trusted, and return its length."""
        journal = self.writer.journal
        try:
            if end_of_records(self.fd, size) == size and not (
                self._can_write and journal.pending()
            ):
                if self.version is not None and not is_racy(self.version, time.time_ns()):
                    self.trusted = self.version
                self._reported = False
                return size
            if write:
                if recover(self) and not self._is_retry:
                    self.config.warn("a change that had been interrupted was put in order")
                self._reported = False
                self.version = version_of(os.fstat(self.fd))
                return self.version[2]
            if self._can_write:
                self.lock.release(self.fd)
                self.enter(write=True, create=False)  # recovers it
        except PoolError as error:
            if write:
                raise
            # Served all the same.
            if not self._reported:
                self._reported = True
                reason = error.reason
                self.config.warn(f"an interrupted change cannot be put in order: {reason}")
        self.lock.release(self.fd)
        size = self._acquire(write=False, create=False)
        return end_of_records(self.fd, size)

    def _open(self, *, write: bool, create: bool) -> bool:
        """Open the file so that it can do what is asked; False if there is none."""
        self._close()
        config = self.config
        self._can_write = config.writable
        try:
            if create:
                fd = create_pool(config.number, config.path, sync=config.sync)
            else:
                fd = open_pool(config.number, config.path, write=config.writable)
        except FileNotFoundError:
            if create:
                raise
            return False
        except OSError as error:
            if write or error.errno not in _NOT_WRITABLE or not os.path.lexists(config.path):
                raise
            fd = open_pool(config.number, config.path, write=False)
            self._can_write = False
        status = os.fstat(fd)
        self.fd = fd
        self._identity = (status.st_dev, status.st_ino)
        self._name_on_disk = False
        self._pid = os.getpid()
        return True

    def _close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
            self.trusted = None
            # It may be in another directory than the file that is opened next.
            self.writer.journal.close()


class _Locked:
    """A context of a `LockedPool`."""

    __slots__ = ("_create", "_pool", "_write")

    def __init__(self, pool: LockedPool, *, write: bool, create: bool) -> None:
        self._pool = pool
        self._write = write
        self._create = create

    def __enter__(self) -> int:
        self._pool.begin()
        return self._pool.enter(write=self._write, create=self._create)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.lock.release(self._pool.fd)
        if isinstance(error, OSError):
            raise self._pool.config.error(error) from error
