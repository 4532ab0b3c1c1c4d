"""Changes many records of a pool under one hold of its locks: an import, a repair, a split.

Each single change is one that `Writer` makes, so after a kill or a power cut each record is
found as it was or as it is to be, whole and in its place.  New records are appended first;
if there is no room for them, the file is as it was.  Then records change in place, and
those that go are removed last.  So there is no moment without a key that was there and
stays.

The resident daemon does not import this module.
"""

from __future__ import annotations

import os

from hv_kvp_daemon.wire.record import RECORD_SIZE

from .config import PoolConfig
from .fileio import read_at, write_at
from .journal import SWEEP
from .locked_pool import LockedPool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeAlias

    Plan: TypeAlias = Callable[[bytes, int], "Edit"]
    Make: TypeAlias = Callable[[bytes, int], bytes]


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
    Bytes after the last whole record are cut off.  The other arguments are those of
    `PoolConfig`; each change waits for the disk.

    :raises PoolError: the file cannot be used; or a change failed after others were made.
    """
    file = LockedPool(PoolConfig(number, path, report=report))
    try:
        for context in (file.writing, file.creating):
            with context as size:
                missing = file.fd < 0
                edit = plan(b"" if missing else read_at(file.fd, size, 0), file.fd)
                if not missing:
                    _make(file, size, edit)
                if not missing or not edit.added:
                    return
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


def _make(file: LockedPool, size: int, edit: Edit) -> None:
    writer = file.writer
    end = size // RECORD_SIZE * RECORD_SIZE
    if end < size:
        writer.cut(end)
    try:
        for number, record in enumerate(edit.added):
            if file.lock.is_shared:
                file.exclude_readers()
            writer.append(end + number * RECORD_SIZE, record)
    except BaseException:
        writer.take_off(end, end)
        writer.journal.clear()
        raise
    for index, record in edit.changed.items():
        if file.lock.is_shared:
            file.exclude_readers()
        at = index * RECORD_SIZE
        writer.replace(at, read_at(file.fd, RECORD_SIZE, at), record)
    groups = [group for group in edit.removed if group]
    if groups:
        _remove(file, groups)


def _remove(file: LockedPool, groups: Sequence[Sequence[int]]) -> None:
    # Not Writer.remove: that is for all records of a key, and here the first may stay.
    writer = file.writer
    if file.lock.is_shared:
        file.exclude_readers()
    writer.journal.mark(SWEEP, durable=True)
    for group in groups:
        writer.bury(*(index * RECORD_SIZE for index in group))
    writer.compact(min(map(min, groups)) * RECORD_SIZE, RECORD_SIZE)
    writer.journal.clear()
