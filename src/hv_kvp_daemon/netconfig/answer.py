# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""An `AdapterConfig` in the fields of GET_IP_INFO's reply.

``ip_addr`` and ``sub_net`` are pairs: the same number of items in the same order.  Each
field contains whole addresses, up to the last one that fits in what the driver passes
on: 1022 characters, or 510 for gateways.
"""

from __future__ import annotations

from _socket import inet_ntop

from hv_kvp_daemon.wire.ipinfo import ADDRESS_UNITS, GATEWAY_UNITS, IpInfo
from hv_kvp_daemon.wire.text import fitting
from hv_kvp_daemon.wire.uapi import ADDR_FAMILY_IPV4, ADDR_FAMILY_IPV6, AF_INET, AF_INET6

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from .config import AdapterConfig

_FAMILY_BITS = {AF_INET: ADDR_FAMILY_IPV4, AF_INET6: ADDR_FAMILY_IPV6}


def ip_info(config: AdapterConfig, adapter_id: bytes) -> IpInfo:
    """Return the fields of the reply; ``adapter_id`` is returned as the host sent it.

    ``addr_family`` has the bits of the families that are in ``ip_addr``.
    """
    texts = [text for _, text, _ in config.addresses]
    masks = [subnet_text(family, length) for family, _, length in config.addresses]
    count = min(fitting(texts, ADDRESS_UNITS), fitting(masks, ADDRESS_UNITS))
    families = 0
    for family, _, _ in config.addresses[:count]:
        families |= _FAMILY_BITS[family]
    return IpInfo(
        adapter_id=adapter_id,
        addr_family=families,
        dhcp_enabled=int(config.dhcp),
        ip_addr=_joined(texts[:count]),
        sub_net=_joined(masks[:count]),
        gate_way=_joined(config.gateways[: fitting(config.gateways, GATEWAY_UNITS)]),
        dns_addr=_joined(config.dns[: fitting(config.dns, ADDRESS_UNITS)]),
    )


def subnet_text(family: int, length: int) -> str:
    """Return a mask as hosts expect it: ``255.255.255.0`` for IPv4, ``/64`` for IPv6."""
    if family == AF_INET6:
        return f"/{length}"
    mask = (0xFFFFFFFF << (32 - length)) & 0xFFFFFFFF
    return inet_ntop(AF_INET, mask.to_bytes(4, "big"))


def _joined(texts: Sequence[str]) -> bytes:
    return ";".join(texts).encode("ascii")
