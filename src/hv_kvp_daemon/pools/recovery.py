"""Completes the change that a killed process, a power cut or a failing disk has left.

THEORY
"""

from __future__ import annotations

import os

from hv_kvp_daemon.wire.record import KEY_SIZE, RECORD_SIZE

from .change import MOVE, PAGE, SECTOR, TOMBSTONE
from .fileio import read_at, write_at
from .journal import BACKWARD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from .change import Change
    from .journal import Entry
    from .writer import Writer

_NO_KEY: Final = bytes(KEY_SIZE)
_NO_RECORD: Final = bytes(RECORD_SIZE)


def end_of_records(fd: int, size: int) -> int:
    """Return the length of a file of ``size`` bytes without unfinished appends at its end.

    Those are records whose key field is a tombstone's, or NULs.

    :raises OSError: the file cannot be read.
    """
    end = size - size % RECORD_SIZE
    while end and read_at(fd, KEY_SIZE, end - RECORD_SIZE) in {_NO_KEY, TOMBSTONE}:
        end -= RECORD_SIZE
    return end if end + RECORD_SIZE <= size else size


def recover(fd: int, writer: Writer) -> bool:
    """Complete an interrupted change, clear the journal; False if the file was whole.

    The caller holds the locks for writing.

    :raises OSError: the kernel refused; the next hold tries again.
    :raises PoolError: the journal cannot be used.
    """
    entry = writer.journal.pending()
    changed = entry is not None and _Recovery(fd, writer, entry).run()
    size = os.fstat(fd).st_size
    end = end_of_records(fd, size)
    if end < size:
        writer.cut(end)
        changed = True
    if entry is not None:
        writer.journal.clear()
    return changed


