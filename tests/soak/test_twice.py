"""A kill within a change, then neighbours, then a power cut while it is put in order.

A promise is broken where the next start finds neither what was before the change nor
what is after it, or anything else changed, be it by a byte.
"""

from __future__ import annotations

import random
import tempfile
from typing import TYPE_CHECKING

import pytest

from hv_kvp_daemon.pools import journal
from tests.pools.crash import Calls, Disk
from tests.pools.trial import NEIGHBOURS, Trial, key_of, records, states

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CHANGED = ("new long", "modify long", "delete first", "delete three", "delete middle")


@pytest.fixture
def trial() -> Iterator[Trial]:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        yield Trial(directory)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("size", [2, 60, 135])
@pytest.mark.parametrize("neighbour", NEIGHBOURS)
def test_a_power_cut_while_a_change_is_put_in_order(
    trial: Trial,
    neighbour: str,
    size: int,
    seed: int,
    count: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = records(size)
    act, seen = NEIGHBOURS[neighbour]
    chance = random.Random(f"{seed} {neighbour}")
    for name in CHANGED:
        allowed = [seen(state) for state in states(before, name)]
        nth, survived = 0, False
        while not survived:
            nth += 1
            second, made = 0, 1
            while second < made:
                second += 1
                first = Calls(nth, torn=chance.random() < 0.7)
                survived = trial.die(before, name, first, sync=True)
                act(trial.path)
                disk = Disk(trial.directory, second)
                trial.found(disk, sync=True)
                made = disk.made + 1 if disk.made == second else 0
                disk.lose_power(chance)
                with monkeypatch.context() as patch:
                    patch.setattr(journal, "boot", lambda: 2)
                    found = trial.found()
                good = found in allowed
                count("kills, and power cuts in mending", points=1, broken=not good)
                assert good, (name, nth, second, [key_of(record) for record in found])
