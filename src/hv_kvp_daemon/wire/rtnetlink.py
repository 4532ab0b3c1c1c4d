# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Links and addresses as rtnetlink encodes them, and what its messages have in common.

RTM_NEWLINK and RTM_NEWADDR are decoded to `Link` and `Address`; the requests that
make the kernel dump them are encoded.  Addresses of families other than IPv4 and
IPv6 are decoded to None.  Routes are in `wire.route`.
"""

from __future__ import annotations

import struct

from . import rtattr, uapi
from .errors import WireError
from .linkinfo import permanent_address
from .netlink import pack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

#: struct ifinfomsg: family, hardware type (ARPHRD_*), index, flags (IFF_*), change.
IFINFOMSG: Final = struct.Struct("=BxHiII")
#: struct ifaddrmsg: family, prefix length, flags (the lower 8), scope, interface index.
IFADDRMSG: Final = struct.Struct("=BBBBI")

#: Bytes of an address, for each family that is decoded.
ADDRESS_SIZES: Final = {uapi.AF_INET: 4, uapi.AF_INET6: 16}
_U32 = struct.Struct("=I")


def dump_request(type_: int, seq: int, pid: int, payload: bytes) -> bytes:
    """Encode a dump request; ``payload`` is the fixed part of its type, and attributes."""
    # The fixed part is complete and zero, although the kernel accepts less by default:
    # with NETLINK_GET_STRICT_CHK it accepts nothing else.
    return pack(type_, uapi.NLM_F_REQUEST | uapi.NLM_F_DUMP, seq, pid, payload)


def fixed(struct_: struct.Struct, payload: bytes | memoryview) -> tuple[Any, ...]:
    """Unpack the fixed part of a payload, which precedes the attributes.

    :raises WireError: the payload is shorter.
    """
    if len(payload) < struct_.size:
        raise WireError(f"rtnetlink message of {len(payload)} bytes, at least {struct_.size}")
    return struct_.unpack_from(payload)


def ip(value: memoryview) -> bytes:
    """Copy an IPv4 or IPv6 address in network byte order; a decoder for `rtattr.Policy`.

    :raises WireError: it has neither 4 nor 16 bytes.
    """
    if len(value) not in ADDRESS_SIZES.values():
        raise WireError(f"address of {len(value)} bytes, allowed 4 and 16")
    return bytes(value)


def check_size(family: int, address: bytes) -> None:
    """Check the size of an address against the family that its message names.

    :raises WireError: the size is that of another family.
    """
    if len(address) != ADDRESS_SIZES[family]:
        raise WireError(
            f"address of {len(address)} bytes, family {family} has {ADDRESS_SIZES[family]}"
        )


class Link:
    """A network interface.

    ``address`` is the hardware address (6 bytes on Ethernet, ``b""`` if there is
    none), ``permanent`` the one that it was made with, where the kernel says so, ``master``
    the index of the bridge, bond or VRF that the link belongs to, or 0, ``operstate`` the
    state of RFC 2863 (IF_OPER_*: 0 unknown, 2 down, 6 up), and ``linkinfo`` the value of
    IFLA_LINKINFO, see `wire.linkinfo`.
    """

    __slots__ = (
        "address",
        "flags",
        "index",
        "linkinfo",
        "master",
        "name",
        "operstate",
        "permanent",
    )

    def __init__(
        self,
        *,
        index: int,
        flags: int,
        name: str,
        address: bytes,
        master: int,
        operstate: int,
        permanent: bytes = b"",
        linkinfo: bytes = b"",
    ) -> None:
        self.index = index
        self.flags = flags
        self.name = name
        self.address = address
        self.master = master
        self.operstate = operstate
        self.permanent = permanent
        self.linkinfo = linkinfo

    @property
    def loopback(self) -> bool:
        """Whether IFF_LOOPBACK is set."""
        return bool(self.flags & uapi.IFF_LOOPBACK)


class Address:
    """An address of this machine; on a point-to-point link, that of the local end.

    ``address`` has 4 bytes (AF_INET) or 16 (AF_INET6) in network order.  ``label``
    is IFA_LABEL: the name of the interface, or for an alias such as ``eth0:1`` that
    name.  IPv6 addresses have none: it is empty.
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
        """False while duplicate address detection runs, and if it has failed."""
        return not self.flags & (uapi.IFA_F_TENTATIVE | uapi.IFA_F_DADFAILED)


