# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The records of a pool file: by number, or by key with the help of an index.

The index only says where to look: what is returned was read from the file.  It is made
of a version of the file that is trusted (`locked_pool`), and used as long as the file has
that version.  Changes of our own are entered in it.  A neighbour's append drops it: from
outside, a file that is longer cannot be told from one whose older records were changed as
well.  Since it costs as much as some searches, it is made at the second use of the same
version.
"""

from __future__ import annotations

import errno
import os
import sys

from hv_kvp_daemon.wire.record import RECORD_SIZE

from .damage import REPEATED
from .fileio import read_at
from .index import KeyIndex

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final

    from .damage import DamageReport
    from .locked_pool import LockedPool

# Records that are read at once in a search: 160 KiB, whatever the pool's size.
_BLOCK: Final = 64


class Records:
    """The records of ``file``; a key that is there twice is reported to ``damage``.

    ``start`` is a key with its NUL, which a record with this key begins with.  ``count``
    is the number of whole records.  Except for the unlocked reads the file is locked, and
    each method may raise an ``OSError``.
    """

    __slots__ = ("_damage", "_file", "_index", "_keeps_index")

    def __init__(self, file: LockedPool, damage: DamageReport) -> None:
        self._file = file
        self._damage = damage
        self._index = KeyIndex()
        # Whether the index was true when the change began that is being made.
        self._keeps_index = False

    def read_unlocked(self, number: int) -> bytes | None:
        """Without the locks: the bytes of a record, fewer after the last one.

        None if the file is not known to be unchanged: lock it and read again.
        """
        file = self._file
        if file.trusted is None:
            return None
        try:
            data = os.pread(file.fd, RECORD_SIZE, number * RECORD_SIZE)
            if 0 < len(data) < RECORD_SIZE:
                data = self.at(number)
        except (OSError, OverflowError):
            # Met again, and reported, under the locks; or no file is so long.
            return None
        return data if file.is_unchanged() else None

    def find_unlocked(self, start: bytes) -> tuple[bool, tuple[int, bytes] | None]:
        """Without the locks: whether that will do, and then what `first` would return."""
        file = self._file
        if file.trusted is None or file.trusted != self._index.version:
            return False, None
        number = self._index.find(start[:-1])
        if number is None:
            return file.is_unchanged(), None
        data = self.read_unlocked(number)
        if data is None or len(data) != RECORD_SIZE or not data.startswith(start):
            return False, None
        return True, (number, data)

    def at(self, number: int) -> bytes:
        """The bytes of a record; fewer where another program cuts without a lock."""
        return read_at(self._file.fd, RECORD_SIZE, number * RECORD_SIZE)

    def blocks(self, first: int, count: int) -> Iterator[tuple[int, bytes]]:
        """Yield records ``first`` to ``count`` in blocks, each with its first number."""
        for number in range(first, count, _BLOCK):
            yield number, self._block(number, count)

    def first(self, start: bytes, count: int) -> tuple[int, bytes] | None:
        """Return the number and bytes of the first record that starts so, or None."""
        if not count:
            return None
        version, index = self._file.version, self._index
        if index.version != version:
            if not self._file.was_trusted:
                return next(self._search(start, 0, count), None)
            repeated = index.build(self._data(0, count))
            index.version = version
            if repeated is not None:
                self._damage.report_kind(REPEATED, repeated)
        number = index.find(start[:-1])
        if number is None:
            return None
        record = read_at(self._file.fd, RECORD_SIZE, number * RECORD_SIZE)
        if len(record) == RECORD_SIZE and record.startswith(start):
            return number, record
        # Two keys of one hash, or a program that writes at this moment without a lock.
        index.clear()
        return next(self._search(start, 0, count), None)

    def others(self, start: bytes, first: int, count: int) -> list[int]:
        """Return the offsets of all records after the first one that start so."""
        indexed = self._index.version == self._file.version
        if indexed and not self._index.is_repeated(start[:-1]):
            return []
        return [number * RECORD_SIZE for number, _ in self._search(start, first + 1, count)]

    def begin_change(self) -> None:
        """Before a change: invalidate the index, in case the change fails."""
        index, file = self._index, self._file
        self._keeps_index = index.version is not None and index.version == file.version
        index.version = None
        file.trusted = None

    def index_append(self, key: bytes, number: int) -> None:
        """Enter a record that was added as the last one."""
        if self._keeps_index:
            self._index.append(key, number)

    def index_remove(self, key: bytes) -> None:
        """Take out a key all of whose records were removed."""
        if self._keeps_index and not self._index.is_repeated(key):
            self._index.remove(key)
        else:
            self._keeps_index = False

    def end_change(self, count: int) -> None:
        """After a change that left so many records and nothing after them."""
        self._file.end_change(count * RECORD_SIZE)
        if self._keeps_index:
            self._index.version = self._file.trusted

    def _block(self, number: int, count: int) -> bytes:
        size = (min(number + _BLOCK, count) - number) * RECORD_SIZE
        block = read_at(self._file.fd, size, number * RECORD_SIZE)
        # Shorter only where another program truncates without a lock (cloud-init).
        return block[: len(block) // RECORD_SIZE * RECORD_SIZE]

    def _search(self, start: bytes, first: int, count: int) -> Iterator[tuple[int, bytes]]:
        for number, block in self._data(first, count):
            for at in range(0, len(block), RECORD_SIZE):
                if block.startswith(start, at):
                    yield number + at // RECORD_SIZE, block[at : at + RECORD_SIZE]

    def _data(self, first: int, count: int) -> Iterator[tuple[int, bytes]]:
        """Yield as `blocks`, without holes: those have no keys and can be a terabyte long."""
        number = first
        while number < count:
            block = self._block(number, count)
            yield number, block
            number += _BLOCK
            if not block.strip(b"\0"):
                number = max(number, self._next_data(number * RECORD_SIZE) // RECORD_SIZE)

    def _next_data(self, offset: int) -> int:
        """Return where the next bytes are that are not a hole."""
        try:
            return os.lseek(self._file.fd, offset, os.SEEK_DATA)
        except OSError as error:
            # ENXIO: there are none.  A file system without holes may refuse the call.
            return sys.maxsize if error.errno == errno.ENXIO else offset
