# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The stanzas for ifupdown, and in which order it is run."""

from __future__ import annotations

from pathlib import Path

import pytest

from hv_kvp_daemon.netconfig.configured import includes
from hv_kvp_daemon.netconfig.ifupdown_writer import IfupdownWriter
from hv_kvp_daemon.netconfig.settings import Settings
from hv_kvp_daemon.netconfig.target import Target
from hv_kvp_daemon.netconfig.writer import WriterError

from .injected import FORMS, GUID, V4, golden, programs, written
from .network import Machine

GOLDEN = Path(__file__).parent / "golden" / "ifupdown"
INTERFACES = "/etc/network/interfaces"
OURS = "/etc/network/interfaces.d/hv-kvp-eth0"
UNIT = "/run/systemd/units/invocation:networking.service"

THEIRS = """\
auto lo
iface lo inet loopback

allow-hotplug eth0
# The office.
iface eth0 inet static
    address 192.0.2.9/24
    gateway 192.0.2.1
    # not these
    dns-nameservers 192.0.2.53
    dns-search example.org
    mtu 9000
    up ip route add 198.51.100.0/24 \\
        via 192.0.2.254
iface eth0 inet static
    address 192.0.2.10/24
iface eth0 inet6 static
    address 2001:db8:9::9
    netmask 64
    gateway fe80::9

auto eth1
iface eth1 inet dhcp
    mtu 1400
"""

CASES = {
    **{name: ("", settings) for name, settings in FORMS.items()},
    **{f"theirs-{name}": (THEIRS, FORMS[name]) for name in ("ipv4", "ipv6", "both", "dhcp")},
}


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path)
    machine.write(INTERFACES, "source /etc/network/interfaces.d/*", "")
    return machine


@pytest.mark.parametrize("name", CASES)
def test_the_files_are_the_golden_ones(machine: Machine, name: str) -> None:
    theirs, settings = CASES[name]
    machine.write("/etc/network/interfaces.d/eth0", theirs)
    golden(machine, IfupdownWriter, settings, GOLDEN / f"{name}.interfaces")


def test_a_second_request_copies_from_the_administrators_stanzas_not_from_ours(
    machine: Machine,
) -> None:
    machine.write("/etc/network/interfaces.d/eth0", THEIRS)
    first = written(machine, IfupdownWriter, Settings(V4, None))
    for file in first:
        machine.write(file.path, file.text)
    assert written(machine, IfupdownWriter, Settings(V4, None)) == first


@pytest.mark.parametrize(
    ("line", "is_read"),
    [
        ("source /etc/network/interfaces.d/*", True),
        ("source interfaces.d/*", True),
        ("source-directory /etc/network/interfaces.d", True),
        ("source /etc/network/interfaces.d/*.cfg", False),
        ("source /etc/network/more/*", False),
        ("", False),
    ],
)
def test_interfaces_that_does_not_include_our_file_is_an_error(
    machine: Machine, line: str, *, is_read: bool
) -> None:
    (machine.root / OURS.lstrip("/")).parent.mkdir()
    machine.write(INTERFACES, "auto lo", line)
    assert includes(str(machine.root), OURS) is is_read
    if not is_read:
        with pytest.raises(WriterError, match="no line 'source"):
            written(machine, IfupdownWriter, Settings(V4, None))


@pytest.mark.parametrize("is_booted", [True, False], ids=["systemd", "without systemd"])
def test_ifdown_runs_before_the_files_change_each_as_a_unit_of_its_own(
    machine: Machine, *, is_booted: bool
) -> None:
    for path in ("/sbin/ifup", "/sbin/ifdown", "/usr/bin/systemd-run"):
        machine.script(path, f'echo "${{0##*/}} $*" >>{machine.root}/asked')
    machine.script("/usr/bin/systemctl", f"cat {machine.root}/state")
    machine.write("/state", "inactive\n")
    down, up = "ifdown --force --ignore-errors eth0\n", "ifup --ignore-errors eth0\n"
    if is_booted:
        (machine.root / "run/systemd/system").mkdir(parents=True)
        run = "systemd-run --quiet --collect --wait --property=KillMode=process"
        down, up = (f"{run} {machine.root}/sbin/{each}" for each in (down, up))
    machine.running()
    writer = IfupdownWriter(Target(GUID, "eth0", 2), programs(machine))
    writer.prepare()
    assert not writer.is_running()
    machine.write("/run/network/ifstate", "lo=lo", "eth0=eth0")
    assert writer.is_running()
    writer.prepare()
    writer.activate(Settings(V4, None))
    assert (machine.root / "asked").read_text() == f"{down}{up}"
    writer.revert()
    assert (machine.root / "asked").read_text() == f"{down}{up}", "it has no stanza"
    machine.write("/etc/network/interfaces.d/eth0", THEIRS)
    writer.revert()
    assert (machine.root / "asked").read_text() == f"{down}{up}{up}"
    machine.write("/run/network/ifstate", "lo=lo")
    # `systemctl stop networking` leaves the loopback interface.
    assert writer.is_running() is not is_booted
    # A hook of another interface has failed at boot.
    machine.write("/state", "failed\n")
    assert writer.is_running()
    assert machine.reports == []


