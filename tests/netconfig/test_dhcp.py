# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Who is asked about DHCP, with the managers' files as they write them (systemd 252,
NetworkManager 1.42, ifupdown 0.8, wicked and RHEL's network scripts)."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from hv_kvp_daemon.netconfig.dhcp import uses_dhcp

from .network import Machine, config, unit

UUID = "4bbb8f32-95c6-45af-9ac0-eb6092c1423a"
DEVICE = f"[device]\nmanaged=true\nconnection-uuid={UUID}\nnm-owned=false\n"
LINK = "# This is private data. Do not parse.\nADMIN_STATE={}\nNETWORK_FILE={}\nDNS=\n"
NAME = "10-netplan-eth0.network"
NETWORK = f"/run/systemd/network/{NAME}"
NMCLI = ("-t", "-f", "connection.uuid,ipv4.method", "connection", "show", "uuid", UUID)
PROFILE = f"connection.uuid:{UUID}\nipv4.method:{{}}\n"


class Guest(Machine):
    """A machine that is asked whether eth0, interface 2, has its address by DHCP."""

    def dhcp(self, *answers: str | None, leased: bool = False) -> bool:
        asked = config()
        asked.leased = leased
        return uses_dhcp(self.programs(*answers), asked)


@pytest.fixture
def machine(tmp_path: Path) -> Guest:
    machine = Guest(tmp_path)
    machine.running("systemd-networkd", "NetworkManager")
    return machine


def networkd(
    machine: Guest, state: str = "configured", dhcp: str = "no", more: str = ""
) -> None:
    """networkd's state of the interface, and the .network file that it names."""
    machine.write("/run/systemd/netif/links/2", LINK.format(state, NETWORK) + more)
    machine.write(NETWORK, f"[Network]\nDHCP={dhcp}\n")


def networkmanager(machine: Guest, method4: str, method6: str = "auto") -> None:
    """NetworkManager's state of the interface, and its profile."""
    machine.write("/run/NetworkManager/devices/2", DEVICE)
    machine.write(
        "/etc/NetworkManager/system-connections/eth0.nmconnection",
        f"[connection]\nuuid={UUID}\n[ipv4]\nmethod={method4}\n[ipv6]\nmethod={method6}\n",
    )


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
    assert machine.dhcp(PROFILE.format("auto"))
    assert machine.asked == [("/usr/bin/nmcli", *NMCLI)]
    assert not machine.dhcp(PROFILE.format("manual"), leased=True)
    assert machine.dhcp(None, leased=True)


def test_of_all_that_nmclis_unit_sends_the_interface_s_profile_counts() -> None:
    """S3."""
    with tempfile.TemporaryDirectory(prefix="hv-kvp-test-") as directory:
        machine = Guest(Path(directory))
        machine.running("NetworkManager")
        machine.write("/run/NetworkManager/devices/2", DEVICE)
        sent = (
            f"GENERAL.DEVICE:eth0\nGENERAL.CON-UUID:{UUID}\nIP4.DNS[1]:192.0.2.1\n"
            f"connection.uuid:1-1\nipv4.method:manual\n\n{PROFILE.format('auto')}\n"
            "connection.uuid:1-3\nipv4.method:manual\n"
        )
        with unit(machine.root / "run/hv-kvp-nmcli.socket", sent):
            assert machine.dhcp()
        assert machine.reports == []


@pytest.mark.parametrize(
    "device",
    ["[device]\nmanaged=false\n", "[device]\nmanaged=unknown\n", "", "\0\xff["],
)
def test_networkmanager_does_not_answer_for_what_is_not_its_own(
    machine: Guest, device: str
) -> None:
    machine.write("/run/NetworkManager/devices/2", device)
    assert machine.dhcp(leased=True)
    assert machine.asked == []


DEVICE_FIELDS = "GENERAL.DEVICE,GENERAL.CON-UUID,IP4.DNS,IP6.DNS"
CON_UUID = ("-t", "-e", "no", "-f", DEVICE_FIELDS, "device", "show", "eth0")


