"""One adapter's configuration as this guest has it, for the host and for people.

In: a link, and the kernel's addresses and default routes.  Out: a `Report`;
DNS servers and DHCP are left open, as the kernel does not know them (`inquiry`).
"""

from __future__ import annotations

from _socket import inet_ntop

from hv_kvp_daemon.wire.uapi import AF_INET, AF_INET6, IFA_F_PERMANENT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from hv_kvp_daemon.wire.route import Route
    from hv_kvp_daemon.wire.rtnetlink import Address, Link


class Report:
    """The record that GET_IP_INFO answers with and ``hv-kvp ip`` prints.

    ``addresses`` are (AF_INET or AF_INET6, text, prefix length) in the kernel's
    order, IPv4 first; all texts of addresses are as inet_ntop makes them, without
    scope.  ``gateways`` are those of default routes: IPv4 before IPv6, each by
    metric.  ``leased``: an IPv4 address here has a limited lifetime.  ``alone``:
    no other interface but the loopback has addresses beyond its own link.
    """

    __slots__ = (
        "addresses",
        "alone",
        "dhcp",
        "dns",
        "gateways",
        "index",
        "leased",
        "mac",
        "name",
    )

    def __init__(self, *, name: str, index: int, mac: bytes) -> None:
        self.name = name
        self.index = index
        self.mac = mac
        self.addresses: list[tuple[int, str, int]] = []
        self.gateways: list[str] = []
        self.dns: list[str] = []
        self.dhcp = False
        self.leased = False
        self.alone = True


def make_report(
    link: Link, addresses: Iterable[Address], routes: Iterable[Route], *, alone: bool
) -> Report:
    """Fill in what the kernel knows; ``addresses`` and ``routes`` of all interfaces."""
    report = Report(name=link.name, index=link.index, mac=link.address)
    report.alone = alone
    for address in addresses:
        if address.index == link.index:
            text = inet_ntop(address.family, address.address)
            report.addresses.append((address.family, text, address.prefixlen))
            if address.family == AF_INET and not address.flags & IFA_F_PERMANENT:
                report.leased = True
    report.gateways = _gateways(link.index, routes)
    return report


def _gateways(index: int, routes: Iterable[Route]) -> list[str]:
    """Each once; an on-link default route has none."""
    found: dict[str, None] = {}
    for route in sorted(routes, key=lambda route: (route.family, route.metric)):
        for hop in route.hops:
            if hop.index == index and hop.gateway:
                # By the gateway's length: an IPv4 route may go via inet6.
                family = AF_INET if len(hop.gateway) == 4 else AF_INET6
                found[inet_ntop(family, hop.gateway)] = None
    return list(found)
