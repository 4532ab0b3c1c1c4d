# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Which servers are an interface's, with the managers' files as they write them
(systemd 252, NetworkManager 1.42)."""

from __future__ import annotations

import errno
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hv_kvp_daemon.netconfig import scripts
from hv_kvp_daemon.netconfig.resolver import servers

from .network import Machine, config, unit

PRIVATE = "# This is private data. Do not parse.\n"
STUB = "nameserver 127.0.0.53\noptions edns0 trust-ad\nsearch .\n"
NETWORKD = PRIVATE + "ADMIN_STATE={}\nDNS={}\nNTP=\n"
DEVICE = "[device]\nmanaged=true\nconnection-uuid=1-2\n"
ETH0 = "GENERAL.DEVICE:eth0\nGENERAL.CON-UUID:1-2\n"


class Guest(Machine):
    """A machine that is asked for servers; ``socket`` listens as systemd-resolved does."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.socket: socket.socket | None = None

    def resolved(self, *lines: str) -> None:
        self.write("/run/systemd/resolve/resolv.conf", *lines)
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(str(self.root / "run/systemd/resolve/io.systemd.Resolve"))
        self.socket.listen()

    def servers(self, *answers: str | None, index: int = 2, sole: bool = True) -> list[str]:
        return servers(self.programs(*answers), config(index=index, sole=sole))


@pytest.fixture
def machine() -> Iterator[Guest]:
    # Not pytest's tmp_path: with a long test name a socket's path is too long.
    with tempfile.TemporaryDirectory(prefix="hv-kvp-test-") as directory:
        machine = Guest(Path(directory))
        yield machine
        if machine.socket is not None:
            machine.socket.close()


def test_no_resolver_is_no_server(machine: Guest) -> None:
    assert machine.servers() == []


def test_resolv_conf_serves_where_nobody_else_does(machine: Guest) -> None:
    machine.write("/etc/resolv.conf", "nameserver 192.0.2.53", "nameserver 2001:db8::53")
    assert machine.servers(sole=False) == ["192.0.2.53", "2001:db8::53"]
    assert machine.asked == []


def test_a_stub_is_shown_only_where_nothing_truer_is_known(machine: Guest) -> None:
    machine.write("/etc/resolv.conf", STUB)
    assert machine.servers() == ["127.0.0.53"]
    machine.write("/run/NetworkManager/no-stub-resolv.conf", "nameserver 192.0.2.1")
    assert machine.servers() == ["192.0.2.1"]


def test_resolveds_list_of_a_link_that_networkd_manages(machine: Guest) -> None:
    machine.write("/etc/resolv.conf", STUB)
    machine.resolved("nameserver 192.0.2.1", "nameserver 192.0.2.2", "nameserver 192.0.2.3")
    machine.write(
        "/run/systemd/netif/links/2",
        NETWORKD.format("configured", "192.0.2.1 [2001:db8::1]:853#dns.example"),
    )
    machine.write("/run/systemd/netif/links/3", NETWORKD.format("configured", "192.0.2.2"))
    assert machine.servers(index=2, sole=False) == ["192.0.2.1", "2001:db8::1"]
    assert machine.servers(index=3, sole=False) == ["192.0.2.2"]
    # One without servers of its own has those that belong to no link.
    assert machine.servers(index=4, sole=False) == ["192.0.2.3"]
    assert machine.asked == []


def test_resolveds_list_of_a_link_that_another_manages(machine: Guest) -> None:
    machine.write("/etc/resolv.conf", STUB)
    machine.resolved("nameserver 192.0.2.1", "nameserver 192.0.2.2")
    machine.write("/run/systemd/netif/links/2", NETWORKD.format("unmanaged", ""))
    machine.write("/run/systemd/resolve/netif/2", PRIVATE + "LLMNR=yes\nSERVERS=192.0.2.1\n")
    machine.write("/run/systemd/resolve/netif/3", PRIVATE + "LLMNR=yes\n")
    assert machine.servers(index=2, sole=False) == ["192.0.2.1"]
    assert machine.servers(index=3, sole=False) == ["192.0.2.2"]


