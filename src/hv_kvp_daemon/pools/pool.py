# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""One pool: records read, set, deleted and appended beside other programs.

A pool file is a row of 2560-byte records and nothing else, so its length gives their
number.  Each request locks it for all that it reads and writes (`locked_pool`), or reads
a version that it knows without the locks.  Changes are made in place, since other
programs hold locks on the inode and rely on its mode.  Bytes of others stay as they are.

After the last whole record there may be a part of one, of a program that crashed or whose
disk was full.  Readers pass over it.  But programs append at the end of the file, and
after 7 odd bytes each of their records would be 7 bytes off, lost to every reader.  So
the next change removes the part.
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

from .config import LOCK_WAIT, PoolConfig
from .damage import DamageReport
from .errors import OutdatedError, PoolFieldError
from .fileio import read_at
from .locked_pool import LockedPool
from .records import Records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class PoolFile:
    """One pool, by its number (0 to 4, for messages) and path.

    The other arguments are those of `PoolConfig`.  With ``tell_damage`` one line is
    reported for each kind of damage that a record has which is served.

    A missing file is an empty pool; `store` and `append` create it.  A file that may not
    be written is read all the same.  A request that fails leaves what was there before.

    Not for threads.  Every method may raise a `PoolError`, and can be called again.
    """

    __slots__ = ("_config", "_damage", "_file", "_odd_bytes", "_records", "read_unlocked")

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
        self._config = config = PoolConfig(
            number,
            path,
            report=report,
            sync=sync,
            writable=writable,
            pause=pause,
            lock_wait=lock_wait,
        )
        self._file = LockedPool(config)
        self._damage = DamageReport(config.warn if tell_damage else None)
        self._records = Records(self._file, self._damage)
        #: The bytes of a record by its index, without a wait: `Records.read_unlocked`.
        self.read_unlocked = self._records.read_unlocked
        # The bytes after the last whole record, as reported.
        self._odd_bytes = 0

    @property
    def number(self) -> int:
        """The pool's number."""
        return self._config.number

    @property
    def path(self) -> str:
        """The file's absolute path."""
        return self._config.path

    def open(self) -> None:
        """Open the file; create it with mode 0644 (its directories 0755) if it is missing.

        Without its locks, so that no other program can hold up a start.
        """
        self._file.open()

    def close(self) -> None:
        """Close the file; a later request opens it again."""
        self._file.close()

    def count(self) -> int:
        """Return the number of whole records."""
        with self._file.reading as size:
            return self._whole(size)

    def read(self, index: int) -> Record | None:
        """Return the record at an index counted from 0, or None if there is none."""
        if index < 0:
            return None
        data = self._records.read_unlocked(index)
        if data is None:
            with self._file.reading as size:
                data = self._records.at(index) if index < self._whole(size) else b""
        return self._served(index, data) if len(data) == RECORD_SIZE else None

    def records(self) -> list[Record]:
        """Return all records in the order of the file."""
        with self._file.reading as size:
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
        is_known, found = self._records.find_unlocked(start)
        if not is_known:
            with self._file.reading as size:
                found = self._records.first(start, self._whole(size))
        return None if found is None else self._served(*found).value

    def store(self, key: bytes, value: bytes) -> None:
        """Set the value of the first record with this key and remove the others, or append.

        Some programs take the last record of a key, so one has to be left.  Of the first
        only the 2048 bytes of the value are written, padded with NULs; its key stays as
        its writer left it.

        :raises PoolFieldError: the key is empty or has more than 511 bytes, the value
            has more than 2047, or either has a NUL.
        """
        record = self._encode(key, value)
        try:
            with self._file.creating as size:
                count = self._whole(size)
                start = key + b"\0"
                found = self._records.first(start, count)
                if found is None:
                    self._append(key, record, count)
                    return
                number, old = found
                others = self._records.others(start, number, count)
                tail = self._tail(count) if self._odd_bytes else b""
                new = old[:KEY_SIZE] + record[KEY_SIZE:]
                self._records.begin_change()
                self._file.writer.replace(
                    number * RECORD_SIZE, old, new, others, tail, count * RECORD_SIZE
                )
                self._odd_bytes = 0
                if others:
                    self._records.index_remove(key)
                self._records.end_change(count - len(others))
        except OutdatedError:
            self.store(key, value)

    def append(self, key: bytes, value: bytes) -> None:
        """Add a record after the last, whether or not the key is there already.

        :raises PoolFieldError: as `store`.
        """
        record = self._encode(key, value)
        try:
            with self._file.creating as size:
                self._append(key, record, self._whole(size))
        except OutdatedError:
            self.append(key, value)

    def delete(self, key: bytes) -> int:
        """Remove every record with this key, and return how many there were.

        All of them, or the value of an earlier append by another program would come back.
        The records after them move up as they are.

        :raises PoolFieldError: no record can have such a key.
        """
        start = self._start(key)
        try:
            with self._file.writing as size:
                count = self._whole(size)
                found = self._records.first(start, count)
                if found is None:
                    return 0
                others = self._records.others(start, found[0], count)
                offsets = [found[0] * RECORD_SIZE, *others]
                tail = self._tail(count) if self._odd_bytes else b""
                self._records.begin_change()
                self._file.writer.remove(offsets, tail)
                self._odd_bytes = 0
                self._records.index_remove(key)
                self._records.end_change(count - len(offsets))
                return len(offsets)
        except OutdatedError:
            return self.delete(key)

    def clear(self, if_older_than: int | None = None) -> int:
        """Remove all records by one cut, and return how many there were.

        With ``if_older_than`` (nanoseconds since the epoch) only if the file was last
        written before that.  A missing file stays missing.
        """
        with self._file.writing as size:
            if not size or (if_older_than is not None and self._file.mtime >= if_older_than):
                return 0
            count = self._whole(size)
            self._file.writer.journal.settle()
            self._records.begin_change()
            self._file.writer.cut(0, last=True)
            self._odd_bytes = 0
            return count

    def _append(self, key: bytes, record: bytes, count: int) -> None:
        tail = self._tail(count) if self._odd_bytes else b""
        self._records.begin_change()
        self._file.writer.append(count * RECORD_SIZE, record, tail)
        self._odd_bytes = 0
        self._records.index_append(key, count)
        self._records.end_change(count + 1)

    def _tail(self, count: int) -> bytes:
        """Return the bytes after ``count`` whole records, which the next change removes.

        Fewer than there were, if another program truncates the file without a lock.
        """
        return read_at(self._file.fd, self._odd_bytes, count * RECORD_SIZE)

    def _served(self, index: int, data: bytes) -> Record:
        self._damage.check(index, data)
        return decode(data)

    def _whole(self, size: int) -> int:
        """Return how many whole records a length holds; report bytes after the last."""
        count, odd = divmod(size, RECORD_SIZE)
        if odd and not self._odd_bytes:
            self._config.warn(
                f"{odd} bytes after record {count} are not a whole record; they are"
                " ignored, and the next change removes them"
            )
        self._odd_bytes = odd
        return count

    def _start(self, key: bytes) -> bytes:
        """Return what a record with this key starts with: the key and its NUL."""
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
