# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""``ip`` about what a host has set, below a root directory in a network namespace."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pyroute2 import IPRoute

from hv_kvp_daemon.cli import main
from hv_kvp_daemon.cli.guest import host_settings
from hv_kvp_daemon.netconfig import target, verify
from hv_kvp_daemon.netconfig.apply import apply
from hv_kvp_daemon.netconfig.injection_record import Injection, load
from hv_kvp_daemon.netconfig.settings import Settings
from tests.netconfig.injected import (
    GUID,
    adapter,
    addresses,
    fake_networkd,
    programs,
    static,
)
from tests.netconfig.network import Machine, veth
from tests.support.network import in_own_network

V4 = Settings(static("10.0.0.5/24"), None)


@contextmanager
def guest() -> Iterator[Machine]:
    machine = Machine(Path(tempfile.mkdtemp(prefix="hv-kvp-test-")))
    host_settings._ROOT = str(machine.root)
    verify.PATIENCE = verify.SHORT = target.PATIENCE = 0.0
    with IPRoute() as ip:
        veth(ip, "eth0", "02:15:5d:00:00:01", "192.0.2.1/24")
    adapter(machine)
    machine.running("systemd-networkd")
    fake_networkd(machine.root)
    record = load(str(machine.root), GUID)
    record.pending = Injection(V4, "eth0", "networkd", 1_700_000_000_000_000_000)
    record.save(str(machine.root))
    yield machine


def test_what_is_pending_set_failed_and_forgotten_is_shown(
    capfd: pytest.CaptureFixture[str],
) -> None:
    @in_own_network
    def check() -> None:
        def shown() -> str:
            assert main.main(["ip", "eth0"]) == 0
            return capfd.readouterr().out

        with guest() as machine:
            assert "pending    10.0.0.5/24; " in shown()
            done = apply(GUID, programs(machine))
            assert done is not None
            assert done.outcome() == "holds"
            assert "host set   10.0.0.5/24; 2023-11-1" in shown()
            assert main.main(["ip", "--json"]) == 0
            (each,) = (
                each
                for each in json.loads(capfd.readouterr().out)
                if each["interface"] == "eth0"
            )
            (was_set,) = each["set_by_host"]
            assert was_set["state"] == "holds"
            assert was_set["settings"]["ipv4"]["addresses"] == ["10.0.0.5/24"]
            with IPRoute() as ip:
                index = ip.link_lookup(ifname="eth0")[0]
                ip.addr("del", index=index, address="10.0.0.5", prefixlen=24)
            assert "by networkd: missing (10.0.0.5/24 is missing)" in shown()
            record = load(str(machine.root), GUID)
            assert record.current is not None
            record.failed = record.current._replace(state="missing", detail="why")
            record.save(str(machine.root))
            assert "failed     10.0.0.5/24; " in shown()
            assert main.main(["ip", "--forget", "eth1"]) == 1
            assert "the host has set nothing for eth1" in capfd.readouterr().err
            assert main.main(["ip", "--forget", "eth0"]) == 0
            assert "10.0.0.5" not in shown()
            machine.write("/etc/systemd/network/20-wired.network", "")
            assert main.main(["ip", "--forget", GUID]) == 1
            assert addresses() == []

    check()


@pytest.mark.parametrize("text", ['{"current": 7}', "[" * 100_000], ids=["member", "deep"])
def test_a_damaged_record_is_an_error_that_names_it(
    capfd: pytest.CaptureFixture[str], text: str
) -> None:
    """S4, for a record that is nested too deep."""

    @in_own_network
    def check() -> None:
        with guest() as machine:
            path = machine.root / f"var/lib/hv-kvp-daemon/ip/{GUID}.json"
            path.write_text(text)
            for words in ([], ["--forget", "eth0"]):
                assert main.main(["ip", *words]) == 3
                assert f"{path} is damaged" in capfd.readouterr().err

    check()


def test_only_systemd_starts_what_carries_requests_out(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert main.main(["ip", "--serve"]) == 3
    assert "only hv-kvp-ip.service does this" in capfd.readouterr().err
