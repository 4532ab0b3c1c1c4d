# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""A change that fails, and whose undo fails as well, or is killed.

The next hold on a healthy disk finds the change done or not begun, and nothing else.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from hv_kvp_daemon.pools.errors import PoolError
from hv_kvp_daemon.wire.record import RECORD_SIZE, encode
from tests.pools.crash import DeadError, content
from tests.pools.crash_cases import (
    Trial,
    after_delete,
    after_set,
    key_of,
    records,
    spread,
    whole,
)
from tests.pools.failing_disk import LOOKS, READS, Call, Die, Disk, Fault, Refuse, Short

if TYPE_CHECKING:
    from collections.abc import Callable

    from hv_kvp_daemon.pools.pool import PoolFile

EIO = Refuse(errno.EIO)


def first_page(call: Call) -> int:
    return call.parts[0] if call.parts else 0


def half(call: Call) -> int:
    return call.parts[len(call.parts) // 2] if call.parts else 0


def short(size: int) -> Fault | None:
    return Short(size) if size else None


#: What becomes of the second call, and of those after it.
SECOND: dict[str, tuple[Callable[[Call], Fault | None], Fault | None]] = {
    "refused once": (lambda _: EIO, None),
    "refused from then on": (lambda _: EIO, EIO),
    "refused after a page": (lambda call: short(first_page(call)) or EIO, EIO),
    "refused after half": (lambda call: short(half(call)) or EIO, EIO),
    "short": (lambda call: short(first_page(call)), None),
    "killed": (lambda _: Die(), None),
    "killed after a page": (lambda call: Die(first_page(call)), None),
}

#: How many records there are, the key that is set or deleted, and the new value; without
#: a key all are removed.  Each writes over the end of a page, where a write can end.
CHANGES: dict[str, tuple[int, bytes, bytes | None]] = {
    "delete the second of 8": (8, b"key 1", None),
    "delete the first of 140": (140, b"key 0", None),
    "delete three of 60": (60, b"thrice", None),
    "modify": (8, b"key 1", b"n" * 2000),
    "modify three": (60, b"thrice", b"n" * 1200),
    "append": (6, b"new", b"v" * 2000),
    "clear": (8, b"", None),
}


class Twice:
    """EIO at the ``first`` call that is no read; another fault ``second`` calls later."""

    def __init__(self, first: int, second: int, then: str) -> None:
        self.has_failed = False
        self.has_failed_twice = False
        self._first = first
        self._second = second
        self._fault, self._rest = SECOND[then]

    def __call__(self, call: Call) -> Fault | None:
        if self.has_failed_twice:
            return self._rest
        if self.has_failed:
            self._second -= 1
            self.has_failed_twice = not self._second
            return self._fault(call) if self.has_failed_twice else None
        self._first -= call.name not in {*READS, *LOOKS}
        self.has_failed = not self._first
        return EIO if self.has_failed else None


#: A third of all pairs, in which each change and each fault is; `make soak` has the others,
#: and all second calls.
SAMPLE = [
    (name, then)
    for row, name in enumerate(CHANGES)
    for column, then in enumerate(SECOND)
    if (row + column) % 3 == 0
]


@pytest.mark.parametrize(("name", "then"), SAMPLE)
def test_a_fault_at_any_two_calls_leaves_the_change_done_or_not_begun(
    trial: Trial, name: str, then: str
) -> None:
    """One of them: 8 records, DELETE of the second, EIO at ftruncate, EIO after a page.

    An undo that writes the block of before over that of after, while the journal does
    not have the change any more, leaves one record twice and another nowhere.
    """
    fail_twice(trial, name, then, every=3)


def fail_twice(trial: Trial, name: str, then: str, *, every: int = 1) -> None:
    """Put the first fault at any call, the second at every later one or those of `spread`."""
    first, has_failed = 0, True
    while has_failed:
        first += 1
        for second in spread(first, every):
            # A process that goes on, or another one: each sees every other pair.
            restart = (first + second) % 2 == 0
            faults = Twice(first, second, then)
            look_after(trial, name, faults, restart=restart)
            if not faults.has_failed_twice:
                break
        has_failed = faults.has_failed
    assert first > 2


def look_after(trial: Trial, name: str, faults: Twice, *, restart: bool) -> None:
    size, key, value = CHANGES[name]
    before = records(size)
    after = after_delete(before, key) if value is None else after_set(before, key, value)
    after = after if key else []
    trial.prepare(before)
    pool = trial.open(sync=True)
    pool.count()
    disk = Disk(trial.directory, faults)
    end = "acknowledged"
    with disk:
        try:
            change(pool, key, value)
        except PoolError as error:
            end = str(error)
        except DeadError:
            end, restart = "killed", True
    if restart:
        pool.close()
        pool = trial.open(sync=True)
    pool.count()
    raw = content(trial.path)
    found = whole(raw)
    is_row = len(raw) % RECORD_SIZE == 0
    story = (disk.story, end, [key_of(record) for record in found])
    assert is_row, story
    is_allowed = found == after or (end != "acknowledged" and found == before)
    assert is_allowed, story
    pool.append(b"last", b"")
    is_whole = content(trial.path) == raw + encode(b"last", b"")
    assert is_whole, story
    pool.close()


def change(pool: PoolFile, key: bytes, value: bytes | None) -> None:
    if not key:
        pool.clear()
    elif value is None:
        assert pool.delete(key)
    else:
        pool.store(key, value)
