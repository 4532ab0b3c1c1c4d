# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""``auto``, and the auto pool in ``list`` and ``get``."""

from __future__ import annotations

import json
import os

from pyroute2 import IPRoute

from hv_kvp_daemon.service.status import find
from hv_kvp_daemon.wire.uapi import KVP_AUTO_KEYS
from tests.support.command import run
from tests.support.daemon import RunningDaemon
from tests.support.emulator import require_own_process_image
from tests.support.network import in_own_network, link
from tests.support.process import wait_for


def has_driver_version(daemon: RunningDaemon) -> bool:
    status = find(f"{daemon.path}.status")
    return status is not None and status.driver_version == "3.1"


def test_auto_shows_what_the_host_gets_and_where_it_is_from() -> None:
    require_own_process_image()
    with RunningDaemon() as daemon, daemon.host() as host:
        wait_for("the driver's version", lambda: has_driver_version(daemon))
        done = run("auto", "--json", f"--transport=loopback:{daemon.path}")
        seen = dict(host.items(2))
    assert done.status == 0
    items = json.loads(done.out)
    assert [item["key"].encode() for item in items] == list(KVP_AUTO_KEYS)
    ours = {item["key"]: item["value"] for item in items}
    # The daemon's look-up may still be under way.
    for values in (seen, ours):
        assert values.pop("FullyQualifiedDomainName")
    assert ours == seen
    sources = {item["key"]: item["source"] for item in items}
    assert sources["IntegrationServicesVersion"] == f"driver (daemon pid {daemon.pid})"
    assert sources["OSBuildNumber"] == "uname"


@in_own_network
def test_auto_leaves_out_what_the_daemon_does() -> None:
    require_own_process_image()
    with IPRoute() as ip:
        for number, name in enumerate(("eth0", "docker0"), 1):
            index = link(ip, name, f"p{number}")
            ip.addr("add", index=index, address=f"192.0.2.{number}", prefixlen=24)

    def addresses(*words: str) -> str:
        items = json.loads(run("auto", "--json", *words).out)
        (value,) = (each["value"] for each in items if each["key"] == "NetworkAddressIPv4")
        return str(value)

    with RunningDaemon("--exclude-interface=docker*") as daemon, daemon.host() as host:
        transport = f"--transport=loopback:{daemon.path}"
        assert dict(host.items(2))["NetworkAddressIPv4"] == "192.0.2.1"
        assert addresses(transport) == "192.0.2.1"
        assert addresses(transport, "--exclude-interface", "eth*") == "192.0.2.2"
    assert addresses(transport) == "192.0.2.1;192.0.2.2"


def test_the_auto_pool_can_be_listed_and_asked_without_a_pool_directory() -> None:
    machine = os.uname().machine
    assert f"ProcessorArchitecture\t{machine}\n" in run("list", "auto").out
    assert run("get", "ProcessorArchitecture", "--pool", "auto").out == f"{machine}\n"
    assert run("get", "nothing", "--pool", "auto").status == 1
