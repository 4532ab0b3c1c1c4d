# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Nexthop objects (``ip nexthop``), to which a route may refer by RTA_NH_ID.

With ``net.ipv4.nexthop_compat_mode=0`` the kernel does not repeat an object's interface
and gateway in the route.  A group refers to several objects, which are no groups.
"""

from __future__ import annotations

import struct

from . import rtattr, uapi
from .errors import WireError
from .netlink import pack
from .route import Hop
from .rtnetlink import fixed, ip

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

#: struct nhmsg: family, scope, protocol, reserved, flags.
NHMSG: Final = struct.Struct("=BBBBI")
#: struct nexthop_grp: the id of an object; then its weight, which does not matter here.
NEXTHOP_GRP: Final = struct.Struct("=I4x")

_U32 = struct.Struct("=I")


class Nexthop:
    """An object: the ids of a group's members, or one hop; a blackhole has neither."""

    __slots__ = ("hops", "members")

    def __init__(self, hops: list[Hop], members: list[int]) -> None:
        self.hops = hops
        self.members = members


def nexthop_request(number: int, seq: int, pid: int) -> bytes:
    """Encode a request for the object with an id, and for an acknowledgment after it."""
    payload = NHMSG.pack(uapi.AF_UNSPEC, 0, 0, 0, 0)
    payload += rtattr.pack(uapi.NHA_ID, _U32.pack(number))
    flags = uapi.NLM_F_REQUEST | uapi.NLM_F_ACK
    return pack(uapi.RTM_GETNEXTHOP, flags, seq, pid, payload)


def decode_nexthop(payload: bytes | memoryview) -> Nexthop:
    """Decode the payload of an RTM_NEWNEXTHOP.

    :raises WireError: it is malformed.
    """
    fixed(NHMSG, payload)
    found = rtattr.parse(payload[NHMSG.size :], _NEXTHOP)
    hops = []
    if uapi.NHA_OIF in found:
        hops.append(Hop(found[uapi.NHA_OIF], found.get(uapi.NHA_GATEWAY, b"")))
    return Nexthop(hops, found.get(uapi.NHA_GROUP, []))


def _group(value: memoryview) -> list[int]:
    if len(value) % NEXTHOP_GRP.size:
        raise WireError(f"nexthop group of {len(value)} bytes, a member has 8")
    return [number for (number,) in NEXTHOP_GRP.iter_unpack(value)]


_NEXTHOP: Final[rtattr.Policy] = {
    uapi.NHA_GROUP: ("NHA_GROUP", _group, False),
    uapi.NHA_OIF: ("NHA_OIF", rtattr.u32, False),
    uapi.NHA_GATEWAY: ("NHA_GATEWAY", ip, False),
}
