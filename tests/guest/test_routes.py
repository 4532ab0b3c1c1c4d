# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Default routes of a real kernel: of every kind, and among many others."""

from __future__ import annotations

import functools
import socket
import struct
from typing import TYPE_CHECKING, Any

import pytest
from pyroute2 import IPRoute

from hv_kvp_daemon.guest import routes, rtnetlink
from hv_kvp_daemon.guest.routes import default_interfaces, default_routes
from hv_kvp_daemon.wire import netlink, route, rtattr, uapi
from hv_kvp_daemon.wire.nexthop import NEXTHOP_GRP, NHMSG
from hv_kvp_daemon.wire.route import RTMSG, decode_route, routes_request
from hv_kvp_daemon.wire.uapi import RT_TABLE_MAIN
from tests.support.network import (
    IFA_F_NODAD,
    in_own_network,
    link,
    needs_rtnetlink,
    sysctl,
)

if TYPE_CHECKING:
    from hv_kvp_daemon.wire.route import Hop, Route

V4, V6 = socket.AF_INET, socket.AF_INET6


def hop_texts(hops: list[Hop]) -> list[tuple[int, str]]:
    def text(gateway: bytes) -> str:
        family = V4 if len(gateway) == 4 else V6
        return socket.inet_ntop(family, gateway) if gateway else ""

    return sorted((hop.index, text(hop.gateway)) for hop in hops)


def shape(route: Route) -> tuple[int, int, int, list[tuple[int, str]]]:
    return route.family, route.table, route.metric, hop_texts(route.hops)


def gateways(index: int, table: int = RT_TABLE_MAIN) -> list[str]:
    return [text for route in default_routes(table, index) for _, text in hop_texts(route.hops)]


def two_links(ip: IPRoute) -> tuple[int, int]:
    """Two interfaces with 10.0.N.1/24 and fd0N::1/64, N from 1."""
    a, b = link(ip, "a0", "b0"), link(ip, "a1", "b1")
    for index, net in ((a, 1), (b, 2)):
        ip.addr("add", index=index, address=f"10.0.{net}.1", prefixlen=24)
        ip.addr("add", index=index, address=f"fd0{net}::1", prefixlen=64, flags=IFA_F_NODAD)
    return a, b


def many(ip: IPRoute, index: int, count: int = 400) -> None:
    """More routes of each family than the kernel puts into its first datagrams."""
    for number in range(count):
        ip.route("add", dst=f"20.{number // 250}.{number % 250}.0/24", oif=index)
        ip.route("add", family=V6, dst=f"2001:{number + 1:x}::/48", oif=index)


@in_own_network
def test_default_routes_of_every_kind_are_read() -> None:
    with IPRoute() as ip:
        a, b = two_links(ip)
        hops = [{"gateway": "10.0.1.2", "oif": a}, {"gateway": "10.0.2.2", "oif": b}]
        ip.route("add", family=V4, dst="default", multipath=hops)
        ip.route("add", family=V4, dst="default", oif=a, priority=50)
        ip.route("add", family=V4, dst="default", gateway="10.0.1.3", priority=4294967295)
        ip.route("add", family=V4, dst="default", gateway="10.0.1.4", table=1000)
        via = {"family": V6, "addr": "fd02::2"}
        ip.route("add", family=V4, dst="default", oif=b, via=via, priority=60)
        hops = [{"gateway": "fd01::2", "oif": a}, {"gateway": "fd02::2", "oif": b}]
        ip.route("add", family=V6, dst="default", multipath=hops, priority=70)
        ip.route("add", family=V6, dst="default", gateway="fd01::3", priority=80)

        expected = [
            (V4, 254, 0, [(a, "10.0.1.2"), (b, "10.0.2.2")]),
            (V4, 254, 50, [(a, "")]),
            (V4, 254, 60, [(b, "fd02::2")]),
            (V4, 254, 4294967295, [(a, "10.0.1.3")]),
            (V6, 254, 70, [(a, "fd01::2"), (b, "fd02::2")]),
            (V6, 254, 80, [(a, "fd01::3")]),
        ]
        assert sorted(map(shape, default_routes(RT_TABLE_MAIN, a))) == expected
        assert [shape(each) for each in default_routes(1000, a)] == [
            (V4, 1000, 0, [(a, "10.0.1.4")])
        ]
        assert default_routes(4711, a) == []
        # As other programs ask.
        request = functools.partial(routes_request, 0, RT_TABLE_MAIN)
        everything = rtnetlink.ask(request, uapi.RTM_NEWROUTE, decode_route)
        assert {each.table for each in everything} > {254, 1000}
        found = [shape(each) for each in everything if each.default and each.table == 254]
        assert sorted(found) == expected
        (near,) = (each for each in everything if each.dst == b"\x0a\0\1\0")
        assert (near.dst_len, near.table, near.default) == (24, 254, False)


