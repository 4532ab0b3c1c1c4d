# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Completes the change that a kill, a power cut or a failing disk has cut short.

Theory of operation.  docs/pools.md has each step of each change, and a kill worked through
with its bytes.

The journal has one entry at most, whose state says what the pool may look like:

- **none**: whole, but for an append that was not finished at its end: a record whose key
  field is NULs or a tombstone's, which no reader counts.  It is cut off.
- **SWEEP**: as before, and it may have tombstones, or records of nothing but NULs, with
  records of other programs after them.  They are removed.  An append writes this before
  it makes the file longer, a delete before it ends the file.
- **FORWARD** with a change: the change may have been made in part.  It is completed; then
  as SWEEP.
- **BACKWARD** with a change: it failed, and what was there before may have been restored
  in part.  It is restored; then as SWEEP.

A SET may have to leave one record of a key.  If the first one is found with the new value,
or has got it now, the others are buried before the sweep.

An entry with a wrong seal counts as SWEEP: it was being written, so its change had not
begun, and if it was to replace another entry, that one's change was complete.

Other programs do not know about the journal, and may have changed the pool since.  So the
file is judged by its content.  A record or block that is as it was before the change, or as
it is after it, is left alone.  One of which each sector is of either side is torn, and is
completed in the direction of the entry.  One with any other sector was written by another
program, and is left alone.  If records were removed before it, it is found further to the
front; if records within a block were, `_bury_torn` finds what is left over.

One case cannot be decided: a copy of a record that another program put right after it
between a kill and now looks like a record that is there twice because it was to move.

