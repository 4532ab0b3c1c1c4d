# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Changes of many records of a pool: an import, a repair, a split.

Each single change is one that `Writer` makes, so after a kill or a power cut each record is
found as it was or as it is to be, whole and in its place.  New records are appended first;
if there is no room for them, those of this hold are taken off again.  Then records change
in place, and those that go are removed last.  So there is no moment without a key that was
there and stays.

A large edit is made in several holds, so that a host's request can come between: the driver
waits 30 s, and a request of ours 5 s for the locks.  After each, the rest is planned anew
from what the file has then.

The resident daemon does not import this module.
"""

from __future__ import annotations

import os
import time

from hv_kvp_daemon.wire.record import RECORD_SIZE

from .config import PoolConfig
from .fileio import read_at, write_at
from .journal import SWEEP
from .locked_pool import LockedPool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Final, TypeAlias

    Plan: TypeAlias = Callable[[bytes, int], "Edit"]
    Make: TypeAlias = Callable[[bytes, int], bytes]


# Records that are added by one change.  Its journal entry is half a mebibyte.
_BATCH: Final = 200

# Seconds after which the locks are released; what is being done then is completed first.
_LONGEST_HOLD: Final = 0.3
# Seconds until they are taken again: longer than programs like this one pause between two
# attempts.
_PAUSE: Final = 0.03


class Edit:
    """What is to become of the whole records of a file; by default they stay as they are.

    ``added`` are records to be appended, in this order.  ``changed`` has the new 2560 bytes
    of a record by its index (from 0, before the edit).  ``removed`` are the indices of
    those that go, in groups: no record of a group goes before all of the group before are
    gone, on the disk as well.  A group costs one wait for the disk, however large it is.
    """

    __slots__ = ("added", "changed", "removed")

    def __init__(self) -> None:
        self.added: list[bytes] = []
        self.changed: dict[int, bytes] = {}
        self.removed: list[list[int]] = []


def change(number: int, path: str, plan: Plan, *, report: Callable[[str], object]) -> None:
    """Make the edit that ``plan`` returns for the file's bytes, under the same locks.

    ``plan`` also gets the descriptor that they were read from.  A file that is missing
    (descriptor -1) is created if there is something to add; ``plan`` is then called again.
    It is also called again for the rest of a large edit, after other programs have had
    the locks.  Bytes after the last whole record are cut off.  The other arguments are
    those of `PoolConfig`; each change waits for the disk.

    :raises PoolError: the file cannot be used; or a change failed after others were made.
    """
    file = LockedPool(PoolConfig(number, path, report=report), admits=False)
    context, is_made = file.writing, False
    try:
        while not is_made:
            with context as size:
                if file.fd >= 0:
                    is_made = _make(file, size, plan(read_at(file.fd, size, 0), file.fd))
                elif plan(b"", -1).added:
                    context = file.creating
                    continue
                else:
                    return
            if not is_made:
                file.config.pause(_PAUSE)
    finally:
        file.close()


def overwrite(number: int, path: str, make: Make, *, report: Callable[[str], object]) -> None:
    """Put bytes of any kind in place of those that ``make`` is given, with their descriptor.

    Without the journal: a kill leaves a part of each.  A missing file is created.

    :raises PoolError: the file cannot be used.
    """
    file = LockedPool(PoolConfig(number, path, report=report))
    try:
        with file.creating as size:
            old = read_at(file.fd, size, 0)
            new = make(old, file.fd)
            if new == old:
                return
            file.writer.journal.settle()
            try:
                write_at(file.fd, new, 0)
                os.ftruncate(file.fd, len(new))
                file.flush()
            except BaseException:
                write_at(file.fd, old, 0)
                os.ftruncate(file.fd, len(old))
                raise
    finally:
        file.close()


def _make(file: LockedPool, size: int, edit: Edit) -> bool:
    """Make the edit, or of a large one as much as one hold may take; False if more is left."""
    writer = file.writer
    end = size // RECORD_SIZE * RECORD_SIZE
    if end < size:
        writer.cut(end)
    is_large = len(edit.added) + len(edit.changed) > _BATCH
    ends = time.monotonic() + (_LONGEST_HOLD if is_large else float("inf"))
    try:
        for first in range(0, len(edit.added), _BATCH):
            batch = edit.added[first : first + _BATCH]
            writer.append_all(end + first * RECORD_SIZE, batch)
            if time.monotonic() > ends:
                return False
    except BaseException:
        writer.take_off(end, end)
        writer.journal.clear()
        raise
    for index, record in edit.changed.items():
        at = index * RECORD_SIZE
        writer.replace(at, read_at(file.fd, RECORD_SIZE, at), record)
        if time.monotonic() > ends:
            return False
    groups = [group for group in edit.removed if group]
    if groups:
        _remove(file, groups)
    return True


def _remove(file: LockedPool, groups: Sequence[Sequence[int]]) -> None:
    # Not Writer.remove: that is for all records of a key, and here the first may stay.
    writer = file.writer
    writer.journal.mark(SWEEP, durable=True)
    for group in groups:
        writer.bury(*(index * RECORD_SIZE for index in group))
    writer.compact(min(map(min, groups)) * RECORD_SIZE, RECORD_SIZE)
    writer.journal.clear()
