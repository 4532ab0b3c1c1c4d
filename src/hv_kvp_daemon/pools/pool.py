"""One pool: records read, set, deleted and appended among other writers.

In: keys and values in bytes.  Out: records, or a `PoolError`.
Rule: a request is one hold of both locks over all that it reads and writes, or reads
what nobody has written to since such a hold (see `shared_file`); a change is made in
place, and what others wrote stays as it is, byte for byte.

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

from .change import append, replace
from .damage import DamageReport
from .errors import PoolFieldError
from .fileio import read_at
from .locking import LOCK_WAIT
from .ready import assemble
from .records import Records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class PoolFile:
    """One pool, by its number (0 to 4, for messages) and path.

    ``report`` gets a line for each condition that an administrator should know
    of, once until it has cleared; with ``tell_damage`` also one for each kind of
    damage that a record which is served has.  Without ``sync`` a change does not wait to
    reach the disk.  With ``writable=False`` the file is opened for reading only
    and never made; a file that may not be written is read all the same.
    ``pause`` and ``lock_wait`` (seconds) are those of `PoolLock`.

    A missing file is an empty pool; `store` and `append` make it.  Not for
    threads.  Every method may raise a `PoolError`, and can be called again after.
    """

    __slots__ = (
        *("_damage", "_file", "_odd_bytes", "_ready"),
        *("_records", "_report", "_writer", "glance"),
    )

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
        tell_damage: bool = False,
    ) -> None:
        self._report = report
        self._file, self._writer, self._ready = assemble(
            number,
            path,
            report=report,
            sync=sync,
            writable=writable,
            pause=pause,
            lock_wait=lock_wait,
        )
        self._damage = DamageReport(
            f"pool {number} ({self._file.path})", report if tell_damage else None
        )
        self._records = Records(self._file, self._damage)
        #: The bytes of a record by its index, without a wait: see `Records.glance`.
        self.glance = self._records.glance
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
        if index < 0:
            return None
        data = self._records.glance(index)
        if data is None:
            with self._ready.hold() as size:
                data = self._records.at(index) if index < self._whole(size) else b""
        return self._served(index, data) if len(data) == RECORD_SIZE else None

    def records(self) -> list[Record]:
        """Return all records in the order of the file."""
        with self._ready.hold() as size:
            return [
                decode(block[at : at + RECORD_SIZE])
                for _, block in self._records.blocks(0, self._whole(size))
                for at in range(0, len(block), RECORD_SIZE)
            ]

    def find(self, key: bytes) -> bytes | None:
        """Return the value of the first record with this key, or None.

        Keys are compared byte by byte up to their NUL, so ``a`` is not ``A``.

        :raises PoolFieldError: no record can have such a key.
        """
        start = self._start(key)
        is_known, found = self._records.glance_for(start)
        if not is_known:
            with self._ready.hold() as size:
                found = self._records.first(start, self._whole(size))
        return None if found is None else self._served(*found).value

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
            found = self._records.first(self._start(key), count)
            self._records.changing()
            if found is None:
                self._append(data, size)
                self._records.appended(key, count)
                count += 1
            else:
                number, old = found
                end = count * RECORD_SIZE
                change = replace(number * RECORD_SIZE, old, old[:KEY_SIZE] + data[KEY_SIZE:])
                self._writer.commit(change, cut=end if end < size else None)
                self._odd_bytes = 0
            self._ready.changed(self._records.changed(count))

    def append(self, key: bytes, value: bytes) -> None:
        """Add a record behind the last, whether or not the key is there already.

        :raises PoolFieldError: as `store`.
        """
        data = self._encode(key, value)
        with self._ready.hold(write=True, create=True) as size:
            count = self._whole(size)
            self._records.changing()
            self._append(data, size)
            self._records.appended(key, count)
            self._ready.changed(self._records.changed(count + 1))

    def delete(self, key: bytes) -> bool:
        """Remove every record with this key; False where there is none.

        All of them, or a value that a neighbour had appended earlier would come
        back.  The records behind move up as they are.

        :raises PoolFieldError: no record can have such a key.
        """
        start = self._start(key)
        with self._ready.hold(write=True) as size:
            count = self._whole(size)
            offsets = self._records.all(start, count)
            if not offsets:
                return False
            self._records.changing()
            self._writer.remove(offsets)
            self._odd_bytes = 0
            self._records.removed(key)
            self._ready.changed(self._records.changed(count - len(offsets)))
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
            self._records.emptied()
            self._writer.cut(0)
            self._odd_bytes = 0
            return count

    def _append(self, data: bytes, size: int) -> None:
        at = self._whole(size) * RECORD_SIZE
        tail = read_at(self._file.fd, size - at, at) if size > at else b""
        self._writer.commit(append(at, tail, data))
        self._odd_bytes = 0

    def _served(self, index: int, data: bytes) -> Record:
        self._damage.look(index, data)
        return decode(data)

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
