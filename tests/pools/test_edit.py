# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Many changes of a pool under one hold of its locks, on a disk that fails twice."""

from __future__ import annotations

import errno
import os
import random
from typing import TYPE_CHECKING

import pytest

from hv_kvp_daemon.pools import edit, journal
from hv_kvp_daemon.pools.errors import PoolError
from hv_kvp_daemon.pools.locking import PoolLock
from hv_kvp_daemon.wire.record import RECORD_SIZE, encode
from tests.pools.crash import Calls, DeadError, content
from tests.pools.crash import Disk as PowerDisk
from tests.pools.crash_cases import (
    NEIGHBOURS,
    Records,
    Trial,
    key_of,
    records,
    spread,
    whole,
)
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
    fail_twice(trial, then, every=3)


def fail_twice(trial: Trial, then: str, *, every: int = 1) -> None:
    """Put the first fault at any call, the second at every later one or those of `spread`."""
    before = records(7)
    allowed = steps(before)
    first, has_failed = 0, True
    while has_failed:
        first += 1
        for second in spread(first, every):
            faults = Twice(first, second, then)
            found, story = after_faults(trial, before, faults)
            assert found in allowed, (first, second, story, [key_of(r) for r in found])
            if not faults.has_failed_twice:
                break
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


SAME = [encode(b"same %d" % number, b"value") for number in range(3)]


BATCHES = {"long": ADDED, "the same value": SAME}
BESIDE_BATCH = ("nobody", "appends", "deletes before", "truncates")


@pytest.mark.parametrize("neighbour", BESIDE_BATCH)
@pytest.mark.parametrize("added", BATCHES)
def test_a_kill_in_a_batch_and_a_power_cut_in_the_recovery_leave_the_first_of_it(
    trial: Trial, added: str, neighbour: str
) -> None:
    """And nothing of it twice, where another program has moved it meanwhile."""
    kill_then_cut_power(trial, added, neighbour, every=2)


def kill_then_cut_power(trial: Trial, batch: str, neighbour: str, *, every: int = 1) -> None:
    """At any call of a batch, and at every call of its recovery or those of `spread`."""
    before = records(4)
    added = BATCHES[batch]
    act, seen = NEIGHBOURS[neighbour]
    allowed = [seen([*before, *added[:number]]) for number in range(4)]
    chance = random.Random(neighbour)
    made = edit.Edit()
    made.added = list(added)

    def die(calls: Calls) -> bool:
        trial.prepare(before)
        try:
            with calls:
                edit.change(1, trial.path, lambda *_: made, report=trial.reports.append)
        except DeadError:
            return False
        return True

    nth, survived = 0, False
    while not survived:
        nth += 1
        for second in spread(nth, every):
            survived = die(Calls(nth, torn=chance.random() < 0.7))
            act(trial.path)
            disk = PowerDisk(trial.directory, second)
            trial.found(disk, sync=True)
            disk.lose_power(chance)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(journal, "boot", lambda: 2)
                found = trial.found()
            assert found in allowed, (nth, second, [key_of(record) for record in found])
            if disk.made < second:
                break
    assert nth > 8


