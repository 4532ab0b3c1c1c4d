# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

from __future__ import annotations

import ipaddress
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2 import IPRoute

from hv_kvp_daemon.netconfig.servers import is_local, literal, literals, nameservers
from tests.support.network import RTM_NEWLINKPROP, in_own_network, link, needs_rtnetlink

from .network import write


@pytest.mark.parametrize(
    ("word", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1:853#dns.example", "192.0.2.1"),
        ("192.0.2.1%eth0", "192.0.2.1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("[2001:db8::1]:53", "2001:db8::1"),
        ("[fe80::1]:53%eth0#name", "fe80::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("fe80::1%eth1", None),
        ("fe80::1%2", "fe80::1"),
        ("[fe80::1]:53%2", "fe80::1"),
        ("fe80::1%3", None),
        ("fe80::1%", "fe80::1"),
        ("fe80::1%eth\0", None),
        ("dns.example", None),
        ("192.0.2", None),
        ("192.0.2.1.", None),
        ("via", None),
        ("", None),
        ("192.0.2.1\0", None),
        ("\udcff", None),
    ],
)
def test_a_server_is_a_literal_address_of_this_interface(
    word: str, address: str | None
) -> None:
    """O27: a scope may be an index."""
    assert literal(word, ("eth0", 2)) == address


@needs_rtnetlink(RTM_NEWLINKPROP)
@in_own_network
def test_a_scope_may_be_another_name_of_the_interface() -> None:
    """O27."""
    with IPRoute() as ip:
        index = link(ip, "eth0", "peer0")
        ip.link("property_add", index=index, altname="enp1s0")
        other = socket.if_nametoindex("peer0")
    assert literal("fe80::1%enp1s0", ("eth0", index)) == "fe80::1"
    assert literal("fe80::1%enp1s0", ("peer0", other)) is None


@given(st.text(max_size=60))
def test_whatever_is_written_is_an_address_or_nothing(word: str) -> None:
    found = literal(word)
    assert found is None or str(ipaddress.ip_address(found)) == found or "." in found


def test_each_server_counts_once() -> None:
    assert literals(["192.0.2.2", "x", "192.0.2.1", "192.0.2.2"]) == ["192.0.2.2", "192.0.2.1"]


def test_resolv_conf_is_read_as_the_resolver_does(tmp_path: Path) -> None:
    write(
        tmp_path,
        "/etc/resolv.conf",
        "# nameserver 192.0.2.9\nnameserver\t192.0.2.1  # the first\nsearch example.com\n"
        "nameserver fe80::1%eth1\nnameserver fe80::2%eth0\nnameserver\noptions edns0\n",
    )
    root = str(tmp_path)
    assert nameservers(root, "/etc/resolv.conf", ("eth0", 2)) == ["192.0.2.1", "fe80::2"]
    assert nameservers(root, "/etc/none") == []
    (tmp_path / "directory").mkdir()
    assert nameservers(root, "/directory") == []


def test_a_server_of_this_machine_is_known() -> None:
    assert [is_local(each) for each in ("127.0.0.53", "127.1.2.3", "::1", "192.0.2.1")] == [
        True, True, True, False,
    ]  # fmt: skip
