# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""``ip`` on this machine's interfaces, and on those of a test."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import socket

import psutil
import pytest
from pyroute2 import IPRoute

from hv_kvp_daemon.cli.guest import ip as command
from hv_kvp_daemon.wire.rtnetlink import Link
from hv_kvp_daemon.wire.uapi import IFF_LOOPBACK
from tests.support.command import run
from tests.support.network import (
    RTM_NEWLINKPROP,
    SIOCSIFNAME,
    in_own_network,
    link,
    needs_ioctl,
    needs_rtnetlink,
)

MAC = bytes.fromhex("02155d000001")


def test_each_interface_with_a_mac_address_is_shown() -> None:
    done = run("ip", "--json")
    assert done.status == 0
    names = {each["interface"] for each in json.loads(done.out)}
    macs = {
        name
        for name, addresses in psutil.net_if_addrs().items()
        if any(a.family == psutil.AF_LINK and a.address.strip("0:") for a in addresses)
    }
    assert names == {name for name in macs if not name.startswith("lo")}
    for name in names:
        assert run("ip", name).out.startswith(f"{name}  ")


def test_an_interface_that_is_not_there_ends_with_1() -> None:
    assert run("ip", "nosuch0") == (1, "", "hv-kvp: no interface nosuch0 with a MAC address\n")


def made(address: bytes, *, flags: int = 0, permanent: bytes = b"") -> Link:
    return Link(
        index=2, flags=flags, name="x", address=address, master=0, operstate=6,
        permanent=permanent,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("shown", "mac"),
    [
        (made(MAC), True),
        (made(MAC, flags=IFF_LOOPBACK), False),
        (made(b""), False),
        # tunl0 and sit0, ip6tnl0, an InfiniBand port.
        (made(bytes(4)), False),
        (made(bytes(16)), False),
        (made(bytes(20)), False),
    ],
)
def test_only_six_bytes_are_a_mac_address(shown: Link, *, mac: bool) -> None:
    """O28: a host cannot ask for a tunnel."""
    assert command._has_mac(shown) is mac


def test_an_adapter_is_asked_for_by_its_permanent_address() -> None:
    """O26: the port of a bond has the bond's."""
    assert command._mac(made(bytes(6), permanent=MAC)) == "02:15:5D:00:00:01"
    assert command._mac(made(MAC, permanent=bytes(20))) == "02:15:5D:00:00:01"


@needs_rtnetlink(RTM_NEWLINKPROP)
@in_own_network
def test_an_interface_is_found_by_another_name() -> None:
    """O28."""
    name = "enP30832p0s0-of-the-second-port"
    with IPRoute() as ip:
        ip.link("property_add", index=link(ip, "eth0", "peer0"), altname=name)
    assert run("ip", name).out.startswith("eth0  ")
    (shown,) = json.loads(run("ip", name, "--json").out)
    assert shown["interface"] == "eth0"


@needs_ioctl(SIOCSIFNAME)
@in_own_network
def test_json_has_the_bytes_of_a_name_that_is_no_utf_8() -> None:
    """O29: half of a surrogate pair is no text in JSON."""
    raw = b"eth\xff"
    with IPRoute() as ip:
        index = link(ip, "eth0", "peer0")
        ip.link("set", index=index, state="down")
        # pyroute2 takes text only.
        with socket.socket() as sock:
            request = b"eth0".ljust(16, b"\0") + raw.ljust(24, b"\0")
            fcntl.ioctl(sock, SIOCSIFNAME, request)
    done = run("ip", raw, "--json")
    assert done.status == 0
    (shown,) = json.loads(done.out)
    for member in ("interface", "answered_by"):
        assert member not in shown
        assert base64.b64decode(shown[f"{member}_base64"]) == raw
    assert run("ip", raw).out.startswith("eth\\xff  ")
    assert run("ip", os.fsdecode(raw) + "x").status == 1
