"""The VMs of a session: all chosen scenarios, as many at a time as there is room for."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.driver import machine

# The machines that run these tests have two processors; more VMs at a time
# only slow each other down.
AT_A_TIME = 2


@pytest.fixture(scope="session")
def lab() -> None:
    """Build the lab; without it every driver test fails, none is skipped."""
    try:
        machine.build()
    except machine.LabError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(scope="session")
def outcomes(
    request: pytest.FixtureRequest, lab: None
) -> Iterator[dict[str, Future[machine.Outcome]]]:
    """Start every scenario that this session's tests will ask for, by its id."""
    chosen: dict[str, machine.Scenario] = {}
    for item in request.session.items:
        parameters = getattr(getattr(item, "callspec", None), "params", {})
        if scenario := parameters.get("scenario"):
            chosen[scenario.id] = scenario
    vms: list[machine.VM] = []
    pool = ThreadPoolExecutor(AT_A_TIME)
    try:
        # The long ones first, so that none of them is left alone at the end.
        yield {
            scenario.id: pool.submit(machine.run, scenario, on_start=vms.append)
            for scenario in sorted(chosen.values(), key=lambda scenario: -scenario.seconds)
        }
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for vm in vms:
            machine.stop(vm)
        pool.shutdown()
