# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""What the kernel says of an interface, in network namespaces with real links."""

from __future__ import annotations

import functools
import socket
import struct
from typing import Any, NoReturn

import pytest
from pyroute2 import IPRoute

from hv_kvp_daemon.guest import rtnetlink
from hv_kvp_daemon.guest.child import wait_readable
from hv_kvp_daemon.guest.routes import default_interfaces
from hv_kvp_daemon.netconfig import config
from hv_kvp_daemon.netconfig.answer import ip_info
from hv_kvp_daemon.netconfig.config import adapter_config
from hv_kvp_daemon.wire import rtattr, uapi
from hv_kvp_daemon.wire.rtnetlink import Link
from tests.support.network import in_own_network, link

from .network import add, ask, veth

MAC, OTHER = "02:15:5d:00:00:01", "02:15:5d:00:00:02"


def texts(mac: str = MAC) -> list[str]:
    return [text for _, text, _ in ask(mac).addresses]


@in_own_network
def test_eth1_is_not_eth10() -> None:
    """O8."""
    with IPRoute() as ip:
        for name, mac, address in (
            ("eth0", "02:15:5d:00:00:10", "192.0.2.1/24"),
            ("eth1", MAC, "198.51.100.1/24"),
            ("eth10", OTHER, "203.0.113.1/25"),
        ):
            veth(ip, name, mac, address)
    assert ask(MAC).addresses == [(socket.AF_INET, "198.51.100.1", 24)]
    assert ask(OTHER).addresses == [(socket.AF_INET, "203.0.113.1", 25)]
    assert ask(OTHER).name == "eth10"


@in_own_network
def test_both_families_and_labels_in_the_kernels_order() -> None:
    with IPRoute() as ip:
        index = veth(ip, "eth0", MAC, "2001:db8::1/64", "192.0.2.1/24")
        ip.addr("add", index=index, address="192.0.2.9", prefixlen=32, label="eth0:1")
    assert texts() == ["192.0.2.1", "192.0.2.9", "2001:db8::1"]


@in_own_network
def test_no_interface_has_the_mac_or_it_has_no_address() -> None:
    with IPRoute() as ip:
        veth(ip, "eth0", MAC)
    assert adapter_config(OTHER.encode(), wait_readable, print, "/nowhere") is None
    assert adapter_config(b"00:00:00:00:00:00", wait_readable, print, "/nowhere") is None
    assert adapter_config(b"", wait_readable, print, "/nowhere") is None
    found = ask(MAC)
    assert (found.name, found.addresses, found.gateways) == ("eth0", [], [])
    assert not found.dhcp


@in_own_network
def test_one_mac_on_a_bridge_and_its_port() -> None:
    with IPRoute() as ip:
        port = veth(ip, "eth0", MAC, "192.0.2.99/24")
        ip.link("add", ifname="br0", kind="bridge")
        bridge = socket.if_nametoindex("br0")
        ip.link("set", index=bridge, address=MAC, state="up")
        ip.link("set", index=port, master=bridge)
        assert texts() == ["192.0.2.99"]
        add(ip, bridge, "192.0.2.1/24")
    assert texts() == ["192.0.2.1"]


@in_own_network
def test_a_bridge_with_an_address_of_its_own_answers_for_its_port() -> None:
    """O26: a host knows the port's address only."""
    with IPRoute() as ip:
        port = veth(ip, "eth0", MAC)
        ip.link("add", ifname="br0", kind="bridge")
        bridge = socket.if_nametoindex("br0")
        ip.link("set", index=bridge, address=OTHER, state="up")
        ip.link("set", index=port, master=bridge)
        assert texts() == []
        add(ip, bridge, "192.0.2.1/24")
    assert (ask(MAC).name, texts()) == ("br0", ["192.0.2.1"])


@in_own_network
def test_a_member_of_a_vrf_has_the_gateways_of_the_vrfs_table() -> None:
    """O25.  The kernel of a test may have no VRFs, so what it says of one is made up."""
    with IPRoute() as ip, pytest.MonkeyPatch.context() as patch:
        index = veth(ip, "eth0", MAC, "192.0.2.1/24", "2001:db8::1/64")
        default = functools.partial(ip.route, "add", dst="default", oif=index)
        default(family=socket.AF_INET, gateway="192.0.2.9", table=1000)
        default(family=socket.AF_INET6, gateway="fe80::9", table=1000)
        default(family=socket.AF_INET, gateway="192.0.2.8")
        assert ask(MAC).gateways == ["192.0.2.8"]

        data = rtattr.pack(uapi.IFLA_VRF_TABLE, struct.pack("=I", 1000))
        info = rtattr.pack(uapi.IFLA_INFO_KIND, b"vrf\0")
        info += rtattr.pack(uapi.IFLA_INFO_DATA, data)
        vrf = Link(
            index=4711, flags=0, name="vrf0", address=bytes(6), master=0, operstate=6,
            linkinfo=info,
        )  # fmt: skip
        links = [*rtnetlink.links(), vrf]
        (port,) = (link for link in links if link.index == index)
        port.master = vrf.index
        patch.setattr(rtnetlink, "links", lambda: links)
        assert ask(MAC).gateways == ["192.0.2.9", "fe80::9"]
        assert default_interfaces([]) == {index}


@in_own_network
def test_one_mac_on_two_free_interfaces() -> None:
    with IPRoute() as ip:
        first = veth(ip, "eth0", MAC)
        veth(ip, "eth1", MAC, "192.0.2.2/24")
        assert texts() == ["192.0.2.2"]
        add(ip, first, "fe80::1/64")
        assert texts() == ["192.0.2.2"]
        add(ip, first, "192.0.2.1/24")
    assert texts() == ["192.0.2.1", "fe80::1"]


