"""Links, addresses and routes as rtnetlink encodes them.

In: payloads of RTM_NEWLINK, RTM_NEWADDR and RTM_NEWROUTE.  Out: `Link`,
`Address` and `Route`, and the requests that make the kernel dump them.  Families
other than IPv4 and IPv6 come back as None: a dump of all families also holds
multicast and MPLS routes.
"""

from __future__ import annotations

import struct

from . import rtattr, uapi
from .errors import WireError
from .netlink import align, pack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

#: struct ifinfomsg: family, hardware type (ARPHRD_*), index, flags (IFF_*), change.
IFINFOMSG: Final = struct.Struct("=BxHiII")
#: struct ifaddrmsg: family, prefix length, flags (the lower 8), scope, interface index.
IFADDRMSG: Final = struct.Struct("=BBBBI")
#: struct rtmsg: family, dst_len, src_len, tos, table, protocol, scope, type, flags.
RTMSG: Final = struct.Struct("=BBBBBBBBI")
#: struct rtnexthop: length with its attributes, flags, weight - 1, interface index.
RTNEXTHOP: Final = struct.Struct("=HBBi")

#: Names for `netlink.describe`.
NAMES: Final = {
    uapi.RTM_NEWLINK: "NEWLINK",
    uapi.RTM_DELLINK: "DELLINK",
    uapi.RTM_GETLINK: "GETLINK",
    uapi.RTM_NEWADDR: "NEWADDR",
    uapi.RTM_DELADDR: "DELADDR",
    uapi.RTM_GETADDR: "GETADDR",
    uapi.RTM_NEWROUTE: "NEWROUTE",
    uapi.RTM_DELROUTE: "DELROUTE",
    uapi.RTM_GETROUTE: "GETROUTE",
}

_ADDRESS_SIZES: Final = {uapi.AF_INET: 4, uapi.AF_INET6: 16}
_U32 = struct.Struct("=I")


class Link:
    """A network interface.

    ``address`` is its hardware address (6 bytes on Ethernet, ``b""`` where there is
    none), ``master`` the index of the bridge or bond above it or 0, ``operstate``
    the state of RFC 2863 (IF_OPER_*: 0 unknown, 2 down, 6 up).
    """

    __slots__ = ("address", "flags", "index", "master", "name", "operstate")

    def __init__(
        self, *, index: int, flags: int, name: str, address: bytes, master: int, operstate: int
    ) -> None:
        self.index = index
        self.flags = flags
        self.name = name
        self.address = address
        self.master = master
        self.operstate = operstate

    @property
    def loopback(self) -> bool:
        """Whether IFF_LOOPBACK is set."""
        return bool(self.flags & uapi.IFF_LOOPBACK)


class Address:
    """An address of this machine, on a point-to-point link the local end.

    ``address`` has 4 bytes (AF_INET) or 16 (AF_INET6) in network order.  ``label``
    is the name that an IPv4 address goes by: its interface's, or ``b0:1`` for an
    alias on ``b0``; empty for IPv6.
    """

    __slots__ = ("address", "family", "flags", "index", "label", "prefixlen", "scope")

    def __init__(
        self,
        *,
        family: int,
        prefixlen: int,
        flags: int,
        scope: int,
        index: int,
        address: bytes,
        label: str,
    ) -> None:
        self.family = family
        self.prefixlen = prefixlen
        self.flags = flags
        self.scope = scope
        self.index = index
        self.address = address
        self.label = label

    @property
    def usable(self) -> bool:
        """False while duplicate address detection runs, and after it found one."""
        return not self.flags & (uapi.IFA_F_TENTATIVE | uapi.IFA_F_DADFAILED)


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


def links_request(seq: int, pid: int) -> bytes:
    """Ask for all links, without the counters that are most of each answer."""
    payload = IFINFOMSG.pack(uapi.AF_UNSPEC, 0, 0, 0, 0)
    payload += rtattr.pack(uapi.IFLA_EXT_MASK, _U32.pack(uapi.RTEXT_FILTER_SKIP_STATS))
    return _dump_request(uapi.RTM_GETLINK, seq, pid, payload)


def addresses_request(seq: int, pid: int) -> bytes:
    """Ask for all addresses: IPv4 by interface index, then IPv6."""
    return _dump_request(uapi.RTM_GETADDR, seq, pid, IFADDRMSG.pack(uapi.AF_UNSPEC, 0, 0, 0, 0))


def routes_request(seq: int, pid: int) -> bytes:
    """Ask for the routes of all families and tables."""
    payload = RTMSG.pack(uapi.AF_UNSPEC, 0, 0, 0, 0, 0, 0, 0, 0)
    return _dump_request(uapi.RTM_GETROUTE, seq, pid, payload)


def decode_link(payload: bytes | memoryview) -> Link:
    """Decode the payload of an RTM_NEWLINK.

    :raises WireError: it is malformed or without IFLA_IFNAME.
    """
    _, _, index, flags, _ = _fixed(IFINFOMSG, payload)
    found = rtattr.parse(payload[IFINFOMSG.size :], _LINK)
    return Link(
        index=index,
        flags=flags,
        name=found[uapi.IFLA_IFNAME],
        address=found.get(uapi.IFLA_ADDRESS, b""),
        master=found.get(uapi.IFLA_MASTER, 0),
        operstate=found.get(uapi.IFLA_OPERSTATE, 0),
    )


