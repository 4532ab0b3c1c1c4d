# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Each scenario in a VM of its own, with the kernel's own driver."""

from __future__ import annotations

import dataclasses
import os
from concurrent.futures import Future

import pytest

from tests.driver import machine

#: Only the first checks of each scenario: enough for a kernel beside the one that has all.
SAMPLE = int(os.environ.get("SAMPLE", "0")) or None
#: What is left to ALL=1, a third of the time: the second transport of all scenarios but
#: `serving`, and `booted`, of which `service` has most.
LEFT_TO_ALL = {
    *("booted@netlink", "booted@chardev", "device_opened@netlink", "early_driver@chardev"),
    *("hostile_guest@auto", "hostile_guest@chardev", "hostile_host@chardev"),
    *("ip_info@chardev", "lisa@chardev", "old_register@netlink", "serving@auto"),
    "trouble@chardev",
}
EVERYTHING = machine.scenarios()
SCENARIOS = [
    dataclasses.replace(scenario, checks=scenario.checks[:SAMPLE])
    for scenario in EVERYTHING
    if SAMPLE or os.environ.get("ALL") or scenario.id not in LEFT_TO_ALL
]


def test_what_is_left_to_all_exists() -> None:
    assert {scenario.id for scenario in EVERYTHING} >= LEFT_TO_ALL


# Each VM has its own time limit.
@pytest.mark.timeout(0)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.id)
def test_driver(
    scenario: machine.Scenario, outcomes: dict[str, Future[machine.Outcome]]
) -> None:
    outcome = outcomes[scenario.id].result()
    if outcome.problems:
        pytest.fail(outcome.report(), pytrace=False)
