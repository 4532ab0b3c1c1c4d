# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Modeled kills, power cuts and faults at every call, of which `make test` has a sample."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cli.pools import test_crashes as commands
from tests.cli.pools.edit_cases import CASES
from tests.pools import test_edit as batches
from tests.pools import test_kills as changes
from tests.pools.crash_cases import SIZES, trial_in_memory
from tests.pools.test_undo_faults import SECOND

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.pools.crash_cases import Trial

TORN = pytest.mark.parametrize("torn", [False, True], ids=["between calls", "within a write"])


@pytest.fixture
def trial() -> Iterator[Trial]:
    with trial_in_memory() as trial:
        yield trial


@TORN
@pytest.mark.parametrize("neighbour", changes.BESIDE_RECOVERY)
def test_a_kill_in_a_change_and_one_in_its_recovery(
    trial: Trial, neighbour: str, torn: bool
) -> None:
    changes.kill_twice(trial, neighbour, torn=torn)


@pytest.mark.parametrize("size", SIZES)
def test_a_power_cut_in_a_change(trial: Trial, size: int) -> None:
    changes.cut_power(trial, size, times=10)


@pytest.mark.parametrize(("name", "size"), changes.FAILING)
def test_a_power_cut_after_a_fault(trial: Trial, name: str, size: int) -> None:
    changes.cut_power_after_a_fault(trial, name, size, times=10)


@pytest.mark.parametrize("then", SECOND)
def test_two_faults_in_a_batch(trial: Trial, then: str) -> None:
    batches.fail_twice(trial, then)


@pytest.mark.parametrize("neighbour", batches.BESIDE_BATCH)
@pytest.mark.parametrize("batch", batches.BATCHES)
def test_a_kill_in_a_batch_and_a_power_cut_in_its_recovery(
    trial: Trial, batch: str, neighbour: str
) -> None:
    batches.kill_then_cut_power(trial, batch, neighbour)


@TORN
@pytest.mark.parametrize("size", commands.SIZES)
@pytest.mark.parametrize("name", CASES)
def test_a_kill_in_a_command(trial: Trial, name: str, size: int, torn: bool) -> None:
    commands.kill(trial, name, size, torn=torn)


@pytest.mark.parametrize("size", commands.SIZES)
@pytest.mark.parametrize("name", CASES)
def test_a_power_cut_in_a_command(trial: Trial, name: str, size: int) -> None:
    commands.cut_power(trial, name, size)