def decode_address(payload: bytes | memoryview) -> Address | None:
    """Decode the payload of an RTM_NEWADDR; None for another family or no address.

    Where IFA_LOCAL is there it counts, since IFA_ADDRESS may then be the peer of a
    point-to-point link.  getifaddrs decides the same.

    :raises WireError: it is malformed.
    """
    family, prefixlen, flags, scope, index = _fixed(IFADDRMSG, payload)
    if family not in _ADDRESS_SIZES:
        return None
    found = rtattr.parse(payload[IFADDRMSG.size :], _ADDRESS)
    address = found.get(uapi.IFA_LOCAL) or found.get(uapi.IFA_ADDRESS)
    if address is None:
        return None
    _check_size(family, address)
    return Address(
        family=family,
        prefixlen=prefixlen,
        # The header has room for the lower 8 of the flags.
        flags=found.get(uapi.IFA_FLAGS, flags),
        scope=scope,
        index=index,
        address=address,
        label=found.get(uapi.IFA_LABEL, ""),
    )


def decode_route(payload: bytes | memoryview) -> Route | None:
    """Decode the payload of an RTM_NEWROUTE; None for another family.

    :raises WireError: it is malformed.
    """
    family, dst_len, _, _, table, _, _, type_, _ = _fixed(RTMSG, payload)
    if family not in _ADDRESS_SIZES:
        return None
    found = rtattr.parse(payload[RTMSG.size :], _ROUTE)
    if uapi.RTA_DST in found:
        _check_size(family, found[uapi.RTA_DST])
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
    _, dst_len, _, _, _, _, _, type_, _ = _fixed(RTMSG, payload)
    if dst_len or type_ != uapi.RTN_UNICAST:
        return None
    route = decode_route(payload)
    return route if route is not None and route.default else None


def _dump_request(type_: int, seq: int, pid: int, payload: bytes) -> bytes:
    # The whole fixed part and zeros in it, although a lenient kernel is content
    # with less: one that checks strictly (NETLINK_GET_STRICT_CHK) takes no other.
    return pack(type_, uapi.NLM_F_REQUEST | uapi.NLM_F_DUMP, seq, pid, payload)


def _fixed(struct_: struct.Struct, payload: bytes | memoryview) -> tuple[Any, ...]:
    if len(payload) < struct_.size:
        raise WireError(f"rtnetlink message of {len(payload)} bytes, at least {struct_.size}")
    return struct_.unpack_from(payload)


def _check_size(family: int, address: bytes) -> None:
    if len(address) != _ADDRESS_SIZES[family]:
        raise WireError(
            f"address of {len(address)} bytes, family {family} has {_ADDRESS_SIZES[family]}"
        )


def _gateway(found: dict[int, Any]) -> bytes:
    address: bytes = found.get(uapi.RTA_GATEWAY) or found.get(uapi.RTA_VIA) or b""
    return address


def _ip(value: memoryview) -> bytes:
    if len(value) not in _ADDRESS_SIZES.values():
        raise WireError(f"address of {len(value)} bytes, allowed 4 and 16")
    return bytes(value)


def _via(value: memoryview) -> bytes:
    """Decode struct rtvia: 2 bytes of family, which the length repeats, and an address."""
    return _ip(value[2:])


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


_LINK: Final[rtattr.Policy] = {
    uapi.IFLA_IFNAME: ("IFLA_IFNAME", rtattr.text, 1, uapi.IFNAMSIZ, True),
    uapi.IFLA_ADDRESS: ("IFLA_ADDRESS", rtattr.raw, 0, uapi.MAX_ADDR_LEN, False),
    uapi.IFLA_MASTER: ("IFLA_MASTER", rtattr.u32, 4, 4, False),
    uapi.IFLA_OPERSTATE: ("IFLA_OPERSTATE", rtattr.u8, 1, 1, False),
}
_ADDRESS: Final[rtattr.Policy] = {
    uapi.IFA_ADDRESS: ("IFA_ADDRESS", _ip, 4, 16, False),
    uapi.IFA_LOCAL: ("IFA_LOCAL", _ip, 4, 16, False),
    uapi.IFA_LABEL: ("IFA_LABEL", rtattr.text, 1, uapi.IFNAMSIZ, False),
    uapi.IFA_FLAGS: ("IFA_FLAGS", rtattr.u32, 4, 4, False),
}
_HOP: Final[rtattr.Policy] = {
    uapi.RTA_GATEWAY: ("RTA_GATEWAY", _ip, 4, 16, False),
    uapi.RTA_VIA: ("RTA_VIA", _via, 6, 18, False),
}
_ROUTE: Final[rtattr.Policy] = {
    **_HOP,
    uapi.RTA_DST: ("RTA_DST", _ip, 4, 16, False),
    uapi.RTA_OIF: ("RTA_OIF", rtattr.u32, 4, 4, False),
    uapi.RTA_PRIORITY: ("RTA_PRIORITY", rtattr.u32, 4, 4, False),
    uapi.RTA_TABLE: ("RTA_TABLE", rtattr.u32, 4, 4, False),
    uapi.RTA_MULTIPATH: ("RTA_MULTIPATH", _multipath, 0, 0xFFFF, False),
}
