# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Links, addresses and routes are decoded as the kernel encodes them."""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hv_kvp_daemon.wire import netlink, rtattr, rtnetlink, uapi
from hv_kvp_daemon.wire.errors import WireError
from hv_kvp_daemon.wire.nexthop import NHMSG, nexthop_request
from hv_kvp_daemon.wire.route import (
    RTMSG,
    RTNEXTHOP,
    Hop,
    Route,
    decode_route,
    route_request,
    routes_request,
)
from hv_kvp_daemon.wire.rtnetlink import (
    IFADDRMSG,
    IFINFOMSG,
    Address,
    Link,
    decode_address,
    decode_link,
)

if TYPE_CHECKING:
    from collections.abc import Callable

LAYOUT = Path(__file__).with_name("layout.tsv")

U8 = st.integers(0, 0xFF)
U32 = st.integers(0, 0xFFFFFFFF)
INDEX = st.integers(1, 0x7FFFFFFF)
V4, V6 = st.binary(min_size=4, max_size=4), st.binary(min_size=16, max_size=16)
# The kernel takes any bytes but '/', white space and NUL for a name.
NAMES = st.text("abz019.:-_@%é\udcff", min_size=1).filter(
    lambda name: len(name.encode("utf-8", "surrogateescape")) < uapi.IFNAMSIZ
)


def u32(number: int) -> bytes:
    return struct.pack("=I", number)


def name_bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape") + b"\0"


def values(thing: Link | Address | Route | Hop) -> dict[str, Any]:
    found = {name: getattr(thing, name) for name in type(thing).__slots__}
    if isinstance(thing, Route):
        found["hops"] = [values(hop) for hop in thing.hops]
    return found


# The encoders write every attribute; the kernel omits some that are 0.


def encode_link(link: Link) -> bytes:
    return (
        IFINFOMSG.pack(uapi.AF_UNSPEC, 1, link.index, link.flags, 0)
        + rtattr.pack(uapi.IFLA_IFNAME, name_bytes(link.name))
        + rtattr.pack(uapi.IFLA_OPERSTATE, bytes([link.operstate]))
        + rtattr.pack(uapi.IFLA_ADDRESS, link.address)
        + rtattr.pack(uapi.IFLA_MASTER, u32(link.master))
        + rtattr.pack(uapi.IFLA_PERM_ADDRESS, link.permanent)
        + rtattr.pack(uapi.IFLA_LINKINFO, link.linkinfo)
    )


def encode_address(address: Address) -> bytes:
    flags = address.flags & 0xFF
    return (
        IFADDRMSG.pack(address.family, address.prefixlen, flags, address.scope, address.index)
        + rtattr.pack(uapi.IFA_ADDRESS, bytes(len(address.address)))
        + rtattr.pack(uapi.IFA_LOCAL, address.address)
        + rtattr.pack(uapi.IFA_LABEL, name_bytes(address.label))
        + rtattr.pack(uapi.IFA_FLAGS, u32(address.flags))
    )


def encode_gateway(family: int, gateway: bytes) -> bytes:
    if not gateway:
        return b""
    other = uapi.AF_INET if len(gateway) == 4 else uapi.AF_INET6
    if other == family:
        return rtattr.pack(uapi.RTA_GATEWAY, gateway)
    return rtattr.pack(uapi.RTA_VIA, struct.pack("=H", other) + gateway)


def encode_hop(family: int, hop: Hop) -> bytes:
    attributes = encode_gateway(family, hop.gateway)
    return RTNEXTHOP.pack(RTNEXTHOP.size + len(attributes), 0, 0, hop.index) + attributes


def encode_route(route: Route) -> bytes:
    payload = RTMSG.pack(route.family, route.dst_len, 0, 0, 252, 3, 0, route.type, 0)
    payload += rtattr.pack(uapi.RTA_TABLE, u32(route.table))
    payload += rtattr.pack(uapi.RTA_PRIORITY, u32(route.metric))
    payload += rtattr.pack(uapi.RTA_NH_ID, u32(route.nexthop))
    if route.dst:
        payload += rtattr.pack(uapi.RTA_DST, route.dst)
    if len(route.hops) == 1:
        payload += encode_gateway(route.family, route.hops[0].gateway)
        return payload + rtattr.pack(uapi.RTA_OIF, u32(route.hops[0].index))
    row = b"".join(encode_hop(route.family, hop) for hop in route.hops)
    return payload + rtattr.pack(uapi.RTA_MULTIPATH, row)


