# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""A simulated Hyper-V host: requests in a host's terms, and answers checked as a host does.

Its methods are those of the host in the driver tests (``tests/driver/lab/hvhost.py``), which
talks to the kernel's own driver.  Here `SimulatedDriver` stands in for it, and no versions are
negotiated.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, NamedTuple, final

from hv_kvp_daemon.wire import uapi
from hv_kvp_daemon.wire.ipinfo import IPADDR_VALUE
from hv_kvp_daemon.wire.message import MESSAGE_SIZE, status_name
from hv_kvp_daemon.wire.text import utf16_units

from .errors import BadReplyError, EnumerationError
from .packet import ENUMERATE_DATA, GET_DATA, IP_VALUE, KEY, SIZES, VALUE
from .utf16 import wide

if TYPE_CHECKING:
    from .simulated_driver import SimulatedDriver

#: UTF-16 units that a host can send, without the NUL.
HOST_KEY_UNITS: Final = uapi.HV_KVP_EXCHANGE_MAX_KEY_SIZE // 2 - 1
HOST_VALUE_UNITS: Final = uapi.HV_KVP_EXCHANGE_MAX_VALUE_SIZE // 2 - 1

# Bytes of a number of each registry type.
_NUMBERS: Final = {uapi.REG_U32: 4, uapi.REG_U64: 8}


class Status(int):
    """A status as the host sees it: a number that is shown by name."""

    __slots__ = ()

    def __repr__(self) -> str:
        return status_name(self)

    __str__ = __repr__


class HostIpInfo(NamedTuple):
    """The body of GET_IP_INFO and SET_IP_INFO; the items of lists are separated by ``;``."""

    adapter: str = ""
    family: int = 0
    dhcp: int = 0
    ip: str = ""
    subnet: str = ""
    gateway: str = ""
    dns: str = ""


@final
class SimulatedHost:
    """A host that makes requests through a driver.

    Pools are numbers.  Each method may raise a `HostError`, or a ``ValueError`` for a text
    or number that a host's message cannot hold.
    """

    def __init__(self, driver: SimulatedDriver) -> None:
        self.driver = driver

    def __enter__(self) -> SimulatedHost:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self.driver.close()

    def kvp(self, op: int, pool: int, body: bytes = b"") -> tuple[Status, bytes]:
        """Make any request; return the status, and the message with the answer in it.

        ``body`` follows the four bytes of the header.
        """
        return self._ask(bytes([op, pool, 0, 0]) + body)

    def set(self, pool: int, key: str, value: str | int, kind: int = uapi.REG_SZ) -> Status:
        """SET; ``kind`` is a registry type, for a number REG_U32 or REG_U64."""
        if kind in _NUMBERS:
            raw = _number(str(value), _NUMBERS[kind])
        else:
            raw = _limited("value", str(value), HOST_VALUE_UNITS)
        key_raw = _limited("key", key, HOST_KEY_UNITS)
        return self.kvp(uapi.KVP_OP_SET, pool, value_body(key_raw, raw, kind=kind))[0]

    def get(self, pool: int, key: str) -> tuple[Status, str]:
        """GET; return the status and the value, empty on error."""
        body = value_body(_limited("key", key, HOST_KEY_UNITS), b"")
        status, answer = self.kvp(uapi.KVP_OP_GET, pool, body)
        if status != uapi.HV_S_OK:
            return status, ""
        kind, _, value_size = SIZES.unpack_from(answer, GET_DATA)
        return status, _narrow("value", answer, GET_DATA + VALUE, value_size, kind)

    def delete(self, pool: int, key: str) -> Status:
        """DELETE."""
        body = key_body(_limited("key", key, HOST_KEY_UNITS))
        return self.kvp(uapi.KVP_OP_DELETE, pool, body)[0]

    def enumerate(self, pool: int, index: int) -> tuple[Status, str, str]:
        """ENUMERATE; return status, key and value, both empty on error."""
        status, answer = self.kvp(uapi.KVP_OP_ENUMERATE, pool, struct.pack("<I", index))
        if status != uapi.HV_S_OK:
            return status, "", ""
        data = ENUMERATE_DATA
        kind, key_size, value_size = SIZES.unpack_from(answer, data)
        key = _narrow("key", answer, data + KEY, key_size, uapi.REG_SZ)
        return status, key, _narrow("value", answer, data + VALUE, value_size, kind)

    def items(self, pool: int) -> Iterator[tuple[str, str]]:
        """Enumerate a pool as a host does: index 0, 1, 2 and so on, until HV_S_CONT.

        :raises EnumerationError: it ended with another status, so a host would miss the
            records that follow.
        """
        index = 0
        while True:
            status, key, value = self.enumerate(pool, index)
            if status == uapi.HV_S_CONT:
                return
            if status != uapi.HV_S_OK:
                raise EnumerationError(f"pool {pool} ended with {status} at index {index}")
            yield key, value
            index += 1

    def get_ip_info(self, adapter: str, family: int = 0) -> tuple[Status, HostIpInfo]:
        """GET_IP_INFO; return the status and the adapter's configuration, empty on error."""
        status, answer = self._ask(
            _ip_message(uapi.KVP_OP_GET_IP_INFO, HostIpInfo(adapter, family))
        )
        if status != uapi.HV_S_OK:
            return status, HostIpInfo()
        adapter_raw, family, dhcp, *lists = IPADDR_VALUE.unpack_from(answer, IP_VALUE)
        texts = (raw.decode("utf-16-le").partition("\0")[0] for raw in (adapter_raw, *lists))
        return status, HostIpInfo(next(texts), family, dhcp, *texts)

    def set_ip_info(self, info: HostIpInfo) -> Status:
        """SET_IP_INFO."""
        return self._ask(_ip_message(uapi.KVP_OP_SET_IP_INFO, info))[0]

    def _ask(self, packet: bytes) -> tuple[Status, bytes]:
        status, answer = self.driver.carry(packet.ljust(MESSAGE_SIZE, b"\0"))
        return Status(status), answer


