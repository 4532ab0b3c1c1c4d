"""A simulated Hyper-V host: the conversation that a real one holds with a guest.

In: requests in a host's terms, one at a time.  Out: the status and what came
with it, checked as a host checks it.  The methods are those of the driver lab's
host (``tests/driver/lab/hvhost.py``), which speaks through the kernel's own
driver; here `Driver` stands in for it, and there is nothing to negotiate.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple, final

from hv_kvp_daemon.wire.ipinfo import IPADDR_VALUE
from hv_kvp_daemon.wire.message import MESSAGE_SIZE, status_name
from hv_kvp_daemon.wire.text import utf16_units
from hv_kvp_daemon.wire.uapi import (
    HV_KVP_EXCHANGE_MAX_KEY_SIZE,
    HV_KVP_EXCHANGE_MAX_VALUE_SIZE,
    HV_S_CONT,
    HV_S_OK,
    KVP_OP_DELETE,
    KVP_OP_ENUMERATE,
    KVP_OP_GET,
    KVP_OP_GET_IP_INFO,
    KVP_OP_SET,
    KVP_OP_SET_IP_INFO,
    MAX_ADAPTER_ID_SIZE,
    MAX_GATEWAY_SIZE,
    MAX_IP_ADDR_SIZE,
    REG_SZ,
    REG_U32,
    REG_U64,
)

from .errors import BadReplyError, EnumerationError
from .packet import ENUMERATE_DATA, GET_DATA, IP_VALUE, KEY, SIZES, VALUE
from .utf16 import wide

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .driver import Driver

#: UTF-16 units that a host can send, its NUL not counted.
HOST_KEY_UNITS: Final = HV_KVP_EXCHANGE_MAX_KEY_SIZE // 2 - 1
HOST_VALUE_UNITS: Final = HV_KVP_EXCHANGE_MAX_VALUE_SIZE // 2 - 1

# Bytes of a number by its registry type.
_NUMBERS: Final = {REG_U32: 4, REG_U64: 8}


class Status(int):
    """A status of the host's world: a number that shows its name."""

    __slots__ = ()

    def __repr__(self) -> str:
        return status_name(self)

    __str__ = __repr__


class IpInfo(NamedTuple):
    """What GET_IP_INFO and SET_IP_INFO carry; lists are joined by ``;``."""

    adapter: str = ""
    family: int = 0
    dhcp: int = 0
    ip: str = ""
    subnet: str = ""
    gateway: str = ""
    dns: str = ""


@final
class SimulatedHost:
    """A host that speaks through a driver.  Pools are numbers.

    Each method may raise a `HostError`; a text or number that a host's message
    cannot hold is a ``ValueError`` that says the limit.
    """

    def __init__(self, driver: Driver) -> None:
        self.driver = driver

    def __enter__(self) -> SimulatedHost:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self.driver.close()

    def kvp(self, op: int, pool: int, body: bytes = b"") -> tuple[Status, bytes]:
        """Make one request as it stands: the status, and the message with the answer.

        ``body`` is what follows the four bytes of the header.
        """
        return self._ask(bytes([op, pool, 0, 0]) + body)

    def set(self, pool: int, key: str, value: str | int, kind: int = REG_SZ) -> Status:
        """SET; ``kind`` is a registry type, and a number's must be REG_U32 or REG_U64."""
        if kind in _NUMBERS:
            raw = _number(int(value), _NUMBERS[kind])
        else:
            raw = _limited("value", str(value), HOST_VALUE_UNITS)
        key_raw = _limited("key", key, HOST_KEY_UNITS)
        return self.kvp(KVP_OP_SET, pool, value_body(key_raw, raw, kind=kind))[0]

    def get(self, pool: int, key: str) -> tuple[Status, str]:
        """GET: the status and the value, empty with an error."""
        body = value_body(_limited("key", key, HOST_KEY_UNITS), b"")
        status, answer = self.kvp(KVP_OP_GET, pool, body)
        if status != HV_S_OK:
            return status, ""
        kind, _, value_size = SIZES.unpack_from(answer, GET_DATA)
        return status, _narrow("value", answer, GET_DATA + VALUE, value_size, kind)

    def delete(self, pool: int, key: str) -> Status:
        """DELETE."""
        body = key_body(_limited("key", key, HOST_KEY_UNITS))
        return self.kvp(KVP_OP_DELETE, pool, body)[0]

    def enumerate(self, pool: int, index: int) -> tuple[Status, str, str]:
        """ENUMERATE: status, key and value; both are empty with an error."""
        status, answer = self.kvp(KVP_OP_ENUMERATE, pool, struct.pack("<I", index))
        if status != HV_S_OK:
            return status, "", ""
        data = ENUMERATE_DATA
        kind, key_size, value_size = SIZES.unpack_from(answer, data)
        key = _narrow("key", answer, data + KEY, key_size, REG_SZ)
        return status, key, _narrow("value", answer, data + VALUE, value_size, kind)

    def items(self, pool: int) -> Iterator[tuple[str, str]]:
        """Walk a pool as a host does: index 0, 1, 2 and on, until HV_S_CONT.

        :raises EnumerationError: another status ended it, which hides from
            a host whatever stands behind.
        """
        index = 0
        while True:
            status, key, value = self.enumerate(pool, index)
            if status == HV_S_CONT:
                return
            if status != HV_S_OK:
                raise EnumerationError(f"pool {pool} ended with {status} at index {index}")
            yield key, value
            index += 1

    def get_ip_info(self, adapter: str, family: int = 0) -> tuple[Status, IpInfo]:
        """GET_IP_INFO: the status, and an adapter's configuration, empty with an error."""
        status, answer = self._ask(_ip_message(KVP_OP_GET_IP_INFO, IpInfo(adapter, family)))
        if status != HV_S_OK:
            return status, IpInfo()
        adapter_raw, family, dhcp, *lists = IPADDR_VALUE.unpack_from(answer, IP_VALUE)
        texts = (raw.decode("utf-16-le").partition("\0")[0] for raw in (adapter_raw, *lists))
        return status, IpInfo(next(texts), family, dhcp, *texts)

    def set_ip_info(self, info: IpInfo) -> Status:
        """SET_IP_INFO."""
        return self._ask(_ip_message(KVP_OP_SET_IP_INFO, info))[0]

    def _ask(self, packet: bytes) -> tuple[Status, bytes]:
        status, answer = self.driver.carry(packet.ljust(MESSAGE_SIZE, b"\0"))
        return Status(status), answer