LINKS = st.builds(
    Link,
    index=INDEX,
    flags=U32,
    name=NAMES,
    address=st.binary(max_size=32),
    master=U32,
    operstate=U8,
    permanent=st.binary(min_size=1, max_size=32),
    linkinfo=st.binary(max_size=32),
)


@st.composite
def addresses(draw: st.DrawFn) -> Address:
    family = draw(st.sampled_from([uapi.AF_INET, uapi.AF_INET6]))
    return Address(
        family=family,
        prefixlen=draw(U8),
        flags=draw(U32),
        scope=draw(U8),
        index=draw(U32),
        address=draw(V4 if family == uapi.AF_INET else V6),
        label=draw(NAMES),
    )


@st.composite
def routes(draw: st.DrawFn) -> Route:
    family = draw(st.sampled_from([uapi.AF_INET, uapi.AF_INET6]))
    hops = st.builds(Hop, INDEX, st.just(b"") | V4 | V6)
    return Route(
        family=family,
        table=draw(U32),
        type_=draw(U8),
        dst=draw(st.just(b"") | (V4 if family == uapi.AF_INET else V6)),
        dst_len=draw(U8),
        metric=draw(U32),
        hops=draw(st.lists(hops, max_size=4)),
        nexthop=draw(U32),
    )


@given(LINKS)
def test_a_link_is_decoded_as_it_was_encoded(link: Link) -> None:
    assert values(decode_link(encode_link(link))) == values(link)


@given(addresses())
def test_an_address_is_decoded_as_it_was_encoded(address: Address) -> None:
    found = decode_address(encode_address(address))
    assert found is not None
    assert values(found) == values(address)


@given(routes())
def test_a_route_is_decoded_as_it_was_encoded(route: Route) -> None:
    found = decode_route(encode_route(route))
    assert found is not None
    assert values(found) == values(route)


@pytest.mark.parametrize(
    ("decode", "fixed"),
    [
        (decode_link, IFINFOMSG.pack(0, 1, 2, 0, 0)),
        (decode_address, IFADDRMSG.pack(uapi.AF_INET, 24, 0, 0, 2)),
        (decode_address, IFADDRMSG.pack(uapi.AF_INET6, 64, 0, 0, 2)),
        (decode_route, RTMSG.pack(uapi.AF_INET, 0, 0, 0, 254, 3, 0, 1, 0)),
    ],
)
@given(
    noise=st.binary(max_size=60),
    attributes=st.lists(st.tuples(st.integers(0, 32), st.binary(max_size=24)), max_size=5),
)
def test_arbitrary_bytes_raise_nothing_but_a_wire_error(
    decode: Callable[[bytes], object],
    fixed: bytes,
    noise: bytes,
    attributes: list[tuple[int, bytes]],
) -> None:
    likely = b"".join(rtattr.pack(number, value) for number, value in attributes)
    for payload in (noise, fixed + noise, fixed + likely, fixed + likely + noise):
        try:
            found = decode(payload)
        except WireError:
            continue
        assert found is None or isinstance(found, (Link, Address, Route))


@pytest.mark.parametrize(
    ("decode", "size"), [(decode_link, 16), (decode_address, 8), (decode_route, 12)]
)
def test_a_message_shorter_than_its_fixed_part_is_refused(
    decode: Callable[[bytes], object], size: int
) -> None:
    for short in range(size):
        with pytest.raises(WireError, match=f"{short} bytes, at least {size}"):
            decode(bytes(short))


def test_a_link_without_a_name_is_refused() -> None:
    with pytest.raises(WireError, match="IFLA_IFNAME is missing"):
        decode_link(IFINFOMSG.pack(0, 1, 2, 0, 0))


def test_a_loopback_link_is_recognized() -> None:
    name = rtattr.pack(uapi.IFLA_IFNAME, b"x\0")
    assert decode_link(IFINFOMSG.pack(0, 772, 1, 0x10049, 0) + name).loopback
    assert not decode_link(IFINFOMSG.pack(0, 1, 1, 0x11043, 0) + name).loopback


def v4(*attributes: tuple[int, bytes], flags: int = 0) -> Address | None:
    payload = IFADDRMSG.pack(uapi.AF_INET, 24, flags, 0, 2)
    return decode_address(payload + b"".join(rtattr.pack(*each) for each in attributes))


