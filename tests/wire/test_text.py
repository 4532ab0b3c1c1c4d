# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Text for the driver is valid UTF-8 and leaves room for a NUL; text for people is safe."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hv_kvp_daemon.wire.text import (
    fitting,
    host_key,
    host_text,
    host_value,
    printable,
    utf16_units,
    width,
)


@given(st.binary(max_size=3000))
def test_arbitrary_bytes_become_text_that_the_driver_can_take(raw: bytes) -> None:
    for cut, units, size in ((host_key(raw), 254, 511), (host_value(raw), 1022, 2047)):
        text = cut.decode()
        assert len(cut) <= size
        assert utf16_units(text) <= units
        assert "\0" not in text


@given(st.text(max_size=200).filter(lambda text: "\0" not in text))
def test_text_that_fits_is_left_alone(text: str) -> None:
    assert host_value(text.encode()) == text.encode()


@given(st.text(min_size=1, max_size=60), st.integers(0, 40), st.integers(0, 80))
def test_a_cut_is_the_longest_that_fits(text: str, units: int, size: int) -> None:
    text = text.replace("\0", "x")
    cut = host_text(text.encode(), units, size).decode()
    assert text.startswith(cut)
    longer = text[: len(cut) + 1]
    assert cut == text or utf16_units(longer) > units or len(longer.encode()) > size


def test_a_character_is_never_split() -> None:
    smile = "\N{GRINNING FACE}"
    assert host_key((smile * 200).encode()).decode() == smile * 127
    assert host_key(("a" + smile * 200).encode()).decode() == "a" + smile * 126


def test_invalid_bytes_are_shown_as_replacement_characters() -> None:
    """P24: one such record hid all later records."""
    assert host_value(b"caf\xe9!").decode() == "caf\N{REPLACEMENT CHARACTER}!"
    assert host_value(b"\xed\xa0\x80").decode() == "\N{REPLACEMENT CHARACTER}" * 3


def test_text_ends_at_the_first_nul() -> None:
    assert host_value(b"seen\0hidden") == b"seen"


@given(st.text())
def test_a_text_is_one_line_that_drives_no_terminal(text: str) -> None:
    line = printable(text)
    assert line.isprintable() or not line
    if text.isprintable():
        assert line == text


def test_wide_and_combining_characters_take_two_columns_and_none() -> None:
    assert width("plain") == 5
    assert width("\u4e2d\u6587e\u0301") == 5
    # A vowel sign has no combining class, and still no column.
    assert width("\u0915\u0941") == 1


def test_text_that_fits_exactly_is_not_cut() -> None:
    assert fitting(["aaaa", "bbbb"], 9) == 2
    assert fitting(["aaaa", "bbbb"], 8) == 1
    assert fitting([], 0) == 0
