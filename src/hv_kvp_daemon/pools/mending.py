"""What a killed writer left in a pool is put in order.

In: the journal and the file, under the exclusive hold.  Out: the file, whole.
Rule: what is torn is finished, what has begun is finished, what is whole is left alone.

The file is judged by its content, not by places or by the inode.  Neighbours do not
know of the journal, and may have appended, removed, set or cut since; an image may
have been copied file by file.  A record that is as it was before the change, or as
it is after, says that the change had not begun, or was finished, or that somebody
has been there since: in each case it stays as it is.

One thing cannot be told: a neighbour's byte-for-byte copy of a record, put right behind
it between the kill and now, from one that is twice because it was about to move.
"""

from __future__ import annotations

import os

from hv_kvp_daemon.wire.record import KEY_SIZE, RECORD_SIZE

from .change import APPEND, CLOSE_GAP, GRAVE, PAGE, Change, filler
from .fileio import read_at, write_at

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .shared_file import SharedFile
    from .writer import Writer


def mend(file: SharedFile, writer: Writer) -> bool:
    """Finish what the journal tells of, and clear it; False if nothing had to be done.

    :raises OSError: the kernel refused; it is tried again before the next request.
    :raises PoolError: the journal cannot be used.
    """
    change = writer.journal.pending()
    if change is None:
        return False
    mended = _Mender(file, writer, change).mend()
    writer.journal.clear()
    return mended


class _Mender:
    __slots__ = ("_change", "_fd", "_file", "_writer")

    def __init__(self, file: SharedFile, writer: Writer, change: Change) -> None:
        self._file = file
        self._fd = file.fd
        self._writer = writer
        self._change = change

    def mend(self) -> bool:
        if self._change.kind == APPEND:
            return self._mend_append()
        change = self._change
        found = read_at(self._fd, len(change.new), change.offset)
        whole = found == change.new or change.old.startswith(found)
        if change.is_done(found) and _has_twins(change.old):
            # Among equal records what is done would be found torn at some place, too.
            whole = True
        place = None if whole else self._torn_place()
        if place is not None:
            # No further than the file goes: somebody may have cut it.
            size = os.fstat(self._fd).st_size
            self._write(change.new[: size - place], place)
        if change.kind != CLOSE_GAP:
            return place is not None
        if change.gap % RECORD_SIZE:
            return self._go_on_with_part() or place is not None
        if place is None and not whole:
            self._bury_torn()
        return self._remove_graves() or place is not None

    def _torn_place(self) -> int | None:
        """Return where the torn change is; neighbours may have removed records before it."""
        for at in range(self._change.offset, -1, -RECORD_SIZE):
            if self._change.may_stand_at(self._record(at)) and self._change.is_torn(
                read_at(self._fd, len(self._change.new), at)
            ):
                return at
        return None

    def _mend_append(self) -> bool:
        at, new = self._change.offset, self._change.new
        found = self._record(at)
        if self._change.is_torn(found):
            self._write(new, at)
            return True
        # Whole records of neighbours behind a part of ours, which ends with a page.
        part = (os.fstat(self._fd).st_size - at) % RECORD_SIZE
        if part != -at % PAGE or len(found) < RECORD_SIZE or found[:part] != new[:part]:
            return False
        self._writer.close_gap(at, part)
        return True

    def _go_on_with_part(self) -> bool:
        """Go on with the gap that a part of an appended record was."""
        change, at = self._change, self._change.offset
        gap = len(change.old) - change.kept
        found = read_at(self._fd, len(change.old), at)
        if found == change.old:
            self._writer.close_gap(at, change.gap)
            return True
        if found == change.new:
            self._writer.close_gap(at + change.kept, gap)
            return True
        return False

    def _bury_torn(self) -> None:
        """Where neighbours removed records among those that moved, bury the one too many.

        A kill leaves the block's records in their order, and where the writing
        ended, with a page, one more: the next one in part, or the last one again.
        What was to go, and is behind that place, is still there.
        """
        before, after = _records(self._change.old), _records(self._change.new)
        found = [self._record(at) for at in self._offsets()]
        torn: set[int] = set()
        for number, (old, new) in enumerate(zip(before, after, strict=True)):
            cut = -(self._change.offset + number * RECORD_SIZE) % PAGE
            part = new[:cut] + old[cut:]
            if cut >= RECORD_SIZE or new not in found:
                continue
            # Where it is the same as a record, it is told by what is around it.
            following = [part, new] + (after[number + 1 : number + 2] if part == new else [])
            preceding = [part] if cut == 0 or (part in before and part != new) else []
            row = preceding + following
            if not (_places(row, before) or _places(row, after)):
                torn |= {at + len(preceding) for at in _places(row, found)}
        if torn:
            doomed = set(before) - set(after)
            torn |= {at for at, record in enumerate(found) if record in doomed}
        for at in sorted(torn, reverse=True):
            self._bury(at * RECORD_SIZE)

    def _remove_graves(self) -> bool:
        self._bury_nuls()
        graves = [at for at in self._offsets() if self._key(at) == GRAVE]
        if not graves:
            return False
        first = graves[0]
        if self._change.old and not self._change.gap:
            # The last of several records of a key were buried: now the others, which
            # stand before those.  One behind is a neighbour's, from after the kill.
            key = self._change.old[: self._change.old.index(0, 0, KEY_SIZE) + 1]
            others = [
                at for at in range(0, first, RECORD_SIZE) if self._key(at).startswith(key)
            ]
            for at in reversed(others):
                self._bury(at)
                first = at
        self._writer.close_gap(first, RECORD_SIZE)
        return True

    def _bury_nuls(self) -> None:
        """Bury what a cut left of graves at the file's end, whose length it did not change."""
        size = os.fstat(self._fd).st_size
        odd = size % RECORD_SIZE
        if odd and read_at(self._fd, odd, size - odd) in {filler(odd), bytes(odd)}:
            self._writer.cut(size - odd)
        for at in reversed(self._offsets()):
            if not any(self._record(at)):
                self._bury(at)
            elif self._key(at) != GRAVE:
                break

    def _bury(self, at: int) -> None:
        # One after the other also on the disk: a record that is left behind the grave of
        # its like would be taken for a neighbour's.  And before the next entry takes the
        # place of the one that tells which are to go.
        self._writer.burial(at).apply(self._fd)
        self._file.flush()

    def _write(self, data: bytes, at: int) -> None:
        write_at(self._fd, data, at)
        self._file.flush()

    def _offsets(self) -> range:
        return range(0, os.fstat(self._fd).st_size // RECORD_SIZE * RECORD_SIZE, RECORD_SIZE)

    def _record(self, at: int) -> bytes:
        return read_at(self._fd, RECORD_SIZE, at)

    def _key(self, at: int) -> bytes:
        return read_at(self._fd, KEY_SIZE, at)


def _records(region: bytes) -> list[bytes]:
    return [region[at : at + RECORD_SIZE] for at in range(0, len(region), RECORD_SIZE)]


def _has_twins(region: bytes) -> bool:
    records = _records(region)
    return len(set(records)) < len(records)


def _places(row: list[bytes], records: list[bytes]) -> list[int]:
    return [
        at for at in range(len(records) - len(row) + 1) if records[at : at + len(row)] == row
    ]
