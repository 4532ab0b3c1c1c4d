"""Routes as rtnetlink encodes them.

RTM_NEWROUTE is decoded to `Route`; the request that makes the kernel dump them is
encoded.  Families other than IPv4 and IPv6 are decoded to None: a dump of all
families contains multicast and MPLS routes, too.
"""

from __future__ import annotations

import struct

from . import rtattr, uapi
from .errors import WireError
from .netlink import align
from .rtnetlink import ADDRESS_SIZES, check_size, dump_request, fixed, ip

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

#: struct rtmsg: family, dst_len, src_len, tos, table, protocol, scope, type, flags.
RTMSG: Final = struct.Struct("=BBBBBBBBI")
#: struct rtnexthop: length with its attributes, flags, weight - 1, interface index.
RTNEXTHOP: Final = struct.Struct("=HBBi")


class Hop:
    """The next hop of a route: an interface and a gateway, ``b""`` for an on-link route.

    The length of the gateway gives its family: an IPv4 route may go ``via inet6``.
    """

    __slots__ = ("gateway", "index")

    def __init__(self, index: int, gateway: bytes) -> None:
        self.index = index
        self.gateway = gateway


class Route:
    """A route; ``hops`` is one next hop, several for a multipath route, or none."""

    __slots__ = ("dst", "dst_len", "family", "hops", "metric", "table", "type")

    def __init__(
        self,
        *,
        family: int,
        table: int,
        type_: int,
        dst: bytes,
        dst_len: int,
        metric: int,
        hops: list[Hop],
    ) -> None:
        self.family = family
        self.table = table
        self.type = type_
        self.dst = dst
        self.dst_len = dst_len
        self.metric = metric
        self.hops = hops

    @property
    def default(self) -> bool:
        """Whether this is a unicast default route of the main table.

        A default route in another table only serves traffic that a rule sends there,
        and other types (``unreachable default``) lead nowhere.
        """
        return (
            self.dst_len == 0
            and self.table == uapi.RT_TABLE_MAIN
            and self.type == uapi.RTN_UNICAST
        )


def routes_request(seq: int, pid: int) -> bytes:
    """Encode a request for the unicast routes of the main table, of all families.

    The kernel sends only these under NETLINK_GET_STRICT_CHK (Linux 4.20); otherwise it
    ignores the table and the type, and sends all routes.
    """
    payload = RTMSG.pack(uapi.AF_UNSPEC, 0, 0, 0, uapi.RT_TABLE_MAIN, 0, 0, uapi.RTN_UNICAST, 0)
    return dump_request(uapi.RTM_GETROUTE, seq, pid, payload)


def decode_route(payload: bytes | memoryview) -> Route | None:
    """Decode the payload of an RTM_NEWROUTE; None for another family.

    :raises WireError: it is malformed.
    """
    family, dst_len, _, _, table, _, _, type_, _ = fixed(RTMSG, payload)
    if family not in ADDRESS_SIZES:
        return None
    found = rtattr.parse(payload[RTMSG.size :], _ROUTE)
    if uapi.RTA_DST in found:
        check_size(family, found[uapi.RTA_DST])
    hops = found.get(uapi.RTA_MULTIPATH, [])
    if uapi.RTA_OIF in found:
        hops = [Hop(found[uapi.RTA_OIF], _gateway(found)), *hops]
    return Route(
        family=family,
        # The header has room for the tables up to 255 only.
        table=found.get(uapi.RTA_TABLE, table),
        type_=type_,
        dst=found.get(uapi.RTA_DST, b""),
        dst_len=dst_len,
        metric=found.get(uapi.RTA_PRIORITY, 0),
        hops=hops,
    )


def decode_default_route(payload: bytes | memoryview) -> Route | None:
    """Decode the payload of an RTM_NEWROUTE if it is a default route, see `Route.default`.

    None for others, which are most: their attributes are not parsed.

    :raises WireError: it is malformed.
    """
    # dst_len and type of struct rtmsg.
    if len(payload) >= RTMSG.size and (payload[1] or payload[7] != uapi.RTN_UNICAST):
        return None
    route = decode_route(payload)
    return route if route is not None and route.default else None


def _gateway(found: dict[int, Any]) -> bytes:
    address: bytes = found.get(uapi.RTA_GATEWAY) or found.get(uapi.RTA_VIA) or b""
    return address


def _via(value: memoryview) -> bytes:
    """Decode struct rtvia: 2 bytes of family, which the length implies, and an address."""
    return ip(value[2:])


def _multipath(value: memoryview) -> list[Hop]:
    """Decode an array of struct rtnexthop, each followed by its own attributes."""
    hops = []
    at = 0
    while at < len(value):
        room = len(value) - at
        if room < RTNEXTHOP.size:
            raise WireError(f"{room} bytes of a next hop, at least {RTNEXTHOP.size}")
        length, _, _, index = RTNEXTHOP.unpack_from(value, at)
        if not RTNEXTHOP.size <= length <= room:
            raise WireError(f"next hop length {length}, allowed {RTNEXTHOP.size} to {room}")
        found = rtattr.parse(value[at + RTNEXTHOP.size : at + length], _HOP)
        hops.append(Hop(index, _gateway(found)))
        at += align(length)
    return hops


_HOP: Final[rtattr.Policy] = {
    uapi.RTA_GATEWAY: ("RTA_GATEWAY", ip, 4, 16, False),
    uapi.RTA_VIA: ("RTA_VIA", _via, 6, 18, False),
}
_ROUTE: Final[rtattr.Policy] = {
    **_HOP,
    uapi.RTA_DST: ("RTA_DST", ip, 4, 16, False),
    uapi.RTA_OIF: ("RTA_OIF", rtattr.u32, 4, 4, False),
    uapi.RTA_PRIORITY: ("RTA_PRIORITY", rtattr.u32, 4, 4, False),
    uapi.RTA_TABLE: ("RTA_TABLE", rtattr.u32, 4, 4, False),
    uapi.RTA_MULTIPATH: ("RTA_MULTIPATH", _multipath, 0, 0xFFFF, False),
}
