# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Settings that are given to the kernel itself, in a network namespace."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from pyroute2 import IPRoute

from hv_kvp_daemon.netconfig import (
    direct_writer,
    injection_record,
    injection_request,
    target,
    verify,
)
from hv_kvp_daemon.netconfig.apply import apply, forget
from hv_kvp_daemon.netconfig.direct_writer import DirectWriter
from hv_kvp_daemon.netconfig.injection_record import Injection, load
from hv_kvp_daemon.netconfig.settings import AUTOMATIC, Settings
from hv_kvp_daemon.netconfig.verify import HOLDS, MISSING
from tests.support.network import in_own_network

from .injected import FORMS, GUID, V4, V6, adapter, addresses, golden, programs, static
from .killed import Call, killed_at
from .network import Machine, veth

GOLDEN = Path(__file__).parent / "golden" / "direct"
MAC = "02:15:5d:00:00:01"


@pytest.mark.parametrize("name", [name for name in FORMS if name != "dhcp"])
def test_the_file_is_the_golden_one(tmp_path: Path, name: str) -> None:
    golden(Machine(tmp_path), DirectWriter, FORMS[name], GOLDEN / f"{name}.settings")


class Guest(Machine):
    """A guest whose eth0 has 192.0.2.1/24 and two routes, and no network manager."""

    def __init__(self) -> None:
        super().__init__(Path(tempfile.mkdtemp(prefix="hv-kvp-test-")))
        with IPRoute() as ip:
            self.index = veth(ip, "eth0", MAC, "192.0.2.1/24", "2001:db8:9::9/64")
            ip.route("add", dst="198.51.100.0/24", gateway="192.0.2.254", oif=self.index)
            ip.route("add", dst="default", gateway="192.0.2.254", oif=self.index)
        adapter(self)
        self.before = self.state()
        self._time = 0
        target.PATIENCE = 0.0

    def ask(self, settings: Settings) -> None:
        self._time += 1
        record = load(str(self.root), GUID)
        record.pending = Injection(settings, "eth0", "direct", self._time)
        record.save(str(self.root))

    def apply(self, settings: Settings) -> tuple[str, str]:
        self.ask(settings)
        done = apply(GUID, programs(self))
        assert done is not None
        return done.state, done.detail

    def state(self) -> tuple[list[str], set[tuple[object, ...]]]:
        """The addresses, and each route that was set: destination, gateway and metric."""
        names = "RTA_DST", "RTA_GATEWAY", "RTA_PRIORITY"
        with IPRoute() as ip:
            routes = {
                tuple(route.get_attr(name) for name in names)
                for route in ip.get_routes(table=254, oif=self.index)
                if route["proto"] != 2
            }
        return addresses(), routes


@in_own_network
def test_it_is_applied_and_undone() -> None:
    guest = Guest()
    assert guest.apply(Settings(V4, V6))[0] == HOLDS
    found, routes = guest.state()
    assert found == ["10.0.0.5/24", "2001:db8::5/64"]
    assert routes == {
        (None, "10.0.0.1", None),
        (None, "fe80::1", 1024),
        ("198.51.100.0", "192.0.2.254", None),
    }
    more = static("10.1.0.6/24 10.1.0.5/24", "10.1.0.1 10.99.0.1")
    six = static("2001:db8::6/64 2001:db8::5/64")
    assert guest.apply(Settings(more, six))[0] == HOLDS
    found, routes = guest.state()
    assert found == ["10.1.0.6/24", "10.1.0.5/24", "2001:db8::6/64", "2001:db8::5/64"]
    assert {(None, "10.1.0.1", None), (None, "10.99.0.1", 2049)} <= routes
    assert guest.state() == (found, routes)
    forget(GUID, programs(guest))
    assert guest.state() == guest.before
    assert not list((guest.root / "run").iterdir())
    assert not list((guest.root / "var/lib/hv-kvp-daemon/direct").iterdir())