def test_a_power_cut_in_a_batch_and_another_in_the_recovery_leave_all_of_it_or_nothing(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = records(4)
    made = edit.Edit()
    made.added = list(ADDED)
    chance = random.Random(1)
    nth, survived = 0, False
    while not survived:
        nth += 1
        for second in range(1, 30):
            trial.prepare(before)
            monkeypatch.setattr(journal, "boot", lambda: 1)
            disk = PowerDisk(trial.directory, nth)
            try:
                with disk:
                    edit.change(1, trial.path, lambda *_: made, report=trial.reports.append)
                survived = True
            except DeadError:
                pass
            disk.lose_power(chance)
            monkeypatch.setattr(journal, "boot", lambda: 2)
            disk = PowerDisk(trial.directory, second)
            trial.found(disk, sync=True)
            disk.lose_power(chance)
            monkeypatch.setattr(journal, "boot", lambda: 3)
            found = trial.found()
            assert found in (before, [*before, *ADDED]), (nth, second)
            if disk.made < second:
                break
    assert nth > 8


@pytest.mark.parametrize("count", [0, 2, 9])
def test_bytes_that_are_put_in_place_of_others_may_be_fewer_or_more(
    trial: Trial, count: int
) -> None:
    trial.prepare(records(7))
    new = b"".join(records(count))
    edit.overwrite(1, trial.path, lambda *_: new, report=trial.reports.append)
    assert content(trial.path) == new


@pytest.mark.parametrize("count", [2, 9])
def test_a_fault_while_bytes_are_put_in_place_leaves_those_of_before(
    trial: Trial, count: int
) -> None:
    old, new = b"".join(records(7)), b"".join(records(count))
    nth, failed = 0, True
    while failed:
        nth += 1
        trial.prepare(records(7))
        try:
            with Calls(refused=nth):
                edit.overwrite(1, trial.path, lambda *_: new, report=trial.reports.append)
            failed = False
        except PoolError:
            pass
        assert content(trial.path) == (old if failed else new), nth
    assert nth > 3


def test_what_has_no_room_is_taken_off_with_one_wait_for_the_disk(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P28: with one for each record the locks were held for longer than a host waits."""
    before = records(4)
    trial.prepare(before)
    made = edit.Edit()
    made.added = [encode(b"new %d" % number, b"") for number in range(500)]
    real = os.ftruncate
    waits: list[int] = []

    def full(fd: int, length: int) -> None:
        if length > 404 * RECORD_SIZE:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(fd, length)

    monkeypatch.setattr(edit, "_LONGEST_HOLD", 60)
    monkeypatch.setattr(os, "ftruncate", full)
    monkeypatch.setattr(os, "fdatasync", waits.append)
    with pytest.raises(PoolError, match="No space"):
        edit.change(1, trial.path, lambda *_: made, report=trial.reports.append)
    assert whole(content(trial.path)) == before
    assert len(waits) < 15


def test_other_programs_have_the_locks_between_the_holds_of_a_large_edit(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P28: a host's SET comes between, and what it wrote is there at the end."""
    trial.prepare(records(7))
    monkeypatch.setattr(edit, "_BATCH", 2)
    monkeypatch.setattr(edit, "_LONGEST_HOLD", 0)
    monkeypatch.setattr(edit, "_PAUSE", 0)
    host = trial.open()
    new = [encode(b"added %d" % number, b"") for number in range(5)]
    planned: list[int] = []

    def rest(data: bytes, fd: int) -> edit.Edit:
        planned.append(fd)
        made = edit.Edit()
        made.added = [record for record in new if record not in whole(data)]
        return made

    def between(lock: PoolLock, fd: int) -> None:
        release(lock, fd)
        if fd in planned and len(planned) < 4:
            host.store(b"host %d" % len(planned), b"")

    release = PoolLock.release
    monkeypatch.setattr(PoolLock, "release", between)
    edit.change(1, trial.path, rest, report=trial.reports.append)
    host.close()
    keys = [key_of(record) for record in whole(content(trial.path))[7:]]
    expected = b"added 0,added 1,host 1,added 2,added 3,host 2,added 4,host 3"
    assert b",".join(keys) == expected


def test_a_batch_of_new_records_waits_for_the_disk_three_times(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P28."""
    trial.prepare(records(1))
    waits: list[str] = []
    monkeypatch.setattr(edit, "_LONGEST_HOLD", 3600)
    monkeypatch.setattr(
        os, "fdatasync", lambda fd: waits.append(os.readlink(f"/proc/self/fd/{fd}"))
    )
    made = edit.Edit()
    made.added = [encode(b"added %d" % number, b"") for number in range(450)]
    edit.change(1, trial.path, lambda *_: made, report=trial.reports.append)
    names = [os.path.basename(path) for path in waits]
    assert names == [".hv_kvp_journal_1", ".kvp_pool_1", ".hv_kvp_journal_1"] * 3


def test_a_power_cut_after_a_batch_brings_back_no_value_that_was_replaced_since(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P28: a shorter value is set without an entry, and that of the batch is cleared late."""
    trial.prepare(records(1))
    made = edit.Edit()
    made.added = list(SAME)
    pool = trial.open(sync=True)
    disk = PowerDisk(trial.directory)
    with disk:
        edit.change(1, trial.path, lambda *_: made, report=trial.reports.append)
        pool.store(b"key 0", b"")
        pool.store(b"same 0", b"")
    pool.close()
    disk.unsync(f"{trial.directory}/.hv_kvp_journal_1")
    monkeypatch.setattr(journal, "boot", lambda: 2)
    assert trial.found() == [encode(b"key 0", b""), encode(b"same 0", b""), *SAME[1:]]