@pytest.mark.parametrize("method", ["auto", "manual"])
def test_the_profile_counts_while_networkmanager_is_still_connecting(
    machine: Guest, method: str
) -> None:
    """O17: until then its state of the interface names no profile."""
    networkmanager(machine, method)
    machine.write("/run/NetworkManager/devices/2", "[device]\nmanaged=true\n")
    answer = f"GENERAL.DEVICE:eth0\nGENERAL.CON-UUID:{UUID}\n"
    assert machine.dhcp(answer, leased=method != "auto") is (method == "auto")
    assert machine.asked == [("/usr/bin/nmcli", *CON_UUID)]
    # Neither a profile nor an answer is there.
    assert machine.dhcp("GENERAL.DEVICE:eth0\nGENERAL.CON-UUID:\n", leased=True)
    assert machine.dhcp(None, leased=True)


@pytest.mark.parametrize(
    ("running", "dhcp"),
    [
        (["systemd-networkd", "NetworkManager"], False),
        (["systemd-networkd"], False),
        (["NetworkManager"], True),
        ([], False),
    ],
)
def test_a_manager_answers_only_while_it_runs_and_networkd_first(
    machine: Guest, running: list[str], *, dhcp: bool
) -> None:
    """O16: the files of a stopped manager remain."""
    networkd(machine, dhcp="no")
    networkmanager(machine, "auto")
    machine.running(*running)
    assert machine.dhcp() is dhcp


@pytest.mark.parametrize(("user", "dhcp"), [(0, True), (998, True), (1000, False)])
def test_a_process_of_an_ordinary_user_is_no_manager(
    machine: Guest, user: int, *, dhcp: bool
) -> None:
    """S5: by a process of this name any user chose where the host's settings went."""
    networkmanager(machine, "auto")
    machine.running("NetworkManager", user=user)
    assert machine.dhcp() is dhcp


def test_a_unit_of_systemd_tells_that_its_program_runs(machine: Guest) -> None:
    """O16."""
    networkmanager(machine, "auto")
    machine.running()
    assert not machine.dhcp()
    units = machine.root / "run/systemd/units"
    units.mkdir(parents=True)
    (units / "invocation:NetworkManager.service").symlink_to("4f0b1c")
    assert machine.dhcp()


SCRIPT = "/usr/libexec/hypervkvpd/hv_get_dhcp_info"


def test_the_script_is_asked_only_where_no_manager_knows(machine: Guest) -> None:
    """O15: RHEL 10's says Enabled if IPv4 or IPv6 is automatic."""
    machine.script(SCRIPT, "echo Enabled")
    networkmanager(machine, "manual", "auto")
    assert not machine.dhcp()
    machine.running()
    assert machine.dhcp()
    assert machine.asked == [(SCRIPT, "eth0")]
    machine.write("/etc/sysconfig/network-scripts/ifcfg-eth0", "BOOTPROTO=none")
    assert not machine.dhcp()


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


def test_drop_ins_are_found_where_networkds_state_does_not_name_them(machine: Guest) -> None:
    """O18: systemd names them since 253."""
    networkd(machine)
    assert not machine.dhcp()
    machine.write(f"/usr/lib/systemd/network/{NAME}.d/50-a.conf", "[Network]\nDHCP=ipv4\n")
    assert machine.dhcp()
    # The same name nearer to the administrator counts, and the last name of all.
    machine.write(f"/etc/systemd/network/{NAME}.d/50-a.conf", "[Network]\nDHCP=ipv6\n")
    machine.write(f"/etc/systemd/network/{NAME}.d/90-b.conf.bak", "[Network]\nDHCP=ipv4\n")
    assert not machine.dhcp()
    machine.write(f"/run/systemd/network/{NAME}.d/60-c.conf", "[Network]\nDHCP=yes\n")
    assert machine.dhcp()


def test_a_drop_in_that_is_linked_to_dev_null_hides_another(machine: Guest) -> None:
    """O18."""
    networkd(machine)
    machine.write(f"/usr/lib/systemd/network/{NAME}.d/a.conf", "[Network]\nDHCP=ipv4\n")
    mask = machine.root / f"etc/systemd/network/{NAME}.d/a.conf"
    mask.parent.mkdir(parents=True)
    mask.symlink_to("/dev/null")
    assert not machine.dhcp()


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


