# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""All changes and faults of ``tests/pools/test_undo_faults.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.pools.crash_cases import trial_in_memory
from tests.pools.test_undo_faults import CHANGES, SECOND, fail_twice

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.pools.crash_cases import Trial


@pytest.fixture
def trial() -> Iterator[Trial]:
    with trial_in_memory() as trial:
        yield trial


@pytest.mark.parametrize("then", SECOND)
@pytest.mark.parametrize("name", CHANGES)
def test_a_fault_at_any_two_calls_leaves_the_change_done_or_not_begun(
    trial: Trial, name: str, then: str
) -> None:
    fail_twice(trial, name, then)
