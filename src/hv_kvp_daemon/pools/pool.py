"""One pool: records read, set, deleted and appended among other writers.

In: keys and values in bytes.  Out: records, or a `PoolError`.
Rule: a request is one hold of both locks over all that it reads and writes; a
change is made in place, and what others wrote stays as it is, byte for byte.

The file is a row of 2560-byte records and nothing else, so its length tells how
many there are.  Behind the last whole one a part of another may stand: of a
writer that crashed, or whose disk was full.  No reader can use it, and readers
pass over it.  But neighbours append at the end of the file, and behind 7 odd
bytes each of their records would be 7 bytes off, lost to every reader.  So the
next change ends the file after a whole record: an append takes the part's place,
any other change cuts it off.  Those few bytes are the least that can be lost.

A request that fails leaves what was there before.  A kill or a power cut in a
request leaves what the next one, of this or another process, puts in order before
it does anything else (see `mending`): of the change all or nothing, and of the rest
every record once, whole, in its order.
"""

from __future__ import annotations

import time

from hv_kvp_daemon.wire.record import (
    KEY_SIZE,
    RECORD_SIZE,
    Record,
    RecordFieldError,
    check_key,
    decode,
    encode,
)

from .change import append, read_at, replace
from .errors import PoolFieldError
from .journal import Journal
from .locking import LOCK_WAIT
from .ready import Readiness
from .shared_file import SharedFile
from .writer import Writer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Final

# Records that are read at once in a search: 160 KiB, whatever the pool's size.
_BLOCK: Final = 64


