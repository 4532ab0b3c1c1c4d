# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The keyfile for NetworkManager, and how it is made the active profile."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hv_kvp_daemon.netconfig.networkmanager_writer import NetworkManagerWriter
from hv_kvp_daemon.netconfig.settings import AUTOMATIC, Settings
from hv_kvp_daemon.netconfig.target import Target
from hv_kvp_daemon.netconfig.writer import WriterError

from .injected import FORMS, GUID, V4, V6, golden, programs, static, written
from .network import Machine

GOLDEN = Path(__file__).parent / "golden" / "networkmanager"
PLACE = "/etc/NetworkManager/system-connections"
OURS = f"{PLACE}/hv-kvp-eth0.nmconnection"
BASE = f"{PLACE}/wired.nmconnection"
UUID = "ea97f635-95c2-5a62-8e6e-b4594ca55524"
THEIR_UUID = "5f1ba8a9-6d0c-4b9c-8c8b-f5d1e2b2a001"

THEIRS = f"""\
[connection]
id=Wired #1
uuid={THEIR_UUID}
type=802-3-ethernet
interface-name=eth0
autoconnect-priority=120
timestamp=1700000000
zone=trusted

[ethernet]
mac-address=00:15:5D:00:00:01
mtu=9000

[802-1x]
eap=peap;
password=a\\sb#c"d"

[ipv4]
method=manual
address1=192.0.2.9/24,192.0.2.1
dns=192.0.2.53;
dns-search=example.org;
route1=0.0.0.0/0,192.0.2.1
route2=198.51.100.0/24,192.0.2.254,50
route2_options=mtu=1400
never-default=false

[ipv6]
method=auto
addr-gen-mode=stable-privacy

[match]
driver=hv_netvsc
"""

CASES = {
    **{name: (False, settings) for name, settings in FORMS.items()},
    **{f"theirs-{name}": (True, FORMS[name]) for name in ("ipv4", "ipv6", "both", "dhcp")},
}


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def their_profile(machine: Machine, uuid: str = THEIR_UUID) -> None:
    machine.write(BASE, THEIRS)
    active(machine, uuid)


def active(machine: Machine, uuid: str) -> None:
    """Have NetworkManager run, with this profile active on eth0."""
    machine.running("NetworkManager")
    lines = "[device]", "managed=true", f"connection-uuid={uuid}"
    machine.write("/run/NetworkManager/devices/2", *lines)


@pytest.mark.parametrize("name", CASES)
def test_the_keyfile_is_the_golden_one(machine: Machine, name: str) -> None:
    has_profile, settings = CASES[name]
    if has_profile:
        their_profile(machine)
    golden(machine, NetworkManagerWriter, settings, GOLDEN / f"{name}.nmconnection")


def write_ours(machine: Machine, settings: Settings) -> str:
    (file,) = written(machine, NetworkManagerWriter, settings)
    assert (file.path, file.mode) == (OURS, 0o600)
    machine.write(file.path, file.text)
    active(machine, UUID)
    return file.text


def test_a_second_request_copies_from_the_administrators_profile_not_from_ours(
    machine: Machine,
) -> None:
    their_profile(machine)
    first = write_ours(machine, Settings(V4, None))
    assert write_ours(machine, Settings(static("10.9.9.9/24"), None)) != first
    assert write_ours(machine, Settings(V4, None)) == first


def test_a_second_gateway_is_never_before_the_first(machine: Machine) -> None:
    """N9."""
    text = write_ours(machine, FORMS["two-of-each"])
    metric = next(line for line in text.splitlines() if line.startswith("route1=")).split(",")[
        2
    ]
    # The first one's is at most 1024, and 20000 more while the connectivity check fails.
    assert int(metric) > 1024 + 20000


def test_while_no_profile_is_active_the_one_of_the_highest_priority_counts(
    machine: Machine,
) -> None:
    their_profile(machine, "")
    machine.write(
        f"{PLACE}/other.nmconnection", THEIRS.replace("=120", "=7").replace("0/24", "7/24")
    )
    machine.write(
        f"{PLACE}/off.nmconnection", THEIRS.replace("=120", "=200\nautoconnect=false")
    )
    machine.write(
        f"{PLACE}/eth1.nmconnection", THEIRS.replace("eth0", "eth1").replace("120", "200")
    )
    assert f"{BASE}\n" in write_ours(machine, Settings(V4, None))


def test_a_profile_that_is_no_keyfile_is_not_lost(machine: Machine) -> None:
    active(machine, "not-in-a-keyfile")
    with pytest.raises(WriterError, match="nmcli connection migrate not-in-a-keyfile"):
        written(machine, NetworkManagerWriter, Settings(V4, None))
    assert "address1=10.0.0.5/24" in write_ours(machine, Settings(V4, V6))