def links_request(seq: int, pid: int) -> bytes:
    """Encode a request for all links, without the counters that fill most of each answer."""
    payload = IFINFOMSG.pack(uapi.AF_UNSPEC, 0, 0, 0, 0)
    payload += rtattr.pack(uapi.IFLA_EXT_MASK, _U32.pack(uapi.RTEXT_FILTER_SKIP_STATS))
    return dump_request(uapi.RTM_GETLINK, seq, pid, payload)


def addresses_request(seq: int, pid: int) -> bytes:
    """Encode a request for all addresses: IPv4 by interface index, then IPv6."""
    return dump_request(uapi.RTM_GETADDR, seq, pid, IFADDRMSG.pack(uapi.AF_UNSPEC, 0, 0, 0, 0))


def link_request(name: bytes, seq: int, pid: int) -> bytes:
    """Encode a request for the link with a name, which may be an alternative one.

    At most 127 bytes (ALTIFNAMSIZ); an acknowledgment follows the answer.
    """
    payload = IFINFOMSG.pack(uapi.AF_UNSPEC, 0, 0, 0, 0)
    # The kernel looks for either kind of name (Linux 5.5), but this one may be longer.
    payload += rtattr.pack(uapi.IFLA_ALT_IFNAME, name + b"\0")
    return pack(uapi.RTM_GETLINK, uapi.NLM_F_REQUEST | uapi.NLM_F_ACK, seq, pid, payload)


def decode_link(payload: bytes | memoryview) -> Link:
    """Decode the payload of an RTM_NEWLINK.

    :raises WireError: it is malformed or has no IFLA_IFNAME.
    """
    _, _, index, flags, _ = fixed(IFINFOMSG, payload)
    found = rtattr.parse(payload[IFINFOMSG.size :], _LINK)
    info = found.get(uapi.IFLA_LINKINFO, b"")
    permanent = found.get(uapi.IFLA_PERM_ADDRESS, b"")
    if info and not permanent and uapi.IFLA_MASTER in found:
        permanent = permanent_address(info)
    return Link(
        index=index,
        flags=flags,
        name=found[uapi.IFLA_IFNAME],
        address=found.get(uapi.IFLA_ADDRESS, b""),
        master=found.get(uapi.IFLA_MASTER, 0),
        operstate=found.get(uapi.IFLA_OPERSTATE, 0),
        permanent=permanent,
        linkinfo=info,
    )


def decode_address(payload: bytes | memoryview) -> Address | None:
    """Decode the payload of an RTM_NEWADDR; None for another family or no address.

    IFA_LOCAL is preferred to IFA_ADDRESS, which is the peer's address on a
    point-to-point link.  glibc's getifaddrs does the same.

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
        # The header has room for the lower 8 flags only.
        flags=found.get(uapi.IFA_FLAGS, flags),
        scope=scope,
        index=index,
        address=address,
        label=found.get(uapi.IFA_LABEL, ""),
    )


_LINK: Final[rtattr.Policy] = {
    uapi.IFLA_IFNAME: ("IFLA_IFNAME", rtattr.text, True),
    uapi.IFLA_ADDRESS: ("IFLA_ADDRESS", bytes, False),
    uapi.IFLA_MASTER: ("IFLA_MASTER", rtattr.u32, False),
    uapi.IFLA_OPERSTATE: ("IFLA_OPERSTATE", rtattr.u8, False),
    uapi.IFLA_PERM_ADDRESS: ("IFLA_PERM_ADDRESS", bytes, False),
    uapi.IFLA_LINKINFO: ("IFLA_LINKINFO", bytes, False),
}
_ADDRESS: Final[rtattr.Policy] = {
    uapi.IFA_ADDRESS: ("IFA_ADDRESS", ip, False),
    uapi.IFA_LOCAL: ("IFA_LOCAL", ip, False),
    uapi.IFA_LABEL: ("IFA_LABEL", rtattr.text, False),
    uapi.IFA_FLAGS: ("IFA_FLAGS", rtattr.u32, False),
}
