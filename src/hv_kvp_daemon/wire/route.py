# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Routes as rtnetlink encodes them.

RTM_NEWROUTE is decoded to `Route`; the requests that make the kernel send them are
encoded.  Families other than IPv4 and IPv6 are decoded to None.

The kernel cannot be asked for default routes alone, and there may be a million others.
So `without_specific` drops these without decoding them.  In a dump of one IPv4 table
default routes come first, since the table is a trie that is walked in the order of the
destinations; in IPv6 they come last.
"""

from __future__ import annotations

import struct

from . import rtattr, uapi
from .errors import WireError
from .netlink import NLMSGHDR, align, pack, split
from .rtnetlink import ADDRESS_SIZES, check_size, dump_request, fixed, ip

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

#: struct rtmsg: family, dst_len, src_len, tos, table, protocol, scope, type, flags.
RTMSG: Final = struct.Struct("=BBBBBBBBI")
#: struct rtnexthop: length with its attributes, flags, weight - 1, interface index.
RTNEXTHOP: Final = struct.Struct("=HBBi")

# The first three fields of struct nlmsghdr.
_HEADER = struct.Struct("=IHH")
_NEWROUTE_SIZE = NLMSGHDR.size + RTMSG.size
_U32 = struct.Struct("=I")


class Hop:
    """The next hop of a route: an interface and a gateway, ``b""`` for an on-link route.

    The length of the gateway gives its family: an IPv4 route may go ``via inet6``.
    """

    __slots__ = ("gateway", "index")

    def __init__(self, index: int, gateway: bytes) -> None:
        self.index = index
        self.gateway = gateway


class Route:
    """A route; ``hops`` is one next hop, several for a multipath route, or none.

    ``nexthop`` is the id of a nexthop object, or 0.  The kernel may leave out the hops of
    an object; see `wire.nexthop`.
    """

    __slots__ = ("dst", "dst_len", "family", "hops", "metric", "nexthop", "table", "type")

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
        nexthop: int = 0,
    ) -> None:
        self.family = family
        self.table = table
        self.type = type_
        self.dst = dst
        self.dst_len = dst_len
        self.metric = metric
        self.hops = hops
        self.nexthop = nexthop

    @property
    def default(self) -> bool:
        """Whether this is a unicast default route.

        Other types (``unreachable default``) lead nowhere.
        """
        return self.dst_len == 0 and self.type == uapi.RTN_UNICAST


def routes_request(family: int, table: int, seq: int, pid: int) -> bytes:
    """Encode a request for the unicast routes of one table, of one or all families.

    The kernel sends only these under NETLINK_GET_STRICT_CHK (Linux 4.20); otherwise it
    ignores the table and the type, and sends all routes of the family.
    """
    payload = RTMSG.pack(family, 0, 0, 0, uapi.RT_TABLE_UNSPEC, 0, 0, uapi.RTN_UNICAST, 0)
    payload += rtattr.pack(uapi.RTA_TABLE, _U32.pack(table))
    return dump_request(uapi.RTM_GETROUTE, seq, pid, payload)


def route_request(destination: bytes, index: int, seq: int, pid: int) -> bytes:
    """Encode a request for the route by which an IPv6 address is reached over an interface.

    The answer is the route as it stands in its table (Linux 4.13), and an acknowledgment.
    """
    payload = RTMSG.pack(uapi.AF_INET6, 128, 0, 0, 0, 0, 0, 0, uapi.RTM_F_FIB_MATCH)
    payload += rtattr.pack(uapi.RTA_DST, destination)
    payload += rtattr.pack(uapi.RTA_OIF, _U32.pack(index))
    return pack(uapi.RTM_GETROUTE, uapi.NLM_F_REQUEST | uapi.NLM_F_ACK, seq, pid, payload)


def without_specific(datagram: memoryview) -> bytes:
    """Return a datagram without its routes that are no default routes.

    A message stays if it says that the dump is inconsistent, or is malformed.
    """
    kept = []
    at = 0
    while len(datagram) - at >= _NEWROUTE_SIZE:
        length, type_, flags = _HEADER.unpack_from(datagram, at)
        if length < NLMSGHDR.size:
            break
        # The first field of struct rtmsg is the family, the second dst_len.
        specific = type_ == uapi.RTM_NEWROUTE and datagram[at + NLMSGHDR.size + 1]
        if not specific or flags & uapi.NLM_F_DUMP_INTR:
            kept.append(datagram[at : at + ((length + 3) & ~3)])
        at += (length + 3) & ~3  # align(), inlined: for each of a million routes
    kept.append(datagram[at:])
    return b"".join(kept)


def is_past_defaults(datagram: memoryview) -> bool:
    """Whether no default route can follow a datagram of a dump of one IPv4 table."""
    last = split(datagram)[-1]
    if last.type != uapi.RTM_NEWROUTE:
        return False
    route = decode_route(last.payload)
    # 0.0.0.0/8 and its like have the place of a default route in the table.
    return route is not None and route.family == uapi.AF_INET and any(route.dst)


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
        nexthop=found.get(uapi.RTA_NH_ID, 0),
    )


def decode_default_route(payload: bytes | memoryview) -> Route | None:
    """Decode the payload of an RTM_NEWROUTE if it is a default route, see `Route.default`.

    :raises WireError: it is malformed.
    """
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
    uapi.RTA_GATEWAY: ("RTA_GATEWAY", ip, False),
    uapi.RTA_VIA: ("RTA_VIA", _via, False),
}
_ROUTE: Final[rtattr.Policy] = {
    **_HOP,
    uapi.RTA_DST: ("RTA_DST", ip, False),
    uapi.RTA_OIF: ("RTA_OIF", rtattr.u32, False),
    uapi.RTA_PRIORITY: ("RTA_PRIORITY", rtattr.u32, False),
    uapi.RTA_TABLE: ("RTA_TABLE", rtattr.u32, False),
    uapi.RTA_NH_ID: ("RTA_NH_ID", rtattr.u32, False),
    uapi.RTA_MULTIPATH: ("RTA_MULTIPATH", _multipath, False),
}
