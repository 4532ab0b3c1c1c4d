# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Records of other programs: what is told of them, how often, and that they stay so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hv_kvp_daemon.pools.damage import INVALID, LEFTOVERS, NO_KEY, REPEATED, UNENDING, damage
from hv_kvp_daemon.wire.record import KEY_SIZE, RECORD_SIZE, VALUE_SIZE, encode

if TYPE_CHECKING:
    from collections.abc import Callable

    from hv_kvp_daemon.pools.pool import PoolFile

    MakePool = Callable[..., PoolFile]

VALUE = b"value".ljust(VALUE_SIZE, b"\0")
KEY = b"key".ljust(KEY_SIZE, b"\0")
DAMAGED = {
    NO_KEY: bytes(KEY_SIZE) + VALUE,
    UNENDING: b"k" * KEY_SIZE + VALUE,
    LEFTOVERS: b"key\0x".ljust(KEY_SIZE, b"\0") + VALUE,
    INVALID: KEY + b"\xff\xfe".ljust(VALUE_SIZE, b"\0"),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_each_kind_is_recognised(kind: str) -> None:
    assert damage(DAMAGED[kind]) == [kind]


@pytest.mark.parametrize(
    ("record", "kinds"),
    [
        (KEY + b"v" * VALUE_SIZE, [UNENDING]),
        (KEY + b"v\0".ljust(VALUE_SIZE, b"x"), [LEFTOVERS]),
        (KEY + bytes(VALUE_SIZE - 1) + b"x", [LEFTOVERS]),
        (b"\xe9".ljust(KEY_SIZE, b"\0") + VALUE, [INVALID]),
        (KEY + b"v\0\xff".ljust(VALUE_SIZE, b"\0"), [LEFTOVERS]),
        (b"\xff" * RECORD_SIZE, [UNENDING, INVALID, UNENDING, INVALID]),
        (bytes(RECORD_SIZE), [NO_KEY]),
    ],
)
def test_in_any_place(record: bytes, kinds: list[str]) -> None:
    assert damage(record) == kinds


@given(
    key=st.text(st.characters(min_codepoint=1, codec="utf-8"), min_size=1, max_size=120),
    value=st.text(st.characters(min_codepoint=1, codec="utf-8"), max_size=500),
)
def test_what_is_written_here_is_not_damaged(key: str, value: str) -> None:
    assert damage(encode(key.encode(), value.encode())) == []


def test_each_kind_is_told_once_and_the_bytes_stay(
    make_pool: MakePool, reports: list[str]
) -> None:
    pool = make_pool(tell_damage=True)
    raw = encode(b"sound", b"") + b"".join(DAMAGED.values()) * 2
    with open(pool.path, "wb") as file:
        file.write(raw)
    for _ in range(3):
        for number in range(9):
            assert pool.read(number) is not None
    assert [report.partition(";")[0] for report in reports] == [
        f"pool 1 ({pool.path}): record {number} has {kind}"
        for number, kind in enumerate(DAMAGED, start=1)
    ]
    pool.append(b"new", b"")
    with open(pool.path, "rb") as file:
        assert file.read() == raw + encode(b"new", b"")
    assert len(reports) == len(DAMAGED)


def test_a_key_that_stands_twice_is_told_when_keys_are_looked_up(
    make_pool: MakePool, reports: list[str]
) -> None:
    pool = make_pool(tell_damage=True)
    for value in (b"first", b"second"):
        pool.append(b"key", value)
    for _ in range(4):
        assert pool.find(b"key") == b"first"
    assert [report.partition(";")[0] for report in reports] == [
        f"pool 1 ({pool.path}): record 1 has {REPEATED}"
    ]


def test_programs_that_use_the_library_are_told_nothing(
    make_pool: MakePool, reports: list[str]
) -> None:
    pool = make_pool()
    with open(pool.path, "wb") as file:
        file.write(b"".join(DAMAGED.values()))
    assert pool.read(0) is not None
    assert reports == []
