# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Cutting text to a number of columns."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hv_kvp_daemon.wire.columns import fit
from hv_kvp_daemon.wire.text import printable, width

safe = st.text().map(printable)


@given(safe, st.integers(0, 60))
def test_a_cut_text_is_never_wider_than_its_space(text: str, space: int) -> None:
    cut = fit(text, space)
    assert width(cut) <= space
    assert cut == text or width(text) > space


def test_a_wide_character_that_does_not_fit_is_left_out() -> None:
    assert fit("広い幅", 5) == "広い…"
    assert fit("広い幅", 4) == "広…"


def test_the_mark_itself_is_cut_where_there_is_no_room() -> None:
    assert fit("text", 2, "...") == ".."
    assert fit("text", 0) == ""