The entry is cleared when all is done, and each move of the sweep has an entry of its own,
so recovery can be cut short and repeated.
"""

from __future__ import annotations

import errno
import os

from hv_kvp_daemon.wire.record import KEY_SIZE, RECORD_SIZE

from .change import APPEND, MOVE, PAGE, SECTOR, TOMBSTONE, move
from .fileio import read_at, write_at
from .journal import BACKWARD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final

    from .change import Change
    from .journal import Entry
    from .locked_pool import LockedPool

_NO_KEY: Final = bytes(KEY_SIZE)
_NO_RECORD: Final = bytes(RECORD_SIZE)


def end_of_records(fd: int, size: int) -> int:
    """Return the length of a file of ``size`` bytes without unfinished appends at its end.

    Those are records whose key field is a tombstone's, or NULs.

    :raises OSError: the file cannot be read.
    """
    end = size - size % RECORD_SIZE
    is_sparse = True
    while end and (key := read_at(fd, KEY_SIZE, end - RECORD_SIZE)) in {_NO_KEY, TOMBSTONE}:
        end -= RECORD_SIZE
        if is_sparse and key == _NO_KEY:
            # Once: a terabyte that somebody has made by truncate(1) takes hours to read.
            is_sparse = False
            end = min(end, -(-_end_of_data(fd, end) // RECORD_SIZE) * RECORD_SIZE)
    return end if end + RECORD_SIZE <= size else size


def _end_of_data(fd: int, size: int) -> int:
    """Return where the hole begins that a sparse file ends with, ``size`` if it has none."""
    end = 0
    try:
        while end < size:
            start = os.lseek(fd, end, os.SEEK_DATA)
            end = os.lseek(fd, start, os.SEEK_HOLE)
    except OSError as error:
        # ENXIO: no more data.  A file system without holes may refuse the call.
        return end if error.errno == errno.ENXIO else size
    return size


def recover(file: LockedPool) -> bool:
    """Complete an interrupted change, under the locks for writing; False if there is none.

    :raises OSError, PoolError: it cannot be done now; the next hold tries again.
    """
    writer = file.writer
    entry = writer.journal.pending()
    if writer.journal.damage:
        writer.journal.set_aside()
    changed = entry is not None and _Recovery(file, entry).run()
    size = os.fstat(file.fd).st_size
    end = end_of_records(file.fd, size)
    if end < size:
        writer.cut(end)
        changed = True
    if entry is not None:
        writer.journal.clear()
    return changed


class _Recovery:
    """The recovery of a file by one journal entry."""

    __slots__ = ("_entry", "_fd", "_file")

    def __init__(self, file: LockedPool, entry: Entry) -> None:
        self._file = file
        self._fd = file.fd
        self._entry = entry

    def run(self) -> bool:
        """Complete the change and remove tombstones; return whether there was need."""
        change = self._entry.change
        if change is None:
            return self._sweep(None)
        changed = (self._fill if change.kind == APPEND else self._complete)(change)
        if change.others:
            self._bury_others(change)
        return self._sweep(change) or changed

    def _complete(self, change: Change) -> bool:
        """Write the whole of a change that is found in part."""
        old, new = bytes(change.old), change.new
        if self._is_whole(change, read_at(self._fd, len(old), change.offset)):
            return False
        for at in self._places(change):
            found = read_at(self._fd, len(old), at)
            if found in {old, new}:
                return False
            if self._is_torn(change, found, at):
                if self._entry.state == BACKWARD:
                    data = old
                elif change.kind == MOVE:
                    # Another program may have removed records at the end of the file.
                    left = old[: len(found) // RECORD_SIZE * RECORD_SIZE]
                    data = move(change.offset, left, change.hole).new
                else:
                    data = new[: len(found)]
                write_at(self._fd, data, at)
                self._file.flush()
                return True
        return change.kind == MOVE and self._bury_torn(change)

    def _fill(self, change: Change) -> bool:
        """Write the whole of records that were appended, after a power cut.

        A kill leaves the first of them, as the keys are written in order, and the others
        are swept.  A record that another program has written there ends this.
        """
        found = read_at(self._fd, len(change.new), change.offset)
        if self._entry.same_boot or len(found) < len(change.new) or found == change.new:
            return False
        for old, new in zip(_records(found), _records(change.new), strict=True):
            rest = old.removeprefix(TOMBSTONE).rjust(RECORD_SIZE, b"\0")
            if classify_sectors(rest, _NO_RECORD, new, RECORD_SIZE) is None:
                return False
        write_at(self._fd, change.new, change.offset)
        self._file.flush()
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
        records = _records(old)
        if self._entry.same_boot or change.kind != MOVE or len({*records}) == len(records):
            return False
        # After a power cut, what is cut off may be NULs.  This is only asked among equal
        # records, where what is whole would be found torn at some other place.
        parts = classify_sectors(found, old, new, change.kept)
        return parts is not None and not parts[0] and len(found) >= change.kept

    def _places(self, change: Change) -> Iterator[int]:
        """Yield where the change can be, by its first record: at its offset, then before it.

        Another program may have removed records before it.
        """
        size = os.fstat(self._fd).st_size
        # Another program may have cut the file, and a journal whose owner is another user
        # than root may have any offset.
        beyond = max(0, -(-(change.offset - size) // RECORD_SIZE))
        first = bytes(change.old[:RECORD_SIZE]), change.new[:RECORD_SIZE]
        for at in range(change.offset - beyond * RECORD_SIZE, -1, -RECORD_SIZE):
            if classify_sectors(self._record(at), *first, change.kept) is not None:
                yield at

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
        if not (has_old and has_new):
            return False
        if not self._entry.same_boot:
            return in_order or len(found) == len(change.old)
        # A kill leaves a beginning, up to the end of a page.  Other combinations of whole
        # sectors can be the work of another program: a record that it set to what would
        # have moved there, or one that it removed, after which those that follow look as
        # if they had moved.
        old, new = bytes(change.old[: len(found)]), change.new
        cuts = range(-change.offset % PAGE, len(found), PAGE)
        return any(found == new[:cut] + old[cut:] for cut in cuts)

    def _bury_torn(self, change: Change) -> bool:
        """Bury what is superfluous where another program removed records of a torn block.

        A kill leaves the records of the block in their order, but for those where the
        writing ended: the one that straddles that page is of two records, and those
        that would have been overwritten next are there twice.  Only records beside one of
        the block are looked at: others of the same bytes may be anywhere.
        """
        before, after = _records(bytes(change.old)), _records(change.new)
        of_block = {*before, *after}
        parts = set()
        for number, (old, new) in enumerate(zip(before, after, strict=True)):
            cut = -(change.offset + number * RECORD_SIZE) % PAGE
            parts.add(new[:cut] + old[cut:])
        parts -= of_block
        of_block |= parts
        kept = after[: change.kept // RECORD_SIZE]
        records = [
            self._record(at) for at in self._offsets() if at < change.offset + len(change.old)
        ]
        found = [
            record if of_block & {*records[at - 1 : at], *records[at + 1 : at + 2]} else b""
            for at, record in enumerate(records)
        ]
        torn = [
            at
            for at, record in enumerate(found)
            if record in parts
            or (record in kept and found[:at].count(record) >= kept.count(record))
        ]
        if torn:
            # Those that were to go, where the block was not overwritten yet.
            doomed = {*before} - {*after}
            torn += [at for at, record in enumerate(found) if record in doomed]
        for at in sorted({*torn}, reverse=True):
            self._file.writer.bury(at * RECORD_SIZE)
        return bool(torn)

    def _bury_others(self, change: Change) -> None:
        """Bury the other records of a key whose first record has its new value.

        No more than there were: one more is of another program, since the kill.
        """
        key = _start(change.new)
        found = [(at, self._record(at)) for at in self._offsets()]
        same = [(at, record) for at, record in found if record.startswith(key)]
        if same and same[0][1] == change.new:
            left = change.others - sum(r.startswith(TOMBSTONE) for _, r in found)
            self._file.writer.bury(*(at for at, _ in same[1 : 1 + max(left, 0)]))

    def _sweep(self, change: Change | None) -> bool:
        """Remove the tombstones, and records of nothing but NULs."""
        tombstones = []
        for at in self._offsets():
            record = self._record(at)
            if record == _NO_RECORD:
                self._file.writer.bury(at)
            elif not record.startswith(TOMBSTONE):
                continue
            tombstones.append(at)
        if not tombstones:
            return False
        first = tombstones[0]
        if change is not None and change.kind == MOVE and not change.hole:
            # The last of several records of a key are buried: now the others, which
            # stand before those.  One after them is of another program, since the kill.
            key = _start(bytes(change.old[:KEY_SIZE]))
            others = [
                at for at in range(0, first, RECORD_SIZE) if self._record(at).startswith(key)
            ]
            for at in reversed(others):
                self._file.writer.bury(at)
                first = at
        self._file.writer.compact(first, RECORD_SIZE)
        return True

    def _offsets(self) -> range:
        return range(0, os.fstat(self._fd).st_size // RECORD_SIZE * RECORD_SIZE, RECORD_SIZE)

    def _record(self, at: int) -> bytes:
        return read_at(self._fd, RECORD_SIZE, at)


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


def _start(record: bytes) -> bytes:
    """Return what all records with the key of this one start with: the key and its NUL.

    A journal that another user owns may have a key without a NUL, which none starts with.
    """
    return record[:KEY_SIZE].partition(b"\0")[0] + b"\0"


def _records(region: bytes) -> list[bytes]:
    return [region[at : at + RECORD_SIZE] for at in range(0, len(region), RECORD_SIZE)]