@in_own_network
def test_default_routes_among_many_others() -> None:
    """O22: 300,000 routes took two seconds, or no address was shown."""
    with IPRoute() as ip:
        a, b = two_links(ip)
        many(ip, a)
        # These have the default route's place in the table, and come before it.
        ip.route("add", dst="0.0.0.0/8", oif=a)
        ip.route("add", dst="0.0.0.0/1", oif=a)
        ip.route("add", family=V4, dst="default", gateway="10.0.1.2", priority=2)
        ip.route("add", family=V4, dst="default", gateway="10.0.2.2", priority=1)
        ip.route("add", family=V6, dst="default", gateway="fd01::2", priority=2)
        ip.route("add", family=V6, dst="default", gateway="fd02::2", priority=1)
        assert gateways(a) == ["10.0.2.2", "10.0.1.2", "fd02::2", "fd01::2"]
        assert default_interfaces([a]) == {a, b}


@in_own_network
def test_an_ipv4_table_is_not_read_beyond_its_default_routes() -> None:
    """O22."""
    with IPRoute() as ip, pytest.MonkeyPatch.context() as patch:
        a, _ = two_links(ip)
        many(ip, a)
        ip.route("add", family=V4, dst="default", gateway="10.0.1.2")
        sizes: list[int] = []

        def noted(datagram: memoryview) -> bytes:
            sizes.append(len(datagram))
            return reduce(datagram)

        reduce = route.without_specific
        patch.setattr(route, "without_specific", noted)
        assert len(routes._dump(V4, RT_TABLE_MAIN, route.is_past_defaults)) == 1
        assert len(sizes) == 2
        sizes.clear()
        assert len(routes._dump(V4, RT_TABLE_MAIN)) == 1
        assert len(sizes) > 2


@in_own_network
def test_without_the_time_for_ipv6_the_best_route_of_the_interface_is_there() -> None:
    """O22."""
    with IPRoute() as ip, pytest.MonkeyPatch.context() as patch:
        a, b = two_links(ip)
        many(ip, a)
        ip.route("add", family=V4, dst="default", gateway="10.0.1.2")
        ip.route("add", family=V6, dst="default", gateway="fd01::2", priority=70)
        ip.route("add", family=V6, dst="default", gateway="fd01::3", priority=60)
        real = rtnetlink.ask

        def ask(request: Any, *rest: Any, **more: Any) -> list[Any]:
            family = request(1, 1)[16]
            if family == V6 and "reduce" in more:
                raise TimeoutError
            return real(request, *rest, **more)

        patch.setattr(rtnetlink, "ask", ask)
        assert gateways(a) == ["10.0.1.2", "fd01::3"]
        assert gateways(b) == ["10.0.1.2"]


@in_own_network
def test_an_interface_with_an_ipv6_default_route_is_found_by_a_look_up() -> None:
    with IPRoute() as ip:
        a, b = two_links(ip)
        assert default_interfaces([a, b]) == set()
        ip.route("add", family=V6, dst="default", gateway="fd01::2")
        assert default_interfaces([a, b, 4711]) == {a}
        # Another route to where the first look-up goes.
        ip.route("add", family=V6, dst="100::/64", oif=b)
        ip.route("add", family=V6, dst="100::/64", oif=a, priority=9)
        assert default_interfaces([a, b]) == {a}
        ip.route("del", family=V6, dst="default", gateway="fd01::2")
        ip.route("add", family=V6, dst="default", gateway="fd01::2", table=100)
        assert default_interfaces([a, b]) == set()


# pyroute2 has no nexthop objects.

_RTM_NEWROUTE, _RTM_NEWNEXTHOP = uapi.RTM_NEWROUTE, uapi.RTM_NEWNEXTHOP
#: NLM_F_EXCL and NLM_F_CREATE.
_NEW = 0x200 | 0x400


