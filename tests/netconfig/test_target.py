# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Which interface a host means by the GUID of an adapter."""

from __future__ import annotations

import socket
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2 import IPRoute

from hv_kvp_daemon.netconfig import target
from hv_kvp_daemon.netconfig.settings import RequestError
from hv_kvp_daemon.netconfig.target import find, parse_guid
from hv_kvp_daemon.wire.uapi import HV_E_FAIL, HV_GUID_NOTFOUND
from tests.support.network import in_own_network

from .injected import GUID, adapter
from .network import Machine, veth

MAC = "02:15:5d:00:00:01"


@given(st.uuids(), st.booleans(), st.booleans())
def test_a_guid_is_read_in_any_case_with_or_without_braces(
    guid: object, upper: bool, braces: bool
) -> None:
    text = str(guid).upper() if upper else str(guid)
    assert parse_guid((f"{{{text}}}" if braces else text).encode()) == str(guid)


@given(
    st.binary(max_size=60)
    | st.sampled_from([b"", b"{}", b"{guid}", GUID[1:].encode(), f"{{{GUID}".encode(),
                       f"{GUID}\n".encode(), b"../../etc/passwd", b"-" * 36])
)  # fmt: skip
def test_anything_else_is_no_adapter(adapter_id: bytes) -> None:
    with pytest.raises(RequestError) as raised:
        parse_guid(adapter_id)
    assert raised.value.status == HV_GUID_NOTFOUND


def machine() -> Machine:
    target.PATIENCE = 0.1
    return Machine(Path(tempfile.mkdtemp(prefix="hv-kvp-test-")))


def status(root: Path) -> tuple[int, str]:
    with pytest.raises(RequestError) as raised:
        find(GUID, str(root))
    return raised.value.status, str(raised.value)


@in_own_network
def test_the_interface_of_the_device_is_found_in_any_case() -> None:
    made = machine()
    with IPRoute() as ip:
        index = veth(ip, "eth0", MAC)
        veth(ip, "eth1", MAC.replace("01", "02"))
    adapter(made, "eth1", "11111111-2222-3333-4444-555555555555")
    assert status(made.root) == (HV_GUID_NOTFOUND, f"no adapter has the GUID {GUID}")
    adapter(made, guid=GUID.upper())
    assert find(GUID, str(made.root)) == (GUID, "eth0", index)


@in_own_network
def test_a_name_is_not_used_before_udev_has_given_it() -> None:
    made = machine()
    with IPRoute() as ip:
        index = veth(ip, "eth0", MAC)
    adapter(made)
    made.write("/run/udev/control", "")
    assert status(made.root)[0] == HV_E_FAIL
    made.write(f"/run/udev/data/n{index}", "")
    assert find(GUID, str(made.root)).name == "eth0"


@in_own_network
def test_the_port_of_a_bridge_means_the_bridge_with_the_addresses() -> None:
    made = machine()
    adapter(made)
    with IPRoute() as ip:
        port = veth(ip, "eth0", MAC)
        ip.link("add", ifname="br0", kind="bridge", address=MAC)
        bridge = socket.if_nametoindex("br0")
        ip.link("set", index=port, master=bridge)
        ip.link("set", index=bridge, state="up")
        assert find(GUID, str(made.root)) == (GUID, "br0", bridge)
        # An address on the port itself is what GET answers; it is not for a port.
        ip.addr("add", index=port, address="192.0.2.1", prefixlen=24)
        assert status(made.root) == (HV_E_FAIL, "eth0 is a port: addresses are not for it")


@in_own_network
def test_a_name_that_would_mean_more_in_a_file_is_refused() -> None:
    made = machine()
    adapter(made, "e$(id)*")
    with IPRoute() as ip:
        veth(ip, "e$(id)*", MAC)
    assert status(made.root)[0] == HV_E_FAIL
