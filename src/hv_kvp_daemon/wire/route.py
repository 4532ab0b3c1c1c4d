"""Routes as rtnetlink encodes them.

In: payloads of RTM_NEWROUTE.  Out: `Route`, and the request that makes the kernel
dump them.  Families other than IPv4 and IPv6 come back as None: a dump of all
families also holds multicast and MPLS routes.
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
    """Where a route leads: an interface and a gateway, ``b""`` for an on-link route.

    The gateway's length tells its family: an IPv4 route may go ``via inet6``.
    """

    __slots__ = ("gateway", "index")

    def __init__(self, index: int, gateway: bytes) -> None:
        self.index = index
        self.gateway = gateway


class Route:
    """A route; ``hops`` holds one hop, several for a multipath route, or none."""

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
        """Whether it is a default route of the main table that leads somewhere.

        A default route of another table serves only what a rule sends there, and one
        of another type (``unreachable default``) leads nowhere.
        """
        return (
            self.dst_len == 0
            and self.table == uapi.RT_TABLE_MAIN
            and self.type == uapi.RTN_UNICAST
        )


def routes_request(seq: int, pid: int) -> bytes:
    """Ask for the routes of all families and tables."""
    payload = RTMSG.pack(uapi.AF_UNSPEC, 0, 0, 0, 0, 0, 0, 0, 0)
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
    """Decode the payload of an RTM_NEWROUTE as `decode_route`, but only a default route's.

    Of thousands of routes few are that, and the fixed part tells.

    :raises WireError: it is malformed.
    """
    _, dst_len, _, _, _, _, _, type_, _ = fixed(RTMSG, payload)
    if dst_len or type_ != uapi.RTN_UNICAST:
        return None
    route = decode_route(payload)
    return route if route is not None and route.default else None


def _gateway(found: dict[int, Any]) -> bytes:
    address: bytes = found.get(uapi.RTA_GATEWAY) or found.get(uapi.RTA_VIA) or b""
    return address


def _via(value: memoryview) -> bytes:
    """Decode struct rtvia: 2 bytes of family, which the length repeats, and an address."""
    return ip(value[2:])


def _multipath(value: memoryview) -> list[Hop]:
    """Decode a row of struct rtnexthop, each with its own attributes."""
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
