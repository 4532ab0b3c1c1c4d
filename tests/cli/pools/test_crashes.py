# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Kills and full disks in the middle of import, set --split and check --repair.

At a sample of the calls: `make soak` has all of them, and real kills at every system call.
"""

from __future__ import annotations

import errno
import os
import random
from typing import TYPE_CHECKING

import pytest

from hv_kvp_daemon.cli.pools import split_values
from hv_kvp_daemon.pools import journal
from tests.cli.pools.edit_cases import CASES
from tests.pools.crash import Calls, DeadError, Disk
from tests.pools.crash_cases import key_of, spread, trial_in_memory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.pools.edit_cases import Case
    from tests.pools.crash_cases import Trial

SIZES = (0, 40)


@pytest.fixture
def trial() -> Iterator[Trial]:
    with trial_in_memory() as trial:
        yield trial


def survives(trial: Trial, case: Case, calls: Calls) -> bool:
    trial.prepare(case.before)
    try:
        with calls:
            case.run(trial.directory)
    except DeadError:
        return False
    return True


@pytest.mark.parametrize("torn", [False, True], ids=["between calls", "within a write"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", CASES)
def test_a_kill_leaves_the_first_of_the_changes_done_and_the_others_not_begun(
    trial: Trial, name: str, size: int, torn: bool
) -> None:
    kill(trial, name, size, torn=torn, every=2)


def kill(trial: Trial, name: str, size: int, *, torn: bool, every: int = 1) -> None:
    """At every call, or at those of `spread`: others within a write than between calls."""
    case = CASES[name](size)
    furthest = 0
    for nth in spread(torn, every):
        survived = survives(trial, case, Calls(nth, torn=torn))
        found = trial.found()
        assert found in case.states[furthest:], (nth, [key_of(record) for record in found])
        furthest = case.states.index(found)
        if survived:
            break
    assert furthest == len(case.states) - 1
    assert nth > len(case.states)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", CASES)
def test_a_power_cut_leaves_the_first_of_the_changes_done_and_the_others_not_begun(
    trial: Trial, name: str, size: int
) -> None:
    cut_power(trial, name, size, every=2)


def cut_power(trial: Trial, name: str, size: int, *, every: int = 1) -> None:
    """At every call, or at those of `spread`: others with the one size than with the other."""
    case = CASES[name](size)
    chance = random.Random(name)
    for nth in spread(SIZES.index(size), every):
        disk = Disk(trial.directory, nth)
        survived = survives(trial, case, disk)
        disk.lose_power(chance)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(journal, "boot", lambda: 2)
            found = trial.found()
        keys = [key_of(record) for record in found]
        assert case.may_follow_a_power_cut(found), (nth, keys)
        if survived:
            break
    assert found == case.states[-1]


@pytest.mark.parametrize("torn", [False, True], ids=["between calls", "within a write"])
def test_a_kill_leaves_what_get_join_finds_whole_where_one_record_becomes_parts(
    trial: Trial, torn: bool
) -> None:
    case = CASES["set --split"](40)
    values = []
    nth, survived = 0, False
    while not survived:
        nth += 1
        survived = survives(trial, case, Calls(nth, torn=torn))
        trial.found()
        pool = trial.open()
        values.append(split_values.joined(pool.records(), b"k"))
        pool.close()
    assert list(dict.fromkeys(values)) == [b"former 3 " * 100, b"x" * 3000]


def test_an_import_that_finds_no_room_changes_nothing(
    trial: Trial, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    case = CASES["import"](40)
    trial.prepare(case.before)
    real = os.pwrite
    end = len(case.before) * 2560

    def pwrite(fd: int, data: bytes, offset: int) -> int:
        if os.readlink(f"/proc/self/fd/{fd}") == trial.path and offset > end:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(fd, data, offset)

    monkeypatch.setattr(os, "pwrite", pwrite)
    with pytest.raises(AssertionError, match="3"):
        case.run(trial.directory)
    monkeypatch.undo()
    assert "No space left" in capsys.readouterr().err
    assert trial.found() == case.before
