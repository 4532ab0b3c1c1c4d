# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Settings that are given to the kernel itself, in a network namespace."""

from __future__ import annotations

import os
import socket
import subprocess
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
from tests.support.network import in_own_network, sysctl

from .injected import FORMS, GUID, V4, V6, adapter, addresses, golden, programs, static
from .killed import Call, killed_at
from .network import Machine, add, veth

GOLDEN = Path(__file__).parent / "golden" / "direct"
MAC = "02:15:5d:00:00:01"

# The kernel refuses a gateway that is an address of the guest itself.
OWN = static("10.0.0.5/24", "10.55.0.1")


@pytest.mark.parametrize("name", [name for name in FORMS if name != "dhcp"])
def test_the_file_is_the_golden_one(tmp_path: Path, name: str) -> None:
    golden(Machine(tmp_path), DirectWriter, FORMS[name], GOLDEN / f"{name}.settings")


# The administrator's: with and without gateway, and with all that a route may have beside it.
FAR: dict[str, object] = {"dst": "198.51.100.0/24", "gateway": "192.0.2.254"}
ROUTES: tuple[dict[str, object], ...] = (
    {**FAR, "priority": 7, "prefsrc": "192.0.2.1", "proto": 50, "metrics": {"mtu": 1400}},
    {"dst": "203.0.113.0/24", "tos": 8, "scope": 253},
    {"dst": "default", "gateway": "192.0.2.254", "priority": 100},
    {"family": socket.AF_INET6, "dst": "2001:db8:77::/48", "gateway": "2001:db8:9::1"},
    {"family": socket.AF_INET6, "dst": "default", "gateway": "fe80::9", "priority": 50},
)


class Guest(Machine):
    """A guest whose eth0 has two addresses and more routes, and no network manager."""

    def __init__(self) -> None:
        super().__init__(Path(tempfile.mkdtemp(prefix="hv-kvp-test-")))
        # Duplicate address detection takes a second or two.
        sysctl("ipv6/conf/default/accept_dad", 0)
        with IPRoute() as ip:
            ip.addr("add", index=1, address="10.55.0.1", prefixlen=32)
            self.index = veth(ip, "eth0", MAC, "192.0.2.1/24", "2001:db8:9::9/64")
            for words in ROUTES:
                ip.route("add", oif=self.index, **words)
        adapter(self)
        self.before = self.state()
        self._time = 0
        target.PATIENCE = 0.0

    def ask(self, settings: Settings, name: str = "eth0", guid: str = GUID) -> None:
        self._time += 1
        record = load(str(self.root), guid)
        record.pending = Injection(settings, name, "direct", self._time)
        record.save(str(self.root))

    def apply(self, settings: Settings) -> tuple[str, str]:
        self.ask(settings)
        done = apply(GUID, programs(self))
        assert done is not None
        return done.state, done.detail

    def state(self) -> tuple[list[str], list[str]]:
        """The addresses, and each route that was set, as `ip route` prints it."""
        routes = [
            f"{line.strip()} "
            for family in ("-4", "-6")
            for line in subprocess.run(
                ["ip", family, "route", "show", "dev", "eth0"],
                check=True,
                capture_output=True,
                text=True,
            ).stdout.splitlines()
            if "proto kernel" not in line
        ]
        return addresses(), routes

    def has_route(self, text: str) -> bool:
        return any(f"{text} " in route for route in self.state()[1])


@in_own_network
def test_it_is_applied_and_undone() -> None:
    guest = Guest()
    assert guest.apply(Settings(V4, V6))[0] == HOLDS
    assert addresses() == ["10.0.0.5/24", "2001:db8::5/64"]
    assert guest.state()[1] == [
        "default via 10.0.0.1 proto static ",
        # Its source has gone, and its gateway is in no subnet.
        "198.51.100.0/24 via 192.0.2.254 proto 50 metric 7 onlink mtu 1400 ",
        "203.0.113.0/24 tos 0x08 proto static scope link ",
        "2001:db8:77::/48 via 2001:db8:9::1 proto static metric 1024 onlink pref medium ",
        "default via fe80::1 proto static metric 1024 pref medium ",
    ]
    more = static("10.1.0.6/24 10.1.0.5/24", "10.1.0.1 10.99.0.1")
    six = static("2001:db8::6/64 2001:db8::5/64")
    assert guest.apply(Settings(more, six))[0] == HOLDS
    found = addresses()
    assert found == ["10.1.0.6/24", "10.1.0.5/24", "2001:db8::6/64", "2001:db8::5/64"]
    assert guest.has_route("default via 10.1.0.1")
    assert guest.has_route("default via 10.99.0.1 proto static metric 32769 onlink")
    forget(GUID, programs(guest))
    assert guest.state() == guest.before
    assert not list((guest.root / "run").iterdir())
    assert not list((guest.root / "var/lib/hv-kvp-daemon/direct").iterdir())


