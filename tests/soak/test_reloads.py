"""The driver is loaded again and again under a waiting daemon, and is never spoken to early.

The driver tests do this a few times; here it is done often enough to meet the moment in
which the driver can be reached and is not ready also where it is not stretched.
"""

from __future__ import annotations

import dataclasses

import pytest

from tests.driver import machine

RELOADS = 40


@pytest.fixture(scope="module")
def lab() -> None:
    machine.build()


@pytest.mark.parametrize(
    "scenario", list(machine.read_scenario("early_driver")), ids=lambda scenario: scenario.id
)
def test_a_driver_that_is_loaded_again_is_served_each_time(
    lab: None, scenario: machine.Scenario
) -> None:
    environment = {**scenario.environment, "RELOADS": str(RELOADS)}
    outcome = machine.run(dataclasses.replace(scenario, environment=environment))
    assert not outcome.problems, outcome.report()
