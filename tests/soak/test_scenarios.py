# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Scenarios of the driver tests that have numbers, with higher ones.

They meet by chance what `make driver-test` stretches or does a few times, such as the
moment in which the driver can be reached and is not ready.
"""

from __future__ import annotations

import dataclasses

import pytest

from tests.driver import machine

#: Variables in a scenario's environment.
NUMBERS = {
    "early_driver": {"RELOADS": "40", "STEPS": "100", "REQUESTS": "100"},
    "booted": {"LOADS": "20"},
    "hostile_host": {"REQUESTS": "20000"},
}
SECONDS = 1800


@pytest.fixture(scope="module")
def lab() -> None:
    machine.build()


@pytest.mark.parametrize(
    "scenario",
    [scenario for name in NUMBERS for scenario in machine.read_scenario(name)],
    ids=lambda scenario: scenario.id,
)
def test_a_scenario_passes_with_high_numbers(lab: None, scenario: machine.Scenario) -> None:
    environment = {**scenario.environment, **NUMBERS[scenario.name]}
    longer = dataclasses.replace(scenario, environment=environment, seconds=SECONDS)
    outcome = machine.run(longer)
    assert not outcome.problems, outcome.report()
