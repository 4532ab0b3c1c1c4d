# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hv_kvp_daemon.netconfig.adapter import find_interface, parse_mac
from hv_kvp_daemon.wire.rtnetlink import Address, Link
from hv_kvp_daemon.wire.uapi import AF_INET, IFF_LOOPBACK, RT_SCOPE_LINK

MAC = bytes.fromhex("00155d000001")
OTHER = bytes.fromhex("00155d000002")


BOND = bytes.fromhex("00155d0000bb")


def link(
    index: int, *, mac: bytes = MAC, master: int = 0, flags: int = 0, permanent: bytes = b""
) -> Link:
    return Link(
        index=index,
        flags=flags,
        name=f"eth{index}",
        address=mac,
        master=master,
        operstate=6,
        permanent=permanent,
    )


def address(index: int, scope: int = 0) -> Address:
    return Address(
        family=AF_INET,
        prefixlen=24,
        flags=0,
        scope=scope,
        index=index,
        address=bytes(4),
        label="",
    )


def found(links: list[Link], *addresses: Address, mac: bytes = MAC, vrf: int = 0) -> int | None:
    link = find_interface(mac, links, addresses, {vrf})
    return None if link is None else link.index


@given(
    st.binary(min_size=6, max_size=6),
    st.sampled_from(":-"),
    st.booleans(),
)
def test_a_mac_is_read_in_any_case_and_with_either_separator(
    mac: bytes, separator: str, upper: bool
) -> None:
    text = mac.hex(separator)
    assert parse_mac((text.upper() if upper else text).encode()) == mac


@given(st.binary(max_size=256))
def test_whatever_a_host_sends_is_a_mac_or_none(adapter_id: bytes) -> None:
    mac = parse_mac(adapter_id)
    assert mac is None or mac.hex(":").encode() == adapter_id.lower().replace(b"-", b":")


@pytest.mark.parametrize(
    "text",
    ["", "eth0", "00155d000001", "00:15:5d:00:00", "00:15:5d:00:00:01:02", "0:15:5d:0:0:1",
     "00:15:5d:00:00:0g", " 0:15:5d:00:00:01", "+0:15:5d:00:00:01",
     "{3f0b4e4a-0000-0000-0000-000000000000}"],
)  # fmt: skip
def test_what_is_no_mac_is_none(text: str) -> None:
    assert parse_mac(text.encode()) is None


def test_no_interface_has_the_mac() -> None:
    assert found([link(2, mac=OTHER)], address(2)) is None


def test_the_loopback_is_no_adapter() -> None:
    assert found([link(1, flags=IFF_LOOPBACK)], address(1)) is None


def test_the_first_with_addresses_is_meant() -> None:
    assert found([link(2), link(3), link(4)], address(3), address(4)) == 3


def test_one_that_is_not_enslaved_comes_first() -> None:
    assert found([link(2, master=4), link(3, master=4), link(4)], address(2), address(4)) == 4


def test_an_enslaved_one_with_addresses_comes_before_a_free_one_without() -> None:
    assert found([link(2), link(3, master=9)], address(3)) == 3


def test_without_any_address_a_free_one_is_meant() -> None:
    assert found([link(2, master=3), link(3), link(4)]) == 3


def test_a_link_local_address_is_weaker_than_another() -> None:
    parent, vlan = link(2), link(3)
    assert found([parent, vlan], address(2, RT_SCOPE_LINK), address(3)) == 3
    assert found([parent, vlan], address(2, RT_SCOPE_LINK)) == 2


def test_each_port_of_a_bond_means_the_bond() -> None:
    """O26: all ports have the first one's address, so the second one's was unknown."""
    ports = [
        link(2, master=9, permanent=MAC),
        link(3, master=9, permanent=OTHER),
    ]
    bond = link(9)
    for mac in (MAC, OTHER):
        assert found([*ports, bond], address(9), mac=mac) == 9
        # While the bond has no address there is nothing better than itself.
        assert found([*ports, bond], mac=mac) == 9


def test_a_bond_with_an_address_of_its_own_is_meant_by_its_ports() -> None:
    """O26."""
    ports = [
        link(2, mac=BOND, master=9, permanent=MAC),
        link(3, mac=BOND, master=9, permanent=OTHER),
    ]
    bond = link(9, mac=BOND)
    for mac in (MAC, OTHER):
        assert found([*ports, bond], address(9), mac=mac) == 9
        # The addresses are those of a VLAN above the bond, or of a bridge that it is in.
        assert found([*ports, bond, link(10, mac=BOND)], address(10), mac=mac) == 10
        bridged = [*ports, link(9, mac=BOND, master=11), link(11, mac=bytes(5) + b"\1")]
        assert found(bridged, address(11), mac=mac) == 11


def test_the_masters_of_other_ports_are_not_meant() -> None:
    links = [link(2), link(3, mac=OTHER, master=9), link(9, mac=BOND)]
    assert found(links, address(9)) == 2


def test_masters_that_go_round_in_circles_end() -> None:
    links = [link(2, master=3), link(3, mac=OTHER, master=4), link(4, mac=BOND, master=2)]
    assert found(links, address(4)) == 4


def test_a_vrf_is_not_meant_by_its_members() -> None:
    """O25: a VRF has addresses for its own use."""
    links = [link(2, master=9), link(3, master=9, mac=OTHER), link(9, mac=BOND)]
    assert found(links, address(9), vrf=9) == 2
    assert found([link(2, master=9), link(3)], vrf=9) == 2


def test_an_address_that_was_changed_leads_there_and_from_where_it_was() -> None:
    changed = link(2, mac=OTHER, permanent=MAC)
    assert found([changed], address(2), mac=MAC) == 2
    assert found([changed], address(2), mac=OTHER) == 2
