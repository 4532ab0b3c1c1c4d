# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Values over several records."""

from __future__ import annotations

import json

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


def records(*pairs: tuple[bytes, bytes]) -> list[Record]:
    return [Record(*pair) for pair in pairs]


@pytest.mark.parametrize(
    ("pairs", "value"),
    [
        ([(b"k.0", b"a"), (b"k0", b"b")], b"a"),
        ([(b"k0", b"b"), (b"k._0", b"c"), (b"k._1", b"d")], b"cd"),
        ([(b"k0", b"b"), (b"k|0", b"e")], b"e"),
        ([(b"k", b"whole"), (b"k.0", b"a")], b"whole"),
        ([(b"k", b""), (b"k.0", b"a")], b"a"),
        ([(b"k", b""), (b"j.0", b"a")], b""),
        ([(b"k.0", b"a"), (b"k.0", b"of another program"), (b"k.1", b"b")], b"ab"),
        ([(b"k|0", b"a"), (b"k|1", b'{"msg_i":1,"msg":"b"}')], b'a{"msg_i":1,"msg":"b"}'),
    ],
)
def test_the_split_that_is_there_is_joined(
    pairs: list[tuple[bytes, bytes]], value: bytes
) -> None:
    """Defect C1."""
    assert split_values.joined(records(*pairs), b"k") == value


@pytest.mark.parametrize(
    ("sizes", "joined"),
    [
        ((1022, 1022, 5), 2049),
        ((1022, 1022), 2044),
        ((1022,), 1022),
        ((5, 5), 5),
        ((1023, 5), 1023),
    ],
)
def test_equal_keys_are_joined_only_as_azure_init_splits(
    sizes: tuple[int, ...], joined: int
) -> None:
    """Defect C1."""
    pairs = [(b"k", bytes([65 + at]) * size) for at, size in enumerate(sizes)]
    value = split_values.joined(records(*pairs), b"k")
    assert value == b"".join(value for _, value in pairs)[:joined]


@given(st.text(max_size=60), st.integers(1, 20))
def test_the_parts_of_an_event_of_cloud_init_are_the_event_again(
    message: str, room: int
) -> None:
    """Defect C1: each part is an object with a piece of the escaped message.

    A piece may end within an escape.
    """
    about = {"name": '"msg":"', "type": "start", "ts": "2026-11-26T07:00:00+00:00"}
    escaped = json.dumps(message)[1:-1]
    pieces = [escaped[at : at + room] for at in range(0, len(escaped), room)] or [""]
    pairs = [
        (
            b"CLOUD_INIT|1|start|x|%d" % number,
            (
                json.dumps({**about, "msg_i": number, "msg": ""}, separators=(",", ":"))[:-2]
                + piece
                + '"}'
            ).encode(),
        )
        for number, piece in enumerate(pieces)
    ]
    value = split_values.joined(records(*reversed(pairs)), b"CLOUD_INIT|1|start|x")
    assert value is not None
    assert json.loads(value) == {**about, "msg": message}
