"""What the commands that see a pool as a whole have in common: import, --split, check.

In: a directory and a pool's number.  Out: the file's bytes; or the edit that leads from
them to the records that are wanted, made by `hv_kvp_daemon.pools.edit`.
Rule: what only looks neither makes nor mends anything.
"""

from __future__ import annotations

import os

from hv_kvp_daemon.pools import edit
from hv_kvp_daemon.pools.config import PoolConfig
from hv_kvp_daemon.pools.directory import pool_path
from hv_kvp_daemon.pools.edit import Edit
from hv_kvp_daemon.pools.fileio import read_at
from hv_kvp_daemon.pools.locked_pool import LockedPool
from hv_kvp_daemon.wire.record import RECORD_SIZE, decode

from . import terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def records(data: bytes) -> list[bytes]:
    """The whole records of a file's bytes."""
    whole = len(data) - len(data) % RECORD_SIZE
    return [data[at : at + RECORD_SIZE] for at in range(0, whole, RECORD_SIZE)]


def towards(
    data: bytes, new: list[bytes], may_go: Callable[[bytes], bool], last: bytes = b""
) -> Edit:
    """The edit after which a pool has the records ``new``, and none else that ``may_go``.

    ``may_go`` is asked about keys.  The records of a key take the places of those
    that it had, in their order.  Of those that go the first of a key stays until the
    others have gone: behind it stand values that no reader took.  The first of the key
    ``last`` goes when all else has.
    """
    wanted = Edit()
    waiting: dict[bytes, list[int]] = {}
    for number, record in enumerate(new):
        waiting.setdefault(decode(record).key, []).append(number)
    repeated: list[int] = []
    first: list[int] = []
    very_last: list[int] = []
    seen: set[bytes] = set()
    for index, record in enumerate(records(data)):
        key = decode(record).key
        if waiting.get(key):
            replacement = new[waiting[key].pop(0)]
            if replacement != record:
                wanted.changed[index] = replacement
        elif may_go(key):
            group = repeated if key in seen else very_last if key == last else first
            group.append(index)
        seen.add(key)
    left = {number for numbers in waiting.values() for number in numbers}
    wanted.added = [record for number, record in enumerate(new) if number in left]
    wanted.removed = [repeated, first, very_last]
    return wanted


def read(directory: str, number: int) -> bytes:
    """The bytes of a pool file, under a shared lock; none where there is no file.

    :raises PoolError: it cannot be used.
    """
    file = _file(directory, number)
    try:
        with file.reading:
            # Not as long as the context says: that leaves out what is to be removed.
            return b"" if file.fd < 0 else read_at(file.fd, os.fstat(file.fd).st_size, 0)
    finally:
        file.close()


def interrupted(directory: str, number: int) -> str:
    """The path of the journal that tells of an unfinished change of a pool, or nothing.

    :raises PoolError: the pool or the journal cannot be used.
    """
    file = _file(directory, number)
    journal = file.writer.journal
    try:
        # Without the locks, a change that is just being made would look like one.
        with file.reading:
            return journal.path if journal.pending() is not None else ""
    finally:
        file.close()


def _file(directory: str, number: int) -> LockedPool:
    """A pool file that is neither created nor recovered."""
    path = pool_path(directory, number)
    return LockedPool(PoolConfig(number, path, report=terminal.say, writable=False))


def change(directory: str, number: int, plan: Callable[[bytes], Edit]) -> None:
    """Make what ``plan`` returns for the file's bytes: see `edit.change`."""
    edit.change(number, pool_path(directory, number), plan, report=terminal.say)


def overwrite(directory: str, number: int, make: Callable[[bytes], bytes]) -> None:
    """Put bytes of any kind in place of the file's: see `edit.overwrite`."""
    edit.overwrite(number, pool_path(directory, number), make, report=terminal.say)
