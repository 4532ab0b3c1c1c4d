"""Links and addresses as rtnetlink encodes them, and what all its messages have.

In: payloads of RTM_NEWLINK and RTM_NEWADDR.  Out: `Link` and `Address`, and the
requests that make the kernel dump them.  Addresses of families other than IPv4
and IPv6 come back as None.  `wire.route` has the routes.
"""

from __future__ import annotations

import struct

from . import rtattr, uapi
from .errors import WireError
from .netlink import pack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

#: struct ifinfomsg: family, hardware type (ARPHRD_*), index, flags (IFF_*), change.
IFINFOMSG: Final = struct.Struct("=BxHiII")
#: struct ifaddrmsg: family, prefix length, flags (the lower 8), scope, interface index.
IFADDRMSG: Final = struct.Struct("=BBBBI")

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

#: Bytes of an address, by the families that are decoded.
ADDRESS_SIZES: Final = {uapi.AF_INET: 4, uapi.AF_INET6: 16}
_U32 = struct.Struct("=I")


def dump_request(type_: int, seq: int, pid: int, payload: bytes) -> bytes:
    """Make a request for all of a kind; ``payload`` is its fixed part, and attributes."""
    # The whole fixed part and zeros in it, although a lenient kernel is content
    # with less: one that checks strictly (NETLINK_GET_STRICT_CHK) takes no other.
    return pack(type_, uapi.NLM_F_REQUEST | uapi.NLM_F_DUMP, seq, pid, payload)


def fixed(struct_: struct.Struct, payload: bytes | memoryview) -> tuple[Any, ...]:
    """Unpack the fixed part of a payload, which stands before its attributes.

    :raises WireError: the payload is shorter.
    """
    if len(payload) < struct_.size:
        raise WireError(f"rtnetlink message of {len(payload)} bytes, at least {struct_.size}")
    return struct_.unpack_from(payload)


def ip(value: memoryview) -> bytes:
    """Copy an IPv4 or IPv6 address, in network byte order: a kind for `rtattr.Policy`.

    :raises WireError: it has neither 4 nor 16 bytes.
    """
    if len(value) not in ADDRESS_SIZES.values():
        raise WireError(f"address of {len(value)} bytes, allowed 4 and 16")
    return bytes(value)


def check_size(family: int, address: bytes) -> None:
    """Refuse an address that is not of its message's family.

    :raises WireError: it has the other one's size.
    """
    if len(address) != ADDRESS_SIZES[family]:
        raise WireError(
            f"address of {len(address)} bytes, family {family} has {ADDRESS_SIZES[family]}"
        )


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


def links_request(seq: int, pid: int) -> bytes:
    """Ask for all links, without the counters that are most of each answer."""
    payload = IFINFOMSG.pack(uapi.AF_UNSPEC, 0, 0, 0, 0)
    payload += rtattr.pack(uapi.IFLA_EXT_MASK, _U32.pack(uapi.RTEXT_FILTER_SKIP_STATS))
    return dump_request(uapi.RTM_GETLINK, seq, pid, payload)


def addresses_request(seq: int, pid: int) -> bytes:
    """Ask for all addresses: IPv4 by interface index, then IPv6."""
    return dump_request(uapi.RTM_GETADDR, seq, pid, IFADDRMSG.pack(uapi.AF_UNSPEC, 0, 0, 0, 0))


def decode_link(payload: bytes | memoryview) -> Link:
    """Decode the payload of an RTM_NEWLINK.

    :raises WireError: it is malformed or without IFLA_IFNAME.
    """
    _, _, index, flags, _ = fixed(IFINFOMSG, payload)
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
    family, prefixlen, flags, scope, index = fixed(IFADDRMSG, payload)
    if family not in ADDRESS_SIZES:
        return None
    found = rtattr.parse(payload[IFADDRMSG.size :], _ADDRESS)
    address = found.get(uapi.IFA_LOCAL) or found.get(uapi.IFA_ADDRESS)
    if address is None:
        return None
    check_size(family, address)
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


_LINK: Final[rtattr.Policy] = {
    uapi.IFLA_IFNAME: ("IFLA_IFNAME", rtattr.text, 1, uapi.IFNAMSIZ, True),
    uapi.IFLA_ADDRESS: ("IFLA_ADDRESS", rtattr.raw, 0, uapi.MAX_ADDR_LEN, False),
    uapi.IFLA_MASTER: ("IFLA_MASTER", rtattr.u32, 4, 4, False),
    uapi.IFLA_OPERSTATE: ("IFLA_OPERSTATE", rtattr.u8, 1, 1, False),
}
_ADDRESS: Final[rtattr.Policy] = {
    uapi.IFA_ADDRESS: ("IFA_ADDRESS", ip, 4, 16, False),
    uapi.IFA_LOCAL: ("IFA_LOCAL", ip, 4, 16, False),
    uapi.IFA_LABEL: ("IFA_LABEL", rtattr.text, 1, uapi.IFNAMSIZ, False),
    uapi.IFA_FLAGS: ("IFA_FLAGS", rtattr.u32, 4, 4, False),
}