def test_netplans_profile_has_no_uuid_and_is_found_by_nmcli(machine: Machine) -> None:
    path = "/run/NetworkManager/system-connections/netplan-eth0.nmconnection"
    machine.write(path, THEIRS.replace(f"uuid={THEIR_UUID}\n", ""))
    active(machine, "made-of-the-name")
    machine.script("/usr/bin/nmcli", f"echo other:/nowhere; echo made-of-the-name:{path}")
    text = write_ours(machine, Settings(V4, None))
    assert f"{path}\n" in text
    assert "mtu=9000" in text


def test_the_profile_of_a_bond_is_not_replaced(machine: Machine) -> None:
    their_profile(machine)
    machine.write(BASE, THEIRS.replace("802-3-ethernet", "bond"))
    with pytest.raises(WriterError, match="of the type bond"):
        written(machine, NetworkManagerWriter, Settings(V4, None))


NMCLI = """
echo "nmcli $*" >>$0.asked
case "$*" in
*"-g UUID connection show"*) echo {theirs}; echo {ours} ;;
esac
"""

BUSCTL = """
echo "busctl $*" >>$(dirname $0)/nmcli.asked
case "$*" in
*GetDeviceByIpIface*) echo 'o "/nm/Devices/2"' ;;
*Checkpoints) echo 'ao 2 "/nm/Checkpoint/1" "/nm/Checkpoint/2"' ;;
*"Checkpoint/1 "*Devices) echo 'ao 1 "/nm/Devices/2"' ;;
*"Checkpoint/2 "*Devices) echo 'ao 2 "/nm/Devices/2" "/nm/Devices/3"' ;;
*CheckpointCreate*) echo 'o "/nm/Checkpoint/3"' ;;
esac
"""


class Asked:
    """A writer of a machine whose nmcli and busctl note their arguments."""

    def __init__(self, machine: Machine) -> None:
        self._path = machine.root / "usr/bin/nmcli.asked"
        machine.script("/usr/bin/nmcli", NMCLI.format(theirs=THEIR_UUID, ours=UUID))
        machine.script("/usr/bin/busctl", BUSCTL)
        self.writer = NetworkManagerWriter(Target(GUID, "eth0", 2), programs(machine))

    def commands(self) -> list[str]:
        """What was asked since the last call, without the words that are always the same."""
        if not self._path.exists():
            return []
        lines = self._path.read_text().splitlines()
        self._path.unlink()
        same = "org.freedesktop.NetworkManager", "/org/freedesktop/NetworkManager"
        return [
            " ".join(
                word.removeprefix(f"{same[0]}.") for word in line.split() if word not in same
            )
            for line in lines
        ]


def test_it_is_made_active_under_a_checkpoint(machine: Machine) -> None:
    their_profile(machine)
    asked = Asked(machine)
    path = f"{machine.root}{OURS}"
    asked.writer.activate(Settings(V4, None))
    assert asked.commands() == [
        "busctl call GetDeviceByIpIface s eth0",
        "busctl get-property Checkpoints",
        "busctl get-property /nm/Checkpoint/1 Checkpoint Devices",
        # A process that was killed has left that of this device alone.
        "busctl call CheckpointDestroy o /nm/Checkpoint/1",
        "busctl get-property /nm/Checkpoint/2 Checkpoint Devices",
        "busctl call CheckpointCreate aouu 1 /nm/Devices/2 20 10",
        f"nmcli connection load {path}",
        f"nmcli --wait 0 connection up uuid {UUID} ifname eth0",
    ]
    asked.writer.confirm()
    assert asked.commands() == ["busctl call CheckpointDestroy o /nm/Checkpoint/3"]
    asked.writer.confirm()
    assert asked.commands() == []
    active(machine, UUID)
    asked.writer.activate(Settings(AUTOMATIC, None))
    assert asked.commands()[-2:] == [
        f"nmcli connection load {path}",
        "nmcli device reapply eth0",
    ]
    assert machine.reports == []


def test_it_is_taken_back_with_and_without_the_process_that_has_set_it(
    machine: Machine,
) -> None:
    their_profile(machine)
    asked = Asked(machine)
    asked.writer.activate(Settings(V4, None))
    asked.commands()
    asked.writer.revert()
    assert asked.commands() == ["busctl call CheckpointRollback o /nm/Checkpoint/3"]
    asked.writer.revert()
    assert asked.commands() == [
        "nmcli -g UUID connection show",
        f"nmcli connection delete uuid {UUID}",
    ]
    # The host's former settings.
    machine.write(OURS, "")
    asked.writer.activate(Settings(V4, None))
    asked.commands()
    asked.writer.revert()
    assert asked.commands() == [
        f"nmcli connection load {machine.root}{OURS}",
        f"nmcli --wait 0 connection up uuid {UUID} ifname eth0",
        "busctl call CheckpointDestroy o /nm/Checkpoint/3",
    ]
    machine.running()
    os.unlink(f"{machine.root}{OURS}")
    asked.writer.revert()
    assert asked.commands() == [], "NetworkManager does not run"
