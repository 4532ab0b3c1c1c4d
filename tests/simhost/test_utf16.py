# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Text conversion as the driver does it."""

from __future__ import annotations

import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hv_kvp_daemon.simhost.utf16 import to_utf8, to_utf16, wide
from hv_kvp_daemon.wire.errors import WireError
from hv_kvp_daemon.wire.text import utf16_units

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
any_units = st.lists(
    # Surrogates and NUL often enough to follow each other.
    st.one_of(st.integers(0, 0xFFFF), st.integers(0xD7FF, 0xE000), st.sampled_from([0, 0x41])),
    max_size=40,
)


def unit_by_unit(numbers: list[int]) -> str:
    """The text that the driver makes of UTF-16 units, by the rules of fs/nls/nls_base.c."""
    text = ""
    while numbers:
        first, *numbers = numbers
        if not first:
            break
        if 0xD800 <= first < 0xDC00 and numbers and 0xDC00 <= numbers[0] < 0xE000:
            second, *numbers = numbers
            text += chr(0x10000 + ((first - 0xD800) << 10) + second - 0xDC00)
        elif not 0xD800 <= first < 0xE000:
            text += chr(first)
    return text


@given(texts)
def test_any_text_of_a_host_arrives_as_utf8(text: str) -> None:
    assert to_utf8(wide(text), 10_000) == text.encode()


@given(texts)
def test_any_text_of_the_daemon_arrives_as_utf16(text: str) -> None:
    assert to_utf16(text.encode(), 10_000) == text.encode("utf-16-le")


@given(any_units)
@example([0xD83D, 0xD83D, 0xDC27])
@example([0xD83D])
@example([0xDC27, 0x41])
@example([0xD83D, 0])
def test_unpaired_surrogates_are_skipped_and_a_nul_ends_the_text(numbers: list[int]) -> None:
    raw = struct.pack(f"<{len(numbers)}H", *numbers)
    assert to_utf8(raw, 10_000) == unit_by_unit(numbers).encode()


@given(texts, st.integers(1, 60))
def test_utf8_ends_before_the_first_character_that_does_not_fit(text: str, room: int) -> None:
    got = to_utf8(wide(text), room).decode()
    rest = text[len(got) :]
    assert text.startswith(got)
    assert len(got.encode()) <= room
    assert not rest or len((got + rest[0]).encode()) > room


@given(texts, st.integers(1, 60))
def test_utf16_ends_before_the_first_character_that_does_not_fit(text: str, room: int) -> None:
    got = to_utf16(text.encode(), room).decode("utf-16-le")
    rest = text[len(got) :]
    assert text.startswith(got)
    assert utf16_units(got) <= room
    assert not rest or utf16_units(got + rest[0]) > room


@pytest.mark.parametrize(
    "text",
    [
        b"caf\xe9",
        b"\x80",
        b"cut \xf0\x9f\x90",
        b"overlong \xc0\xaf",
        b"surrogate \xed\xa0\x80",
        b"beyond \xf4\x90\x80\x80",
    ],
)
def test_a_reply_that_is_no_utf8_is_refused(text: bytes) -> None:
    with pytest.raises(WireError, match="invalid UTF-8 at byte"):
        to_utf16(text, 254)
