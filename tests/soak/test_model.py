# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The model of ``tests/pools/test_deaths.py``, for longer."""

from __future__ import annotations

from hypothesis import settings

from tests.pools.test_deaths import Deaths


class ManyDeaths(Deaths):
    """A class of its own, as it has settings of its own."""


TestManyDeaths = ManyDeaths.TestCase
TestManyDeaths.settings = settings(max_examples=3000, stateful_step_count=50, deadline=None)
