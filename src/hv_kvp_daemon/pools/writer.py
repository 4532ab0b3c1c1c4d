"""Every change of a pool's file: noted, made, on the disk; or as if it had not been tried.

In: changes, under the exclusive hold of a `SharedFile`.  Out: the file.
Rule: a kill or a power cut at any moment leaves what `mending` makes whole again.

How a change is made safe depends on what can be left of it (see `change`):

=====================================  ==========================================
replace, within one sector             nothing: it is there or it is not
replace, several sectors               the journal, on the disk before the change
append, at the start of a block        nothing
append, elsewhere                      the journal, on the disk before the change
delete                                 the journal for each block of records that
                                       moves, on the disk before the block moves
=====================================  ==========================================
"""

from __future__ import annotations

from hv_kvp_daemon.wire.record import RECORD_SIZE

from .change import CLOSE_GAP, GRAVE, Change, Cut, close_gap, replace
from .errors import PoolError
from .fileio import read_at, read_into
from .journal import MOST_MOVED, MOST_MOVED_BESIDE, Journal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .shared_file import SharedFile


class Writer:
    """Changes ``file``, whose hold for writing the caller has, with the help of a journal.

    ``report`` gets a line where a change succeeded and the journal could not be cleared.
    """

    __slots__ = ("_block", "_file", "_report", "journal")

    def __init__(
        self, file: SharedFile, journal: Journal, report: Callable[[str], object]
    ) -> None:
        self._file = file
        self._report = report
        # What is moved is read into this, 330 KB from the first delete on: memory that
        # is new each time costs more than the system calls that read and write it.
        self._block = memoryview(b"")
        self.journal = journal

    def commit(self, change: Change, cut: int | None = None) -> None:
        """Make a change, and end the file at ``cut`` if that is given.

        If any part fails, what was there before is written back, over blocks
        that the file has already, and the length of before set.

        :raises OSError: the change failed, and the file is as before.
        :raises PoolError: the journal cannot be written, and nothing was done;
            or the change failed and so did taking it back, which is tried again
            before the next request.
        """
        noted = change.can_tear
        if noted:
            self.journal.write(change)
        try:
            self._make((change,), cut)
        except OSError:
            if noted:
                self._clear()
            raise
        if noted:
            self._clear()

    def cut(self, length: int) -> None:
        """End the file there, by one call that is done or not.

        :raises OSError: the file is as before.
        """
        self._make((), length)

    def remove(self, offsets: Sequence[int]) -> None:
        """Remove the record at the first offset, and those of its key at the others.

        The last go first, so that a kill leaves the first, whose value it is
        that readers find, or none.

        :raises OSError: nothing was done; but where more than 127 records
            follow, they move in several blocks: after the first of those the
            record is gone, and the rest is done before the next request.
        :raises PoolError: as `commit`.
        """
        first, *others = offsets
        change, cut = self._next_block(first, 0)
        self.journal.write(change)
        end = first + len(change.before)
        try:
            burials = [self.burial(at) for at in reversed(others) if at >= end]
            self._make((*burials, change) if change.kept or cut is None else (), cut)
        except OSError:
            self._clear()
            raise
        if cut is None:
            self.close_gap(first + change.kept, len(change.before) - change.kept)
        self._clear()

    def close_gap(self, at: int, gap: int) -> None:
        """Move all that is behind a gap over it, in blocks that each are a change.

        The journal is not cleared.  What is left of a gap of whole records is graves,
        and found as such; of any other only the journal tells.

        :raises OSError: as much is done as had been; it can be gone on with.
        :raises PoolError: as `commit`.
        """
        cut = None
        beside = gap % RECORD_SIZE != 0
        while cut is None:
            change, cut = self._next_block(at, gap, MOST_MOVED_BESIDE if beside else MOST_MOVED)
            if change.kept:
                self.journal.write(change, beside=beside)
                self._make((change,), cut)
            elif cut is not None:
                self.journal.write_rest()
                self.cut(cut)
            at += change.kept
            gap = len(change.before) - change.kept

    def burial(self, at: int) -> Change:
        """Return the change that makes a record one that `close_gap` removes."""
        return replace(at, read_at(self._file.fd, len(GRAVE), at), GRAVE)

    def _next_block(
        self, at: int, gap: int, most: int = MOST_MOVED
    ) -> tuple[Change, int | None]:
        """Return the change that closes a gap at its start; with the last, the file's end.

        It is good until the next one is asked for.
        """
        wanted = gap + most * RECORD_SIZE
        if len(self._block) < wanted:
            self._block = memoryview(bytearray(wanted))
        size = read_into(self._file.fd, self._block[:wanted], at)
        whole = gap + max(size - gap, 0) // RECORD_SIZE * RECORD_SIZE
        change = close_gap(at, self._block[: min(whole, size)], gap)
        return change, at + change.kept if size < wanted else None

    def _clear(self) -> None:
        """Clear the journal; or report that, and the next request finds the change whole."""
        try:
            self.journal.clear()
        except PoolError as error:
            self._report(str(error))

    def _make(self, changes: Sequence[Change], cut: int | None) -> None:
        """Make all of it or nothing: the one place where a request changes a pool."""
        fd = self._file.fd
        steps: list[Change | Cut] = [*changes]
        if cut is not None:
            steps.append(Cut(cut))
        try:
            # One after the other also on the disk: a length before the records that
            # it leaves, for one, would lose them.
            for step in steps:
                if isinstance(step, Cut) and changes and changes[-1].kind == CLOSE_GAP:
                    self.journal.write_rest()
                step.apply(fd)
                self._file.flush()
        except BaseException as error:
            self._undo(steps, error)
            raise

    def _undo(self, steps: Sequence[Change | Cut], cause: BaseException) -> None:
        try:
            for step in reversed(steps):
                step.undo(self._file.fd)
        except OSError as error:
            reason = f"{cause}, and what was written cannot be taken back: {error}"
            raise PoolError(self._file.pool, self._file.path, reason) from cause
