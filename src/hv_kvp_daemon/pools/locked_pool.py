"""A pool file under its locks: opened, locked, recovered, and known by its version.

Other programs write, remove and replace the file, so it is used only while both of its
locks are held, and only after a look at the path under them: a lock on a file that was
replaced keeps nobody out.  There is one descriptor, because closing a second one of the
same file would drop the POSIX locks of a program that has loaded this as a library.

A change that a killed process left shows in the journal, or as a tombstone at the end of
the file.  Whoever takes the locks completes it first (`recovery`).

**What may be trusted without a look.**  ``trusted`` is the version of the file (see
`file_version`) at which it was last found to be recovered.  While the path leads to a
file of that version

- no look at the journal is needed, since whoever writes an entry changes the version
  first;
- a record may be read without the locks, if the version is still the same afterwards:
  a write sets the file's times before it puts its first byte in place;
- the key index is true, if it was made at that version (`records`).

A racy version is not trusted, since it can be that of two contents.  After a change of
our own the file is given a time that no other write leaves (`end_change`), so it is
trusted at once.
"""

from __future__ import annotations

import errno
import os
import time

from .errors import PoolError
from .file_version import is_racy, version_of
from .journal import Journal
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

    ``version`` is that of the file when it was locked, None where there is none.
    ``was_trusted`` is whether it had been trusted before that.
    """

    __slots__ = (
        *("_can_write", "_config", "_identity", "_lock", "_name_on_disk", "_reported"),
        *("creating", "fd", "reading", "trusted", "version", "was_trusted"),
        *("writer", "writing"),
    )

    def __init__(self, config: PoolConfig) -> None:
        self.fd = -1
        self.version: FileVersion | None = None
        self.trusted: FileVersion | None = None
        self.was_trusted = False
        self.writer = Writer(self, config, Journal(config))
        self.reading = _Locked(self, write=False, create=False)
        self.writing = _Locked(self, write=True, create=False)
        self.creating = _Locked(self, write=True, create=True)
        self._config = config
        self._lock = PoolLock(config)
        # Of the descriptor: st_dev and st_ino, whether it can write, and whether the
        # directory that leads to it was synced.
        self._identity = (0, 0)
        self._can_write = False
        self._name_on_disk = False
        # Whether it was reported that a change cannot be completed.
        self._reported = False

    def open(self) -> None:
        """Open the file without its locks; create a missing one, if writing is allowed.

        :raises PoolError: it cannot be opened or created.
        """
        try:
            self._open(write=False, create=self._config.writable)
        except OSError as error:
            raise self._config.error(error) from error

    def close(self) -> None:
        """Close the file and its journal; a later use opens them again."""
        self._close()
        self.writer.journal.close()

    def flush(self) -> None:
        """Wait until what was written is on the disk, if this pool is synced.

        The name of the file as well, whoever created it: a record in a file that cannot
        be found after a power cut is lost.

        :raises OSError: the kernel could not write it.
        """
        if not self._config.sync:
            return
        os.fdatasync(self.fd)
        if not self._name_on_disk:
            sync_directory(os.path.dirname(self._config.path))
            self._name_on_disk = True

    def is_unchanged(self) -> bool:
        """Whether all that was read until now is of the trusted version.

        By one lstat(2), without the locks.  fstat(2) would cost 0.8 us less, but a file
        that is renamed in the tick in which it was written keeps its version (Linux
        before 6.13).
        """
        try:
            return version_of(os.lstat(self._config.path)) == self.trusted
        except OSError:
            return False  # met again, and reported, under the locks

    def begin_change(self) -> None:
        """Before a change: trust nothing, in case it fails."""
        self.trusted = None

    def end_change(self, size: int) -> None:
        """After a change that left so many bytes: give the file a version of its own.

        Before Linux 6.13 all writes in one tick leave the same time, so another program's
        write right after ours would not show.  The time that is set here is finer than a
        tick, and the next write replaces it.

        The version is not trusted if a program may have written beside us, because only
        one of the locks is held or the length is another; if the time cannot be set, or
        not so finely; or if the journal could not be cleared.
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
            and self._lock.is_complete
            and self.writer.journal.is_clear
        ):
            self.trusted = version_of(status)

    def enter(self, *, write: bool, create: bool) -> int:
        """Lock and recover the file, and return its length.  For the contexts."""
        size = self._acquire(write, create)
        self.was_trusted = self.version == self.trusted
        if self.was_trusted:
            return size
        try:
            return self._examine(size, write)
        except BaseException:
            self.leave()
            raise

    def leave(self) -> None:
        """Unlock the file.  For the contexts."""
        self._lock.release(self.fd)

    def error(self, cause: OSError) -> PoolError:
        """Return the `PoolError` for a refusal by the kernel."""
        return self._config.error(cause)

    def _acquire(self, write: bool, create: bool) -> int:
        """Open if need be, lock, look at the path, and return the file's length."""
        if write and not self._config.writable:
            raise PoolError(self._config.number, self._config.path, "opened for reading only")
        for _ in range(_REOPEN_LIMIT):
            if (self.fd < 0 or (write and not self._can_write)) and not self._open(
                write=write, create=create
            ):
                self.version = None
                return 0
            try:
                self._lock.acquire(self.fd, exclusive=write)
                version = self._version()
            except BaseException:
                self.leave()
                raise
            if version is not None and version[:2] == self._identity:
                self.version = version
                return version[2]
            self.leave()
            self._close()
        reason = f"replaced {_REOPEN_LIMIT} times meanwhile"
        raise PoolError(self._config.number, self._config.path, reason)

    def _examine(self, size: int, write: bool) -> int:
        """Recover a file of a version that is not trusted, and return its length."""
        visible = end_of_records(self.fd, size)
        if not self._can_write:
            # Somebody who may write has to recover it.
            if visible == size:
                self._trust()
            return visible
        try:
            if visible == size and self.writer.journal.pending() is None:
                self._trust()
                self._reported = False
                return size
        except PoolError as error:
            if write:
                raise
            self._report_failure(error)
            return visible
        if write:
            return self._recover()
        self.leave()
        self._recover_for_reader()
        size = self._acquire(write=False, create=False)
        return end_of_records(self.fd, size)

    def _recover(self) -> int:
        """Recover the file, under the locks for writing, and return its length."""
        if recover(self.fd, self.writer):
            self._config.warn("a change that had been interrupted was put in order")
        self._reported = False
        status = os.fstat(self.fd)
        self.version = version_of(status)
        return status.st_size

    def _recover_for_reader(self) -> None:
        """Recover the file; a reader is served where that fails, too."""
        try:
            with self.writing:
                pass
        except PoolError as error:
            self._report_failure(error)

    def _report_failure(self, error: PoolError) -> None:
        if not self._reported:
            self._reported = True
            self._config.warn(f"an interrupted change cannot be put in order: {error.reason}")

    def _trust(self) -> None:
        if self.version is not None and not is_racy(self.version, time.time_ns()):
            self.trusted = self.version

    def _version(self) -> FileVersion | None:
        try:
            return version_of(os.lstat(self._config.path))
        except FileNotFoundError:
            return None

    def _open(self, *, write: bool, create: bool) -> bool:
        """Open the file so that it can do what is asked; False if there is none."""
        if self.fd >= 0 and (self._can_write or not write):
            return True
        self._close()
        config = self._config
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
        return True

    def _close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
            self.trusted = None


class _Locked:
    """A context of a `LockedPool`."""

    __slots__ = ("_create", "_pool", "_write")

    def __init__(self, pool: LockedPool, *, write: bool, create: bool) -> None:
        self._pool = pool
        self._write = write
        self._create = create

    def __enter__(self) -> int:
        try:
            return self._pool.enter(write=self._write, create=self._create)
        except OSError as error:
            raise self._pool.error(error) from error

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.leave()
        if isinstance(error, OSError):
            raise self._pool.error(error) from error