class PoolFile:
    """One pool, by its number (0 to 4, for messages) and path.

    ``report`` gets a line for each condition that an administrator should know
    of, once until it has cleared.  Without ``sync`` a change does not wait to
    reach the disk.  With ``writable=False`` the file is opened for reading only
    and never made; a file that may not be written is read all the same.
    ``pause`` and ``lock_wait`` (seconds) are those of `PoolLock`.

    A missing file is an empty pool; `store` and `append` make it.  Not for
    threads.  Every method may raise a `PoolError`, and can be called again after.
    """

    __slots__ = ("_file", "_odd_bytes", "_ready", "_report", "_writer")

    def __init__(
        self,
        number: int,
        path: str,
        *,
        report: Callable[[str], object],
        sync: bool = True,
        writable: bool = True,
        pause: Callable[[float], object] = time.sleep,
        lock_wait: float = LOCK_WAIT,
    ) -> None:
        self._report = report
        self._file = SharedFile(
            number,
            path,
            report=report,
            sync=sync,
            writable=writable,
            pause=pause,
            lock_wait=lock_wait,
        )
        journal = Journal(number, self._file.path, sync=sync)
        self._writer = Writer(self._file, journal, report)
        self._ready = Readiness(self._file, self._writer, report)
        # Bytes behind the last whole record, as reported.
        self._odd_bytes = 0

    @property
    def number(self) -> int:
        """The pool's number."""
        return self._file.pool

    @property
    def path(self) -> str:
        """The file's absolute path."""
        return self._file.path

    def open(self) -> None:
        """Open the file, made with mode 0644 (its directories 0755) if it is missing.

        Without its locks, so that nobody can hold up a start.  Each request
        opens what is not open; this tells beforehand whether that will do.
        """
        self._file.open()

    def close(self) -> None:
        """Close the descriptors; a later request opens the files again."""
        self._file.close()
        self._writer.journal.close()

    def count(self) -> int:
        """Return the number of whole records."""
        with self._ready.hold() as size:
            return self._whole(size)

    def read(self, index: int) -> Record | None:
        """Return the record at an index counted from 0, or None where there is none."""
        with self._ready.hold() as size:
            return self._record(index) if 0 <= index < self._whole(size) else None

    def records(self) -> list[Record]:
        """Return all records in the order of the file."""
        with self._ready.hold() as size:
            return [
                decode(block[at : at + RECORD_SIZE])
                for _, block in self._blocks(0, self._whole(size))
                for at in range(0, len(block), RECORD_SIZE)
            ]

    def find(self, key: bytes) -> bytes | None:
        """Return the value of the first record with this key, or None.

        Keys are compared byte by byte up to their NUL, so ``a`` is not ``A``.

        :raises PoolFieldError: no record can have such a key.
        """
        start = self._start(key)
        with self._ready.hold() as size:
            index = self._first(start, self._whole(size))
            record = None if index is None else self._record(index)
            return None if record is None else record.value

    def store(self, key: bytes, value: bytes) -> None:
        """Set the value of the first record with this key, or append one.

        Of a record that is there only the value's 2048 bytes are written, with
        NULs behind the value; its key stays as its writer left it.

        :raises PoolFieldError: the key is empty or above 511 bytes, the value
            above 2047, or either has a NUL.
        """
        data = self._encode(key, value)
        with self._ready.hold(write=True, create=True) as size:
            count = self._whole(size)
            index = self._first(self._start(key), count)
            if index is None:
                self._append(data, size)
                return
            at = index * RECORD_SIZE
            old = read_at(self._file.fd, RECORD_SIZE, at)
            end = count * RECORD_SIZE
            change = replace(at, old, old[:KEY_SIZE] + data[KEY_SIZE:])
            self._writer.commit(change, cut=end if end < size else None)
            self._odd_bytes = 0

    def append(self, key: bytes, value: bytes) -> None:
        """Add a record behind the last, whether or not the key is there already.

        :raises PoolFieldError: as `store`.
        """
        data = self._encode(key, value)
        with self._ready.hold(write=True, create=True) as size:
            self._append(data, size)

    def delete(self, key: bytes) -> bool:
        """Remove every record with this key; False where there is none.

        All of them, or a value that a neighbour had appended earlier would come
        back.  The records behind move up as they are.

        :raises PoolFieldError: no record can have such a key.
        """
        start = self._start(key)
        with self._ready.hold(write=True) as size:
            offsets = [
                index * RECORD_SIZE + at
                for index, block in self._blocks(0, self._whole(size))
                for at in range(0, len(block), RECORD_SIZE)
                if block.startswith(start, at)
            ]
            if not offsets:
                return False
            self._writer.remove(offsets)
            self._odd_bytes = 0
            return True

    def clear(self, if_older_than: int | None = None) -> int:
        """Remove all records by one cut, and return how many there were.

        With ``if_older_than`` (nanoseconds since the epoch) only if the file was
        last written before that.  A missing file stays missing.
        """
        with self._ready.hold(write=True) as size:
            count = self._whole(size)
            newer = if_older_than is not None and self._file.modified >= if_older_than
            if not size or newer:
                return 0
            self._writer.cut(0)
            self._odd_bytes = 0
            return count

    def _append(self, data: bytes, size: int) -> None:
        at = self._whole(size) * RECORD_SIZE
        tail = read_at(self._file.fd, size - at, at) if size > at else b""
        self._writer.commit(append(at, tail, data))
        self._odd_bytes = 0

    def _first(self, start: bytes, count: int) -> int | None:
        """Return where the first record is that starts so: the one place that looks one up."""
        for index, block in self._blocks(0, count):
            for at in range(0, len(block), RECORD_SIZE):
                if block.startswith(start, at):
                    return index + at // RECORD_SIZE
        return None

    def _blocks(self, first: int, count: int) -> Iterator[tuple[int, bytes]]:
        """Yield records ``first`` to ``count`` in blocks, each with its first index."""
        for index in range(first, count, _BLOCK):
            size = (min(index + _BLOCK, count) - index) * RECORD_SIZE
            block = read_at(self._file.fd, size, index * RECORD_SIZE)
            # Shorter only where a neighbour truncates without a lock (cloud-init).
            yield index, block[: len(block) // RECORD_SIZE * RECORD_SIZE]

    def _record(self, index: int) -> Record | None:
        data = read_at(self._file.fd, RECORD_SIZE, index * RECORD_SIZE)
        return decode(data) if len(data) == RECORD_SIZE else None

    def _whole(self, size: int) -> int:
        """Return how many whole records a length holds; tell of bytes behind the last."""
        count, odd = divmod(size, RECORD_SIZE)
        if odd and not self._odd_bytes:
            self._report(
                f"pool {self.number} ({self.path}): {odd} bytes behind record {count} are no"
                " whole record; they are passed over, and the next change removes them"
            )
        self._odd_bytes = odd
        return count

    def _start(self, key: bytes) -> bytes:
        """Return what a record with this key starts with.

        The NUL is part of it: a key is not found by its beginning, and no usable
        key fills its field.
        """
        try:
            check_key(key)
        except RecordFieldError as error:
            raise self._field_error(error) from error
        return key + b"\0"

    def _encode(self, key: bytes, value: bytes) -> bytes:
        try:
            return encode(key, value)
        except RecordFieldError as error:
            raise self._field_error(error) from error

    def _field_error(self, error: RecordFieldError) -> PoolFieldError:
        return PoolFieldError(
            self.number, self.path, str(error), error.field, error.actual, error.allowed
        )
