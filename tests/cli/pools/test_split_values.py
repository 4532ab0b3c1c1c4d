"""Values over several records."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hv_kvp_daemon.cli.pools import split_values
from hv_kvp_daemon.service.options import UsageError
from hv_kvp_daemon.wire.record import Record
from hv_kvp_daemon.wire.text import utf16_units

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])).map(
    lambda text: (text * 400)[:5000]
)


@given(TEXT)
def test_the_parts_are_joined_to_the_value_and_fit_a_host(text: str) -> None:
    parts = split_values.split(b"k", text.encode())
    for key, value in parts:
        assert utf16_units(value.decode()) <= 1022
        assert split_values.is_part(key, b"k")
        split_values.check_host_sees_all(key, value)
    assert split_values.joined([Record(*part) for part in parts], b"k") == text.encode()


def test_a_short_value_keeps_its_key() -> None:
    assert split_values.split(b"k", b"v") == [(b"k", b"v")]


@pytest.mark.parametrize("value", [b"\xff" * 3000, b"a\0" * 2000])
def test_bytes_that_are_not_text_are_refused(value: bytes) -> None:
    with pytest.raises(UsageError, match="base64"):
        split_values.split(b"k", value)


def test_a_key_without_room_for_a_number_is_refused() -> None:
    with pytest.raises(UsageError, match="256 UTF-16 units, a host sees 254"):
        split_values.split(b"k" * 254, b"v" * 2000)


@pytest.mark.parametrize(
    ("candidate", "is_part"),
    [
        (b"k", True),
        (b"k.0", True),
        (b"k.12", True),
        (b"k.", False),
        (b"k.x", False),
        (b"k0", False),
        (b"x.0", False),
        (b"k.0.0", False),
    ],
)
def test_parts_are_recognized_by_their_names(candidate: bytes, is_part: bool) -> None:
    assert split_values.is_part(candidate, b"k") is is_part


def test_nothing_is_joined_where_neither_the_key_nor_a_part_is_there() -> None:
    assert split_values.joined([Record(b"k.1", b"v")], b"k") is None
