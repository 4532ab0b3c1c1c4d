"""What a request does to a pool file: bytes at one place become others.

In: the bytes before and after.  Out: the file as the change says, or as it was.
Rule: every change of a pool goes through `Change`, in place.  Other programs hold
locks on the inode and rely on its mode, so it is never replaced by another.

Facts that shape this module:

- A kill ends a write(2) between two pages, never within one: what has been written
  is a beginning of the bytes, up to a multiple of 4096 in the file.
- A power cut ends it between two sectors of 512 bytes, and sectors that were on
  their way together may arrive in any order.
- Records and both their fields are multiples of 512 long, so no sector holds bytes
  of two fields.  A key, or a value below 512 bytes that replaces another such, is
  one sector: it is written whole or not at all.
- What a file is longer by is on the disk before the length, if it begins with a new
  block.  Within a block that the file has, ext4 may write the length first: then
  there are NULs where an appended record begins.  And when a file becomes shorter,
  the rest of its last block may be NULs on the disk before the length is there.
  (Both found in the driver VM, which is killed at each of its writes.)
"""

from __future__ import annotations

import os

from hv_kvp_daemon.wire.record import KEY_SIZE, RECORD_SIZE

from .fileio import read_at, write_at, write_pieces

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

    from .fileio import Buffer

#: Bytes that a power cut, and that a kill, leaves whole.
SECTOR: Final = 512
PAGE: Final = 4096

# The largest block that a file system can have.
_BLOCK: Final = max(PAGE, os.sysconf("SC_PAGE_SIZE"))

#: What a change is, in a journal as well.
REPLACE: Final = 1
APPEND: Final = 2
CLOSE_GAP: Final = 3

#: The key of a record that is to be removed: for other readers it is empty.
GRAVE: Final = b"\0hv-kvp-daemon: deleted\0".ljust(KEY_SIZE, b"\0")
_GRAVE_RECORD: Final = GRAVE.ljust(RECORD_SIZE, b"\0")
_GRAVE_ENDS: Final = len(GRAVE.rstrip(b"\0")) - 1


class Change:
    """At ``offset`` the bytes ``old`` become ``new``, which are longer only at the file's end.

    ``before`` and ``pieces`` are the same as ``old`` and ``new``, as they are written: of
    what moves, views of the 330 KB that it was read into.
    Made by `replace`, `append` and `close_gap`.  Of the last are ``gap``, the bytes
    at the start of ``old`` that nobody needs, and ``kept``, those of ``new`` that
    are records to be kept.  ``by_kill`` says of one that a journal tells of that no
    power cut can have ended it.
    """

    __slots__ = (
        "_first",
        "_last",
        "before",
        "by_kill",
        "gap",
        "kept",
        "kind",
        "offset",
        "pieces",
    )

    def __init__(
        self,
        kind: int,
        offset: int,
        before: Buffer,
        pieces: Sequence[Buffer],
        gap: int = 0,
        kept: int = 0,
    ) -> None:
        self.kind = kind
        self.offset = offset
        self.before = before
        self.pieces = pieces
        self.gap = gap
        self.kept = kept
        self.by_kill = False
        self._first, self._last = 0, sum(map(len, pieces))
        if kind == REPLACE:
            old, new = self.old, self.new
            differing = [
                at for at in range(0, len(new), SECTOR) if not _same(old, new, at, SECTOR)
            ]
            self._first = differing[0] if differing else 0
            self._last = differing[-1] + SECTOR if differing else 0

    @property
    def old(self) -> bytes:
        """The bytes before."""
        return bytes(self.before)

    @property
    def new(self) -> bytes:
        """The bytes after."""
        return b"".join(self.pieces)

    @property
    def can_tear(self) -> bool:
        """Whether a kill or a power cut can leave a part of it that matters.

        Of a record that is appended a beginning can be left in any case.  No
        reader takes it; but what a neighbour appends behind it is not in its
        place, which at the start of a page cannot happen by a kill.
        """
        if self.kind == APPEND:
            return self.offset % _BLOCK != 0
        return self._last - self._first > SECTOR

    def apply(self, fd: int) -> None:
        """Write what differs.  It can be repeated after any part of it.

        :raises OSError: the kernel refused (ENOSPC, EIO, EROFS, ...); a part may
            have been done.
        """
        if self.kind == CLOSE_GAP:
            write_pieces(fd, self.pieces, self.offset)
        else:
            write_at(fd, self.new[self._first : self._last], self.offset + self._first)

    def undo(self, fd: int) -> None:
        """Write back what was there, and set the length of before.

        :raises OSError: as `apply`.
        """
        write_at(fd, self.old[self._first : self._last], self.offset + self._first)
        if self.kind == APPEND:
            os.ftruncate(fd, self.offset + len(self.old))

    def is_done(self, found: bytes) -> bool:
        """Tell whether a gap was closed, and perhaps what that left free cut off.

        Of the cut a power cut can leave NULs.  A kill leaves another entry in the journal
        then, so after one this is never so.
        """
        if self.by_kill or self.kind != CLOSE_GAP:
            return False
        parts = _parts(found, self.old, self.new, self.kept)
        return parts is not None and not parts[0] and len(found) >= self.kept

    def is_torn(self, found: bytes) -> bool:
        """Tell whether a part was done and a part was not.

        All as before, or all as after, is whole: it had not begun or was
        finished.  Anything else was written by somebody else.  ``found`` ends
        early where the file does.
        """
        old, new = self.old, self.new
        if self.kind == APPEND and len(found) > len(old):
            if self.by_kill:
                return len(found) < len(new) and new.startswith(found)
            # The bytes that a file is longer by are NULs until they are written.
            old = old.ljust(len(new), b"\0")
            return found != new and _parts(found, old, new, len(old)) is not None
        kept = self.kept if self.kind == CLOSE_GAP else len(new)
        parts = _parts(found, old, new, kept)
        if parts is None:
            return False
        before, after, in_order = parts
        # What a neighbour set can look as if it had moved there, and what he removed
        # as if all behind it had: but then there is nothing of after before it, or
        # the file is shorter.
        any_order = not self.by_kill and len(found) == len(new)
        return before and after and (in_order or any_order)

    def may_stand_at(self, found: bytes) -> bool:
        """Tell by the first record of a place whether `is_torn` is worth asking."""
        old, new = self.old[:RECORD_SIZE], self.new[:RECORD_SIZE]
        kept = self.kept if self.kind == CLOSE_GAP else len(new)
        return _parts(found[: len(new)], old, new, kept) is not None


