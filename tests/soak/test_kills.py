# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""SIGKILL at every system call of every change, and at any moment; then neighbours.

A promise is broken where a restart finds neither what was before the change nor
what is after it, or anything else changed, be it by a byte.
"""

from __future__ import annotations

import os
import random
import select
import signal
import tempfile
from typing import TYPE_CHECKING

import pytest

from tests.pools.crash_cases import (
    CHANGES,
    NEIGHBOURS,
    SIZES,
    Trial,
    change,
    key_of,
    records,
    states,
)
from tests.soak.stepping import run_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.pools.crash_cases import Records


@pytest.fixture
def trial() -> Iterator[Trial]:
    with tempfile.TemporaryDirectory() as directory:
        yield Trial(directory)


@pytest.mark.parametrize("sync", [True, False], ids=["sync", "no sync"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", [*CHANGES, "batch"])
def test_at_every_system_call(
    trial: Trial, name: str, size: int, sync: bool, count: Callable[..., None]
) -> None:
    before = records(size)
    for act, seen in NEIGHBOURS.values():
        allowed = [seen(state) for state in states(before, name)]
        nth, survived = 0, False
        while not survived:
            nth += 1
            trial.prepare(before)
            pool = trial.open(sync=sync)
            pool.count()
            survived = run_until(nth, lambda pool=pool: change(pool, name))  # type: ignore[misc]
            pool.close()
            act(trial.path)
            found = trial.found()
            good = found == allowed[-1] if survived else found in allowed
            count("kills at a system call", points=not survived, broken=not good)
            assert good, (name, size, nth, [key_of(record) for record in found])


def test_at_any_moment(trial: Trial, count: Callable[..., None]) -> None:
    """A worker sets and deletes as fast as it can, and acknowledges through a pipe."""
    chance = random.Random(1)
    before = records(200)
    trial.prepare(before)
    state, number = before, 0
    for _ in range(1500):
        read, write = os.pipe()
        child = os.fork()
        if not child:
            _work(trial, number, write)
        os.close(write)
        select.select([read], [], [])
        select.select([], [], [], chance.random() * 0.004)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        acknowledged = number
        while ack := os.read(read, 8):
            acknowledged = int.from_bytes(ack, "little")
        os.close(read)
        for done in range(number, acknowledged):
            state = _after(state, done)
        allowed = [state, _after(state, acknowledged)]
        found = trial.found()
        count("kills at any moment", points=1, broken=found not in allowed)
        assert found in allowed, [key_of(record) for record in found]
        number = acknowledged + allowed.index(found)
        state = found


def _work(trial: Trial, number: int, acknowledge: int) -> None:
    try:
        pool = trial.open()
        os.write(acknowledge, number.to_bytes(8, "little"))
        while True:
            change(pool, _step(number))
            number += 1
            os.write(acknowledge, number.to_bytes(8, "little"))
    finally:
        os._exit(1)


def _step(number: int) -> str:
    names = [*CHANGES]
    return names[number % len(names)]


def _after(state: Records, number: int) -> Records:
    return states(state, _step(number))[-1]
