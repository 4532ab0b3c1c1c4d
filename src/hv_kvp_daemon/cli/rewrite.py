"""Many records of a pool changed by one command: import, set --split, repair.

In: a function from the file's bytes to what is to be changed.  Out: the file.
Rule: one hold of both locks over reading and all changes, each of which the pools'
own writer makes: a kill or a power cut leaves every record as it was or as it is to
be, whole, and in its place.

New records come first, behind the last: where there is no room for them the file
is as it was.  Then those that change get their new bytes in place, and those that
are to go leave last.  So there is no moment without a key that was there and is to
stay.
"""

from __future__ import annotations

import os

from hv_kvp_daemon.pools.change import append, close_gap, read_at, replace, write_at
from hv_kvp_daemon.pools.directory import pool_path
from hv_kvp_daemon.pools.journal import Journal
from hv_kvp_daemon.pools.pool import PoolFile
from hv_kvp_daemon.pools.shared_file import SharedFile
from hv_kvp_daemon.wire.record import RECORD_SIZE, decode

from . import terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Edit:
    """What is to be changed: ``changed`` by index, ``removed`` indices, ``added`` behind."""

    __slots__ = ("added", "changed", "removed")

    def __init__(self) -> None:
        self.added: list[bytes] = []
        self.changed: dict[int, bytes] = {}
        self.removed: list[int] = []


def records(data: bytes) -> list[bytes]:
    """The whole records of a file's bytes."""
    whole = len(data) - len(data) % RECORD_SIZE
    return [data[at : at + RECORD_SIZE] for at in range(0, whole, RECORD_SIZE)]


def towards(data: bytes, new: list[bytes], may_go: Callable[[bytes], bool]) -> Edit:
    """The edit after which a pool has the records ``new``, and none else that ``may_go``.

    ``may_go`` is asked about keys.  The records of a key take the places of those
    that it had, in their order.
    """
    edit = Edit()
    waiting: dict[bytes, list[int]] = {}
    for number, record in enumerate(new):
        waiting.setdefault(decode(record).key, []).append(number)
    for index, record in enumerate(records(data)):
        key = decode(record).key
        if waiting.get(key):
            wanted = new[waiting[key].pop(0)]
            if wanted != record:
                edit.changed[index] = wanted
        elif may_go(key):
            edit.removed.append(index)
    left = {number for numbers in waiting.values() for number in numbers}
    edit.added = [record for number, record in enumerate(new) if number in left]
    return edit


def read(directory: str, number: int) -> bytes:
    """The bytes of a pool file, under a shared lock; none where there is no file.

    :raises PoolError: it cannot be used.
    """
    file = SharedFile(number, pool_path(directory, number), report=terminal.say, writable=False)
    try:
        with file.hold() as size:
            return read_at(file.fd, size, 0) if size else b""
    finally:
        file.close()


def interrupted(directory: str, number: int) -> str:
    """The path of the journal that tells of an unfinished change of a pool, or nothing.

    :raises PoolError: the pool or the journal cannot be used.
    """
    file = SharedFile(number, pool_path(directory, number), report=terminal.say, writable=False)
    journal = Journal(number, file.path, sync=False)
    try:
        # Without the hold, a change that is just being made would look like one.
        with file.hold():
            return journal.path if journal.pending() is not None else ""
    finally:
        journal.close()
        file.close()


def change(directory: str, number: int, plan: Callable[[bytes], Edit]) -> None:
    """Make what ``plan`` returns for the file's bytes.

    A file that is missing is made if there is something to add.  Bytes behind the
    last whole record are cut off.

    :raises PoolError: the file cannot be used; or a change failed, and those
        before it were made.
    """
    pool = _Opened(directory, number)
    try:
        for create in (False, True):
            with pool.ready.hold(write=True, create=create) as size:
                missing = pool.file.fd < 0
                edit = plan(b"" if missing else read_at(pool.file.fd, size, 0))
                if not missing:
                    _make(pool, size, edit)
                if not missing or not edit.added:
                    return
    finally:
        pool.close()


def overwrite(directory: str, number: int, make: Callable[[bytes], bytes]) -> None:
    """Put bytes of any kind in place of those that ``make`` is given.

    For what is no row of records, so without the journal: a kill in between leaves
    a part of each.  An error leaves the file as it was.

    :raises PoolError: the file cannot be used.
    """
    pool = _Opened(directory, number)
    file = pool.file
    try:
        with pool.ready.hold(write=True, create=True) as size:
            old = read_at(file.fd, size, 0)
            new = make(old)
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
        pool.close()


class _Opened:
    """A pool's file and what changes it safely: the parts of a `PoolFile`.

    Of that very one, so that what an import leaves is what the daemon's changes leave.
    """

    __slots__ = ("close", "file", "ready", "writer")

    def __init__(self, directory: str, number: int) -> None:
        pool = PoolFile(number, pool_path(directory, number), report=terminal.say)
        self.close = pool.close
        self.file = pool._file  # noqa: SLF001
        self.ready = pool._ready  # noqa: SLF001
        self.writer = pool._writer  # noqa: SLF001


def _make(pool: _Opened, size: int, edit: Edit) -> None:
    end = size // RECORD_SIZE * RECORD_SIZE
    if end < size:
        pool.writer.cut(end)
    try:
        for number, record in enumerate(edit.added):
            pool.writer.commit(append(end + number * RECORD_SIZE, b"", record))
    except BaseException:
        pool.writer.cut(end)
        raise
    for index, record in edit.changed.items():
        at = index * RECORD_SIZE
        pool.writer.commit(replace(at, read_at(pool.file.fd, RECORD_SIZE, at), record))
    if edit.removed:
        _remove(pool, edit.removed)


def _remove(pool: _Opened, indices: list[int]) -> None:
    # Not Writer.remove: that is for all records of a key, and here the first may stay.
    # With this in the journal, whoever comes after a kill removes what is buried.
    pool.writer.journal.write(close_gap(0, b"", RECORD_SIZE))
    for index in indices:
        pool.writer.burial(index * RECORD_SIZE).apply(pool.file.fd)
    pool.file.flush()
    pool.writer.close_gap(indices[0] * RECORD_SIZE, RECORD_SIZE)
    pool.writer.journal.clear()
