# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Makes the changes of a pool file, so that each is done, not done, or completed later.

The caller holds the pool's locks for writing, and the file has been recovered.  What each
step leaves when it is cut short is worked through in docs/pools.md.

Nothing is undone without a journal entry.  A change that fails is taken back with its own
entry, turned BACKWARD, and the request fails with the file as it was.  If that fails too,
or ends with a kill, the entry stays, and whoever takes the locks next completes it.  A
delete is only taken back within its first block; after that it is completed later.

While the disk is waited for readers are let in where they find nothing half done, or an
append's tombstone.  After that `exclude_readers` may find that another program has written:
the change is given up, and nothing may be taken back.
"""

from __future__ import annotations

import os

from hv_kvp_daemon.wire.record import KEY_SIZE, RECORD_SIZE

from .change import SECTOR, TOMBSTONE, Change, append, differing_sectors, move, replace
from .errors import PoolError
from .fileio import read_into, write_at, write_pieces
from .journal import BACKWARD, MOST_MOVED, SWEEP, Journal
from .recovery import end_of_records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from .locked_pool import LockedPool


class Writer:
    """Changes the file of a `LockedPool` with the help of its journal.

    ``tail`` is what the file has after its last whole record.  Each change removes it, and
    puts it back if it fails.

    Each method may raise an ``OSError`` or a `PoolError`.  After an ``OSError`` the file
    is as it was unless the method says otherwise.  After a `PoolError` it is as it was,
    or in the middle of a change that the journal describes.
    """

    __slots__ = ("_block", "_file", "journal")

    def __init__(self, file: LockedPool) -> None:
        self._file = file
        # 330 KB from the first delete on: new memory each time costs more than its use.
        self._block = memoryview(b"")
        self.journal = Journal(file.config, file)

    def replace(
        self,
        offset: int,
        old: bytes,
        new: bytes,
        others: Sequence[int] = (),
        tail: bytes = b"",
        end: int = 0,
    ) -> None:
        """Replace the record at ``offset``, and remove those with its key at the ``others``.

        A ``tail`` begins at ``end``.  An error after the first record has been replaced
        leaves the rest to be completed before the next request.
        """
        fd = self._file.fd
        first, last = differing_sectors(old, new)
        needs_entry = last - first > SECTOR or bool(others)
        if needs_entry:
            self._begin(replace(offset, old, new, len(others)))
        else:
            self._settle()
        try:
            write_at(fd, new[first:last], offset + first)
            if tail:
                os.ftruncate(fd, end)
            self._file.flush(last=not others)
        except BaseException as error:
            before = (old[first:last], offset + first), (tail, end)
            self._take_back(error, before, has_entry=needs_entry)
            raise
        if others:
            # From the first on, so that a program that takes the last without a lock
            # finds the value of before until it finds the new one.
            self.bury(*others)
            # Waited for: an entry that came back after a power cut would remove records
            # of this key that were appended since.
            self.journal.mark(SWEEP, durable=True)
            self.compact(others[0], RECORD_SIZE)
        if needs_entry:
            self._clear()

    def append(self, offset: int, record: bytes, tail: bytes = b"") -> None:
        """Add a record at ``offset``, the end of the last whole one."""
        fd = self._file.fd
        self._settle()
        self.journal.mark(SWEEP)
        try:
            if tail:
                # It is in the place of the key.
                write_at(fd, bytes(len(tail)), offset)
            os.ftruncate(fd, offset + RECORD_SIZE)
            write_at(fd, TOMBSTONE + record[KEY_SIZE:], offset)
            self._file.admit_readers()
            self._file.flush()
        except BaseException as error:
            self._take_back(error, ((tail, offset),), is_append=True)
            raise
        self._file.exclude_readers()
        try:
            write_at(fd, record[:KEY_SIZE], offset)
            self._file.flush(last=True)
        except BaseException as error:
            self._take_back(error, ((tail, offset),), is_append=True)
            raise
        self._clear()

    def append_all(self, offset: int, records: Sequence[bytes]) -> None:
        """Add records at ``offset``, the end of the file, with one entry for all of them.

        A kill leaves the first of them, and a power cut all or none.
        """
        fd = self._file.fd
        new = b"".join(records)
        self._begin(append(offset, new))
        try:
            os.ftruncate(fd, offset + len(new))
            write_at(fd, b"".join([TOMBSTONE + r[KEY_SIZE:] for r in records]), offset)
            for number, record in enumerate(records):
                write_at(fd, record[:KEY_SIZE], offset + number * RECORD_SIZE)
            self._file.flush()
            # Waited for: after a power cut, an entry that came back would have records
            # with their first values, and one that is set to less since would look torn.
            self.journal.mark(SWEEP, durable=True)
        except BaseException as error:
            self._take_back(error, ((b"", offset),), is_append=True)
            raise
        self._clear()

    def remove(self, offsets: Sequence[int], tail: bytes = b"") -> None:
        """Remove the record at the first offset, and those with its key at the others.

        The last go first, so that a kill leaves the first, whose value readers find, or
        none.  If more than 128 records follow, and so move in several blocks, an error
        after the first leaves the rest to be completed before the next request.
        """
        first, *others = offsets
        change, end = self._next_move(first, 0)
        self._begin(change)
        later = [at for at in others if at >= first + len(change.old)]
        try:
            # The last goes first, and is waited for: a record with the key of a tombstone
            # before it would be taken for a later one of another program.
            for at in reversed(later):
                self.bury(at)
            if change.kept or end is None:
                self._move(change)
                if end is not None:
                    self._end_at(end, last=True)
            else:
                # Nothing has to move.  What a power cut leaves of the cut, NULs in a part
                # of the record, is recognized by its entry.
                self.cut(end, last=True)
        except BaseException as error:
            # With others buried the key fields of those would have to be put back, too.
            if not later:
                old = bytes(change.old) + (b"" if end is None else tail)
                self._take_back(error, ((old, first),))
            raise
        if end is None:
            self.compact(first + change.kept, len(change.old) - change.kept)
        self._clear()

    def compact(self, at: int, hole: int) -> None:
        """Move all that follows a hole of tombstones over it, and end the file after it.

        It can be repeated after any part of it: what is left of the hole is tombstones.
        """
        end = None
        while end is None:
            change, end = self._next_move(at, hole)
            if change.kept:
                self.journal.write(change)
                self._move(change)
            at += change.kept
            hole = len(change.old) - change.kept
        self._end_at(end)

    def bury(self, *offsets: int) -> None:
        """Make records tombstones, in this order."""
        for offset in offsets:
            write_at(self._file.fd, TOMBSTONE, offset)
        self._file.flush()

    def cut(self, length: int, *, last: bool = False) -> None:
        """End the file there, by one call that is done or not; ``last`` of a change."""
        os.ftruncate(self._file.fd, length)
        self._file.flush(last=last)

    def take_off(self, first: int, end: int) -> None:
        """Remove the records from ``first`` on, the last one first, and none in part."""
        self.journal.mark(SWEEP, durable=True)
        size = end_of_records(self._file.fd, os.fstat(self._file.fd).st_size)
        self.bury(*reversed(range(first, size - RECORD_SIZE + 1, RECORD_SIZE)))
        self.cut(end)

    def _next_move(self, at: int, hole: int) -> tuple[Change, int | None]:
        """Return the move of the next block over a hole; with the last, the file's end."""
        wanted = hole + MOST_MOVED * RECORD_SIZE
        if len(self._block) < wanted:
            self._block = memoryview(bytearray(wanted))
        left = max(os.fstat(self._file.fd).st_size - at, 0)
        size = read_into(self._file.fd, self._block[: min(wanted, left)], at)
        change = move(at, self._block[: size // RECORD_SIZE * RECORD_SIZE], hole)
        return change, at + change.kept if size < wanted else None

    def _begin(self, change: Change) -> None:
        """Write a change down.

        The file gets another version first: a program that knows the present one looks at
        the journal when it changes, and a kill may come before the change's first byte.
        """
        file = self._file
        os.utime(file.fd)
        file.admit_readers()
        self.journal.write(change)
        if not file.exclude_readers():
            # A program that was here meanwhile has cleared the entry.
            self.journal.write(change)

    def _settle(self) -> None:
        """Before a change without an entry: none may come back that another change made."""
        if self.journal.may_return:
            self._file.admit_readers()
            self.journal.settle()
            self._file.exclude_readers()

    def _move(self, change: Change) -> None:
        write_pieces(self._file.fd, change.pieces, change.offset)
        self._file.flush()

    def _end_at(self, length: int, *, last: bool = False) -> None:
        # Now only tombstones are left to remove.  After a kill, what another program
        # appends in their place is not compared with the block that was moved.
        self.journal.mark(SWEEP)
        self.cut(length, last=last)

    def _take_back(
        self,
        cause: BaseException,
        before: Sequence[tuple[bytes, int]],
        *,
        has_entry: bool = True,
        is_append: bool = False,
    ) -> None:
        """Write back what was there before, bytes and their offsets; an append is cut off."""
        try:
            if is_append:
                tail, offset = before[0]
                self.take_off(offset, offset + len(tail))
            elif has_entry:
                self.journal.mark(BACKWARD, durable=True)
            for data, offset in before:
                write_at(self._file.fd, data, offset)
            if has_entry:
                # Before the entry goes: it may not be there after a power cut.
                self._file.flush()
        except (OSError, PoolError) as error:
            config = self._file.config
            reason = f"{cause}, and what was written cannot be taken back: {error}"
            raise PoolError(config.number, config.path, reason) from cause
        if has_entry:
            self._clear()

    def _clear(self) -> None:
        """Clear the journal; a failure is reported, and the next use clears it."""
        try:
            self.journal.clear()
        except PoolError as error:
            self._file.config.report(str(error))
