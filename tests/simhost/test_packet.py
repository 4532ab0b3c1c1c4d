# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The messages of a host: conversion for the daemon, and of its reply for the host."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hv_kvp_daemon.simhost.packet import IP_VALUE, to_daemon, to_host
from hv_kvp_daemon.simhost.simulated_host import key_body, value_body
from hv_kvp_daemon.simhost.utf16 import wide
from hv_kvp_daemon.wire.errors import WireError
from hv_kvp_daemon.wire.ipinfo import IPADDR_VALUE, IpInfo, decode_ip, encode_ip_reply
from hv_kvp_daemon.wire.message import (
    ENUMERATE_KEY,
    ENUMERATE_VALUE,
    MESSAGE_SIZE,
    FieldError,
    Request,
    decode_request,
    encode_pair,
    encode_status,
)
from hv_kvp_daemon.wire.uapi import (
    HV_E_FAIL,
    HV_S_OK,
    KVP_OP_DELETE,
    KVP_OP_ENUMERATE,
    KVP_OP_GET,
    KVP_OP_GET_IP_INFO,
    KVP_OP_SET,
    KVP_OP_SET_IP_INFO,
    REG_SZ,
    REG_U32,
    REG_U64,
)

REG_BINARY = 3


def packet(operation: int, pool: int = 0, body: bytes = b"") -> bytes:
    return (bytes([operation, pool, 0, 0]) + body).ljust(MESSAGE_SIZE, b"\0")


def ip_packet(operation: int, *fields: object) -> bytes:
    raw = [wide(field) if isinstance(field, str) else field for field in fields]
    return (bytes([operation, 0]) + IPADDR_VALUE.pack(*raw)).ljust(MESSAGE_SIZE, b"\0")


ASKED_IP = ip_packet(KVP_OP_GET_IP_INFO, "{guid}", 0, 0, "", "", "", "")


def test_set_arrives_as_text() -> None:
    body = value_body(wide("clé"), wide("naïve 🐧"))
    request = decode_request(to_daemon(packet(KVP_OP_SET, 3, body)))
    assert request == Request(KVP_OP_SET, 3, "clé".encode(), "naïve 🐧".encode())


@given(st.integers(0, 2**32 - 1))
def test_a_u32_arrives_as_decimal_text(number: int) -> None:
    body = value_body(wide("n"), number.to_bytes(4, "little"), kind=REG_U32)
    assert decode_request(to_daemon(packet(KVP_OP_SET, 0, body))).value == b"%d" % number


@given(st.integers(0, 2**64 - 1))
def test_a_u64_arrives_as_decimal_text(number: int) -> None:
    body = value_body(wide("n"), number.to_bytes(8, "little"), kind=REG_U64)
    assert decode_request(to_daemon(packet(KVP_OP_SET, 0, body))).value == b"%d" % number


def test_a_value_of_unknown_type_arrives_with_size_0() -> None:
    body = value_body(wide("key"), b"\1\2", kind=REG_BINARY)
    with pytest.raises(FieldError, match="value_size 0"):
        decode_request(to_daemon(packet(KVP_OP_SET, 0, body)))


@pytest.mark.parametrize("operation", [KVP_OP_GET, KVP_OP_DELETE])
def test_get_and_delete_carry_the_key(operation: int) -> None:
    key = wide("clé")
    body = value_body(key, b"") if operation == KVP_OP_GET else key_body(key)
    request = decode_request(to_daemon(packet(operation, 1, body)))
    assert request == Request(operation, 1, "clé".encode())


@given(st.integers(0, 2**32 - 1))
def test_enumerate_carries_the_index(index: int) -> None:
    message = to_daemon(packet(KVP_OP_ENUMERATE, 2, struct.pack("<I", index)))
    assert decode_request(message) == Request(KVP_OP_ENUMERATE, 2, index=index)


@given(st.integers(6, 255), st.binary(max_size=100))
def test_an_unknown_operation_carries_its_header_alone(operation: int, body: bytes) -> None:
    message = to_daemon(packet(operation, 7, body))
    assert message == bytes([operation, 7]).ljust(MESSAGE_SIZE, b"\0")


