"""Who is asked about DHCP, with the managers' files as they write them (systemd 252,
NetworkManager 1.42, ifupdown 0.8, wicked and RHEL's network scripts)."""

from __future__ import annotations

from pathlib import Path

import pytest

from hv_kvp_daemon.netconfig.dhcp import uses_dhcp

from .network import Machine, config

UUID = "4bbb8f32-95c6-45af-9ac0-eb6092c1423a"
DEVICE = f"[device]\nmanaged=true\nconnection-uuid={UUID}\nnm-owned=false\n"
LINK = "# This is private data. Do not parse.\nADMIN_STATE={}\nNETWORK_FILE={}\nDNS=\n"
NETWORK = "/run/systemd/network/10-netplan-eth0.network"
NMCLI = ("-g", "ipv4.method", "connection", "show", "uuid", UUID)


class Guest(Machine):
    """A machine that is asked whether eth0, interface 2, has its address by DHCP."""

    def dhcp(self, *answers: str | None, leased: bool = False) -> bool:
        asked = config()
        asked.leased = leased
        return uses_dhcp(self.programs(*answers), asked)


@pytest.fixture
def machine(tmp_path: Path) -> Guest:
    return Guest(tmp_path)


def test_where_nobody_knows_a_limited_lifetime_decides(machine: Guest) -> None:
    assert machine.dhcp(leased=True)
    assert not machine.dhcp(leased=False)
    assert machine.asked == []


def test_networkmanagers_lease_is_dhcp(machine: Guest) -> None:
    machine.write(
        "/run/NetworkManager/devices/2", DEVICE + "[dhcp4]\ndhcp4.expiry=1795243691\n"
    )
    assert machine.dhcp()


@pytest.mark.parametrize("directory", ["/etc/NetworkManager", "/run/NetworkManager"])
@pytest.mark.parametrize(("method", "dhcp"), [("auto", True), ("manual", False)])
def test_networkmanagers_profile_decides_without_a_process(
    machine: Guest, directory: str, method: str, dhcp: bool
) -> None:
    machine.write("/run/NetworkManager/devices/2", DEVICE)
    machine.write(f"{directory}/system-connections/other", f"[connection]\nid={UUID}\nuuid=0\n")
    machine.write(
        f"{directory}/system-connections/Wired connection 1.nmconnection",
        f"[connection]\nuuid={UUID}\n[ipv4]\nmethod={method}\n[ipv6]\nmethod=auto\n",
    )
    assert machine.dhcp(leased=not dhcp) is dhcp
    assert machine.asked == []


def test_nmcli_is_asked_for_a_profile_that_is_no_keyfile(machine: Guest) -> None:
    machine.write("/run/NetworkManager/devices/2", DEVICE)
    assert machine.dhcp("auto\n")
    assert machine.asked == [("/usr/bin/nmcli", *NMCLI)]
    assert not machine.dhcp("manual\n", leased=True)
    assert machine.dhcp(None, leased=True)


@pytest.mark.parametrize(
    "device",
    ["[device]\nmanaged=false\n", "[device]\nmanaged=true\nnm-owned=false\n", "", "\0\xff["],
)
def test_networkmanager_does_not_answer_for_what_is_not_its_own(
    machine: Guest, device: str
) -> None:
    machine.write("/run/NetworkManager/devices/2", device)
    assert machine.dhcp(leased=True)
    assert machine.asked == []


def test_a_profile_that_mirrors_anothers_settings_does_not_count(machine: Guest) -> None:
    machine.write("/run/NetworkManager/devices/2", DEVICE)
    machine.write(
        "/run/NetworkManager/system-connections/eth0.nmconnection",
        f"[connection]\nuuid={UUID}\n[ipv4]\nmethod=manual\n[.nmmeta]\nexternal=true\n",
    )
    assert machine.dhcp(leased=True)


def test_networkds_lease_is_dhcp(machine: Guest) -> None:
    machine.write(
        "/run/systemd/netif/links/2",
        LINK.format("configured", NETWORK) + "DHCP_LEASE=/run/systemd/netif/leases/2\n",
    )
    assert machine.dhcp()


