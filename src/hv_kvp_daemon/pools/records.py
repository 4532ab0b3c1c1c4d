"""The records of a file: by number, or by key with the help of an index.

In: a `SharedFile`, held or known to be unchanged.  Out: bytes of records, and numbers.
Rule: what is found was read; the index only says where to look.

The index must be of the very file that is here, and is made only of a file that is
settled: a stamp is true of one content then.  It is kept up over our own changes.  It
is not grown by what neighbours have appended, since from outside a longer file cannot
be told from one whose older records were changed as well.  To make it costs as much as
some searches; so not of a file that changes before each look-up.
"""

from __future__ import annotations

import os

from hv_kvp_daemon.wire.record import RECORD_SIZE

from .damage import REPEATED
from .fileio import read_at
from .index import KeyIndex

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final

    from .damage import DamageReport
    from .shared_file import SharedFile
    from .stamp import Stamp

# Records that are read at once in a search: 160 KiB, whatever the pool's size.
_BLOCK: Final = 64


class Records:
    """The records of ``file``; ``damage`` is told of a key that stands there twice.

    ``start`` is a key with its NUL, what a record with this key begins with; ``count``
    the number of whole records.  Each method may raise an ``OSError``.
    """

    __slots__ = ("_damage", "_file", "_index", "_is_kept_up", "_seen")

    def __init__(self, file: SharedFile, damage: DamageReport) -> None:
        self._file = file
        self._damage = damage
        self._index = KeyIndex()
        # Whether a change that is being made finds the index true of the file.
        self._is_kept_up = False
        # The file's stamp at the last look-up, or after our last change.
        self._seen: Stamp | None = None

    def glance(self, number: int) -> bytes | None:
        """Without a hold: the bytes at a record's place, fewer behind the last one.

        None: the file is not known to be unchanged, so look under a hold.
        """
        if self._file.kept is None:
            return None
        try:
            # Not read_at: a part of a record is read again under a hold.
            data = os.pread(self._file.fd, RECORD_SIZE, number * RECORD_SIZE)
        except (OSError, OverflowError):
            # Met again under the locks, and told of; or no file is as long as that.
            return None
        return data if self._file.is_kept() else None

    def glance_for(self, start: bytes) -> tuple[bool, tuple[int, bytes] | None]:
        """Without a hold: whether that will do, and then what `first` would return."""
        if self._file.kept is None or self._file.kept != self._index.stamp:
            return False, None
        number = self._index.find(start[:-1])
        if number is None:
            return self._file.is_kept(), None
        data = self.glance(number)
        if data is None or len(data) != RECORD_SIZE or not data.startswith(start):
            return False, None
        return True, (number, data)

    def at(self, number: int) -> bytes:
        """The bytes at a record's place; fewer where a neighbour cuts without a lock."""
        return read_at(self._file.fd, RECORD_SIZE, number * RECORD_SIZE)

    def blocks(self, first: int, count: int) -> Iterator[tuple[int, bytes]]:
        """Yield records ``first`` to ``count`` in blocks, each with its first number."""
        for number in range(first, count, _BLOCK):
            size = (min(number + _BLOCK, count) - number) * RECORD_SIZE
            block = read_at(self._file.fd, size, number * RECORD_SIZE)
            # Shorter only where a neighbour truncates without a lock (cloud-init).
            yield number, block[: len(block) // RECORD_SIZE * RECORD_SIZE]

    def first(self, start: bytes, count: int) -> tuple[int, bytes] | None:
        """Return the number and bytes of the first record that starts so, or None."""
        stamp = self._file.stamp
        if not count:
            return None
        if self._index.stamp != stamp:
            if self._seen != stamp or not self._file.is_settled:
                self._seen = stamp
                return self._search(start, count)
            repeated = self._index.build(self.blocks(0, count))
            self._index.stamp = stamp
            if repeated is not None:
                self._damage.tell(REPEATED, repeated)
        number = self._index.find(start[:-1])
        if number is None:
            return None
        record = self.at(number)
        if len(record) == RECORD_SIZE and record.startswith(start):
            return number, record
        # Two keys of one hash, or a neighbour that writes at this moment, without a lock.
        self._index.clear()
        return self._search(start, count)

    def all(self, start: bytes, count: int) -> list[int]:
        """Return the offsets of all records that start so."""
        first = self.first(start, count)
        if first is None:
            return []
        indexed = self._index.stamp == self._file.stamp
        if indexed and not self._index.is_repeated(start[:-1]):
            return [first[0] * RECORD_SIZE]
        return [
            number * RECORD_SIZE + at
            for number, block in self.blocks(first[0], count)
            for at in range(0, len(block), RECORD_SIZE)
            if block.startswith(start, at)
        ]

    def changing(self) -> None:
        """Before a change: have the index be of no file.

        A change that fails leaves a file that nobody has looked at.
        """
        stamp, self._index.stamp = self._index.stamp, None
        self._is_kept_up = stamp is not None and stamp == self._file.stamp

    def appended(self, key: bytes, number: int) -> None:
        """A record was added behind all others, as this number."""
        if self._is_kept_up:
            self._index.append(key, number)

    def removed(self, key: bytes) -> None:
        """All records of a key were removed."""
        if self._is_kept_up and not self._index.is_repeated(key):
            self._index.remove(key)
        else:
            self._is_kept_up = False

    def changed(self, count: int) -> Stamp | None:
        """After a change of ours, which left so many records and no byte behind them.

        Return the stamp by which the file is known now, or None.
        """
        self._seen = self._file.mark(count * RECORD_SIZE)
        if self._is_kept_up:
            self._index.stamp = self._seen
        return self._seen

    def emptied(self) -> None:
        """All records were cut off."""
        self._index.clear()

    def _search(self, start: bytes, count: int) -> tuple[int, bytes] | None:
        for number, block in self.blocks(0, count):
            for at in range(0, len(block), RECORD_SIZE):
                if block.startswith(start, at):
                    return number + at // RECORD_SIZE, block[at : at + RECORD_SIZE]
        return None
