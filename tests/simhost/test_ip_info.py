# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""GET_IP_INFO and SET_IP_INFO as a host sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hv_kvp_daemon.simhost.simulated_host import HostIpInfo, SimulatedHost
from hv_kvp_daemon.wire import ipinfo
from hv_kvp_daemon.wire.ipinfo import decode_ip, encode_ip_reply
from hv_kvp_daemon.wire.message import encode_status
from hv_kvp_daemon.wire.uapi import (
    ADDR_FAMILY_IPV4,
    ADDR_FAMILY_IPV6,
    HV_GUID_NOTFOUND,
    HV_S_OK,
    KVP_OP_GET_IP_INFO,
    KVP_OP_SET_IP_INFO,
)
from tests.simhost.fake import LONG

if TYPE_CHECKING:
    from tests.simhost.fake import FakeDaemon

WIRE = ipinfo.IpInfo(
    b"{guid}",
    ADDR_FAMILY_IPV4 | ADDR_FAMILY_IPV6,
    1,
    b"192.0.2.1;2001:db8::1",
    b"255.255.255.0;64",
    b"192.0.2.254",
    b"192.0.2.53;2001:db8::53",
)
SHOWN = HostIpInfo(
    "{guid}",
    3,
    1,
    "192.0.2.1;2001:db8::1",
    "255.255.255.0;64",
    "192.0.2.254",
    "192.0.2.53;2001:db8::53",
)


def test_a_host_sees_the_configuration_of_an_adapter(fake: FakeDaemon) -> None:
    with fake.registered() as driver:
        answer = fake.run(SimulatedHost(driver).get_ip_info, "{guid}", ADDR_FAMILY_IPV4)
        request = fake.receive()
        assert request[0] == KVP_OP_GET_IP_INFO
        assert decode_ip(request) == ipinfo.IpInfo(b"{guid}", ADDR_FAMILY_IPV4)
        fake.send(encode_ip_reply(WIRE))
        assert answer.result(LONG) == (HV_S_OK, SHOWN)


def test_with_an_error_a_host_sees_nothing(fake: FakeDaemon) -> None:
    with fake.registered() as driver:
        answer = fake.run(SimulatedHost(driver).get_ip_info, "{guid}")
        fake.receive()
        fake.send(encode_status(HV_GUID_NOTFOUND))
        assert answer.result(LONG) == (HV_GUID_NOTFOUND, HostIpInfo())


def test_a_host_sends_a_configuration(fake: FakeDaemon) -> None:
    with fake.registered() as driver:
        answer = fake.run(SimulatedHost(driver).set_ip_info, SHOWN)
        request = fake.receive()
        assert request[0] == KVP_OP_SET_IP_INFO
        assert decode_ip(request) == WIRE
        fake.send(encode_status(HV_S_OK))
        assert answer.result(LONG) == HV_S_OK
