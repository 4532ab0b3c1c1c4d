"""Widths and cuts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hv_kvp_daemon.cli import tables, terminal
from hv_kvp_daemon.wire.text import printable, width

safe = st.text().map(printable)


@given(safe, st.integers(0, 60))
def test_a_cut_text_is_never_wider_than_its_space(text: str, space: int) -> None:
    cut = terminal.fit(text, space)
    assert width(cut) <= space
    assert cut == text or width(text) > space


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


def test_a_control_character_is_written_as_python_writes_it() -> None:
    assert terminal.text(b"a\x1b\n\xc2\x9b\xe2\x80\xae\xff") == "a\\x1b\\n\\x9b\\u202e\\xff"
