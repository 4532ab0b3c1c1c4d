# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Attributes are parsed by a policy, and every length is checked."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hv_kvp_daemon.wire import rtattr
from hv_kvp_daemon.wire.errors import WireError
from hv_kvp_daemon.wire.uapi import NLA_F_NESTED, NLA_F_NET_BYTEORDER

NAME, ADDRESS, FLAGS, STATE = 1, 2, 3, 4
POLICY: rtattr.Policy = {
    NAME: ("NAME", rtattr.text, True),
    ADDRESS: ("ADDRESS", bytes, False),
    FLAGS: ("FLAGS", rtattr.u32, False),
    STATE: ("STATE", rtattr.u8, False),
}
SIZES = {FLAGS: 4, STATE: 1}
EVERYTHING: rtattr.Policy = {
    number: (f"attribute {number}", bytes, False) for number in range(0x4000)
}
ETH0 = rtattr.pack(NAME, b"eth0\0")


@given(st.dictionaries(st.integers(0, 0x3FFF), st.binary(max_size=30), max_size=8))
def test_what_is_packed_is_parsed_again(values: dict[int, bytes]) -> None:
    payload = b"".join(rtattr.pack(number, value) for number, value in values.items())
    assert len(payload) % 4 == 0
    assert rtattr.parse(payload, EVERYTHING) == values


@given(st.binary(max_size=80))
def test_arbitrary_bytes_raise_nothing_but_a_wire_error(noise: bytes) -> None:
    for payload in (noise, ETH0 + noise):
        for policy in (POLICY, EVERYTHING):
            try:
                found = rtattr.parse(payload, policy)
            except WireError:
                continue
            assert set(found) <= set(policy)


@given(st.binary(max_size=20))
def test_arbitrary_attributes_raise_nothing_but_a_wire_error(noise: bytes) -> None:
    for number, (name, _, _) in POLICY.items():
        payload = ETH0 + rtattr.pack(number, noise)
        size = SIZES.get(number, len(noise))
        if len(noise) == size:
            assert number in rtattr.parse(payload, POLICY)
        else:
            message = f"{name} of {len(noise)} bytes: unpack requires a buffer of {size} byte"
            with pytest.raises(WireError, match=message):
                rtattr.parse(payload, POLICY)


def test_each_kind_gives_its_value() -> None:
    payload = ETH0 + rtattr.pack(ADDRESS, b"\x0a\x00\x00\x01")
    payload += rtattr.pack(FLAGS, struct.pack("=I", 0x80)) + rtattr.pack(STATE, b"\6")
    assert rtattr.parse(payload, POLICY) == {
        NAME: "eth0",
        ADDRESS: b"\x0a\x00\x00\x01",
        FLAGS: 0x80,
        STATE: 6,
    }


@pytest.mark.parametrize(
    ("value", "name"),
    [(b"eth0", "eth0"), (b"eth0\0x", "eth0"), (b"\0", ""), (b"\xff\0", "\udcff")],
)
def test_a_name_ends_at_its_nul_and_may_hold_any_byte(value: bytes, name: str) -> None:
    assert rtattr.parse(rtattr.pack(NAME, value), POLICY) == {NAME: name}


def test_an_attribute_that_the_policy_does_not_name_is_passed_over() -> None:
    assert rtattr.parse(rtattr.pack(99, b"new") + ETH0, POLICY) == {NAME: "eth0"}


def test_the_last_of_two_attributes_with_one_number_counts() -> None:
    assert rtattr.parse(ETH0 + rtattr.pack(NAME, b"eth1\0"), POLICY) == {NAME: "eth1"}


@pytest.mark.parametrize("flag", [NLA_F_NESTED, NLA_F_NET_BYTEORDER])
def test_the_flag_bits_are_not_part_of_the_number(flag: int) -> None:
    assert rtattr.parse(rtattr.pack(NAME | flag, b"eth0\0"), POLICY) == {NAME: "eth0"}


@pytest.mark.parametrize("size", [1, 2, 3])
def test_less_than_a_header_after_the_last_attribute_is_ignored(size: int) -> None:
    assert rtattr.parse(ETH0 + b"\xff" * size, POLICY) == {NAME: "eth0"}


@pytest.mark.parametrize("length", [0, 3, 10, 0xFFFF])
def test_a_length_that_lies_is_refused_even_in_an_unknown_attribute(length: int) -> None:
    tail = struct.pack("=HH", length, 99) + b"value"
    with pytest.raises(WireError, match=f"length {length} at 12, allowed 4 to 9"):
        rtattr.parse(ETH0 + tail, POLICY)


def test_a_missing_attribute_is_named() -> None:
    with pytest.raises(WireError, match="NAME is missing"):
        rtattr.parse(b"", POLICY)


def test_an_attribute_too_long_for_its_header_is_refused() -> None:
    assert len(rtattr.pack(1, bytes(0xFFFF - 4))) == 0x10000
    with pytest.raises(WireError, match="65532 bytes"):
        rtattr.pack(1, bytes(0xFFFF - 3))
