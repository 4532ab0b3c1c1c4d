# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The number of the first record of each key, so that a look-up reads one record, not all.

It only says where to look: its user reads the record and compares the key.

It holds 64 bits of hash for each key of up to 511 bytes, so 10,000 records cost 1 MiB.  If
two keys ever have the same hash, the record that is read has another key, and the file is
searched.
"""

from __future__ import annotations

from _bisect import bisect_left

from hv_kvp_daemon.wire.record import KEY_SIZE, RECORD_SIZE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Final

    from .file_version import FileVersion

# Records that may be removed before all numbers are computed anew.
_MOST_GONE: Final = 1000


class KeyIndex:
    """The record numbers of keys; empty and unterminated keys are left out.

    ``version`` is that of the file that it describes, or None.
    """

    __slots__ = ("_gone", "_numbers", "_repeated", "version")

    def __init__(self) -> None:
        self.version: FileVersion | None = None
        # By hash, the number that a record had when it was entered.  `_gone` are the
        # numbers of records removed since, in order: each takes one off all greater ones.
        self._numbers: dict[int, int] = {}
        self._gone: list[int] = []
        self._repeated: set[int] = set()

    def build(self, blocks: Iterable[tuple[int, bytes]]) -> int | None:
        """Build the index from blocks of whole records, each with its first number.

        Return the number of a record that has the key of an earlier one, or None.
        """
        self.version = None
        self._numbers, self._repeated, self._gone = {}, set(), []
        # Stored when they are whole: if memory runs out, nothing holds a part of them.
        numbers: dict[int, int] = {}
        repeated: set[int] = set()
        example = None
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
        self._numbers, self._repeated = numbers, repeated
        return example

    def find(self, key: bytes) -> int | None:
        """Return the number of the first record that can have this key, or None."""
        number = self._numbers.get(hash(key))
        return None if number is None else number - bisect_left(self._gone, number)

    def is_repeated(self, key: bytes) -> bool:
        """Whether more than one record can have this key."""
        return hash(key) in self._repeated

    def append(self, key: bytes, number: int) -> None:
        """Enter a record after all others."""
        number += len(self._gone)
        if self._numbers.setdefault(hash(key), number) != number:
            self._repeated.add(hash(key))

    def remove(self, key: bytes) -> None:
        """Take out the only record with this key; those after it move up."""
        number = self._numbers.pop(hash(key))
        self._gone.insert(bisect_left(self._gone, number), number)
        if len(self._gone) > _MOST_GONE:
            for other, number in self._numbers.items():
                self._numbers[other] = number - bisect_left(self._gone, number)
            self._gone.clear()

    def clear(self) -> None:
        """Describe no file, and free the memory."""
        self.build(())
