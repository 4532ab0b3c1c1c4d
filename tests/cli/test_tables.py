# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Tables on a terminal."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hv_kvp_daemon.cli import tables
from hv_kvp_daemon.wire.text import printable, width

safe = st.text().map(printable)


@given(st.lists(st.tuples(safe, safe, safe), min_size=1, max_size=5), st.integers(1, 120))
def test_no_line_of_a_table_is_wider_than_the_terminal(
    rows: list[tuple[str, str, str]], space: int
) -> None:
    assert all(width(line) <= space for line in tables.lines(rows, space))


@given(st.lists(st.tuples(safe, safe), min_size=1, max_size=5))
def test_what_fits_is_not_cut(rows: list[tuple[str, str]]) -> None:
    lines = tables.lines(rows, 10_000)
    for (key, value), line in zip(rows, lines, strict=True):
        assert line.startswith(key.rstrip())
        assert line.endswith(value.rstrip())


def test_short_columns_stay_whole_when_a_long_one_is_cut() -> None:
    assert tables.lines([("guest", "k" * 10, "v" * 100)], 40) == [
        "guest  kkkkkkkkkk  " + "v" * 20 + "…"
    ]
