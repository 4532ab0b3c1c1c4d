# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Facts about what the host has set, and files that match by MAC address."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from pyroute2 import IPRoute

from hv_kvp_daemon.cli.service.address_facts import HostSet, MacMatch, gather_addresses
from hv_kvp_daemon.netconfig import target, verify
from hv_kvp_daemon.netconfig.apply import apply
from hv_kvp_daemon.netconfig.injection_record import Injection, load
from hv_kvp_daemon.netconfig.settings import Settings
from tests.netconfig.injected import BASE, GUID, OURS, adapter, fake_networkd, programs, static
from tests.netconfig.network import Machine, veth
from tests.support.network import in_own_network

MAC = "02:15:5d:00:00:01"
OTHER = "00:15:5d:00:00:99"
V4 = Settings(static("10.0.0.5/24"), None)

NETPLAN = """\
network:
  ethernets:
    eth0:
      macaddress: {other}
      match: # by cloud-init
        macaddress: "{mac}"

      set-name: eth0
    eth1:
      match: {{name: "eth1"}}
      macaddress: {other}
"""


def matches(tmp_path: Path, path: str, text: str) -> list[tuple[str, str]]:
    Machine(tmp_path).write(path, text)
    found = gather_addresses(str(tmp_path)).by_mac
    assert {each.path for each in found} <= {path}
    return [(each.mac, each.name) for each in found]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/etc/netplan/50-cloud-init.yaml", NETPLAN),
        (
            "/etc/netplan/a.yaml",
            "eth0: {{match: {{macaddress: '{mac}'}}, macaddress: {other}}}",
        ),
        ("/etc/netplan/a.yaml", "- match:\n    name: e*\n    macaddress: {mac}\n"),
        ("/etc/netplan/a.yaml", '"match":\n  "macaddress": "{mac}"\n"macaddress": "{other}"'),
        ("/etc/cloud/cloud.cfg.d/n.cfg", "  - type: physical\n    mac_address: '{mac}'\n"),
        ("/etc/systemd/network/10-cloud-init-eth0.network", "[Match]\nMACAddress={mac}"),
        ("/etc/systemd/network/a.network", "[Match]\nPermanentMACAddress={mac}"),
        (
            "/etc/NetworkManager/system-connections/cloud-init-eth0.nmconnection",
            "[ethernet]\nmac-address={mac}\ncloned-mac-address={other}",
        ),
        ("/etc/sysconfig/network-scripts/ifcfg-eth0", 'HWADDR="{mac}" # x\nMACADDR={other}'),
    ],
)
def test_a_match_by_mac_address_is_found_in_each_kind_of_file(
    tmp_path: Path, path: str, text: str
) -> None:
    assert matches(tmp_path, path, text.format(mac=MAC.upper(), other=OTHER)) == [(MAC, "")]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/etc/netplan/a.yaml", f"eth0:\n  match:\n    name: eth0\n  macaddress: {MAC}\n"),
        ("/etc/netplan/a.yaml", f"eth0:\n  match:\n  macaddress: {MAC}\n"),
        ("/etc/systemd/network/a.network", f"[Match]\nName=eth0\n[Link]\nMACAddress={MAC}"),
        ("/etc/systemd/network/a.network", "[Match]\nName=eth0"),
    ],
)
def test_a_mac_address_that_is_set_is_no_match(tmp_path: Path, path: str, text: str) -> None:
    assert matches(tmp_path, path, text) == []


class Guest(Machine):
    """A guest whose eth0 has what the host has set, by networkd."""

    def __init__(self) -> None:
        super().__init__(Path(tempfile.mkdtemp(prefix="hv-kvp-test-")))
        verify.PATIENCE = verify.SHORT = target.PATIENCE = 0.0
        with IPRoute() as ip:
            self.index = veth(ip, "eth0", MAC, "192.0.2.1/24")
        adapter(self)
        self.running("systemd-networkd")
        self.write(BASE, f"[Match]\nMACAddress={MAC}\n[Network]\nAddress=192.0.2.1/24")
        fake_networkd(self.root)
        self.set(V4)

    def set(self, settings: Settings) -> None:
        record = load(str(self.root), GUID)
        record.pending = Injection(settings, "eth0", "networkd", 1)
        record.save(str(self.root))
        apply(GUID, programs(self))

    def uses(self, *lines: str) -> None:
        self.write(f"/run/systemd/netif/links/{self.index}", *lines)


HOLDS = HostSet("eth0", "networkd", "holds", "", OURS, BASE)


@in_own_network
def test_what_the_host_has_set_and_in_place_of_which_file() -> None:
    guest = Guest()
    guest.uses(f"NETWORK_FILE={OURS}")
    facts = gather_addresses(str(guest.root))
    assert facts.host_set == [HOLDS]
    assert facts.by_mac == [MacMatch(BASE, MAC, "eth0")]
    assert facts.refused == facts.damage == []


def differs(change: Callable[[Guest], object], **members: object) -> None:
    guest = Guest()
    change(guest)
    (found,) = gather_addresses(str(guest.root)).host_set
    assert found == HostSet(**{**vars(HOLDS), **members})


@in_own_network
def test_what_overrides_it_is_found() -> None:
    """N5."""
    other = "/etc/systemd/network/01-mine.network"
    differs(lambda guest: guest.uses(f"NETWORK_FILE={other}"), instead=other)


@in_own_network
def test_a_drop_in_beside_it_is_found() -> None:
    def change(guest: Guest) -> None:
        guest.uses(f"NETWORK_FILE={OURS}")
        guest.write(f"{OURS}.d/a.conf", "[Network]\nDHCP=yes\n")

    differs(change, instead=f"{OURS}.d/a.conf")


@in_own_network
def test_permissions_with_which_networkd_cannot_read_it_are_found() -> None:
    differs(
        lambda guest: (guest.root / OURS.lstrip("/")).chmod(0o600),
        modes={OURS: (0o600, 0o644)},
    )


@in_own_network
def test_addresses_that_are_missing_are_found() -> None:
    def change(guest: Guest) -> None:
        with IPRoute() as ip:
            ip.flush_addr(index=guest.index)

    differs(change, state="missing", detail="10.0.0.5/24 is missing")


@in_own_network
def test_what_was_refused_and_a_record_that_is_damaged_are_found() -> None:
    guest = Guest()
    other = "/etc/systemd/network/01-mine.network"
    guest.uses(f"NETWORK_FILE={other}")
    fake_networkd(guest.root, lambda _: "")
    wrong = Settings(static("10.9.9.9/24"), None)
    guest.set(wrong)
    facts = gather_addresses(str(guest.root))
    assert facts.refused == [f"eth0: {wrong} (10.9.9.9/24 is missing; {other} is in force)"]
    (guest.root / f"var/lib/hv-kvp-daemon/ip/{GUID}.json").write_text("{}")
    (text,) = gather_addresses(str(guest.root)).damage
    assert text.endswith(f"{GUID}.json is damaged ('current'): remove it")
