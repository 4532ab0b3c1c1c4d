"""Where each key of a pool stands first, so that a look-up reads one record and not all.

In: the records of a file, and a stamp by which it is known again.  Out: a record's number.
Rule: it says where to look, never what is there.  Who asks reads the record and checks
its key; and an index whose stamp is not the file's is not asked.

It has the hash of each key, not the key: a number of 64 bits for up to 511 bytes, so
10,000 records cost 1 MiB however long their keys are.  Two keys of one hash, if that
ever happens, look like a record that is not the one asked for: the file is searched.
"""

from __future__ import annotations

from _bisect import bisect_left

from hv_kvp_daemon.wire.record import KEY_SIZE, RECORD_SIZE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Final

    from .stamp import Stamp

# So many records may have been removed before all numbers are counted anew.
_MOST_GONE: Final = 1000


class KeyIndex:
    """Keys by their hash; those that no request can ask for (empty, unending) are not there.

    ``stamp`` is that of the file which it is of, or None: of none.
    """

    __slots__ = ("_gone", "_numbers", "_repeated", "stamp")

    def __init__(self) -> None:
        self.stamp: Stamp | None = None
        # By hash the number that a record had when it came; `_gone`, in order, are those
        # of records removed since: each takes one off all that are greater.
        self._numbers: dict[int, int] = {}
        self._gone: list[int] = []
        self._repeated: set[int] = set()

    def build(self, blocks: Iterable[tuple[int, bytes]]) -> int | None:
        """Make it anew of a file's blocks of whole records, each with its first number.

        Return the number of a record that has the key of an earlier one, if one has.
        """
        self.stamp = None
        numbers: dict[int, int] = {}
        repeated: set[int] = set()
        example = None
        self._numbers, self._repeated, self._gone = numbers, repeated, []
        for number, block in blocks:
            for at in range(0, len(block), RECORD_SIZE):
                end = block.find(0, at, at + KEY_SIZE)
                if end <= at:
                    continue
                key = hash(block[at:end])
                here = number + at // RECORD_SIZE
                if numbers.setdefault(key, here) != here:
                    repeated.add(key)
                    example = here
        return example

    def find(self, key: bytes) -> int | None:
        """Return the number of the first record that can have this key, or None: none has."""
        number = self._numbers.get(hash(key))
        return None if number is None else number - bisect_left(self._gone, number)

    def is_repeated(self, key: bytes) -> bool:
        """Tell whether more than one record can have this key."""
        return hash(key) in self._repeated

    def append(self, key: bytes, number: int) -> None:
        """Take in a record behind all others."""
        number += len(self._gone)
        if self._numbers.setdefault(hash(key), number) != number:
            self._repeated.add(hash(key))

    def remove(self, key: bytes) -> None:
        """Take out the only record with this key; those behind it move up."""
        number = self._numbers.pop(hash(key))
        self._gone.insert(bisect_left(self._gone, number), number)
        if len(self._gone) > _MOST_GONE:
            for other, number in self._numbers.items():
                self._numbers[other] = number - bisect_left(self._gone, number)
            self._gone.clear()

    def clear(self) -> None:
        """Be of no file, and let go of the memory."""
        self.build(())
