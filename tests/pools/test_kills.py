# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Kills and power cuts at every call of a change, and neighbours before the restart.

Of a second fault, after each first one, only a sample: `make soak` has all, besides real
kills at every system call and larger pools.
"""

from __future__ import annotations

import errno
import os
import random
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from hv_kvp_daemon.pools import edit, journal
from hv_kvp_daemon.pools.errors import PoolError
from hv_kvp_daemon.pools.pool import PoolFile
from hv_kvp_daemon.wire.record import encode
from tests.pools.crash import Calls, Disk, content
from tests.pools.crash_cases import (
    CHANGES,
    NEIGHBOURS,
    SIZES,
    Trial,
    key_of,
    killed_then_powerless,
    put,
    records,
    spread,
    states,
    whole,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.pools.crash_cases import Records

    Step = Callable[[PoolFile], object]


@pytest.mark.parametrize("neighbour", NEIGHBOURS)
@pytest.mark.parametrize("torn", [False, True], ids=["between calls", "within a write"])
@pytest.mark.parametrize("size", SIZES[:3])
def test_a_kill_at_any_call_leaves_the_change_done_or_not_begun_and_all_else_alone(
    trial: Trial, size: int, torn: bool, neighbour: str
) -> None:
    """P11."""
    before = records(size)
    act, seen = NEIGHBOURS[neighbour]
    points = 0
    for name in (*CHANGES, "batch"):
        allowed = [seen(state) for state in states(before, name)]
        nth, survived = 0, False
        while not survived:
            nth += 1
            calls = Calls(nth, torn=torn)
            survived = trial.die(before, name, calls)
            if torn and not calls.was_torn:
                continue
            points += 1
            act(trial.path)
            found = trial.found()
            assert found in allowed, (name, nth, [key_of(r) for r in found])
            if survived:
                assert found == allowed[-1]
    assert points or (torn and size == 0)


@pytest.mark.parametrize("name", [name for name in CHANGES if name.startswith("modify ")])
def test_a_kill_leaves_what_the_first_and_the_last_of_a_key_were_or_are_to_be(
    trial: Trial, name: str
) -> None:
    """P26: also for programs that read while the change is made, without the locks."""
    before = records(60)
    _, key, value = CHANGES[name]
    old = [record[512:] for record in before if key_of(record) == key]
    nth, survived = 0, False
    while not survived:
        nth += 1
        survived = trial.die(before, name, Calls(nth))
        found = [r[512:] for r in whole(content(trial.path)) if key_of(r) == key]
        assert found[0] in {old[0], encode(key, value)[512:]}, nth
        assert found[-1] in {old[-1], encode(key, value)[512:]}, nth
    assert len(found) == 1


@pytest.mark.parametrize("torn", [False, True], ids=["between calls", "within a write"])
@pytest.mark.parametrize("name", ["modify three", "modify three shortly"])
def test_a_record_that_another_program_appends_after_the_kill_is_not_of_those_that_go(
    trial: Trial, name: str, torn: bool
) -> None:
    """P26: its key is the one that was being set."""
    before = records(60)
    theirs = encode(b"thrice", b"theirs")
    allowed = [[*state, theirs] for state in states(before, name)]
    nth, survived = 0, False
    while not survived:
        nth += 1
        survived = trial.die(before, name, Calls(nth, torn=torn))
        put(trial.path, content(trial.path) + theirs)
        found = trial.found()
        assert found in allowed, (nth, [key_of(record) for record in found])


def test_an_entry_that_a_power_cut_brings_back_removes_nothing_that_came_later(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P26: the others were the last records, so no later entry has replaced theirs."""
    before = [*records(3), *[encode(b"twice", b"%d" % n) for n in range(3)]]
    trial.prepare(before)
    pool = trial.open(sync=True)
    pool.count()
    disk = Disk(trial.directory)
    with disk:
        pool.store(b"twice", b"new")
    pool.close()
    disk.unsync(f"{trial.directory}/.hv_kvp_journal_1")
    theirs = encode(b"twice", b"theirs")
    put(trial.path, content(trial.path) + theirs)
    monkeypatch.setattr(journal, "boot", lambda: 2)
    assert trial.found() == [*before[:3], encode(b"twice", b"new"), theirs]


#: Two changes that are acknowledged, one after the other; the second one has no entry.
COMEBACKS: dict[str, tuple[Records, Step, Step]] = {
    "set to a mixture": (
        [encode(b"k", b"A" * 2000)],
        lambda pool: pool.store(b"k", b"B" * 2000),
        lambda pool: pool.store(b"k", b"A" * 512 + b"B" * 1488),
    ),
    "set to the value of the record that went": (
        [encode(b"k1", b"off"), encode(b"k2", b"on")],
        lambda pool: pool.delete(b"k1"),
        lambda pool: pool.store(b"k2", b"off"),
    ),
    "added again, without a value": (
        [encode(b"k1", b"1"), encode(b"k2", b"2")],
        lambda pool: pool.delete(b"k2"),
        lambda pool: pool.store(b"k2", b""),
    ),
    "restored": (
        [encode(b"k1", b"off"), encode(b"k2", b"on")],
        lambda pool: pool.delete(b"k1"),
        lambda pool: edit.overwrite(
            1, pool.path, lambda *_: encode(b"k2", b"off"), report=print
        ),
    ),
    "cleared": ([encode(b"k", b"1")], lambda pool: fail_to_delete(pool, b"k"), PoolFile.clear),
}


