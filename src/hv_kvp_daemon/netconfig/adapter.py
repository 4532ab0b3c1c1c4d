"""Which interface is meant by a host's adapter.

In: the ``adapter_id`` of GET_IP_INFO, a MAC address as text, with the kernel's
links and addresses.  Out: one link, or None.
Rule: several interfaces may have one MAC (SR-IOV's virtual function below the
synthetic adapter, the ports of a bond or bridge, a VLAN and its parent).  The
first that has addresses is meant, one that is not enslaved before one that is.
An interface whose addresses are all link-local counts only after those with
others: the parent of a VLAN has made itself one, and nobody gave it.
"""

from __future__ import annotations

from hv_kvp_daemon.wire.uapi import RT_SCOPE_LINK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hv_kvp_daemon.wire.rtnetlink import Address, Link

_HEX = frozenset(b"0123456789abcdefABCDEF")


def parse_mac(adapter_id: bytes) -> bytes | None:
    """Return the 6 bytes of ``00:15:5D:00:00:01``; None if it is no such text.

    Any case, ``:`` or ``-`` between the bytes.
    """
    parts = adapter_id.replace(b"-", b":").split(b":")
    if len(parts) != 6 or any(len(part) != 2 or not _HEX.issuperset(part) for part in parts):
        return None
    return bytes(int(part, 16) for part in parts)


def find_interface(
    mac: bytes, links: Iterable[Link], addresses: Sequence[Address]
) -> Link | None:
    """Return the interface that answers for a MAC; None if no interface has it.

    ``addresses`` are those that may be shown.
    """
    with_any = {address.index for address in addresses}
    routable = {address.index for address in addresses if address.scope < RT_SCOPE_LINK}

    def rank(link: Link) -> tuple[bool, bool, bool]:
        return link.index not in with_any, link.master != 0, link.index not in routable

    same = [link for link in links if link.address == mac and not link.loopback]
    # min takes the first of equals, and the kernel lists links by index.
    return min(same, key=rank, default=None)