@pytest.mark.parametrize(
    ("hook", "stays"),
    [
        (
            "post-up ip route add 192.0.2.0/25 via 10.9.9.9 dev eth0 || true",
            "post-up ip route add 192.0.2.0/25 via 10.9.9.9 onlink dev eth0 || true",
        ),
        ("up ip route add 192.0.2.0/25 via 10.0.0.9", "="),
        ("up ip route add 192.0.2.0/25 via 10.9.9.9 onlink", "="),
        ("up ip route add 192.0.2.0/25 via $GATEWAY", "="),
        ("up ip -6 route add 2001:db8:7::/48 via 2001:db8:9::9", "="),
        (
            "up ip route add default via 10.9.9.9 table 7",
            "up ip route add default via 10.9.9.9 onlink dev $IFACE table 7",
        ),
        ("up ip route add default via 10.0.0.9", ""),
        ("down ip route del default", ""),
        ("up route add default gw 10.0.0.9", ""),
        ("up /usr/local/sbin/hook", "="),
    ],
)
def test_hooks_stay_but_for_default_routes_and_reach_their_gateway(
    machine: Machine, hook: str, stays: str
) -> None:
    """N8: ifup failed, and ifupdown did not know the interface that it had configured."""
    theirs = f"iface eth0 inet static\n    address 192.0.2.9/24\n    {hook}\n"
    machine.write("/etc/network/interfaces.d/eth0", theirs)
    text = written(machine, IfupdownWriter, Settings(V4, None))[1].text
    lines = [line.strip() for line in text.splitlines() if "iface hvkvp" not in line]
    wanted = [hook if stays == "=" else stays] if stays else []
    assert lines[lines.index("dns-nameservers 10.0.0.53 10.0.0.54") + 1 :] == wanted


@pytest.mark.parametrize(
    ("text", "is_written"),
    [
        ("nameserver 192.0.2.9\nsearch example.org\n", True),
        ("# Generated by NetworkManager\nnameserver 192.0.2.9\n", False),
        ("# Dynamic resolv.conf(5) file\n#     DO NOT EDIT THIS FILE BY HAND\n", False),
    ],
)
def test_resolv_conf_has_the_servers_where_no_program_keeps_it(
    machine: Machine, text: str, *, is_written: bool
) -> None:
    machine.write("/etc/resolv.conf", text)
    files = {file.path: file.text for file in written(machine, IfupdownWriter, FORMS["both"])}
    assert ("/etc/resolv.conf" in files) is is_written
    if is_written:
        lines = files["/etc/resolv.conf"].splitlines()
        assert [line for line in lines if not line.startswith("#")] == [
            *("nameserver 10.0.0.53", "nameserver 10.0.0.54", "nameserver 2001:db8::53"),
            *("nameserver fe80::53%eth0", "search example.org"),
        ]
        # The servers of a family that does not change stay.
        machine.write("/etc/resolv.conf", files["/etc/resolv.conf"])
        files = {
            file.path: file.text for file in written(machine, IfupdownWriter, FORMS["ipv6"])
        }
        assert "nameserver 10.0.0.53\n" in files["/etc/resolv.conf"]
    (machine.root / "etc/resolv.conf").unlink()
    (machine.root / "etc/resolv.conf").symlink_to("/nowhere")
    assert len(written(machine, IfupdownWriter, FORMS["both"])) == 2