def test_the_local_end_counts_before_the_peer() -> None:
    found = v4((uapi.IFA_LOCAL, b"\x0a\0\0\1"), (uapi.IFA_ADDRESS, b"\x0a\0\0\2"))
    assert found is not None
    assert found.address == b"\x0a\0\0\1"
    found = v4((uapi.IFA_ADDRESS, b"\x0a\0\0\2"))
    assert found is not None
    assert found.address == b"\x0a\0\0\2"


def test_a_message_without_an_address_or_of_another_family_is_none() -> None:
    assert v4() is None
    assert decode_address(IFADDRMSG.pack(7, 0, 0, 0, 2) + b"\xff" * 8) is None
    assert decode_route(RTMSG.pack(128, 0, 0, 0, 0, 0, 0, 0, 0) + b"\xff" * 8) is None


def test_an_address_of_the_other_family_is_refused() -> None:
    with pytest.raises(WireError, match="16 bytes, family 2 has 4"):
        v4((uapi.IFA_LOCAL, bytes(16)))
    with pytest.raises(WireError, match="4 bytes, family 10 has 16"):
        decode_route(
            RTMSG.pack(uapi.AF_INET6, 64, 0, 0, 254, 3, 0, 1, 0)
            + rtattr.pack(uapi.RTA_DST, bytes(4))
        )


def test_the_flags_of_the_header_count_where_the_attribute_is_missing() -> None:
    local = (uapi.IFA_LOCAL, b"\x0a\0\0\1")
    old = v4(local, flags=uapi.IFA_F_TENTATIVE)
    assert old is not None
    assert not old.usable
    new = v4(local, (uapi.IFA_FLAGS, u32(0x280)), flags=uapi.IFA_F_TENTATIVE)
    assert new is not None
    assert new.flags == 0x280
    assert new.usable


@pytest.mark.parametrize(
    ("flags", "usable"),
    [(0x80, True), (0x20, True), (0x40, False), (0x44, False), (0x08, False), (0xC8, False)],
)
def test_a_tentative_or_failed_address_is_not_usable(flags: int, *, usable: bool) -> None:
    found = v4((uapi.IFA_LOCAL, b"\x0a\0\0\1"), flags=flags)
    assert found is not None
    assert found.usable is usable


def route(
    table: int, type_: int, dst_len: int, *attributes: tuple[int, bytes], family: int = 2
) -> Route:
    payload = RTMSG.pack(family, dst_len, 0, 0, table, 3, 0, type_, 0)
    found = decode_route(payload + b"".join(rtattr.pack(*each) for each in attributes))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("table", "type_", "dst_len", "default"),
    [
        (254, 1, 0, True),
        (254, 1, 24, False),
        (100, 1, 0, True),
        (255, 2, 0, False),
        (254, 7, 0, False),
    ],
)
def test_a_default_route_is_a_unicast_one(
    table: int, type_: int, dst_len: int, *, default: bool
) -> None:
    assert route(table, type_, dst_len).default is default


def test_a_table_above_255_is_in_its_attribute() -> None:
    found = route(252, 1, 0, (uapi.RTA_TABLE, u32(1000)))
    assert found.table == 1000


def test_a_default_route_without_a_gateway_leads_to_its_interface() -> None:
    (hop,) = route(254, 1, 0, (uapi.RTA_OIF, u32(3))).hops
    assert (hop.index, hop.gateway) == (3, b"")


@pytest.mark.parametrize("length", [0, 7, 17])
def test_a_next_hop_whose_length_lies_is_refused(length: int) -> None:
    row = RTNEXTHOP.pack(8, 0, 0, 1) + RTNEXTHOP.pack(length, 0, 0, 2) + bytes(8)
    with pytest.raises(WireError, match=f"next hop length {length}, allowed 8 to 16"):
        route(254, 1, 0, (uapi.RTA_MULTIPATH, row))


def test_a_next_hop_may_end_before_its_padding() -> None:
    via = struct.pack("=HHH", 10, uapi.RTA_VIA, uapi.AF_INET) + b"\x0a\0\0\1"
    row = RTNEXTHOP.pack(18, 0, 0, 1) + via + bytes(2) + RTNEXTHOP.pack(8, 0, 0, 2)
    hops = route(254, 1, 0, (uapi.RTA_MULTIPATH, row)).hops
    assert [(hop.index, hop.gateway) for hop in hops] == [(1, b"\x0a\0\0\1"), (2, b"")]


def test_less_than_a_next_hop_is_refused() -> None:
    with pytest.raises(WireError, match="7 bytes of a next hop"):
        route(254, 1, 0, (uapi.RTA_MULTIPATH, bytes(7)))


