# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""IFLA_LINKINFO: what a link has beyond others, by its kind and that of its master.

Two kinds matter here.  A VRF has a routing table of its own, which serves the interfaces
that are enslaved to it.  The port of a bond has the bond's MAC address; the one that it was
made with is in IFLA_PERM_ADDRESS (Linux 5.6) and, longer, in the bond's own attribute.
"""

from __future__ import annotations

from . import rtattr, uapi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_VRF = "vrf"
_BOND = "bond"


def vrf_table(linkinfo: bytes) -> int | None:
    """Return the routing table of a VRF; None for a link of another kind.

    :raises WireError: the value of IFLA_LINKINFO is malformed.
    """
    info = rtattr.parse(linkinfo, _INFO)
    if info.get(uapi.IFLA_INFO_KIND) != _VRF:
        return None
    table: int = rtattr.parse(info.get(uapi.IFLA_INFO_DATA, b""), _VRF_DATA)[
        uapi.IFLA_VRF_TABLE
    ]
    return table


def permanent_address(linkinfo: bytes) -> bytes:
    """Return the MAC address that the port of a bond was made with; else ``b""``.

    :raises WireError: the value of IFLA_LINKINFO is malformed.
    """
    info = rtattr.parse(linkinfo, _INFO)
    if info.get(uapi.IFLA_INFO_SLAVE_KIND) != _BOND:
        return b""
    data = rtattr.parse(info.get(uapi.IFLA_INFO_SLAVE_DATA, b""), _PORT_DATA)
    address: bytes = data.get(uapi.IFLA_BOND_SLAVE_PERM_HWADDR, b"")
    return address


_INFO: Final[rtattr.Policy] = {
    uapi.IFLA_INFO_KIND: ("IFLA_INFO_KIND", rtattr.text, False),
    uapi.IFLA_INFO_DATA: ("IFLA_INFO_DATA", bytes, False),
    uapi.IFLA_INFO_SLAVE_KIND: ("IFLA_INFO_SLAVE_KIND", rtattr.text, False),
    uapi.IFLA_INFO_SLAVE_DATA: ("IFLA_INFO_SLAVE_DATA", bytes, False),
}
_VRF_DATA: Final[rtattr.Policy] = {
    uapi.IFLA_VRF_TABLE: ("IFLA_VRF_TABLE", rtattr.u32, True),
}
_PERM_HWADDR = "IFLA_BOND_SLAVE_PERM_HWADDR"
_PORT_DATA: Final[rtattr.Policy] = {
    uapi.IFLA_BOND_SLAVE_PERM_HWADDR: (_PERM_HWADDR, bytes, False),
}
