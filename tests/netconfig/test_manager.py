# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Which program manages an interface, by its files and those that enable it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hv_kvp_daemon.netconfig.manager import managing

from .network import Machine

if TYPE_CHECKING:
    from pathlib import Path

WANTS = "/etc/systemd/system/multi-user.target.wants"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def manager(machine: Machine) -> str:
    return managing(str(machine.root), "eth0", 2)


def test_what_manages_it_now(machine: Machine) -> None:
    machine.write("/run/systemd/netif/links/2", "ADMIN_STATE=unmanaged")
    machine.write("/run/NetworkManager/devices/2", "[device]", "managed=true")
    machine.running("systemd-networkd", "NetworkManager")
    assert manager(machine) == "networkmanager"
    machine.write("/run/systemd/netif/links/2", "ADMIN_STATE=configured")
    assert manager(machine) == "networkd"
    # Its state files remain when it is stopped.
    machine.running("NetworkManager")
    assert manager(machine) == "networkmanager"
    machine.write("/run/NetworkManager/devices/2", "[device]", "managed=false")
    assert manager(machine) == "direct"
    machine.write("/run/network/ifstate", "lo=lo", "eth0=eth0")
    assert manager(machine) == "ifupdown"


def test_networkd_manages_what_it_gets_a_file_for(machine: Machine) -> None:
    machine.running("systemd-networkd")
    assert manager(machine) == "networkd"


def test_before_any_of_them_runs_what_is_enabled(machine: Machine) -> None:
    machine.running()
    assert manager(machine) == "direct"
    machine.write(f"{WANTS}/systemd-networkd.service", "")
    assert manager(machine) == "networkd"
    machine.write(f"{WANTS}/NetworkManager.service", "")
    assert manager(machine) == "networkmanager"
    # netplan's generator has made it.
    machine.write("/run/systemd/network/10-netplan-eth0.network", "")
    assert manager(machine) == "networkd"
    machine.write("/etc/network/interfaces", "auto eth0", "iface eth0 inet dhcp")
    assert manager(machine) == "networkd"
    machine.write("/usr/sbin/ifup", "")
    assert manager(machine) == "ifupdown"
