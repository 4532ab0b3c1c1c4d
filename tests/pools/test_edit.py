"""Many changes of a pool under one hold of its locks, on a disk that fails twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hv_kvp_daemon.pools import edit
from hv_kvp_daemon.pools.errors import PoolError
from hv_kvp_daemon.wire.record import encode
from tests.pools.crash import DeadError, content
from tests.pools.crash_cases import Records, Trial, key_of, records, whole
from tests.pools.failing_disk import Disk
from tests.pools.test_undo_faults import SECOND, Twice

if TYPE_CHECKING:
    from collections.abc import Callable

ADDED = [encode(b"added %d" % number, b"%d" % number * 1500) for number in range(3)]
CHANGED = encode(b"key 1", b"changed " * 200)


def plan(data: bytes, fd: int) -> edit.Edit:
    """Append three records, change one, and remove two."""
    assert data or fd < 0
    made = edit.Edit()
    made.added = list(ADDED)
    made.changed = {1: CHANGED}
    made.removed = [[4], [2]]
    return made


def steps(before: Records) -> list[Records]:
    """The files that the edit goes through."""
    found = [[*before, *ADDED[:number]] for number in range(4)]
    found.append([before[0], CHANGED, *found[-1][2:]])
    for index in (4, 2):
        found.append([*found[-1][:index], *found[-1][index + 1 :]])
    return found


@pytest.fixture
def trial(public: str) -> Trial:
    return Trial(public)


def after_faults(trial: Trial, before: Records, faults: Twice) -> tuple[Records, list[str]]:
    trial.prepare(before)
    disk = Disk(trial.directory, faults)
    with disk:
        try:
            edit.change(1, trial.path, plan, report=trial.reports.append)
        except PoolError as error:
            disk.story.append(error.reason)
        except DeadError:
            disk.story.append("killed")
    found = trial.found()
    assert b"".join(found) == content(trial.path)
    return found, disk.story


@pytest.mark.parametrize("then", SECOND)
def test_a_fault_at_any_two_calls_leaves_the_first_of_the_changes(
    trial: Trial, then: str
) -> None:
    before = records(7)
    allowed = steps(before)
    first, has_failed = 0, True
    while has_failed:
        first += 1
        second, has_failed_twice = 0, True
        while has_failed_twice:
            second += 1
            faults = Twice(first, second, then)
            found, story = after_faults(trial, before, faults)
            assert found in allowed, (first, second, story, [key_of(r) for r in found])
            has_failed_twice = faults.has_failed_twice
        has_failed = faults.has_failed
    assert first > 20


def test_all_of_it_is_one_hold(trial: Trial, free_locks: Callable[[str], set[str]]) -> None:
    trial.prepare(records(7))
    seen: list[set[str]] = []

    def look(data: bytes, fd: int) -> edit.Edit:
        seen.append(free_locks(trial.path))
        return plan(data, fd)

    edit.change(1, trial.path, look, report=trial.reports.append)
    assert seen == [set()]
    assert whole(content(trial.path)) == steps(records(7))[-1]