@in_own_network
def test_what_the_administrator_changes_in_the_other_family_stays() -> None:
    guest = Guest()
    assert guest.apply(Settings(V4, None))[0] == HOLDS
    with IPRoute() as ip:
        add(ip, guest.index, "2001:db8:9::10/64")
    there = guest.state()
    verify.PATIENCE = 0.0
    assert guest.apply(Settings(OWN, None))[0] == MISSING
    assert guest.state() == there
    forget(GUID, programs(guest))
    assert addresses() == ["192.0.2.1/24", *there[0][1:]]


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
def test_resolv_conf_that_another_program_has_written_since_stays() -> None:
    """N7."""
    guest = Guest()
    guest.write("/etc/resolv.conf", "nameserver 192.0.2.53\n")
    path = guest.root / "etc/resolv.conf"
    guest.apply(Settings(V4, None))
    guest.write("/etc/resolv.conf", "# Generated by another\nnameserver 192.0.2.54\n")
    there = path.read_text()
    guest.apply(Settings(static("10.0.0.5/24"), None))
    assert path.read_text() == there
    forget(GUID, programs(guest))
    assert path.read_text() == there


@in_own_network
def test_two_adapters_can_be_forgotten_in_either_order() -> None:
    """N7."""
    second = GUID.replace("f86", "f87")
    for order in (GUID, second), (second, GUID):
        guest = Guest()
        before = "nameserver 192.0.2.53\n"
        guest.write("/etc/resolv.conf", before)
        path = guest.root / "etc/resolv.conf"
        with IPRoute() as ip:
            veth(ip, "eth1", MAC.replace("01", "02"))
        adapter(guest, "eth1", second)
        guest.apply(Settings(V4, None))
        first_text = path.read_text()
        guest.ask(Settings(static("10.1.0.5/24", "", "10.1.0.53"), None), "eth1", second)
        apply(second, programs(guest))
        second_text = path.read_text()
        assert "nameserver 10.1.0.53\n" in second_text
        forget(order[0], programs(guest))
        assert path.read_text() == (second_text if order[0] == GUID else first_text)
        forget(order[1], programs(guest))
        assert path.read_text() == before
        with IPRoute() as ip:
            for name in "eth0", "eth1":
                ip.link("del", ifname=name)
            ip.addr("del", index=1, address="10.55.0.1", prefixlen=32)


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
    state, detail = guest.apply(Settings(OWN, None))
    assert state == MISSING
    assert "the kernel refuses it" in detail
    assert guest.state() == guest.before
    guest.apply(Settings(V4, None))
    before = guest.state()
    assert guest.apply(Settings(OWN, None))[0] == MISSING
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


def killed(count: int, body: Callable[[], object]) -> bool:
    """Run a function in a child that is killed at a change; True: it was."""

    def act(counted: Callable[[Call], Call]) -> None:
        def route() -> IPRoute:
            ip = IPRoute()
            for name in ("addr", "route", "link"):
                setattr(ip, name, counted(getattr(ip, name)))
            return ip

        direct_writer._route = route
        for name in ("rename", "unlink"):
            setattr(os, name, counted(getattr(os, name)))
        body()

    return killed_at(count, act)


def check_kills(guest: Guest, ask: Callable[[], object], body: Callable[[], object]) -> None:
    """Kill ``body`` at each change, then each run that follows later: nothing is lost."""
    verify.STEADY = verify.PATIENCE = 0.0
    os.fsync = lambda fd: None
    ask()
    body()
    wanted = guest.state()

    def check() -> None:
        body()
        assert guest.state() == wanted
        assert not (guest.root / "run/hv-kvp-direct-eth0.routes").exists()

    for count in range(60):
        ask()
        was_killed = killed(count, body)
        check()
        if not was_killed:
            break
    assert 5 < count < 59
    ask()
    for again in range(count):
        killed(again, body)
    check()
    forget(GUID, programs(guest))
    assert guest.state() == guest.before


@in_own_network
def test_killed_at_any_change_it_is_completed_or_taken_back() -> None:
    """N4."""
    guest = Guest()
    new = Settings(static("10.0.0.9/24 10.0.0.8/24", "10.0.0.2"), None)

    def ask(settings: Settings) -> None:
        guest.apply(Settings(V4, None))
        guest.ask(settings)

    for settings in new, Settings(OWN, None):
        check_kills(guest, lambda: ask(settings), lambda: apply(GUID, programs(guest)))  # noqa: B023


@in_own_network
def test_killed_at_any_change_it_can_be_forgotten_again() -> None:
    """N4."""
    guest = Guest()
    check_kills(
        guest, lambda: guest.apply(Settings(V4, None)), lambda: forget(GUID, programs(guest))
    )
