# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The driver is loaded again and again, and is never spoken to before it is ready.

Either the daemon waits for it, or udev starts the installed service when it appears.  The
driver tests do this a few times; here it is done often enough to meet the moment in
which the driver can be reached and is not ready also where it is not stretched.
"""

from __future__ import annotations

import dataclasses

import pytest

from tests.driver import machine

#: The number of loads, by scenario and in the scenario's own environment.
LOADS = {"early_driver": {"RELOADS": "40"}, "booted": {"LOADS": "20"}}


@pytest.fixture(scope="module")
def lab() -> None:
    machine.build()


@pytest.mark.parametrize(
    "scenario",
    [scenario for name in LOADS for scenario in machine.read_scenario(name)],
    ids=lambda scenario: scenario.id,
)
def test_a_driver_that_is_loaded_again_is_served_each_time(
    lab: None, scenario: machine.Scenario
) -> None:
    environment = {**scenario.environment, **LOADS[scenario.name]}
    outcome = machine.run(dataclasses.replace(scenario, environment=environment))
    assert not outcome.problems, outcome.report()
