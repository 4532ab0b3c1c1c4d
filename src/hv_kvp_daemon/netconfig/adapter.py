# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The interface that a host means by the ``adapter_id`` of GET_IP_INFO, a MAC as text.

A host knows the address that an adapter was made with.  The ports of a bond have another
one, and a bond or bridge may have an address of its own; so an interface is also meant by
its permanent address, and with a port its master, and whatever has the master's address.

Several interfaces may have the same MAC: an SR-IOV virtual function and the synthetic
adapter above it, the ports of a bond or bridge, a VLAN and its parent.  The first one
with addresses is chosen, and one that is not a port before one that is.  An interface
with link-local addresses only comes after those with others: the parent of a VLAN has
made its own.  The members of a VRF are no ports: they have their own addresses.
"""

from __future__ import annotations

from hv_kvp_daemon.wire.uapi import RT_SCOPE_LINK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from hv_kvp_daemon.wire.rtnetlink import Address, Link


def parse_mac(adapter_id: bytes) -> bytes | None:
    """Return the 6 bytes of ``00:15:5D:00:00:01``; None if the text has another form.

    Either case is accepted, and ``-`` for ``:``.
    """
    text = adapter_id.decode("ascii", "replace").replace("-", ":").lower()
    try:
        mac = bytes.fromhex(text.replace(":", ""))
    except ValueError:
        return None
    # fromhex() skips white space, and the separators could be anywhere.
    return mac if len(mac) == 6 and mac.hex(":") == text else None


def find_interface(
    mac: bytes, links: Sequence[Link], addresses: Sequence[Address], vrfs: Container[int] = ()
) -> Link | None:
    """Return the interface that is meant by a MAC; None if no interface has it.

    ``addresses`` are the usable ones of all interfaces, ``vrfs`` the indexes of those
    links that are VRFs.
    """
    with_any = {address.index for address in addresses}
    routable = {address.index for address in addresses if address.scope < RT_SCOPE_LINK}

    def is_port(link: Link) -> bool:
        return link.master != 0 and link.master not in vrfs

    def rank(link: Link) -> tuple[bool, bool, bool]:
        return link.index not in with_any, is_port(link), link.index not in routable

    meant = [
        link for link in links if mac in (link.address, link.permanent) and not link.loopback
    ]
    # The list grows while it is walked: a port's master may be a port itself.
    for port in meant:
        for master in links if is_port(port) else ():
            if master.index == port.master and master not in meant:
                meant += [
                    link
                    for link in links
                    if link is master
                    or (link.address == master.address != b"" and link not in meant)
                ]
    # Of equals min() takes the first: those with the MAC itself, in the kernel's order.
    return min(meant, key=rank, default=None)
