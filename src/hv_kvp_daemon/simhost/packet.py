# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The conversion between a host's messages and the daemon's, as hv_kvp.c does it.

A host sends ``struct hv_kvp_msg`` with texts in UTF-16, or for the operations 4 and 5
``struct hv_kvp_ip_msg``, whose header has two bytes instead of four.  The daemon gets and
sends `wire.message` with texts in UTF-8.  `to_daemon` is the driver's ``kvp_send_key``,
`to_host` its ``kvp_respond_to_host``.

The driver writes the answer over the host's own message.  An error status changes nothing
in it, and no NUL is written after a text, since the host has sent zeros there.
"""

from __future__ import annotations

import struct
from typing import Final

from hv_kvp_daemon.wire import uapi
from hv_kvp_daemon.wire.errors import WireError
from hv_kvp_daemon.wire.ipinfo import IPADDR_VALUE, IpInfo, encode_ip_request
from hv_kvp_daemon.wire.message import (
    BODY,
    DELETE_KEY,
    DELETE_KEY_SIZE,
    ENUMERATE_INDEX,
    EXCHANGE_KEY,
    EXCHANGE_KEY_SIZE,
    EXCHANGE_VALUE,
    EXCHANGE_VALUE_SIZE,
    MESSAGE_SIZE,
    Request,
    decode_reply,
    encode_request,
)
from hv_kvp_daemon.wire.text import (
    FIELD_MAX_KEY,
    FIELD_MAX_VALUE,
    HOST_MAX_KEY,
    HOST_MAX_VALUE,
)

from .utf16 import to_utf8, to_utf16

#: Where hv_kvp_ipaddr_value starts in struct hv_kvp_ip_msg.
IP_VALUE: Final = 2

#: The start of hv_kvp_exchg_msg_value: value_type, key_size, value_size.  key[512] and
#: value[2048] follow.
SIZES: Final = struct.Struct("<III")
KEY: Final = EXCHANGE_KEY - BODY
VALUE: Final = EXCHANGE_VALUE - BODY
#: hv_kvp_msg_get and hv_kvp_msg_set consist of that struct, hv_kvp_msg_enumerate of the
#: index and that struct.
GET_DATA: Final = BODY
ENUMERATE_DATA: Final = BODY + 4

_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")

#: UTF-16 units of the five texts in hv_kvp_ipaddr_value, in its order.  Towards the daemon
#: the driver limits each to as many bytes of UTF-8.
_IP_UNITS: Final = (
    uapi.MAX_ADAPTER_ID_SIZE,
    uapi.MAX_IP_ADDR_SIZE,
    uapi.MAX_IP_ADDR_SIZE,
    uapi.MAX_GATEWAY_SIZE,
    uapi.MAX_IP_ADDR_SIZE,
)


# The operations whose answer is a status alone.
_WITHOUT_ANSWER: Final = (uapi.KVP_OP_SET, uapi.KVP_OP_DELETE, uapi.KVP_OP_SET_IP_INFO)


def to_daemon(packet: bytes) -> bytes:
    """Return the message of 7432 bytes that the driver sends to the daemon."""
    operation, pool = packet[0], packet[1]
    if operation in (uapi.KVP_OP_GET_IP_INFO, uapi.KVP_OP_SET_IP_INFO):
        return _ip_to_daemon(packet)
    if operation == uapi.KVP_OP_SET:
        return _set_to_daemon(packet)
    request = Request(operation, pool)
    if operation == uapi.KVP_OP_GET:
        request.key = _text(packet, EXCHANGE_KEY_SIZE, EXCHANGE_KEY, FIELD_MAX_KEY)
    elif operation == uapi.KVP_OP_DELETE:
        request.key = _text(packet, DELETE_KEY_SIZE, DELETE_KEY, FIELD_MAX_KEY)
    elif operation == uapi.KVP_OP_ENUMERATE:
        request.index = _U32.unpack_from(packet, ENUMERATE_INDEX)[0]
    return encode_request(request)


def to_host(packet: bytes, reply: bytes) -> tuple[int, bytes]:
    """Return the status that a host gets for a reply, and its message with the answer.

    :raises WireError: the driver could not use the reply, because of its size, a text
        without a NUL (a kernel BUG), or one that is not UTF-8.
    """
    operation = packet[0]
    if len(reply) != MESSAGE_SIZE:
        raise WireError(f"a message has {len(reply)} bytes, not {MESSAGE_SIZE}")
    status: int = _U32.unpack_from(reply)[0]
    if status != uapi.HV_S_OK or operation in _WITHOUT_ANSWER:
        return status, packet
    answer = bytearray(packet)
    if operation == uapi.KVP_OP_GET_IP_INFO:
        _ip_to_host(answer, reply)
        return status, bytes(answer)
    pair = decode_reply(reply)
    value = to_utf16(pair.value, HOST_MAX_VALUE)
    data = GET_DATA
    key_size: int = _U32.unpack_from(packet, EXCHANGE_KEY_SIZE)[0]
    if operation != uapi.KVP_OP_GET:
        # The driver treats an unknown operation as ENUMERATE.
        data = ENUMERATE_DATA
        key = to_utf16(pair.key, HOST_MAX_KEY)
        key_size = len(key) + 2
        _write(answer, data + KEY, key)
    _write(answer, data + VALUE, value)
    SIZES.pack_into(answer, data, uapi.REG_SZ, key_size, len(value) + 2)
    return status, bytes(answer)


def _text(packet: bytes, size_at: int, at: int, room: int) -> bytes:
    # The size is in bytes, but the driver takes it for a number of units, so it reads a
    # text without a NUL on into the next field.
    size: int = _U32.unpack_from(packet, size_at)[0]
    return to_utf8(packet[at : at + 2 * size], room)


def _set_to_daemon(packet: bytes) -> bytes:
    request = Request(packet[0], packet[1])
    request.key = _text(packet, EXCHANGE_KEY_SIZE, EXCHANGE_KEY, FIELD_MAX_KEY)
    kind = _U32.unpack_from(packet, BODY)[0]
    if kind == uapi.REG_SZ:
        request.value = _text(packet, EXCHANGE_VALUE_SIZE, EXCHANGE_VALUE, FIELD_MAX_VALUE)
    elif kind == uapi.REG_U32:
        request.value = b"%d" % _U32.unpack_from(packet, EXCHANGE_VALUE)[0]
    elif kind == uapi.REG_U64:
        request.value = b"%d" % _U64.unpack_from(packet, EXCHANGE_VALUE)[0]
    message = bytearray(encode_request(request))
    if kind not in (uapi.REG_SZ, uapi.REG_U32, uapi.REG_U64):
        # The driver leaves value_size 0, by which the daemon recognizes an unknown type.
        _U32.pack_into(message, EXCHANGE_VALUE_SIZE, 0)
    return bytes(message)


def _ip_to_daemon(packet: bytes) -> bytes:
    adapter, family, dhcp, *lists = IPADDR_VALUE.unpack_from(packet, IP_VALUE)
    info = IpInfo(to_utf8(adapter, uapi.MAX_ADAPTER_ID_SIZE), family)
    if packet[0] == uapi.KVP_OP_SET_IP_INFO:
        info.dhcp_enabled = dhcp
        info.ip_addr, info.sub_net, info.gate_way, info.dns_addr = (
            to_utf8(text, room) for text, room in zip(lists, _IP_UNITS[1:], strict=True)
        )
    message = bytearray(encode_ip_request(info, packet[0]))
    message[1] = packet[1]
    return bytes(message)


def _ip_to_host(answer: bytearray, reply: bytes) -> None:
    adapter, family, dhcp, *lists = IPADDR_VALUE.unpack_from(reply, BODY)
    at = IP_VALUE
    for field, room in zip((adapter, *lists), _IP_UNITS, strict=True):
        text, nul, _ = field.partition(b"\0")
        if not nul:
            raise WireError(f"a text without a NUL in its {len(field)} bytes")
        _write(answer, at, to_utf16(text, room))
        at += len(field)
        if field is adapter:
            answer[at : at + 2] = family, dhcp
            at += 2


def _write(packet: bytearray, at: int, text: bytes) -> None:
    packet[at : at + len(text)] = text