def test_a_stopped_resolved_no_longer_counts(machine: Guest) -> None:
    machine.write("/etc/resolv.conf", "nameserver 192.0.2.9")
    machine.resolved("nameserver 192.0.2.1")
    machine.write("/run/systemd/resolve/netif/2", "SERVERS=192.0.2.1\n")
    assert machine.servers() == ["192.0.2.1"]
    assert machine.socket is not None
    machine.socket.close()
    assert machine.servers() == ["192.0.2.9"]


def test_an_old_resolved_has_no_socket(machine: Guest) -> None:
    machine.write("/etc/resolv.conf", STUB)
    machine.write("/run/systemd/resolve/resolv.conf", "nameserver 192.0.2.1")
    machine.write("/run/systemd/resolve/netif/2", "SERVERS=192.0.2.2\n")
    assert machine.servers() == ["192.0.2.2"]


@pytest.fixture
def closed(machine: Guest, monkeypatch: pytest.MonkeyPatch) -> Guest:
    """resolved's directory of links is closed to us (its mode is 0700), also as root."""

    real = os.listdir

    def listdir(path: str) -> list[str]:
        if path.endswith("/resolve/netif"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return real(path)

    monkeypatch.setattr("hv_kvp_daemon.netconfig.resolver.os.listdir", listdir)
    machine.write("/etc/resolv.conf", STUB)
    machine.resolved("nameserver 192.0.2.1", "nameserver 192.0.2.2")
    return machine


def test_where_resolveds_files_are_closed_a_lone_link_has_all_servers(closed: Guest) -> None:
    assert closed.servers() == ["192.0.2.1", "192.0.2.2"]
    assert closed.asked == []


def test_where_resolveds_files_are_closed_it_is_asked(closed: Guest) -> None:
    """S4, for a line that was cut off."""
    output = (
        "Global: 192.0.2.9\n"
        "Link 2 (eth0): 192.0.2.1 192.0.2.3#x\n"
        "   2001:db8::1\n"
        "Link 3 (eth1):\n"
        "Link 22 (eth2): 192.0.2.4\n"
        "Link \n"
    )
    assert closed.servers(output, index=2, sole=False) == [
        "192.0.2.1", "192.0.2.3", "2001:db8::1",
    ]  # fmt: skip
    assert closed.asked == [("/usr/bin/resolvectl", "dns")]
    assert closed.servers(output, index=3, sole=False) == ["192.0.2.9"]


def test_where_resolveds_files_are_closed_resolvectls_unit_is_asked(closed: Guest) -> None:
    """S3: the daemon's unit has not the right to reach D-Bus."""
    sent = "Global:\nLink 2 (eth0): 192.0.2.1\nLink 3 (eth1): 192.0.2.2\n"
    with unit(closed.root / "run/hv-kvp-resolvectl.socket", sent):
        assert closed.servers(index=3, sole=False) == ["192.0.2.2"]
    assert closed.reports == []


def test_a_resolved_that_does_not_answer_leaves_its_general_list(closed: Guest) -> None:
    assert closed.servers(None, sole=False) == ["192.0.2.1", "192.0.2.2"]


def networkmanager(machine: Guest, *resolv_conf: str) -> None:
    machine.running("NetworkManager")
    machine.write("/run/NetworkManager/devices/2", DEVICE)
    machine.write("/etc/resolv.conf", *resolv_conf)


def test_nmcli_is_asked_which_of_the_servers_are_the_interfaces(machine: Guest) -> None:
    networkmanager(
        machine,
        "# Generated by NetworkManager",
        "nameserver 192.0.2.1",
        "nameserver 192.0.2.2",
        "nameserver 2001:db8::1",
    )
    assert machine.servers(sole=True) == ["192.0.2.1", "192.0.2.2", "2001:db8::1"]
    assert machine.asked == []
    output = f"{ETH0}IP4.DNS[1]:192.0.2.2\nIP4.DNS[2]:192.0.2.3\nIP6.DNS[1]:2001:db8::1\n"
    assert machine.servers(output, sole=False) == ["192.0.2.2", "2001:db8::1"]
    fields = "GENERAL.DEVICE,GENERAL.CON-UUID,IP4.DNS,IP6.DNS"
    words = ("-t", "-e", "no", "-f", fields, "device", "show", "eth0")
    assert machine.asked == [("/usr/bin/nmcli", *words)]
    assert machine.servers(ETH0, sole=False) == []


def test_of_all_that_nmclis_unit_sends_the_interface_s_servers_count(machine: Guest) -> None:
    """S3."""
    networkmanager(machine, "# Generated by NetworkManager", "nameserver 192.0.2.1")
    sent = (
        "GENERAL.DEVICE:eth01\nGENERAL.CON-UUID:1-1\nIP4.DNS[1]:192.0.2.9\n\n"
        f"{ETH0}IP4.DNS[1]:192.0.2.1\n\n"
        "GENERAL.DEVICE:eth1\nGENERAL.CON-UUID:1-3\nIP4.DNS[1]:192.0.2.8\n"
        "connection.uuid:1-2\nipv4.method:manual\n"
    )
    with unit(machine.root / "run/hv-kvp-nmcli.socket", sent):
        assert machine.servers(sole=False) == ["192.0.2.1"]
    assert machine.reports == []


def test_networkmanagers_list_stands_behind_a_stub(machine: Guest) -> None:
    networkmanager(machine, "# Generated by NetworkManager", "nameserver 127.0.0.1")
    assert machine.servers(f"{ETH0}IP4.DNS[1]:192.0.2.1\n", sole=False) == ["192.0.2.1"]


def test_an_administrators_resolv_conf_wins_over_networkmanager(machine: Guest) -> None:
    networkmanager(machine, "# by hand", "nameserver 192.0.2.9")
    assert machine.servers(f"{ETH0}IP4.DNS[1]:192.0.2.1\n", sole=False) == ["192.0.2.9"]


def test_a_networkmanager_that_does_not_answer_leaves_resolv_conf(machine: Guest) -> None:
    networkmanager(machine, "# Generated by NetworkManager", "nameserver 192.0.2.1")
    assert machine.servers(None, sole=False) == ["192.0.2.1"]


def test_a_stopped_networkmanager_is_not_asked(machine: Guest) -> None:
    networkmanager(machine, "nameserver 192.0.2.1")
    machine.running()
    assert machine.servers(sole=False) == ["192.0.2.1"]
    assert machine.asked == []


SCRIPT = "/usr/libexec/hypervkvpd/hv_get_dns_info"


def script(machine: Guest, text: str = "") -> None:
    machine.script(SCRIPT, text)
    machine.write("/etc/resolv.conf", "nameserver 192.0.2.9")


def test_a_script_wins(machine: Guest) -> None:
    script(machine)
    assert machine.servers("192.0.2.7\n2001:db8::7\n") == ["192.0.2.7", "2001:db8::7"]
    assert machine.asked == [(SCRIPT, "eth0")]
    assert machine.servers("") == []


def test_the_status_of_a_script_that_answers_does_not_matter(machine: Guest) -> None:
    """The C daemon does not look at the status either."""
    script(machine, "echo 192.0.2.7; exit 1")
    assert machine.servers() == ["192.0.2.7"]


@pytest.mark.parametrize("text", ["echo not an address", "exit 1", "sleep 1000"])
def test_a_script_that_is_no_help_is_done_without(
    machine: Guest, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scripts, "SECONDS", 0.5)
    script(machine, text)
    assert machine.servers() == ["192.0.2.9"]
    assert len(machine.reports) == 1


def test_the_stub_in_a_scripts_answer_gives_way_to_the_true_servers(machine: Guest) -> None:
    script(machine)
    machine.write("/etc/resolv.conf", STUB)
    assert machine.servers("127.0.0.53\n") == ["127.0.0.53"]
    machine.resolved("nameserver 192.0.2.1")
    assert machine.servers("127.0.0.53\n") == ["192.0.2.1"]
    assert machine.servers("127.0.0.53\n192.0.2.7\n") == ["127.0.0.53", "192.0.2.7"]


def test_a_local_cache_in_a_scripts_answer_stands(machine: Guest) -> None:
    script(machine)
    assert machine.servers("127.0.0.1\n") == ["127.0.0.1"]