class _Recovery:
    """The recovery of a file by one journal entry."""

    __slots__ = ("_change", "_entry", "_fd", "_writer")

    def __init__(self, fd: int, writer: Writer, entry: Entry) -> None:
        self._fd = fd
        self._writer = writer
        self._entry = entry
        self._change = entry.change

    def run(self) -> bool:
        """Complete the change and remove tombstones; return whether there was need."""
        changed = self._change is not None and self._complete(self._change)
        return self._sweep() or changed

    def _complete(self, change: Change) -> bool:
        """Write the whole of a change that is found in part."""
        found = read_at(self._fd, len(change.old), change.offset)
        if self._is_whole(change, found):
            return False
        place = self._torn_place(change)
        if place is None:
            return change.kind == MOVE and self._bury_torn(change)
        if self._entry.state == BACKWARD:
            data = bytes(change.old)
        else:
            # No further than the file goes: another program may have cut it.
            data = change.new[: os.fstat(self._fd).st_size - place]
        write_at(self._fd, data, place)
        self._writer.flush()
        return True

    def _is_whole(self, change: Change, found: bytes) -> bool:
        """Whether all is as before the change, or all as after it."""
        old, new = bytes(change.old), change.new
        size = os.fstat(self._fd).st_size
        if self._entry.state == BACKWARD and size >= change.offset + change.kept:
            # It may have been cut; to take that back, the file becomes longer again.
            return found in {old, new}
        if found == new or (found and old.startswith(found)):
            return True
        if self._entry.same_boot or change.kind != MOVE or not _has_twins(old):
            return False
        # After a power cut, what is cut off may be NULs.  Only among equal records: there
        # what is whole would be found torn at some other place.
        parts = classify_sectors(found, old, new, change.kept)
        return parts is not None and not parts[0] and len(found) >= change.kept

    def _torn_place(self, change: Change) -> int | None:
        """Return where the change is torn: at its offset, or before it.

        Another program may have removed records before it.
        """
        size = os.fstat(self._fd).st_size
        first = bytes(change.old[:RECORD_SIZE]), change.new[:RECORD_SIZE]
        for at in range(change.offset, -1, -RECORD_SIZE):
            if at > size or classify_sectors(self._record(at), *first, change.kept) is None:
                continue
            if self._is_torn(change, read_at(self._fd, len(change.old), at), at):
                return at
        return None

    def _is_torn(self, change: Change, found: bytes, at: int) -> bool:
        """Whether these are bytes of before and of after the change, and no others."""
        parts = classify_sectors(found, bytes(change.old), change.new, change.kept)
        if parts is None:
            return False
        has_old, has_new, in_order = parts
        if change.kind != MOVE:
            return has_old and has_new
        if self._entry.state == BACKWARD:
            was_cut = at == change.offset and len(found) < len(change.old)
            return len(found) >= change.kept and (has_new or was_cut)
        # A kill leaves a beginning.  Other combinations of whole sectors can be the work of
        # another program: a record that it set to what would have moved there, or one
        # that it removed, after which those that follow look as if they had moved.
        any_order = not self._entry.same_boot and len(found) == len(change.old)
        return has_old and has_new and (in_order or any_order)

    def _bury_torn(self, change: Change) -> bool:
        """Bury what is superfluous where another program removed some of the records that move.

        A kill leaves the records of a block in their order; and where the writing ended,
        at a page, one more: the next one in part, or the last one again.  The records that
        were to go and stand after that place are still there.
        """
        before, after = _records(bytes(change.old)), _records(change.new)
        found = [self._record(at) for at in self._offsets()]
        torn: set[int] = set()
        for number, (old, new) in enumerate(zip(before, after, strict=True)):
            cut = -(change.offset + number * RECORD_SIZE) % PAGE
            part = new[:cut] + old[cut:]
            if cut >= RECORD_SIZE or new not in found:
                continue
            # Where it equals a record, it is known by what is around it.
            following = [part, new] + (after[number + 1 : number + 2] if part == new else [])
            preceding = [part] if cut == 0 or (part in before and part != new) else []
            row = preceding + following
            if not (_places(row, before) or _places(row, after)):
                torn |= {at + len(preceding) for at in _places(row, found)}
        if torn:
            doomed = set(before) - set(after)
            torn |= {at for at, record in enumerate(found) if record in doomed}
        for at in sorted(torn, reverse=True):
            self._writer.bury(at * RECORD_SIZE)
        return bool(torn)

    def _sweep(self) -> bool:
        """Remove the tombstones, and records of nothing but NULs."""
        tombstones = []
        for at in self._offsets():
            record = self._record(at)
            if record == _NO_RECORD:
                self._writer.bury(at)
            elif not record.startswith(TOMBSTONE):
                continue
            tombstones.append(at)
        if not tombstones:
            return False
        first = tombstones[0]
        change = self._change
        if change is not None and change.kind == MOVE and not change.hole:
            # The last of several records of a key are buried: now the others, which
            # stand before those.  One after them is of another program, since the kill.
            old = bytes(change.old[:KEY_SIZE])
            key = old[: old.index(0) + 1]
            others = [at for at in range(0, first, RECORD_SIZE) if self._has_key(at, key)]
            for at in reversed(others):
                self._writer.bury(at)
                first = at
        self._writer.compact(first, RECORD_SIZE)
        return True

    def _offsets(self) -> range:
        return range(0, os.fstat(self._fd).st_size // RECORD_SIZE * RECORD_SIZE, RECORD_SIZE)

    def _record(self, at: int) -> bytes:
        return read_at(self._fd, RECORD_SIZE, at)

    def _has_key(self, at: int, key: bytes) -> bool:
        return self._record(at).startswith(key)


def classify_sectors(
    found: bytes, old: bytes, new: bytes, kept: int
) -> tuple[bool, bool, bool] | None:
    """Compare the sectors of a place with those of before and after a change.

    Return whether some are only as before, whether some are only as after, and whether
    those of after come first.  None if a sector is neither.  ``found`` ends early where
    the file does.  After ``kept``, NULs count as after: a power cut may leave them of
    what was cut off.
    """
    has_old = has_new = False
    in_order = True
    for at in range(0, len(found), SECTOR):
        sector = found[at : at + SECTOR]
        size = len(sector)
        is_old = sector == old[at : at + size]
        is_new = sector == new[at : at + size] or (at >= kept and not any(sector))
        if not (is_old or is_new):
            return None
        in_order = in_order and (is_old or not has_old)
        has_old = has_old or not is_new
        has_new = has_new or not is_old
    return has_old, has_new, in_order


def _records(region: bytes) -> list[bytes]:
    return [region[at : at + RECORD_SIZE] for at in range(0, len(region), RECORD_SIZE)]


def _has_twins(region: bytes) -> bool:
    records = _records(region)
    return len(set(records)) < len(records)


def _places(row: list[bytes], records: list[bytes]) -> list[int]:
    return [
        at for at in range(len(records) - len(row) + 1) if records[at : at + len(row)] == row
    ]