def value_body(
    key: bytes, value: bytes, kind: int = uapi.REG_SZ, sizes: tuple[int, int] | None = None
) -> bytes:
    """Return the body of SET or GET; ``sizes`` replace the true ones of key and value."""
    return (
        SIZES.pack(kind, *(sizes or (len(key), len(value))))
        + key.ljust(uapi.HV_KVP_EXCHANGE_MAX_KEY_SIZE, b"\0")
        + value.ljust(uapi.HV_KVP_EXCHANGE_MAX_VALUE_SIZE, b"\0")
    )


def key_body(key: bytes, size: int | None = None) -> bytes:
    """Return the body of DELETE; ``size`` replaces the key's true one."""
    length = len(key) if size is None else size
    return struct.pack("<I", length) + key.ljust(uapi.HV_KVP_EXCHANGE_MAX_KEY_SIZE, b"\0")


def _ip_message(op: int, info: HostIpInfo) -> bytes:
    return bytes([op, 0]) + IPADDR_VALUE.pack(
        _limited("adapter", info.adapter, uapi.MAX_ADAPTER_ID_SIZE - 1),
        info.family,
        info.dhcp,
        _limited("ip", info.ip, uapi.MAX_IP_ADDR_SIZE - 1),
        _limited("subnet", info.subnet, uapi.MAX_IP_ADDR_SIZE - 1),
        _limited("gateway", info.gateway, uapi.MAX_GATEWAY_SIZE - 1),
        _limited("dns", info.dns, uapi.MAX_IP_ADDR_SIZE - 1),
    )


def _limited(field: str, text: str, limit: int) -> bytes:
    """Encode a text as it goes over the wire, if the host's field holds it."""
    units = utf16_units(text)
    if units > limit:
        raise ValueError(f"{field} of {units} UTF-16 units; a host can send at most {limit}")
    return wide(text)


def _number(text: str, size: int) -> bytes:
    """Encode a decimal number (no number of 64 bits has more than 20 digits)."""
    is_number = text.isascii() and text.isdecimal() and len(text) <= 20
    value = int(text) if is_number else -1
    if not 0 <= value < 1 << 8 * size:
        raise ValueError(f"{text} is not an unsigned number of {8 * size} bits")
    return value.to_bytes(size, "little")


def _narrow(field: str, packet: bytes, at: int, size: int, kind: int) -> str:
    """Decode a text of an answer, unless it would make a host close the channel."""
    raw = packet[at : at + size]
    if kind != uapi.REG_SZ or size % 2 or not raw.endswith(b"\0\0"):
        raise BadReplyError(
            f"{field} of type {kind} and {size} bytes: a host expects type {uapi.REG_SZ},"
            " an even size and a NUL at the end"
        )
    try:
        return raw[:-2].decode("utf-16-le")
    except UnicodeDecodeError as error:
        raise BadReplyError(f"{field} is not UTF-16: {error.reason}") from error