def command(type_: int, payload: bytes, *attributes: tuple[int, bytes]) -> None:
    """Have the kernel make something; its refusal fails the test."""
    payload += b"".join(rtattr.pack(*each) for each in attributes)

    def request(seq: int, pid: int) -> bytes:
        flags = uapi.NLM_F_REQUEST | uapi.NLM_F_ACK | _NEW
        return netlink.pack(type_, flags, seq, pid, payload)

    rtnetlink.ask(request, 0, bytes)


def u32(number: int) -> bytes:
    return struct.pack("=I", number)


def add_object(number: int, family: int, index: int, gateway: str = "") -> None:
    attributes = [(uapi.NHA_ID, u32(number)), (uapi.NHA_OIF, u32(index))]
    if gateway:
        attributes.append((uapi.NHA_GATEWAY, socket.inet_pton(family, gateway)))
    command(_RTM_NEWNEXTHOP, NHMSG.pack(family, 0, 0, 0, 0), *attributes)


def add_group(number: int, *members: int) -> None:
    rows = b"".join(NEXTHOP_GRP.pack(member) for member in members)
    attributes = (uapi.NHA_ID, u32(number)), (uapi.NHA_GROUP, rows)
    command(_RTM_NEWNEXTHOP, NHMSG.pack(0, 0, 0, 0, 0), *attributes)


def add_route(family: int, object_: int, metric: int) -> None:
    """Add a default route by a nexthop object."""
    static, universe = 4, 0
    header = RTMSG.pack(family, 0, 0, 0, 254, static, universe, uapi.RTN_UNICAST, 0)
    attributes = (uapi.RTA_NH_ID, u32(object_)), (uapi.RTA_PRIORITY, u32(metric))
    command(_RTM_NEWROUTE, header, *attributes)


@needs_rtnetlink(uapi.RTM_NEWNEXTHOP)
@pytest.mark.parametrize("compatible", [0, 1])
def test_routes_by_nexthop_objects(compatible: int) -> None:
    """O24: with nexthop_compat_mode=0 the route has neither interface nor gateway."""

    @in_own_network
    def body() -> None:
        sysctl("ipv4/nexthop_compat_mode", compatible)
        with IPRoute() as ip:
            a, b = two_links(ip)
            add_object(1, V4, a, "10.0.1.2")
            add_object(2, V4, b, "10.0.2.2")
            add_object(3, V6, a, "fd01::2")
            add_object(4, V4, b)
            add_group(9, 1, 2)
            for number, (family, object_) in enumerate([(V4, 9), (V4, 1), (V4, 4), (V6, 3)]):
                add_route(family, object_, metric=number + 4)
            assert [shape(each) for each in default_routes(RT_TABLE_MAIN, a)] == [
                (V4, 254, 4, [(a, "10.0.1.2"), (b, "10.0.2.2")]),
                (V4, 254, 5, [(a, "10.0.1.2")]),
                (V4, 254, 6, [(b, "")]),
                (V6, 254, 7, [(a, "fd01::2")]),
            ]
            many(ip, a)
            assert gateways(a)[-1] == "fd01::2"
            assert default_interfaces([]) == {a, b}

    body()


@needs_rtnetlink(uapi.RTM_GETNEXTHOP)
@in_own_network
def test_a_nexthop_object_that_has_gone_has_no_hops() -> None:
    assert routes._object_hops(4711) == []


def test_a_kernel_that_cannot_filter_is_asked_all_the_same() -> None:
    """Linux before 4.20 does not know the option, and sends all tables."""

    @in_own_network
    def body() -> None:
        with IPRoute() as ip, pytest.MonkeyPatch.context() as patch:
            a, _ = two_links(ip)
            ip.route("add", family=V4, dst="default", gateway="10.0.1.4", table=100)
            ip.route("add", family=V4, dst="default", gateway="10.0.1.2")
            ip.route("add", family=V6, dst="default", gateway="fd01::2")
            patch.setattr(uapi, "NETLINK_GET_STRICT_CHK", 9999)
            assert gateways(a) == ["10.0.1.2", "fd01::2"]
            many(ip, a)
            assert gateways(a) == ["10.0.1.2", "fd01::2"]

    body()