@in_own_network
def test_resolv_conf_has_what_the_host_sets_or_what_was_there() -> None:
    guest = Guest()
    path = guest.root / "etc/resolv.conf"
    before = "nameserver 192.0.2.53\n"
    guest.write("/etc/resolv.conf", before)
    guest.apply(Settings(V4, None))
    assert "nameserver 10.0.0.53\n" in path.read_text()
    guest.apply(Settings(static("10.0.0.5/24"), None))
    assert path.read_text() == before
    guest.apply(Settings(V4, None))
    assert before not in path.read_text()
    forget(GUID, programs(guest))
    assert path.read_text() == before


@in_own_network
def test_a_family_that_is_not_named_stays_and_ipv6_may_become_automatic() -> None:
    guest = Guest()
    assert guest.apply(Settings(V4, None))[0] == HOLDS
    assert addresses() == ["10.0.0.5/24", "2001:db8:9::9/64"]
    assert guest.apply(Settings(V4, AUTOMATIC))[0] == HOLDS
    assert addresses() == ["10.0.0.5/24"]
    forget(GUID, programs(guest))
    assert guest.state() == guest.before


@in_own_network
def test_what_is_not_there_is_taken_back() -> None:
    guest = Guest()
    verify.PATIENCE = 0.0
    assert guest.apply(Settings(AUTOMATIC, None)) == (
        MISSING,
        "no network manager has it, so nothing would ask for a lease",
    )
    assert guest.state() == guest.before
    # The kernel refuses a gateway that is an address of the guest itself.
    with IPRoute() as ip:
        ip.addr("add", index=1, address="10.55.0.1", prefixlen=32)
    own = static("10.0.0.5/24", "10.55.0.1")
    state, detail = guest.apply(Settings(own, None))
    assert state == MISSING
    assert "the kernel refuses it" in detail
    assert guest.state() == guest.before
    guest.apply(Settings(V4, None))
    before = guest.state()
    assert guest.apply(Settings(own, None))[0] == MISSING
    assert guest.state() == before


@in_own_network
def test_what_a_reboot_has_removed_is_applied_again() -> None:
    guest = Guest()
    settings = Settings(V4, V6)
    assert guest.apply(settings)[0] == HOLDS
    state = guest.state()
    with IPRoute() as ip:
        ip.flush_addr(index=guest.index)
    assert injection_record.open_ends(str(guest.root)) == [GUID]
    logged: list[str] = []
    injection_request.resume(str(guest.root), logged.append, logged.append)
    assert logged == [f"eth0: {settings}, gone with a reboot: holds"]
    assert addresses() == state[0]
    injection_request.resume(str(guest.root), logged.append, logged.append)
    assert len(logged) == 1


@in_own_network
def test_killed_at_any_change_it_is_completed_or_undone() -> None:
    guest = Guest()
    verify.STEADY = 0.0
    old, new = Settings(V4, None), Settings(static("10.0.0.9/24 10.0.0.8/24", "10.0.0.2"), None)

    def act(counted: Callable[[Call], Call]) -> None:
        def route() -> IPRoute:
            ip = IPRoute()
            for name in ("addr", "route", "link"):
                setattr(ip, name, counted(getattr(ip, name)))
            return ip

        direct_writer._route = route
        setattr(os, "rename", counted(os.rename))  # noqa: B010 - mypy knows its type
        apply(GUID, programs(guest))

    for count in range(50):
        assert guest.apply(old)[0] == HOLDS
        guest.ask(new)
        killed = killed_at(count, act)
        apply(GUID, programs(guest))
        assert addresses()[:2] == ["10.0.0.9/24", "10.0.0.8/24"]
        assert (None, "10.0.0.2", None) in guest.state()[1]
        if not killed:
            break
    assert 5 < count < 49
    forget(GUID, programs(guest))
    assert guest.state()[0] == guest.before[0]
    assert (None, "192.0.2.254", None) in guest.state()[1]