def test_a_pair_reaches_the_host() -> None:
    status, answer = to_host(packet(KVP_OP_ENUMERATE), encode_pair("clé".encode(), b"value"))
    assert status == HV_S_OK
    assert struct.unpack_from("<III", answer, 8) == (REG_SZ, 8, 12)
    assert answer[20:28] == wide("clé")
    assert answer[532:544] == wide("value")


def test_a_value_is_where_a_host_reads_that_of_get() -> None:
    asked = packet(KVP_OP_GET, 0, value_body(wide("key"), b""))
    status, answer = to_host(asked, encode_pair(b"key", b"value"))
    assert status == HV_S_OK
    assert struct.unpack_from("<III", answer, 4) == (REG_SZ, 8, 12)
    assert answer[16:24] == wide("key")
    assert answer[528:540] == wide("value")


@pytest.mark.parametrize("operation", range(7))
def test_with_an_error_the_host_gets_its_own_message_back(operation: int) -> None:
    asked = packet(operation, 1, b"\x07" * 100)
    assert to_host(asked, encode_status(HV_E_FAIL)) == (HV_E_FAIL, asked)


@pytest.mark.parametrize(("at", "size"), [(ENUMERATE_KEY, 512), (ENUMERATE_VALUE, 2048)])
def test_a_text_without_a_nul_is_refused(at: int, size: int) -> None:
    reply = bytearray(encode_pair(b"key", b"value"))
    reply[at : at + size] = b"x" * size
    with pytest.raises(WireError, match="no NUL"):
        to_host(packet(KVP_OP_ENUMERATE), bytes(reply))


@pytest.mark.parametrize("at", [ENUMERATE_KEY, ENUMERATE_VALUE])
def test_a_text_that_is_no_utf8_is_refused(at: int) -> None:
    reply = bytearray(encode_pair(b"key", b"value"))
    reply[at] = 0xFF
    with pytest.raises(WireError, match="invalid UTF-8"):
        to_host(packet(KVP_OP_ENUMERATE), bytes(reply))


@pytest.mark.parametrize("size", [0, 4, MESSAGE_SIZE - 1, MESSAGE_SIZE + 1])
def test_a_reply_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(WireError, match=f"{size} bytes"):
        to_host(packet(KVP_OP_SET), bytes(size))


def test_get_ip_info_carries_adapter_and_family_only() -> None:
    asked = ip_packet(KVP_OP_GET_IP_INFO, "{guid}", 1, 1, "1.2.3.4", "m", "g", "d")
    message = to_daemon(asked)
    assert message[0] == KVP_OP_GET_IP_INFO
    assert decode_ip(message) == IpInfo(b"{guid}", 1)


def test_set_ip_info_carries_everything() -> None:
    asked = ip_packet(KVP_OP_SET_IP_INFO, "{guid}", 3, 1, "10.0.0.1", "/24", "10.0.0.2", "::1")
    assert decode_ip(to_daemon(asked)) == IpInfo(
        b"{guid}", 3, 1, b"10.0.0.1", b"/24", b"10.0.0.2", b"::1"
    )


def test_a_configuration_reaches_the_host() -> None:
    info = IpInfo(b"{guid}", 3, 1, b"10.0.0.1", b"/24", b"10.0.0.2", b"::1")
    status, answer = to_host(ASKED_IP, encode_ip_reply(info))
    assert status == HV_S_OK
    fields = IPADDR_VALUE.unpack_from(answer, IP_VALUE)
    assert fields[1:3] == (3, 1)
    texts = [field.decode("utf-16-le").rstrip("\0") for field in (fields[0], *fields[3:])]
    assert texts == ["{guid}", "10.0.0.1", "/24", "10.0.0.2", "::1"]


def test_a_configuration_without_a_nul_is_refused() -> None:
    reply = bytearray(encode_ip_reply(IpInfo(b"{guid}")))
    reply[262 : 262 + 2048] = b"1" * 2048
    with pytest.raises(WireError, match="without a NUL in its 2048 bytes"):
        to_host(ASKED_IP, bytes(reply))
