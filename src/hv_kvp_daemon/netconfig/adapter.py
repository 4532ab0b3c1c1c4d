"""The interface that a host means by the ``adapter_id`` of GET_IP_INFO, a MAC as text.

Several interfaces may have the same MAC: an SR-IOV virtual function and the synthetic
adapter above it, the ports of a bond or bridge, a VLAN and its parent.  The first one
with addresses is chosen, and one that is not enslaved before one that is.  An interface
with link-local addresses only comes after those with others: the parent of a VLAN has
made its own.
"""

from __future__ import annotations

from hv_kvp_daemon.wire.uapi import RT_SCOPE_LINK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

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
    mac: bytes, links: Iterable[Link], addresses: Sequence[Address]
) -> Link | None:
    """Return the interface that is meant by a MAC; None if no interface has it.

    ``addresses`` are the usable ones of all interfaces.
    """
    with_any = {address.index for address in addresses}
    routable = {address.index for address in addresses if address.scope < RT_SCOPE_LINK}

    def rank(link: Link) -> tuple[bool, bool, bool]:
        return link.index not in with_any, link.master != 0, link.index not in routable

    same = [link for link in links if link.address == mac and not link.loopback]
    # Of equals min() takes the first, and the kernel lists links by index.
    return min(same, key=rank, default=None)
