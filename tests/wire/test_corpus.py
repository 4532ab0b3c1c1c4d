# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The decoders of all rooms take the bytes that fuzzing has found (`tests/soak/fuzz.py`)."""

from __future__ import annotations

import pytest

from tests.support.decoders import TARGETS, read_corpus


@pytest.mark.parametrize("name", TARGETS)
def test_a_decoder_takes_each_stored_input(name: str) -> None:
    inputs = [data for target, data in read_corpus() if target == name]
    assert inputs
    for data in inputs:
        TARGETS[name](data)
