"""Many records of a pool changed in one hold: an import, a repair, a value in parts.

In: a function from the file's bytes to what is to become of its records.  Out: the file.
Rule: a kill or a power cut leaves every record as it was or as it is to be, whole, and
in its place, once the next request or command has looked at the pool.  Only `overwrite`,
for bytes that are no records, cannot promise that.

Each single change is one that `Writer` makes, so what is left of it is put in order as
that of any request.  Their order sees to the rest: new records come first, behind the
last, and where there is no room for them the file is as it was.  Then those that change
get their new bytes in place, and those that are to go leave last.  So there is no moment
without a key that was there and is to stay.

The resident daemon does not import this module.
"""

from __future__ import annotations

import os

from hv_kvp_daemon.wire.record import RECORD_SIZE

from .change import append, close_gap, replace
from .fileio import read_at, write_at
from .ready import assemble

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .shared_file import SharedFile
    from .writer import Writer


class Edit:
    """What is to become of the whole records of a file; by default they stay as they are.

    ``added`` are records that come behind the last, in this order.  ``changed`` has by
    a record's index (from 0, before the edit) its new 2560 bytes.  ``removed`` are the
    indices of those that go, in groups: none goes before all of the groups before its
    own have, on the disk as well.  A group costs one wait for the disk, however many
    records it has.
    """

    __slots__ = ("added", "changed", "removed")

    def __init__(self) -> None:
        self.added: list[bytes] = []
        self.changed: dict[int, bytes] = {}
        self.removed: list[list[int]] = []


def change(
    number: int,
    path: str,
    plan: Callable[[bytes, int], Edit],
    *,
    report: Callable[[str], object],
) -> None:
    """Make what ``plan`` returns for the file's bytes, in the hold in which it was asked.

    ``plan`` gets the descriptor from which they were read as well.  A file that is
    missing (descriptor -1) is made if there is something to add; ``plan`` is then
    asked again.  Bytes behind the last whole record are cut off.  The other
    arguments are those of `PoolFile`; each change waits for the disk.

    :raises PoolError: the file cannot be used; or a change failed, and those
        before it were made.
    """
    file, writer, ready = assemble(number, path, report=report)
    try:
        for create in (False, True):
            with ready.hold(write=True, create=create) as size:
                missing = file.fd < 0
                edit = plan(b"" if missing else read_at(file.fd, size, 0), file.fd)
                if not missing:
                    _make(file, writer, size, edit)
                if not missing or not edit.added:
                    return
    finally:
        file.close()
        writer.journal.close()


def overwrite(
    number: int,
    path: str,
    make: Callable[[bytes, int], bytes],
    *,
    report: Callable[[str], object],
) -> None:
    """Put bytes of any kind in place of those that ``make`` is given, with their descriptor.

    For what is no row of records, so without the journal: a kill in between leaves
    a part of each.  An error leaves the file as it was.  A missing file is made.

    :raises PoolError: the file cannot be used.
    """
    file, writer, ready = assemble(number, path, report=report)
    try:
        with ready.hold(write=True, create=True) as size:
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
        writer.journal.close()


def _make(file: SharedFile, writer: Writer, size: int, edit: Edit) -> None:
    end = size // RECORD_SIZE * RECORD_SIZE
    if end < size:
        writer.cut(end)
    try:
        for number, record in enumerate(edit.added):
            writer.commit(append(end + number * RECORD_SIZE, b"", record))
    except BaseException:
        writer.cut(end)
        raise
    for index, record in edit.changed.items():
        at = index * RECORD_SIZE
        writer.commit(replace(at, read_at(file.fd, RECORD_SIZE, at), record))
    groups = [group for group in edit.removed if group]
    if groups:
        _remove(file, writer, groups)


def _remove(file: SharedFile, writer: Writer, groups: Sequence[Sequence[int]]) -> None:
    # Not Writer.remove: that is for all records of a key, and here the first may stay.
    # With this in the journal, whoever comes after a kill removes what is buried.
    writer.journal.write(close_gap(0, b"", RECORD_SIZE))
    for group in groups:
        for index in group:
            writer.burial(index * RECORD_SIZE).apply(file.fd)
        file.flush()
    writer.close_gap(min(map(min, groups)) * RECORD_SIZE, RECORD_SIZE)
    writer.journal.clear()
