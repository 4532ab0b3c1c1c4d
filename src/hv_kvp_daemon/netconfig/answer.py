"""A `Report` as the host gets it: the reply to GET_IP_INFO.

In: a report and the request's ``adapter_id``, which goes back as it came.
Out: a message of 7432 bytes.
Rule: ``ip_addr`` and ``sub_net`` are pairs, the same number in the same order;
each field holds whole addresses only, none behind the last one that fits in
what the driver passes on: 1022 characters, of gateways 510.
"""

from __future__ import annotations

from _socket import inet_ntop

from hv_kvp_daemon.wire.ipinfo import ADDRESS_UNITS, GATEWAY_UNITS, IpInfo, encode_ip_reply
from hv_kvp_daemon.wire.uapi import ADDR_FAMILY_IPV4, ADDR_FAMILY_IPV6, AF_INET, AF_INET6

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from .report import Report

_FAMILY_BITS = {AF_INET: ADDR_FAMILY_IPV4, AF_INET6: ADDR_FAMILY_IPV6}


def encode_report(report: Report, adapter_id: bytes) -> bytes:
    """The reply of 7432 bytes."""
    return encode_ip_reply(ip_info(report, adapter_id))


def ip_info(report: Report, adapter_id: bytes) -> IpInfo:
    """The reply's fields.  ``addr_family`` names the families of the addresses in it."""
    texts = [text for _, text, _ in report.addresses]
    masks = [subnet_text(family, length) for family, _, length in report.addresses]
    count = min(fitting(texts, ADDRESS_UNITS), fitting(masks, ADDRESS_UNITS))
    families = 0
    for family, _, _ in report.addresses[:count]:
        families |= _FAMILY_BITS[family]
    return IpInfo(
        adapter_id=adapter_id,
        addr_family=families,
        dhcp_enabled=int(report.dhcp),
        ip_addr=_joined(texts[:count]),
        sub_net=_joined(masks[:count]),
        gate_way=_joined(report.gateways[: fitting(report.gateways, GATEWAY_UNITS)]),
        dns_addr=_joined(report.dns[: fitting(report.dns, ADDRESS_UNITS)]),
    )


def subnet_text(family: int, length: int) -> str:
    """The mask as hosts want it: ``255.255.255.0`` for IPv4, ``/64`` for IPv6."""
    if family == AF_INET6:
        return f"/{length}"
    mask = (0xFFFFFFFF << (32 - length)) & 0xFFFFFFFF
    return inet_ntop(AF_INET, mask.to_bytes(4, "big"))


def fitting(texts: Sequence[str], limit: int) -> int:
    """How many of the first texts fit into ``limit`` characters, with ``;`` between them."""
    length = -1
    for count, text in enumerate(texts):
        length += 1 + len(text)
        if length > limit:
            return count
    return len(texts)


def _joined(texts: Sequence[str]) -> bytes:
    return ";".join(texts).encode("ascii")
