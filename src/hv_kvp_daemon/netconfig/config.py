# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The network configuration of one adapter.

The kernel knows its addresses and gateways.  Whether DHCP is on and which DNS servers
serve it is known to whatever manages the interface; the modules beside this one read
the files of those programs.  On most guests that is enough and no process is started.
Otherwise an installed script is run, or nmcli or resolvectl, mostly by a unit of its own;
one after the other, all of them within `program.LIMIT` seconds.
"""

from __future__ import annotations

from _socket import inet_ntop

from hv_kvp_daemon.guest import rtnetlink
from hv_kvp_daemon.guest.routes import default_routes
from hv_kvp_daemon.wire.uapi import (
    AF_INET,
    AF_INET6,
    IFA_F_PERMANENT,
    RT_SCOPE_LINK,
    RT_TABLE_MAIN,
)

from . import resolver
from .adapter import find_interface, parse_mac
from .dhcp import uses_dhcp
from .program import Programs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from hv_kvp_daemon.guest.child import Wait
    from hv_kvp_daemon.wire.route import Route
    from hv_kvp_daemon.wire.rtnetlink import Address, Link


class AdapterConfig:
    """What GET_IP_INFO answers and ``hv-kvp ip`` prints.

    ``addresses`` are (AF_INET or AF_INET6, text, prefix length) in the kernel's order,
    IPv4 first.  All addresses are in inet_ntop's form without scope.  ``gateways`` are
    those of default routes, IPv4 before IPv6, each by metric.  ``leased`` says that an
    IPv4 address has a limited lifetime, ``is_sole_interface`` that no other interface
    except the loopback has addresses beyond its own link.
    """

    def __init__(self, name: str, index: int) -> None:
        self.name = name
        self.index = index
        self.addresses: list[tuple[int, str, int]] = []
        self.gateways: list[str] = []
        self.dns: list[str] = []
        self.dhcp = False
        self.leased = False
        self.is_sole_interface = True


def adapter_config(
    adapter_id: bytes, wait: Wait, report: Callable[[str], None], root: str = "/"
) -> AdapterConfig | None:
    """Return the configuration of the adapter with this MAC; None if no interface has it.

    ``report`` gets a line for the log for each program that fails, and if the routes
    cannot be read.  Programs and files are those below ``root``.

    :raises OSError: the kernel's links or addresses cannot be read.
    :raises InterruptedError: ``wait`` says that this process is to end.
    """
    mac = parse_mac(adapter_id)
    if mac is None:
        return None
    links = rtnetlink.links()
    addresses = [address for address in rtnetlink.addresses() if address.usable]
    # Most guests have neither a bridge nor a bond nor a VRF.
    vrfs = rtnetlink.vrf_tables(links) if any(link.master for link in links) else {}
    link = find_interface(mac, links, addresses, vrfs)
    if link is None:
        return None
    table = vrfs.get(link.master, RT_TABLE_MAIN)
    try:
        routes = default_routes(table, link.index)
    except OSError as error:
        report(f"the gateways are left out: {error}")
        routes = []
    config = _of_kernel(link, links, addresses, routes)
    programs = Programs(wait, report, root)
    config.dhcp = uses_dhcp(programs, config)
    config.dns = resolver.servers(programs, config)
    return config


def _of_kernel(
    link: Link, links: Iterable[Link], addresses: Iterable[Address], routes: Iterable[Route]
) -> AdapterConfig:
    config = AdapterConfig(link.name, link.index)
    config.gateways = _gateways(link.index, routes)
    loopbacks = {each.index for each in links if each.loopback}
    for address in addresses:
        if address.index == link.index:
            text = inet_ntop(address.family, address.address)
            config.addresses.append((address.family, text, address.prefixlen))
            if address.family == AF_INET and not address.flags & IFA_F_PERMANENT:
                config.leased = True
        elif address.scope < RT_SCOPE_LINK and address.index not in loopbacks:
            config.is_sole_interface = False
    return config


def _gateways(index: int, routes: Iterable[Route]) -> list[str]:
    """Return each gateway once; an on-link default route has none."""
    found: dict[str, None] = {}
    for route in sorted(routes, key=lambda route: (route.family, route.metric)):
        for hop in route.hops:
            if hop.index == index and hop.gateway:
                # The family of the gateway, since an IPv4 route may go via inet6.
                family = AF_INET if len(hop.gateway) == 4 else AF_INET6
                found[inet_ntop(family, hop.gateway)] = None
    return list(found)
