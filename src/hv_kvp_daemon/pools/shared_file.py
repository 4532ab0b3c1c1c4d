"""A file that other programs write, remove and replace: usable only while it is held.

In: a path.  Out: a descriptor, and the file's length, for the time of a hold.
Rule: one descriptor; under the locks it is checked to be what the path leads to,
since a lock on a file that was replaced keeps nobody out.

A second descriptor of the same file is never made: its close would take away the
POSIX locks of a program that has this one loaded as a library.

What is only read needs no locks where nobody writes.  A file that was looked at under
them is known again by its stamp (`keep`, `is_kept`): as long as the path leads to a
file of that stamp, what is in it is what a reader under the locks would find.  A write
sets the times before it puts its first byte in place, so to read and then to look at
the stamp is enough.
"""

from __future__ import annotations

import errno
import os
import time

from .errors import PoolError
from .locking import LOCK_WAIT, PoolLock
from .opening import create_pool, open_pool, sync_directory
from .stamp import is_settled, stamp_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Final

    from .stamp import Stamp

# How often a file may have been replaced while its locks were waited for.
_REOPEN_LIMIT: Final = 8

# Whoever may not write may still read.
_NOT_WRITABLE: Final = (errno.EACCES, errno.EPERM, errno.EROFS)


class SharedFile:
    """The file of one pool; the arguments are those of `PoolFile`.

    ``fd`` is -1 while nothing is open, which during a hold means: there is no file.
    ``modified`` is its st_mtime_ns when it was last entered, or `look` or `mark` called
    since.  ``kept`` is its stamp when it was kept; while there is one, the file is open.
    """

    __slots__ = (
        "_can_write",
        "_identity",
        "_lock",
        "_marked",
        "_name_on_disk",
        "_status",
        "_sync",
        "_writable",
        "fd",
        "kept",
        "modified",
        "path",
        "pool",
    )

    def __init__(
        self,
        pool: int,
        path: str,
        *,
        report: Callable[[str], object],
        sync: bool = True,
        writable: bool = True,
        pause: Callable[[float], object] = time.sleep,
        lock_wait: float = LOCK_WAIT,
    ) -> None:
        self.pool = pool
        self.path = os.path.abspath(path)
        self.fd = -1
        self.modified = 0
        self.kept: Stamp | None = None
        self._sync = sync
        self._writable = writable
        self._lock = PoolLock(pool, self.path, report=report, pause=pause, wait=lock_wait)
        # Of the descriptor: st_dev and st_ino, whether it can write, and whether
        # the directory that leads to it was synced.
        self._identity = (0, 0)
        self._can_write = False
        self._name_on_disk = False
        # Of the file when `modified` was; and the stamp that `mark` gave.
        self._status: os.stat_result | None = None
        self._marked: Stamp | None = None

    def hold(self, *, write: bool = False, create: bool = False) -> Hold:
        """Return a context in which the file is held, and which gives its length in bytes.

        Shared with other readers unless ``write``.  A file that is missing has
        the length 0 and no descriptor, or is made where ``create`` says so.
        An ``OSError`` within leaves as a `PoolError`.
        """
        return Hold(self, write, create)

    def flush(self) -> None:
        """Wait until what was written is on the disk, unless the file is not synced at all.

        With the name of the file, whoever made it: a record that cannot be found
        after a power cut is lost.

        :raises OSError: the kernel could not write it.
        """
        if not self._sync:
            return
        os.fdatasync(self.fd)
        if not self._name_on_disk:
            sync_directory(os.path.dirname(self.path))
            self._name_on_disk = True

    def look(self) -> int:
        """Look at the file again, after a change, and return its length.

        :raises OSError: the kernel refused.
        """
        return self._take_in(os.fstat(self.fd))

    def mark(self, size: int) -> Stamp | None:
        """After a change of ours, give the file a stamp that no other write leaves.

        Before Linux 6.13 all writes in one tick of the kernel's clock leave the same
        time, so a neighbour's next to ours would not show.  The time that is set
        here is finer than a tick: the next write replaces it by another.

        None, if that cannot be told: there is only one of the locks, or the length
        is not ``size``, so a neighbour may have written beside us; or the time
        cannot be set (by whoever does not own the file), or not so finely.

        :raises OSError: the kernel refused to tell the status.
        """
        now = time.time_ns()
        try:
            os.utime(self.fd, ns=(now, now))
        except OSError:
            # The change itself is made; without a mark the file settles by its age.
            return None
        if self.look() != size or self.modified != now or not self._lock.is_complete:
            return None
        self._marked = self.stamp
        return self._marked

    @property
    def stamp(self) -> Stamp | None:
        """What the file is known by, at the time of ``modified``; None: there was none."""
        return None if self._status is None else stamp_of(self._status)

    @property
    def is_settled(self) -> bool:
        """Whether a write from now on will leave another stamp than the file has."""
        stamp = self.stamp
        return stamp is not None and (
            stamp == self._marked or is_settled(stamp, time.time_ns())
        )

    def keep(self) -> None:
        """Under a hold that found the file whole: know it again, once it is settled."""
        self.kept = self.stamp if self.is_settled else None

    def is_kept(self) -> bool:
        """Whether all that was read up to now is as it was when the file was kept.

        By one lstat(2), without the locks.  The descriptor's fstat(2) would cost 0.8 us
        less of a request's 8.2, but a file that was renamed in the tick of the clock in
        which it was written has the same stamp (Linux before 6.13).
        """
        try:
            return stamp_of(os.lstat(self.path)) == self.kept
        except OSError:
            return False  # whoever takes the locks meets the error, and tells of it

    @property
    def can_write(self) -> bool:
        """Whether the descriptor that is open can write."""
        return self._can_write

    def open(self) -> None:
        """Open the file, without its locks; a missing one is made, if writing is allowed.

        :raises PoolError: it cannot be opened or made.
        """
        try:
            self._open(write=False, create=self._writable)
        except OSError as error:
            raise self.error(error) from error

    def close(self) -> None:
        """Close the descriptor; the next hold opens the file again."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
            self.kept = None

    def enter(self, *, write: bool, create: bool) -> int:
        """Open if need be, lock, check the path; return the length.  For `Hold`."""
        if write and not self._writable:
            raise PoolError(self.pool, self.path, "opened for reading only")
        for _ in range(_REOPEN_LIMIT):
            if not self._open(write=write, create=create):
                self._status = None
                return 0
            try:
                self._lock.acquire(self.fd, exclusive=write)
                size = self._size()
            except BaseException:
                self.leave()
                raise
            if size is not None:
                return size
            self.leave()
            self.close()
        raise PoolError(self.pool, self.path, f"replaced {_REOPEN_LIMIT} times meanwhile")

    def leave(self) -> None:
        """Unlock.  For `Hold`."""
        self._lock.release(self.fd)

    def error(self, cause: OSError) -> PoolError:
        """Return the error that tells of a refusal by the kernel."""
        return PoolError(self.pool, self.path, cause.strerror or str(cause))

    def _open(self, *, write: bool, create: bool) -> bool:
        """Make sure of a descriptor that can do what is asked; False: there is no file."""
        if self.fd >= 0 and (self._can_write or not write):
            return True
        self.close()
        self._can_write = self._writable
        try:
            if create:
                fd = create_pool(self.pool, self.path, sync=self._sync)
            else:
                fd = open_pool(self.pool, self.path, write=self._writable)
        except FileNotFoundError:
            if create:
                raise
            return False
        except OSError as error:
            if write or error.errno not in _NOT_WRITABLE or not os.path.lexists(self.path):
                raise
            fd = open_pool(self.pool, self.path, write=False)
            self._can_write = False
        status = os.fstat(fd)
        self.fd = fd
        self._identity = (status.st_dev, status.st_ino)
        self._name_on_disk = False
        return True

    def _size(self) -> int | None:
        """Return the length, or None if the path leads elsewhere or nowhere by now."""
        try:
            status = os.lstat(self.path)
        except FileNotFoundError:
            return None
        if (status.st_dev, status.st_ino) != self._identity:
            return None
        return self._take_in(status)

    def _take_in(self, status: os.stat_result) -> int:
        self._status = status
        self.modified = status.st_mtime_ns
        return status.st_size


class Hold:
    """One hold of a `SharedFile`, from both locks taken to both let go."""

    __slots__ = ("_create", "_file", "_write")

    def __init__(self, file: SharedFile, write: bool, create: bool) -> None:
        self._file = file
        self._write = write
        self._create = create

    def __enter__(self) -> int:
        try:
            return self._file.enter(write=self._write, create=self._create)
        except OSError as error:
            raise self._file.error(error) from error

    def leave(self) -> None:
        """End the hold early."""
        self._file.leave()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.leave()
        if isinstance(error, OSError):
            raise self._file.error(error) from error