@pytest.mark.parametrize("size", [6, 10, 17])
def test_a_via_that_is_no_address_is_refused(size: int) -> None:
    via = struct.pack("=H", uapi.AF_INET6) + bytes(size)
    with pytest.raises(WireError):
        route(254, 1, 0, (uapi.RTA_VIA, via))


def v6_routes_request(seq: int, pid: int) -> bytes:
    return routes_request(uapi.AF_INET6, 1000, seq, pid)


@pytest.mark.parametrize(
    ("request_", "type_", "size", "start"),
    [
        (rtnetlink.links_request, uapi.RTM_GETLINK, 24, bytes(8)),
        (rtnetlink.addresses_request, uapi.RTM_GETADDR, 8, bytes(8)),
        # Of IPv6, and unicast; the table is in an attribute.
        (v6_routes_request, uapi.RTM_GETROUTE, 20, b"\x0a\0\0\0\0\0\0\1"),
    ],
)
def test_a_request_asks_for_a_dump(
    request_: Callable[[int, int], bytes], type_: int, size: int, start: bytes
) -> None:
    (message,) = netlink.split(request_(5, 4711))
    assert message.type == type_
    assert message.flags == uapi.NLM_F_REQUEST | uapi.NLM_F_DUMP
    assert (message.seq, message.pid) == (5, 4711)
    assert len(message.payload) == size
    assert message.payload[:8] == start


@pytest.mark.parametrize(
    ("request_", "type_", "start", "attributes"),
    [
        (
            lambda seq, pid: rtnetlink.link_request(b"eth0", seq, pid),
            uapi.RTM_GETLINK,
            IFINFOMSG.pack(uapi.AF_UNSPEC, 0, 0, 0, 0),
            {uapi.IFLA_ALT_IFNAME: b"eth0\0"},
        ),
        (
            lambda seq, pid: route_request(bytes(16), 3, seq, pid),
            uapi.RTM_GETROUTE,
            RTMSG.pack(uapi.AF_INET6, 128, 0, 0, 0, 0, 0, 0, uapi.RTM_F_FIB_MATCH),
            {uapi.RTA_DST: bytes(16), uapi.RTA_OIF: u32(3)},
        ),
        (
            lambda seq, pid: nexthop_request(7, seq, pid),
            uapi.RTM_GETNEXTHOP,
            NHMSG.pack(uapi.AF_UNSPEC, 0, 0, 0, 0),
            {uapi.NHA_ID: u32(7)},
        ),
    ],
)
def test_a_request_for_one_thing_asks_for_an_acknowledgment_too(
    request_: Callable[[int, int], bytes],
    type_: int,
    start: bytes,
    attributes: dict[int, bytes],
) -> None:
    (message,) = netlink.split(request_(5, 4711))
    assert message.type == type_
    assert message.flags == uapi.NLM_F_REQUEST | uapi.NLM_F_ACK
    assert (message.seq, message.pid) == (5, 4711)
    assert message.payload[: len(start)] == start
    policy: rtattr.Policy = {number: (str(number), bytes, True) for number in attributes}
    assert rtattr.parse(message.payload[len(start) :], policy) == attributes


def layout() -> dict[str, list[tuple[int, int]]]:
    """Offset and size of each field, by struct, from the C compiler's table."""
    found: dict[str, list[tuple[int, int]]] = {}
    for line in LAYOUT.read_text().splitlines():
        name, *numbers = line.split("\t")
        struct_, dot, _ = name.partition(".")
        if len(numbers) == 2:
            where = (int(numbers[0]), int(numbers[1]))
            found.setdefault(struct_ if dot else f"{struct_} whole", []).append(where)
    return found


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("nlmsghdr", netlink.NLMSGHDR),
        ("rtattr", rtattr.RTATTR),
        ("ifinfomsg", IFINFOMSG),
        ("ifaddrmsg", IFADDRMSG),
        ("rtmsg", RTMSG),
        ("rtnexthop", RTNEXTHOP),
        ("nhmsg", NHMSG),
    ],
)
def test_each_field_lies_where_the_c_compiler_sees_it(name: str, codec: struct.Struct) -> None:
    table = layout()
    assert table[f"{name} whole"] == [(0, codec.size)]
    for position, (offset, size) in enumerate(table[name]):
        payload = bytearray(codec.size)
        payload[offset : offset + size] = (1).to_bytes(size, sys.byteorder)
        expected = tuple(int(at == position) for at in range(len(table[name])))
        assert codec.unpack(payload) == expected
