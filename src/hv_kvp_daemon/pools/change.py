# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""What a change puts in place of the bytes of a pool file, and what can be left of it.

`writer` makes changes and `recovery` completes them.  Both rest on these facts:

- A kill leaves a beginning of a write(2), which ends at a multiple of 4096 in the file.
- A power cut leaves any combination of the sectors of 512 bytes that were not synced.
- Records and both of their fields are multiples of 512 bytes long, and a key field is
  exactly one sector.  A write within one sector is done or not done, whatever happens.
"""

from __future__ import annotations

from hv_kvp_daemon.wire.record import KEY_SIZE, RECORD_SIZE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

    from .fileio import Buffer

#: Bytes that a power cut leaves whole, and those that a kill does.
SECTOR: Final = 512
PAGE: Final = 4096

#: The kinds of change that a journal entry describes, by their numbers there.
REPLACE: Final = 1
MOVE: Final = 2
APPEND: Final = 3

#: The key field of a record that is to be removed.  Other readers see an empty key.
TOMBSTONE: Final = b"\0hv-kvp-daemon: deleted\0".ljust(KEY_SIZE, b"\0")
_TOMBSTONE_RECORD: Final = TOMBSTONE.ljust(RECORD_SIZE, b"\0")
_LAST_BYTE: Final = len(TOMBSTONE.rstrip(b"\0")) - 1


class Change:
    """The bytes ``old`` at ``offset`` become ``new``, of the same length but in an append.

    Made by `replace`, `append` and `move`.  ``pieces`` are the parts of ``new`` as they are
    written: for a move, views of the buffer that was read.  A move has a ``hole``, the
    number of bytes at the start of ``old`` that hold tombstones, and ``kept``, the number
    of bytes at the start of ``new`` that are records; tombstones follow them.  A
    replacement has ``others``, the number of later records of the same key that go.
    """

    __slots__ = ("hole", "kept", "kind", "offset", "old", "others", "pieces")

    def __init__(
        self,
        kind: int,
        offset: int,
        old: Buffer,
        pieces: Sequence[Buffer],
        hole: int = 0,
        kept: int = 0,
        others: int = 0,
    ) -> None:
        self.kind = kind
        self.offset = offset
        self.old = old
        self.pieces = pieces
        self.hole = hole
        self.kept = kept
        self.others = others

    @property
    def new(self) -> bytes:
        """The bytes after the change."""
        return b"".join(self.pieces)


def replace(offset: int, old: bytes, new: bytes, others: int = 0) -> Change:
    """Return the change of a record to another, and the removal of others of its key."""
    return Change(REPLACE, offset, old, (new,), kept=len(new), others=others)


def append(offset: int, new: bytes) -> Change:
    """Return the change that adds records at the end of the file."""
    return Change(APPEND, offset, b"", (new,), kept=len(new))


def differing_sectors(old: bytes, new: bytes) -> tuple[int, int]:
    """Return where the sectors that differ begin and end; (0, 0) if none does."""
    first, last = 0, len(new)
    while first < last and old[first : first + SECTOR] == new[first : first + SECTOR]:
        first += SECTOR
    if first >= last:
        return 0, 0
    while old[last - SECTOR : last] == new[last - SECTOR : last]:
        last -= SECTOR
    return first, last


def move(offset: int, region: Buffer, hole: int) -> Change:
    """Return the change that moves the records of a region to its start, in their order.

    ``region`` is what the file has at ``offset``: ``hole`` bytes of tombstones, then whole
    records.  Further tombstones among those are dropped.  Without a hole the first record
    is dropped, and all others with its key.  Tombstones fill the space at the end; they
    are the hole of the next move.
    """
    view = memoryview(region)
    dropped = _starting_with(TOMBSTONE, _LAST_BYTE, view, hole)
    if not hole:
        # Not empty: `check_key` refuses the request.
        key = bytes(view[:KEY_SIZE]).partition(b"\0")[0]
        same_key = _starting_with(key + b"\0", len(key) - 1, view, 0)
        dropped = sorted({*dropped, *same_key})
    pieces: list[Buffer] = []
    start = hole
    for at in dropped:
        pieces.append(view[start:at])
        start = at + RECORD_SIZE
    pieces.append(view[start:])
    kept = sum(map(len, pieces))
    return Change(MOVE, offset, region, (*pieces, pad(len(region) - kept)), hole, kept)


def _starting_with(text: bytes, last: int, region: memoryview, start: int) -> list[int]:
    """Return the offsets of the records from ``start`` that begin with a text.

    Only the byte at ``last`` is compared first, for all records at once: the ends of
    keys are where they differ.
    """
    column = bytes(region[start + last :: RECORD_SIZE])
    found = []
    number = column.find(text[last])
    while number >= 0:
        at = start + number * RECORD_SIZE
        if region[at : at + len(text)] == text:
            found.append(at)
        number = column.find(text[last], number + 1)
    return found


def pad(size: int) -> bytes:
    """Return tombstone records for a space of ``size`` bytes, a multiple of 2560."""
    return _TOMBSTONE_RECORD * (size // RECORD_SIZE)
