# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""``struct hv_kvp_ipaddr_value``: the body of GET_IP_INFO and SET_IP_INFO.

Strings are UTF-8 in fields of 256, 2048 and 1024 bytes (the kernel header declares
them as ``__u16`` arrays of half that length).  In a request a full field may lack its
NUL.  In a reply each field must have one, or the driver reads beyond it.
"""

from __future__ import annotations

import struct

from .errors import WireError
from .message import BODY, MESSAGE_SIZE
from .text import host_text
from .uapi import (
    HV_S_OK,
    KVP_OP_GET_IP_INFO,
    MAX_ADAPTER_ID_SIZE,
    MAX_GATEWAY_SIZE,
    MAX_IP_ADDR_SIZE,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from .message import Buffer

#: adapter_id, addr_family, dhcp_enabled, ip_addr, sub_net, gate_way, dns_addr: 7426 bytes.
IPADDR_VALUE: Final = struct.Struct(
    f"={2 * MAX_ADAPTER_ID_SIZE}sBB{2 * MAX_IP_ADDR_SIZE}s{2 * MAX_IP_ADDR_SIZE}s"
    f"{2 * MAX_GATEWAY_SIZE}s{2 * MAX_IP_ADDR_SIZE}s"
)

#: UTF-16 units of each string field that reach the host together with their NUL.
ADAPTER_UNITS: Final = MAX_ADAPTER_ID_SIZE - 2
ADDRESS_UNITS: Final = MAX_IP_ADDR_SIZE - 2
GATEWAY_UNITS: Final = MAX_GATEWAY_SIZE - 2

_STATUS = struct.Struct("=I")
_OPERATION = struct.Struct("=BBxx")
_PADDING = bytes(MESSAGE_SIZE - BODY - IPADDR_VALUE.size)


class IpInfo:
    """One adapter's configuration; texts are UTF-8 without NUL, lists joined by ``;``."""

    __slots__ = (
        "adapter_id",
        "addr_family",
        "dhcp_enabled",
        "dns_addr",
        "gate_way",
        "ip_addr",
        "sub_net",
    )

    def __init__(
        self,
        adapter_id: bytes = b"",
        addr_family: int = 0,
        dhcp_enabled: int = 0,
        ip_addr: bytes = b"",
        sub_net: bytes = b"",
        gate_way: bytes = b"",
        dns_addr: bytes = b"",
    ) -> None:
        self.adapter_id = adapter_id
        self.addr_family = addr_family
        self.dhcp_enabled = dhcp_enabled
        self.ip_addr = ip_addr
        self.sub_net = sub_net
        self.gate_way = gate_way
        self.dns_addr = dns_addr

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IpInfo) and all(
            getattr(self, name) == getattr(other, name) for name in IpInfo.__slots__
        )

    __hash__ = None  # type: ignore[assignment]  # compared by value and mutable

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in IpInfo.__slots__)
        return f"IpInfo({fields})"


def decode_ip(message: Buffer) -> IpInfo:
    """Decode the adapter configuration in a request or a reply of 7432 bytes.

    :raises WireError: the message has another size.
    """
    if len(message) != MESSAGE_SIZE:
        raise WireError(f"a message has {len(message)} bytes, not {MESSAGE_SIZE}")
    adapter, family, dhcp, *texts = IPADDR_VALUE.unpack_from(message, BODY)
    cut = [text.partition(b"\0")[0] for text in (adapter, *texts)]
    return IpInfo(cut[0], family, dhcp, *cut[1:])


def encode_ip_request(info: IpInfo, operation: int = KVP_OP_GET_IP_INFO) -> bytes:
    """Encode a request as the driver does: GET_IP_INFO or SET_IP_INFO."""
    return _OPERATION.pack(operation, 0) + _body(info) + _PADDING


def encode_ip_reply(info: IpInfo) -> bytes:
    """Encode HV_S_OK and a configuration; texts are cut to what the driver passes on.

    Each field is then valid UTF-8 that ends with a NUL.
    """
    safe = IpInfo(
        host_text(info.adapter_id, ADAPTER_UNITS, 2 * MAX_ADAPTER_ID_SIZE - 1),
        info.addr_family,
        info.dhcp_enabled,
        host_text(info.ip_addr, ADDRESS_UNITS, 2 * MAX_IP_ADDR_SIZE - 1),
        host_text(info.sub_net, ADDRESS_UNITS, 2 * MAX_IP_ADDR_SIZE - 1),
        host_text(info.gate_way, GATEWAY_UNITS, 2 * MAX_GATEWAY_SIZE - 1),
        host_text(info.dns_addr, ADDRESS_UNITS, 2 * MAX_IP_ADDR_SIZE - 1),
    )
    return _STATUS.pack(HV_S_OK) + _body(safe) + _PADDING


def _body(info: IpInfo) -> bytes:
    return IPADDR_VALUE.pack(
        info.adapter_id,
        info.addr_family,
        info.dhcp_enabled,
        info.ip_addr,
        info.sub_net,
        info.gate_way,
        info.dns_addr,
    )