@pytest.mark.parametrize(
    ("value", "dhcp"),
    [
        ("yes", True),
        ("ipv4", True),
        ("true", True),
        ("ipv6", False),
        ("no", False),
        ("", False),
    ],
)
def test_networkds_settings_count_before_there_is_a_lease(
    machine: Guest, value: str, dhcp: bool
) -> None:
    machine.write("/run/systemd/netif/links/2", LINK.format("configuring", NETWORK))
    machine.write(NETWORK, f"[Match]\nName=eth0\nDHCP=yes\n[Network]\nDHCP={value}\n")
    assert machine.dhcp(leased=not dhcp) is dhcp


def test_a_drop_in_of_networkds_settings_wins(machine: Guest) -> None:
    drop_ins = "/etc/systemd/network/10-netplan-eth0.network.d"
    machine.write(
        "/run/systemd/netif/links/2",
        LINK.format("configured", NETWORK)
        + f'NETWORK_FILE_DROPINS="{drop_ins}/a.conf:{drop_ins}/b.conf"\n',
    )
    machine.write(NETWORK, "[Network]\nDHCP=no\n")
    machine.write(f"{drop_ins}/a.conf", "[Network]\nDHCP=ipv4\n")
    machine.write(f"{drop_ins}/b.conf", "[Network]\nDNS=192.0.2.1\n")
    assert machine.dhcp()


@pytest.mark.parametrize("state", ["unmanaged", "pending", "initialized", "linger"])
def test_networkd_does_not_answer_for_what_it_leaves_to_others(
    machine: Guest, state: str
) -> None:
    machine.write("/run/systemd/netif/links/2", LINK.format(state, NETWORK))
    machine.write(NETWORK, "[Network]\nDHCP=yes\n")
    assert not machine.dhcp()


@pytest.mark.parametrize(("method", "dhcp"), [("dhcp", True), ("static", False)])
def test_ifupdowns_settings_count_while_it_has_the_interface_up(
    machine: Guest, method: str, dhcp: bool
) -> None:
    machine.write("/etc/network/interfaces", "source /etc/network/interfaces.d/*\nauto lo\n")
    machine.write(
        "/etc/network/interfaces.d/50-cloud-init",
        f"auto eth0\niface eth0 inet {method}\niface eth0 inet6 auto\niface eth1 inet dhcp\n",
    )
    assert not machine.dhcp()
    machine.write("/run/network/ifstate", "lo=lo\neth0=eth0\n")
    assert machine.dhcp(leased=not dhcp) is dhcp


def test_ifupdowns_names_directories_and_circles(machine: Guest) -> None:
    machine.write("/run/network/ifstate", "eth0=home\n")
    machine.write(
        "/etc/network/interfaces",
        "source-directory interfaces.d\nsource /etc/network/interfaces\n",
    )
    machine.write("/etc/network/interfaces.d/home.bak", "iface home inet static\n")
    assert not machine.dhcp()
    machine.write("/etc/network/interfaces.d/home", "iface home inet dhcp\n")
    assert machine.dhcp()
    machine.write("/etc/network/interfaces", "source interfaces.d/home\n")
    assert machine.dhcp()


@pytest.mark.parametrize(
    ("path", "line", "dhcp"),
    [
        ("network-scripts", "BOOTPROTO=dhcp", True),
        ("network-scripts", 'BOOTPROTO="DHCP"', True),
        ("network-scripts", "BOOTPROTO=none", False),
        ("network", "BOOTPROTO='dhcp4'", True),
        ("network", "BOOTPROTO='dhcp6'", False),
        ("network", "STARTMODE=auto", False),
    ],
)
def test_sysconfig_settings_count(machine: Guest, path: str, line: str, dhcp: bool) -> None:
    machine.write(f"/etc/sysconfig/{path}/ifcfg-eth0", f"# by hand\nDEVICE=eth0\n{line}\n")
    assert machine.dhcp(leased=not dhcp) is dhcp
