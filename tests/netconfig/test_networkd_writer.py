# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The .network files for systemd-networkd."""

from __future__ import annotations

from pathlib import Path

import pytest

from hv_kvp_daemon.netconfig.networkd_writer import NetworkdWriter
from hv_kvp_daemon.netconfig.settings import AUTOMATIC, Settings
from hv_kvp_daemon.netconfig.target import Target

from .injected import BASE, FORMS, GUID, OURS, V4, V6, programs, static, written
from .network import Machine

GOLDEN = Path(__file__).parent / "golden" / "networkd"

NETPLAN = """\
[Match]
PermanentMACAddress=00:15:5d:00:00:01
Name=eth0

[Link]
MTUBytes=9000
RequiredForOnline=no

[Network]
DHCP=ipv4
LinkLocalAddressing=ipv6
Address=192.0.2.9/24
Address=2001:db8:9::9/64
DNS=192.0.2.53
DNS=[2001:db8:9::53]:53#dns.example
Domains=example.org
VLAN=eth0.7

[Route]
Destination=0.0.0.0/0
Gateway=192.0.2.1

[Route]
Destination=198.51.100.0/24
Gateway=192.0.2.254
Metric=50

[Route]
Gateway=fe80::9

[Address]
Address=192.0.2.10/24
Label=eth0:1

[RoutingPolicyRule]
From=192.0.2.9
Table=100

[DHCPv4]
RouteMetric=100
UseMTU=true
"""

CASES = {
    **{name: (None, settings) for name, settings in FORMS.items()},
    "netplan-ipv4": (NETPLAN, Settings(V4, None)),
    "netplan-ipv6": (NETPLAN, Settings(None, V6)),
    "netplan-both": (NETPLAN, Settings(V4, V6)),
    "netplan-dhcp": (NETPLAN, Settings(AUTOMATIC, AUTOMATIC)),
}


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A guest whose DNS servers are those of systemd-resolved."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/resolv.conf").symlink_to("../run/systemd/resolve/stub-resolv.conf")
    return Machine(tmp_path)


@pytest.mark.parametrize("name", CASES)
def test_the_file_is_the_golden_one(machine: Machine, name: str) -> None:
    base, settings = CASES[name]
    if base is not None:
        machine.write(BASE, base)
        machine.write(
            "/run/systemd/netif/links/2", "ADMIN_STATE=configured", f"NETWORK_FILE={BASE}"
        )
    (file,) = written(machine, NetworkdWriter, settings)
    assert (file.path, file.mode) == (OURS, 0o644)
    golden = GOLDEN / f"{name}.network"
    assert file.text == golden.read_text(), f"for {golden}:\n{file.text}"


def test_without_resolved_dns_servers_go_to_resolv_conf(machine: Machine) -> None:
    """N6: nothing read them from networkd, and GET_IP_INFO answered others than were set."""
    (machine.root / "etc/resolv.conf").unlink()
    machine.write("/etc/resolv.conf", "nameserver 192.0.2.53\n")
    _, file = written(machine, NetworkdWriter, Settings(V4, None))
    assert file.path == "/etc/resolv.conf"
    assert file.text.splitlines()[3:] == ["nameserver 10.0.0.53", "nameserver 10.0.0.54"]


def test_it_sorts_before_what_netplan_and_cloud_init_write() -> None:
    names = [OURS.rpartition("/")[2], "10-netplan-eth0.network", "10-cloud-init-eth0.network"]
    assert min(names) == names[0]


def write_ours(machine: Machine, settings: Settings) -> str:
    (file,) = written(machine, NetworkdWriter, settings)
    machine.write(file.path, file.text)
    machine.write(
        "/run/systemd/netif/links/2", "ADMIN_STATE=configured", f"NETWORK_FILE={OURS}"
    )
    return file.text


def test_a_second_request_takes_over_from_the_administrators_file_not_from_ours(
    machine: Machine,
) -> None:
    machine.write(BASE, NETPLAN)
    machine.write(
        "/run/systemd/netif/links/2", "ADMIN_STATE=configured", f"NETWORK_FILE={BASE}"
    )
    first = write_ours(machine, Settings(V4, None))
    assert write_ours(machine, Settings(static("10.9.9.9/24"), None)) != first
    assert write_ours(machine, Settings(V4, None)) == first


def test_drop_ins_of_the_administrators_file_count(machine: Machine) -> None:
    machine.write(BASE, NETPLAN)
    machine.write(
        "/run/systemd/netif/links/2", "ADMIN_STATE=configured", f"NETWORK_FILE={BASE}"
    )
    machine.write(
        f"{BASE}.d/50.conf", "[Network]", "Domains=", "Domains=example.net", "NTP=192.0.2.7"
    )
    text = write_ours(machine, Settings(V4, None))
    assert "\nDomains=example.net\nNTP=192.0.2.7\n" in text
    assert "example.org" not in text


@pytest.mark.parametrize(
    ("match", "found"),
    [
        ("Name=eth0", True),
        ("Name=en* eth*", True),
        ("Name=!eth0 eth1", False),
        ("Name=!eth1", True),
        ("Name=eth1", False),
        ("Name=e*\nType=ether", True),
        ("Name=e*\nDriver=virtio_net", False),
        ("MACAddress=00:15:5d:ff:ff:fe", False),
        ("", False),
    ],
)
def test_before_networkd_runs_its_file_is_found_by_its_match(
    machine: Machine, match: str, *, found: bool
) -> None:
    machine.write(BASE, f"[Match]\n{match}\n[Network]\nDomains=example.org\n")
    text = write_ours(machine, Settings(V4, None))
    assert ("Domains=example.org" in text) is found


def test_the_first_file_of_all_directories_is_the_one(machine: Machine) -> None:
    for path, domain in (
        ("/usr/lib/systemd/network/10-a.network", "vendor"),
        ("/etc/systemd/network/10-a.network", "etc"),
        ("/run/systemd/network/09-b.network", "run"),
    ):
        machine.write(path, f"[Match]\nName=*\n[Network]\nDomains={domain}\n")
    assert "Domains=run" in write_ours(machine, Settings(V4, None))
    (machine.root / "run/systemd/network/09-b.network").unlink()
    assert "Domains=etc" in write_ours(machine, Settings(V4, None))


def test_networkd_is_told_by_its_own_program(machine: Machine) -> None:
    machine.script("/usr/bin/networkctl", f'echo "$*" >>{machine.root}/asked')
    writer = NetworkdWriter(Target(GUID, "eth0", 2), programs(machine))
    writer.revert()
    assert not (machine.root / "asked").exists(), "networkd does not run"
    machine.running("systemd-networkd")
    writer.activate(Settings(V4, None))
    assert (machine.root / "asked").read_text() == "reload\n"
    assert machine.reports == []