def fail_to_delete(pool: PoolFile, key: bytes) -> None:
    """Have the disk fail in the last wait of a delete, which is taken back then."""
    fdatasync, calls = os.fdatasync, 0

    def fail_once(fd: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        fdatasync(fd)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fdatasync", fail_once)
        with pytest.raises(PoolError):
            pool.delete(key)


@pytest.mark.parametrize("same", [True, False], ids=["one process", "another process"])
@pytest.mark.parametrize("name", COMEBACKS)
def test_an_entry_that_a_power_cut_brings_back_undoes_nothing_that_came_later(
    trial: Trial, monkeypatch: pytest.MonkeyPatch, name: str, same: bool
) -> None:
    """P30: of a change that needs no entry, and so leaves the former one on the disk."""
    before, first, second = COMEBACKS[name]
    trial.prepare(before)
    pool = trial.open(sync=True)
    other = pool if same else trial.open(sync=True)
    other.count()
    disk = Disk(trial.directory)
    with disk:
        first(pool)
        second(other)
    acknowledged = content(trial.path)
    pool.close()
    other.close()
    disk.unsync(f"{trial.directory}/.hv_kvp_journal_1")
    monkeypatch.setattr(journal, "boot", lambda: 2)
    assert trial.found() == whole(acknowledged)


BESIDE_RECOVERY = ("nobody", "appends", "appends many")


@pytest.mark.parametrize("torn", [False, True], ids=["between calls", "within a write"])
@pytest.mark.parametrize("neighbour", BESIDE_RECOVERY)
def test_a_kill_while_a_change_is_put_in_order_does_no_harm(
    trial: Trial, neighbour: str, torn: bool
) -> None:
    kill_twice(trial, neighbour, torn=torn, every=3)


def kill_twice(trial: Trial, neighbour: str, *, torn: bool, every: int = 1) -> None:
    """At any call of a change, and at every call of its recovery or those of `spread`."""
    before = records(60)
    act, seen = NEIGHBOURS[neighbour]
    for name in ("new long", "modify long", "modify three", "delete first", "delete three"):
        allowed = [seen(state) for state in states(before, name)]
        nth, survived = 0, False
        while not survived:
            nth += 1
            for second in spread(nth, every):
                survived = trial.die(before, name, Calls(nth, torn=True))
                act(trial.path)
                calls = Calls(second, torn=torn)
                trial.found(calls)
                assert trial.found() in allowed, (name, nth, second)
                if calls.made < second:
                    break


def test_a_power_cut_while_a_change_is_put_in_order_does_no_harm(trial: Trial) -> None:
    """A sample: `tests/soak/test_double_fault.py` has all neighbours, changes and sizes."""
    neighbour = "appends many"
    chance = random.Random(neighbour)
    for name in ("new long", "modify long", "modify three", "delete first", "delete three"):
        for calls, found, allowed in killed_then_powerless(
            trial, records(60), name, neighbour, chance, every=3
        ):
            assert found in allowed, (name, calls)


@pytest.mark.parametrize("size", SIZES[:3])
def test_a_power_cut_leaves_the_change_done_or_not_begun_and_what_was_acknowledged_done(
    trial: Trial, size: int
) -> None:
    """P11: any of the sectors that were written since the last flush are on the disk."""
    cut_power(trial, size, times=1)


def cut_power(trial: Trial, size: int, *, times: int) -> None:
    """At every call of every change, with so many choices of what the disk has then."""
    before = records(size)
    chance = random.Random(size)
    for name in (*CHANGES, "batch"):
        allowed = states(before, name)
        nth, survived = 0, False
        while not survived:
            nth += 1
            for _ in range(times):
                disk = Disk(trial.directory, nth)
                survived = trial.die(before, name, disk, sync=True)
                disk.lose_power(chance)
                found = found_after_boot(trial)
                assert found in allowed, (name, nth, [key_of(r) for r in found])
                if survived:
                    assert found == allowed[-1], name


def found_after_boot(trial: Trial) -> Records:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal, "boot", lambda: 2)
        return trial.found()


#: The changes and sizes of the pool.
FAILING = [
    (name, size)
    for size in (7, 8)
    for name in ("modify long", "delete first", "delete very last", "new long")
]


@pytest.mark.parametrize(("name", "size"), FAILING)
def test_a_power_cut_while_a_failed_change_is_taken_back_does_no_harm(
    trial: Trial, name: str, size: int
) -> None:
    cut_power_after_a_fault(trial, name, size, times=2, every=2)


def cut_power_after_a_fault(
    trial: Trial, name: str, size: int, *, times: int, every: int = 1
) -> None:
    """EIO at any call, and the power goes at every call after it, or at those of `spread`."""
    before = records(size)
    if name == "delete very last":
        before[-1] = encode(b"key 299", b"1" * 2000)
    allowed = states(before, name)
    chance = random.Random(f"{name} {size}")
    calls = Calls()
    assert trial.die(before, name, calls, sync=True)
    assert calls.made > 6
    for refused in range(1, calls.made + 1):
        for step in spread(refused, every):
            nth = refused + step
            for _ in range(times):
                disk = Disk(trial.directory, nth, refused=refused)
                with suppress(PoolError):
                    trial.die(before, name, disk, sync=True)
                disk.lose_power(chance)
                found = found_after_boot(trial)
                assert found in allowed, (refused, nth, [key_of(r) for r in found])
            if disk.made < nth:
                break
