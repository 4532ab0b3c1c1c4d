# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Fixtures that build the lab and run the VMs of all selected scenarios, some at a time."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.driver import machine

# The machines that run these tests have two processors; more VMs at a time would only
# slow each other down.
AT_A_TIME = 2


@pytest.fixture(scope="session")
def lab() -> None:
    """Build the lab; if that fails, every driver test fails, and none is skipped."""
    try:
        machine.build()
    except machine.LabError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(scope="session")
def outcomes(
    request: pytest.FixtureRequest, lab: None
) -> Iterator[dict[str, Future[machine.Outcome]]]:
    """Start every scenario that the tests of this session use; the outcomes by scenario id."""
    chosen: dict[str, machine.Scenario] = {}
    for item in request.session.items:
        parameters = getattr(getattr(item, "callspec", None), "params", {})
        if scenario := parameters.get("scenario"):
            chosen[scenario.id] = scenario
    vms: list[machine.VM] = []
    pool = ThreadPoolExecutor(AT_A_TIME)
    try:
        # Long scenarios first, so that none of them runs alone at the end.
        yield {
            scenario.id: pool.submit(machine.run, scenario, on_start=vms.append)
            for scenario in sorted(chosen.values(), key=lambda scenario: -scenario.seconds)
        }
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for vm in vms:
            machine.stop(vm)
        pool.shutdown()
