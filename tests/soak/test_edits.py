# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""SIGKILL at every system call of import, set --split and check --repair; then neighbours.

A promise is broken where what is found next is none of the states that the command
goes through: with all that was there before, and new records, changes and removals up
to one of them.  It is found by a daemon that starts then, or by one that was there all
the time.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.cli.pools.edit_cases import CASES
from tests.pools.crash import content
from tests.pools.crash_cases import (
    NEIGHBOURS,
    SIZES,
    key_of,
    put,
    trial_in_memory,
    whole,
)
from tests.soak.stepping import run_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.pools.crash_cases import Records, Trial

NAMES = (".kvp_pool_1", ".hv_kvp_journal_1")


@pytest.fixture
def trial() -> Iterator[Trial]:
    with trial_in_memory() as trial:
        yield trial


def left(trial: Trial) -> dict[str, bytes]:
    """The pool and its journal, as the kill left them."""
    paths = [os.path.join(trial.directory, name) for name in NAMES]
    return {path: content(path) for path in paths if os.path.exists(path)}


def found_after(
    trial: Trial,
    before: Records,
    files: dict[str, bytes],
    act: Callable[[str], None],
    *,
    restart: bool,
) -> Records:
    """Leave the files as a kill did, beside a daemon or not, and let a neighbour act."""
    trial.prepare(before)
    beside = trial.open()
    beside.count()
    for path, raw in files.items():
        put(path, raw)
    act(trial.path)
    if restart:
        found = trial.found()
    else:
        beside.find(b"key 0")
        found = whole(content(trial.path))
    beside.close()
    return found


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", CASES)
def test_at_every_system_call(
    trial: Trial, name: str, size: int, count: Callable[..., None]
) -> None:
    case = CASES[name](size)
    # Once here, so that a child has nothing to import.
    trial.prepare(case.before)
    case.run(trial.directory)
    assert trial.found() == case.states[-1]
    nth, survived, furthest = 0, False, 0
    looked_at: dict[str, bytes] = {}
    while not survived:
        nth += 1
        trial.prepare(case.before)
        survived = run_until(nth, lambda: case.run(trial.directory))
        files = left(trial)
        found = trial.found()
        # One call more leads to this state again or to the next, and leaves none out.
        good = found in case.states[furthest : furthest + 2]
        count(f"kills at a system call of {name}", points=not survived, broken=not good)
        assert good, (size, nth, [key_of(record) for record in found])
        furthest = case.states.index(found)
        if files == looked_at:
            continue  # a call that changes nothing
        looked_at = files
        for neighbour, (act, seen) in NEIGHBOURS.items():
            allowed = [seen(state) for state in case.states]
            for restart in (True, False):
                found = found_after(trial, case.before, files, act, restart=restart)
                good = found == allowed[-1] if survived else found in allowed
                count(
                    f"restarts, with neighbours, after a kill of {name}",
                    points=1,
                    broken=not good,
                )
                keys = [key_of(record) for record in found]
                assert good, (size, nth, neighbour, restart, keys)
    assert furthest == len(case.states) - 1