@in_own_network
def test_ninety_ipv6_addresses_are_cut_pairwise() -> None:
    with IPRoute() as ip:
        prefix = "2001:db8:1111:2222:3333:4444:5555"
        veth(ip, "eth0", MAC, *(f"{prefix}:{n:x}/64" for n in range(0x1000, 0x105A)))
    info = ip_info(ask(MAC), MAC.encode())
    # 38 characters and a semicolon each.
    assert info.ip_addr.count(b";") == info.sub_net.count(b";") == 1023 // 39 - 1
    assert len(info.ip_addr) == 39 * (1023 // 39) - 1


@in_own_network
def test_tentative_addresses_are_left_out() -> None:
    with IPRoute() as ip:
        # Without a carrier from the start duplicate address detection does not begin.
        index = link(ip, "eth0", "eth0p", peer_up=False)
        ip.link("set", index=index, address=MAC)
        add(ip, index, "2001:db8::1/64")
        ip.addr("add", index=index, address="2001:db8::2", prefixlen=64)
    assert texts() == ["2001:db8::1"]


@in_own_network
def test_gateways_by_family_and_metric_from_the_main_table_alone() -> None:
    with IPRoute() as ip:
        index = veth(ip, "eth0", MAC, "192.0.2.1/24", "2001:db8::1/64")
        v4, v6 = socket.AF_INET, socket.AF_INET6
        default = functools.partial(ip.route, "add", dst="default", oif=index)
        default(family=v4, gateway="192.0.2.9", priority=200)
        default(family=v4, gateway="192.0.2.8", priority=100)
        default(family=v4, gateway="192.0.2.7", table=100)
        default(family=v4, priority=300)
        ip.route("add", family=v4, dst="10.0.0.0/8", gateway="192.0.2.6", oif=index)
        default(family=v6, gateway="fe80::9", priority=9)
        default(family=v4, gateway="192.0.2.8", priority=400)
    assert ask(MAC).gateways == ["192.0.2.8", "192.0.2.9", "fe80::9"]


@in_own_network
def test_without_the_routes_the_rest_is_answered() -> None:
    """O23."""

    def unreadable(table: int, index: int) -> NoReturn:
        raise TimeoutError(f"table {table}, interface {index}")

    reports: list[str] = []
    with IPRoute() as ip, pytest.MonkeyPatch.context() as patch:
        index = veth(ip, "eth0", MAC, "192.0.2.1/24")
        patch.setattr(config, "default_routes", unreadable)
        found = adapter_config(MAC.encode(), wait_readable, reports.append, "/nowhere")
    assert found is not None
    assert (found.addresses, found.gateways) == ([(socket.AF_INET, "192.0.2.1", 24)], [])
    assert reports == [f"the gateways are left out: table 254, interface {index}"]


@in_own_network
def test_each_next_hop_of_this_interface_is_a_gateway() -> None:
    with IPRoute() as ip:
        first = veth(ip, "eth0", MAC, "192.0.2.1/24")
        second = veth(ip, "eth1", OTHER, "198.51.100.1/24")
        hops = [
            {"gateway": "192.0.2.9", "oif": first},
            {"gateway": "198.51.100.9", "oif": second},
            {"gateway": "192.0.2.8", "oif": first},
        ]
        ip.route("add", family=socket.AF_INET, dst="default", multipath=hops)
    assert ask(MAC).gateways == ["192.0.2.9", "192.0.2.8"]
    assert ask(OTHER).gateways == ["198.51.100.9"]


@in_own_network
def test_an_ipv4_route_may_have_an_ipv6_gateway() -> None:
    with IPRoute() as ip:
        index = veth(ip, "eth0", MAC, "192.0.2.1/24", "fe80::1/64")
        via = {"family": socket.AF_INET6, "addr": "fe80::9"}
        ip.route("add", family=socket.AF_INET, dst="default", via=via, oif=index)
    assert ask(MAC).gateways == ["fe80::9"]


@in_own_network
def test_ipv6_alone() -> None:
    with IPRoute() as ip:
        index = veth(ip, "eth0", MAC, "2001:db8::1/48")
        ip.route("add", family=socket.AF_INET6, dst="default", gateway="2001:db8::9", oif=index)
    info = ip_info(ask(MAC), MAC.encode())
    assert (info.addr_family, info.ip_addr, info.sub_net) == (2, b"2001:db8::1", b"/48")
    assert (info.gate_way, info.dns_addr, info.dhcp_enabled) == (b"2001:db8::9", b"", 0)


@in_own_network
def test_an_address_with_a_lifetime_is_leased_where_nobody_says_otherwise() -> None:
    seconds = {"preferred": 600, "valid": 600}
    # pyroute2 0.7.7 (Debian 13) takes the lifetimes from cacheinfo, 0.9.7 from the others.
    leased: dict[str, Any] = {**seconds, "cacheinfo": seconds}
    with IPRoute() as ip:
        index = veth(ip, "eth0", MAC, "2001:db8::1/64")
        ip.addr("add", index=index, address="2001:db8::2", prefixlen=64, flags=2, **leased)
        assert not ask(MAC).dhcp
        ip.addr("add", index=index, address="192.0.2.1", prefixlen=24, **leased)
    assert ask(MAC).dhcp


@in_own_network
def test_an_interface_is_the_sole_one_while_no_other_reaches_beyond_its_link() -> None:
    with IPRoute() as ip:
        ip.link("set", index=1, state="up")
        veth(ip, "eth0", MAC, "192.0.2.1/24")
        other = veth(ip, "eth1", OTHER, "fe80::1/64")
        assert ask(MAC).is_sole_interface
        add(ip, other, "198.51.100.1/24")
    assert not ask(MAC).is_sole_interface
