"""``ip`` on this machine's interfaces."""

from __future__ import annotations

import json

import psutil

from tests.support.command import run


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
