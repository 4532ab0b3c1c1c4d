# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""VRFs and ports of bonds, as Linux 6.1 encodes them."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hv_kvp_daemon.wire import rtattr, uapi
from hv_kvp_daemon.wire.errors import WireError
from hv_kvp_daemon.wire.linkinfo import permanent_address, vrf_table
from hv_kvp_daemon.wire.rtnetlink import IFINFOMSG, decode_link

MAC = bytes.fromhex("00155d000001")
BOND, OWN = bytes.fromhex("00155d0000bb"), bytes.fromhex("00155d000002")


def vrf(table: int) -> bytes:
    data = rtattr.pack(uapi.IFLA_VRF_TABLE, struct.pack("=I", table))
    return rtattr.pack(uapi.IFLA_INFO_KIND, b"vrf\0") + rtattr.pack(
        uapi.IFLA_INFO_DATA | uapi.NLA_F_NESTED, data
    )


def port(kind: bytes, address: bytes) -> bytes:
    # IFLA_BOND_SLAVE_STATE, IFLA_BOND_SLAVE_PERM_HWADDR.
    data = rtattr.pack(1, b"\0") + rtattr.pack(4, address)
    return rtattr.pack(uapi.IFLA_INFO_SLAVE_KIND, kind) + rtattr.pack(
        uapi.IFLA_INFO_SLAVE_DATA | uapi.NLA_F_NESTED, data
    )


def test_a_vrf_has_a_table() -> None:
    assert vrf_table(vrf(1000)) == 1000


@pytest.mark.parametrize("info", [b"", rtattr.pack(uapi.IFLA_INFO_KIND, b"veth\0")])
def test_other_kinds_have_none(info: bytes) -> None:
    assert vrf_table(info) is None


def test_a_vrf_without_its_table_is_malformed() -> None:
    with pytest.raises(WireError, match="IFLA_VRF_TABLE is missing"):
        vrf_table(rtattr.pack(uapi.IFLA_INFO_KIND, b"vrf\0"))


@pytest.mark.parametrize(
    ("kind", "address"), [(b"bond\0", OWN), (b"bridge\0", b""), (b"vrf\0", b"")]
)
def test_the_port_of_a_bond_has_a_permanent_address(kind: bytes, address: bytes) -> None:
    assert permanent_address(port(kind, OWN)) == address


def test_the_port_of_a_bond_may_have_no_permanent_address() -> None:
    data = rtattr.pack(1, b"\0")  # IFLA_BOND_SLAVE_STATE
    info = rtattr.pack(uapi.IFLA_INFO_SLAVE_KIND, b"bond\0")
    assert permanent_address(info) == b""
    assert permanent_address(info + rtattr.pack(uapi.IFLA_INFO_SLAVE_DATA, data)) == b""


def link(*attributes: tuple[int, bytes]) -> bytes:
    everything = ((uapi.IFLA_IFNAME, b"eth1\0"), (uapi.IFLA_ADDRESS, BOND), *attributes)
    return IFINFOMSG.pack(0, 1, 3, 0, 0) + b"".join(rtattr.pack(*each) for each in everything)


@pytest.mark.parametrize("longer", [(), ((uapi.IFLA_PERM_ADDRESS, MAC),)])
def test_the_links_own_attribute_comes_first_and_is_not_needed(
    longer: tuple[tuple[int, bytes], ...],
) -> None:
    """O26: IFLA_PERM_ADDRESS is there since Linux 5.6."""
    master = (uapi.IFLA_MASTER, struct.pack("=I", 9))
    info = (uapi.IFLA_LINKINFO, port(b"bond\0", OWN))
    assert decode_link(link(master, info, *longer)).permanent == (MAC if longer else OWN)
    assert decode_link(link(info)).permanent == b""


@given(st.binary(max_size=60))
def test_arbitrary_bytes_raise_nothing_but_a_wire_error(noise: bytes) -> None:
    for read in (vrf_table, permanent_address):
        for info in (noise, vrf(1) + noise, port(b"bond\0", OWN) + noise):
            try:
                found = read(info)
            except WireError:
                continue
            assert found is None or isinstance(found, (int, bytes))