def value_body(
    key: bytes, value: bytes, kind: int = REG_SZ, sizes: tuple[int, int] | None = None
) -> bytes:
    """SET's and GET's body; ``sizes`` are said instead of the true ones."""
    return (
        SIZES.pack(kind, *(sizes or (len(key), len(value))))
        + key.ljust(HV_KVP_EXCHANGE_MAX_KEY_SIZE, b"\0")
        + value.ljust(HV_KVP_EXCHANGE_MAX_VALUE_SIZE, b"\0")
    )


def key_body(key: bytes, size: int | None = None) -> bytes:
    """DELETE's body; ``size`` is said instead of the true one."""
    said = len(key) if size is None else size
    return struct.pack("<I", said) + key.ljust(HV_KVP_EXCHANGE_MAX_KEY_SIZE, b"\0")


def _ip_message(op: int, info: IpInfo) -> bytes:
    return bytes([op, 0]) + IPADDR_VALUE.pack(
        _limited("adapter", info.adapter, MAX_ADAPTER_ID_SIZE - 1),
        info.family,
        info.dhcp,
        _limited("ip", info.ip, MAX_IP_ADDR_SIZE - 1),
        _limited("subnet", info.subnet, MAX_IP_ADDR_SIZE - 1),
        _limited("gateway", info.gateway, MAX_GATEWAY_SIZE - 1),
        _limited("dns", info.dns, MAX_IP_ADDR_SIZE - 1),
    )


def _limited(field: str, text: str, limit: int) -> bytes:
    """A text as it goes over the wire, if the host's field holds it."""
    units = utf16_units(text)
    if units > limit:
        raise ValueError(f"{field} of {units} UTF-16 units; a host can send at most {limit}")
    return wide(text)


def _number(value: int, size: int) -> bytes:
    if not 0 <= value < 1 << 8 * size:
        raise ValueError(f"{value} does not fit into {8 * size} bits without a sign")
    return value.to_bytes(size, "little")


def _narrow(field: str, packet: bytes, at: int, size: int, kind: int) -> str:
    """A text of an answer; refused where a host would give up the channel."""
    raw = packet[at : at + size]
    if kind != REG_SZ or size % 2 or not raw.endswith(b"\0\0"):
        raise BadReplyError(
            f"{field} of type {kind} and {size} bytes: a host wants type {REG_SZ},"
            " an even size and a NUL at the end"
        )
    try:
        return raw[:-2].decode("utf-16-le")
    except UnicodeDecodeError as error:
        raise BadReplyError(f"{field} is no UTF-16: {error.reason}") from error
