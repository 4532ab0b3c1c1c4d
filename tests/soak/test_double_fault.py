# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""A kill within a change, then neighbours, then a power cut while it is put in order.

A promise is broken where the next start finds neither what was before the change nor
what is after it, or anything else changed, be it by a byte.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from tests.pools.crash_cases import (
    NEIGHBOURS,
    key_of,
    killed_then_powerless,
    records,
    trial_in_memory,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.pools.crash_cases import Trial

CHANGED = (
    *("new long", "modify long", "modify three", "modify three shortly"),
    *("delete first", "delete three", "delete middle"),
)


@pytest.fixture
def trial() -> Iterator[Trial]:
    with trial_in_memory() as trial:
        yield trial


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("size", [2, 60, 135])
@pytest.mark.parametrize("neighbour", NEIGHBOURS)
def test_at_every_call_of_both(
    trial: Trial, neighbour: str, size: int, seed: int, count: Callable[..., None]
) -> None:
    chance = random.Random(f"{seed} {neighbour}")
    for name in CHANGED:
        for calls, found, allowed in killed_then_powerless(
            trial, records(size), name, neighbour, chance
        ):
            good = found in allowed
            count("kills, and power cuts in the recovery", points=1, broken=not good)
            assert good, (name, calls, [key_of(record) for record in found])