def test_files_that_all_include_each_other_are_read_once(machine: Guest) -> None:
    """S4: the third level took hours."""
    machine.write("/run/network/ifstate", "eth0=eth0\n")
    machine.write("/etc/network/interfaces", "source interfaces.d/*\n")
    for number in range(100):
        machine.write(
            f"/etc/network/interfaces.d/{number}", "source /etc/network/interfaces.d/*\n"
        )
    machine.write("/etc/network/interfaces.d/last", "iface eth0 inet dhcp\n")
    assert machine.dhcp()


@pytest.mark.parametrize(
    ("state", "dhcp"),
    [("eth0=eth0\n", True), ("lo=lo 1\neth0=eth0 1 explicit\n", True), ("lo=lo 1\n", False)],
)
def test_the_state_of_alpines_ifupdown(machine: Guest, state: str, *, dhcp: bool) -> None:
    """O19: BusyBox and ifupdown-ng keep it elsewhere; udhcpc gives no lifetime."""
    machine.write("/etc/network/interfaces", "auto eth0", "iface eth0 inet dhcp")
    machine.write("/run/ifstate", state)
    assert machine.dhcp() is dhcp


@pytest.mark.parametrize(
    ("lines", "dhcp"),
    [
        (["iface eth0", " use dhcp"], True),
        (["iface eth0", " address 192.0.2.1/24"], False),
        (["iface eth0 inet static", "iface eth1", " use dhcp"], False),
        (["iface eth0 inet static", "iface eth0 inet6 auto", " use dhcp"], False),
    ],
)
def test_ifupdown_ng_needs_no_method(machine: Guest, lines: list[str], *, dhcp: bool) -> None:
    """O19."""
    machine.write("/run/ifstate", "eth0=eth0 1\n")
    machine.write("/etc/network/interfaces", *lines)
    assert machine.dhcp(leased=not dhcp) is dhcp


@pytest.mark.parametrize(
    ("pattern", "followed"),
    [
        ("/etc/network/interfaces.d/[!.]*", True),
        ("interfaces.d/e?h[0-9]", True),
        ("/etc/net*/interfaces.d/*", True),
        ("/nowhere/* interfaces.d/eth0", True),
        ("interfaces.d/[!e]*", False),
        ("interfaces.d/.[!.]*", False),
    ],
)
def test_any_pattern_of_files_is_followed(
    machine: Guest, pattern: str, *, followed: bool
) -> None:
    """O21: ifupdown expands it as a shell does."""
    machine.write("/run/network/ifstate", "eth0=eth0\n")
    machine.write("/etc/network/interfaces", f"source {pattern}")
    machine.write("/etc/network/interfaces.d/eth0", "iface eth0 inet dhcp")
    machine.write("/etc/network/interfaces.d/.eth0", "iface eth0 inet static")
    assert machine.dhcp() is followed


@pytest.mark.parametrize(
    ("path", "line", "dhcp"),
    [
        ("network-scripts", "BOOTPROTO=dhcp", True),
        ("network-scripts", 'BOOTPROTO="DHCP"', True),
        ("network-scripts", "BOOTPROTO=none", False),
        ("network", "BOOTPROTO='dhcp4'", True),
        ("network", "BOOTPROTO='dhcp6'", False),
        ("network", "STARTMODE=auto", False),
        ("network-scripts", "BOOTPROTO=dhcp # by DHCP", True),
        ("network-scripts", 'BOOTPROTO="dhcp"\t# not "none"', True),
        ("network", "BOOTPROTO='static' # 'dhcp'", False),
        ("network", "BOOTPROTO=dhcp; STARTMODE=auto", True),
        ("network", "BOOTPROTO= # dhcp", False),
    ],
)
def test_sysconfig_settings_count(machine: Guest, path: str, line: str, dhcp: bool) -> None:
    """O20: a shell reads them, so a comment may follow a value."""
    machine.write(f"/etc/sysconfig/{path}/ifcfg-eth0", f"# by hand\nDEVICE=eth0\n{line}\n")
    assert machine.dhcp(leased=not dhcp) is dhcp
