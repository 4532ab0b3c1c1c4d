# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Each scenario in a VM of its own, with the kernel's own driver."""

from __future__ import annotations

from concurrent.futures import Future

import pytest

from tests.driver import machine


# Each VM has its own time limit.
@pytest.mark.timeout(0)
@pytest.mark.parametrize("scenario", machine.scenarios(), ids=lambda scenario: scenario.id)
def test_driver(
    scenario: machine.Scenario, outcomes: dict[str, Future[machine.Outcome]]
) -> None:
    outcome = outcomes[scenario.id].result()
    if outcome.problems:
        pytest.fail(outcome.report(), pytrace=False)
