# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The models of ``tests/pools``, for longer."""

from __future__ import annotations

from hypothesis import settings

from tests.pools.test_deaths import Deaths
from tests.pools.test_index import Ticks
from tests.pools.test_model import Pools


class ManyDeaths(Deaths):
    """A class of its own, as it has settings of its own."""


class ManyTicks(Ticks):
    """The same."""


class ManyPools(Pools):
    """The same."""


TestManyDeaths = ManyDeaths.TestCase
TestManyDeaths.settings = settings(max_examples=3000, stateful_step_count=50, deadline=None)
TestManyTicks = ManyTicks.TestCase
TestManyTicks.settings = settings(max_examples=1000, stateful_step_count=50, deadline=None)
TestManyPools = ManyPools.TestCase
TestManyPools.settings = settings(max_examples=1000, stateful_step_count=50, deadline=None)