class Cut:
    """The file's end at a length."""

    __slots__ = ("_length", "_removed")

    def __init__(self, length: int) -> None:
        self._length = length
        self._removed = b""

    def apply(self, fd: int) -> None:
        """Remove what is behind the length, by one call that is done or not.

        :raises OSError: the kernel refused.
        """
        size = os.fstat(fd).st_size
        if size > self._length:
            self._removed = read_at(fd, size - self._length, self._length)
            os.ftruncate(fd, self._length)

    def undo(self, fd: int) -> None:
        """Write back what `apply` removed.

        :raises OSError: the kernel refused.
        """
        write_at(fd, self._removed, self._length)


def replace(offset: int, old: bytes, new: bytes) -> Change:
    """Return the change of a record, or a field, to another of its length."""
    return Change(REPLACE, offset, old, (new,))


def append(offset: int, tail: bytes, record: bytes) -> Change:
    """Return the change that adds a record; it takes the place of an odd ``tail``."""
    return Change(APPEND, offset, tail, (record,))


def close_gap(offset: int, region: Buffer, gap: int) -> Change:
    """Return the change that moves records of a region to its start, in their order.

    ``region`` is what stands at ``offset``: ``gap`` bytes that nobody needs, then
    whole records.  Graves among those are not kept; without a gap the first
    record goes as well, with all others of its key.  Behind what is kept the
    region is filled with graves: the gap of the next such change.
    """
    view = memoryview(region)
    gone = {*_starting_with(GRAVE, _GRAVE_ENDS, view, gap)}
    if not gap:
        key = bytes(view[:KEY_SIZE]).partition(b"\0")[0]
        gone.update(_starting_with(key + b"\0", max(len(key) - 1, 0), view, 0))
    pieces: list[Buffer] = []
    start = gap
    for at in sorted(gone):
        pieces.append(view[start:at])
        start = at + RECORD_SIZE
    pieces.append(view[start:])
    kept = sum(map(len, pieces))
    return Change(CLOSE_GAP, offset, region, (*pieces, filler(len(region) - kept)), gap, kept)


def _starting_with(text: bytes, last: int, region: memoryview, start: int) -> list[int]:
    """Return the offsets of the records from ``start`` on that start so.

    By the byte at ``last``, where nearly all others differ: keys do so at their ends.
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


def filler(size: int) -> bytes:
    """Return what a gap of a size is filled with: graves."""
    if size == RECORD_SIZE:
        return _GRAVE_RECORD
    return (_GRAVE_RECORD * (size // RECORD_SIZE + 1))[:size]


def _same(one: bytes, other: bytes, at: int, size: int) -> bool:
    return one[at : at + size] == other[at : at + size]


def _parts(found: bytes, old: bytes, new: bytes, kept: int) -> tuple[bool, bool, bool] | None:
    """Return whether there are sectors of before, of after, and those of after first.

    NULs behind what is kept are of after: of a cut.  None where a sector is neither.
    """
    before = after = False
    in_order = True
    for at in range(0, len(found), SECTOR):
        size = min(SECTOR, len(found) - at)
        is_old, is_new = _same(found, old, at, size), _same(found, new, at, size)
        is_new = is_new or (at >= kept and found.count(0, at, at + size) == size)
        if not (is_old or is_new):
            return None
        in_order = in_order and (is_old or not before)
        before = before or not is_new
        after = after or not is_old
    return before, after, in_order
