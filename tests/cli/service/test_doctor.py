# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""``doctor``: each trouble has its sentence and its command."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hv_kvp_daemon import __version__
from hv_kvp_daemon.cli.service.address_facts import AddressFacts, HostSet, MacMatch
from hv_kvp_daemon.cli.service.diagnosis import BAD, GOOD, UNKNOWN, WARNING, Diagnosis
from hv_kvp_daemon.cli.service.doctor import diagnose
from hv_kvp_daemon.cli.service.pool_facts import LockHolder, PoolFacts
from hv_kvp_daemon.cli.service.process_state import Stall
from hv_kvp_daemon.cli.service.system_facts import Facts, Rival
from hv_kvp_daemon.cli.service.unit_facts import Unit, UnitFacts, package_manager
from hv_kvp_daemon.cli.service.unit_files import UNIT
from hv_kvp_daemon.service.status import DaemonStatus, Failure
from hv_kvp_daemon.wire.uapi import HV_E_FAIL, KVP_OP_GET_IP_INFO, KVP_OP_SET
from tests.support.command import run


def daemon(**facts: object) -> DaemonStatus:
    status = DaemonStatus(pid=7, serving=True, transport="netlink")
    status.version = __version__
    for name, value in facts.items():
        setattr(status, name, value)
    return status


OURS = Unit(UNIT, "loaded", "active", "enabled", "/usr/bin/hv-kvp-daemon")
THEIRS = Unit("hypervkvpd.service", "loaded", "active", "enabled", "/usr/sbin/hypervkvpd")
DEBIANS = Unit(
    "hv-kvp-daemon.service", "loaded", "active", "enabled", "/usr/sbin/hv_kvp_daemon"
)
HEALTHY = Facts(
    daemon=daemon(),
    daemon_pid=7,
    daemon_unit=UNIT,
    daemon_age=3600.0,
    units=UnitFacts(units={UNIT: OURS}),
)
RUNNING: dict[str, Any] = {"daemon": None, "daemon_pid": 7}
GONE: dict[str, Any] = {"daemon": None, "daemon_pid": 0, "daemon_unit": ""}
RESTART = f"systemctl restart {UNIT}"
CHARDEV = "hv-kvp install-service --transport chardev"
ANY_SERVICE = "walinuxagent.service"


def ours(**facts: object) -> UnitFacts:
    """Our unit with these properties, and no other."""
    last_line = str(facts.pop("last_line", ""))
    return UnitFacts(units={UNIT: replace(OURS, **facts)}, last_line=last_line)  # type: ignore[arg-type]


def denied(line: str) -> UnitFacts:
    return replace(ours(), denials=[line])


def failed(operation: int, reason: str = "") -> DaemonStatus:
    """A daemon whose last request of a kind has failed."""
    failure = Failure(operation, HV_E_FAIL, 5.0, reason) if reason else None
    times = {KVP_OP_SET: 4.0, operation: 5.0}
    return daemon(answered=times, failed={operation: 5.0}, last_failure=failure)


def host_set(**facts: Any) -> AddressFacts:
    return AddressFacts([HostSet("eth0", "networkd", **facts)])


def found(facts: Facts, state: str = BAD) -> list[Diagnosis]:
    return [each for each in diagnose(facts) if each.state == state]


def test_a_healthy_guest_has_no_problem() -> None:
    assert {each.state for each in diagnose(HEALTHY)} == {GOOD}
    assert not any(each.command for each in diagnose(HEALTHY))


@pytest.mark.parametrize(
    ("change", "said", "command"),
    [
        ({"hyperv": False, "vmbus": False}, "not a Hyper-V guest", "hv-kvp host"),
        ({"vmbus": False}, "the bus to the host", "modprobe hv_vmbus"),
        ({"offered": False}, "does not offer Key-Value", "Enable-VMIntegrationService"),
        ({"driver": False}, "the driver is not loaded", "modprobe hv_utils"),
        (
            {"driver_fault": "RIP: 0010:hvutil_transport_send+0x1c/0x90 [hv_utils]"},
            "the driver has crashed",
            "systemctl reboot",
        ),
        ({"device": False}, "/dev/vmbus/hv_kvp is missing", "udevadm trigger"),
        ({"connector": False}, "no netlink connector", "--transport chardev"),
        ({"other_namespace": True}, "another network namespace", "--transport chardev"),
        (
            {"rivals": [Rival(9, "hv_kvp_daemon", "holds /dev/x", "hypervkvpd.service")]},
            "hv_kvp_daemon (pid 9) holds /dev/x, in hypervkvpd.service;",
            "hv-kvp install-service",
        ),
        ({"rivals": [Rival(9, "other", "listens to it")]}, "other (pid 9) listens", "kill 9"),
        # D4: a service that has nothing to do with KVP was to be masked.
        (
            {"rivals": [Rival(9, "python3", "listens", ANY_SERVICE, listens=True)]},
            f"python3 (pid 9) listens, in {ANY_SERVICE};",
            CHARDEV,
        ),
        (
            {"rivals": [Rival(9, "python3", "holds it", ANY_SERVICE)]},
            f"python3 (pid 9) holds it, in {ANY_SERVICE};",
            None,
        ),
        (
            {"units": UnitFacts(units={UNIT: OURS, THEIRS.name: THEIRS})},
            "hypervkvpd.service starts another daemon: /usr/sbin/hypervkvpd",
            "hv-kvp install-service",
        ),
        (
            {"units": ours(command="/usr/sbin/hypervkvpd")},
            f"{UNIT} starts another daemon: /usr/sbin/hypervkvpd",
            "hv-kvp install-service",
        ),
        ({"units": UnitFacts()}, "not installed", "hv-kvp install-service"),
        (
            {"units": ours(load="masked", active="inactive", file_state="masked")},
            "is masked",
            f"systemctl unmask {UNIT}",
        ),
        (
            {"units": ours(active="failed", last_line="error: no option --x")},
            "has failed: error: no option --x; to see more",
            RESTART,
        ),
        # D6: the state was said to be "activating", and to be right.
        (
            {
                "units": ours(active="activating", restarts=9, last_line="cannot serve"),
                "daemon_unit": "",
            },
            "keeps failing, and was started again 9 times: cannot serve; to see more",
            "kill 7",
        ),
        (
            {"units": replace(ours(), program_fault="/x/python3 is missing")},
            f"{UNIT} cannot start: /x/python3 is missing",
            "hv-kvp install-service",
        ),
        (
            {"units": ours(file_state="disabled")},
            "is not enabled",
            f"systemctl enable --now {UNIT}",
        ),
        (
            {"units": ours(active="inactive"), **GONE},
            "the daemon is not running",
            f"systemctl start {UNIT}",
        ),
        (
            {"units": UnitFacts(systemd=False), **GONE},
            "the daemon is not running",
            "hv-kvp-daemon",
        ),
        ({**RUNNING}, "the daemon (pid 7) runs, but has no status page", RESTART),
        ({**RUNNING, "page_fault": "no page at all"}, "no page at all", RESTART),
        (
            {"daemon": daemon(serving=False, state="waiting for it")},
            "does not serve: waiting for it",
            RESTART,
        ),
        (
            {"daemon": daemon(serving=False), "daemon_unit": "x.service"},
            "does not serve",
            "kill 7",
        ),
        (
            {"stall": Stall("is stopped (SIGSTOP)", "kill -CONT 7")},
            "the daemon (pid 7) is stopped (SIGSTOP)",
            "kill -CONT 7",
        ),
        ({"stall": Stall("waits")}, "the daemon (pid 7) waits", RESTART),
        (
            {"daemon": daemon(busy_since=5.0)},
            "the daemon (pid 7) has been handling one request for ",
            RESTART,
        ),
        (
            {"daemon": daemon(version="0.0.1")},
            f"(pid 7) is version 0.0.1, this hv-kvp is {__version__}",
            RESTART,
        ),
        (
            {
                "daemon": daemon(version="0.0.1"),
                "units": replace(ours(), is_of_another=True),
            },
            "(pid 7) is version 0.0.1",
            "hv-kvp install-service",
        ),
        # D3: three of four SETs failed, and all was said to be well.
        (
            {"daemon": failed(KVP_OP_SET, "pool 0: No space left on device")},
            " d ago (HV_E_FAIL): pool 0: No space left on device",
            None,
        ),
        ({"daemon": failed(KVP_OP_GET_IP_INFO)}, "the host's last GET_IP_INFO failed", None),
        # D2.
        (
            {"pools": PoolFacts(is_replaced=True)},
            "/var/opt/hyperv was removed or replaced while the daemon was running",
            RESTART,
        ),
        (
            {"pools": PoolFacts(read_only_mount="/a b")},
            "/var/opt/hyperv is on a read-only file system",
            f"mount -o remount,rw '/a b' && {RESTART}",
        ),
        ({"pools": PoolFacts(space_left=12)}, "is full: 12 bytes are left", None),
        (
            {"pools": PoolFacts(not_pools={"/a b": "pool 0 (/a b): is a directory"})},
            "pool 0 (/a b): is a directory",
            "mv '/a b' '/a b'.old",
        ),
        # D7.
        (
            {"pools": PoolFacts(lock_holders=[LockHolder("/p", "FLOCK READ", 9, "who")])},
            "who (pid 9) holds a lock (FLOCK READ) on /p",
            "kill 9",
        ),
        (
            {"pools": PoolFacts(lock_holders=[LockHolder("/p", "OFDLCK READ", 0, "?")])},
            "a process holds a lock (OFDLCK READ) on /p",
            None,
        ),
        (
            {"pools": PoolFacts(others_dir="/var/lib/hyperv")},
            "cloud-init and others use /var/lib/hyperv: the host",
            "mv /var/lib/hyperv /var/lib/hyperv.old && ln -s ../opt/hyperv /var/lib/hyperv",
        ),
        (
            {"pools": PoolFacts(others_dir="/var/lib/hyperv", others_have_records=True)},
            "which has records, too",
            (
                "hv-kvp export guest --pool-dir /var/lib/hyperv | hv-kvp import --merge --yes"
                " --pool-dir /var/opt/hyperv && mv /var/lib/hyperv"
            ),
        ),
        (
            {"units": denied('avc:  denied  { create } for pid=7 comm="hv_kvp_daemon"')},
            "denied by the security module: avc:",
            "audit2allow",
        ),
        (
            {"units": denied('apparmor="DENIED" profile="/usr/bin/hv;x" name="/kvp_pool"')},
            "denied by the security module",
            "aa-complain '/usr/bin/hv;x'",
        ),
        (
            {"addresses": AddressFacts(refused=["eth0: 10.0.0.5/24 (no address)"])},
            "the host's last request was taken back: eth0: 10.0.0.5/24 (no address)",
            None,
        ),
        ({"addresses": AddressFacts(damage=["/x is damaged"])}, "/x is damaged", None),
        (
            {"addresses": host_set(path="/our s", modes={"/our s": (0o644, 0o600)})},
            "/our s has the permissions 0644, with which networkd refuses it",
            "chmod 0600 '/our s' && networkctl reload",
        ),
        (
            {"addresses": host_set(path="/ours", instead="/01-mine")},
            "eth0: /01-mine overrides /ours, which the host has set",
            None,
        ),
        (
            {"addresses": host_set(state="missing", detail="10.0.0.5/24 is missing")},
            "eth0 does not have what the host has set, by networkd: 10.0.0.5/24 is missing",
            None,
        ),
        ({"missing_bytecode": 3}, "3 modules without bytecode", "-m compileall"),
    ],
)
def test_each_trouble_is_found_alone(
    change: dict[str, object], said: str, command: str | None
) -> None:
    """D1, D2, D3, D4, D6."""
    facts = replace(HEALTHY)
    for name, value in change.items():
        setattr(facts, name, value)
    problems = found(facts)
    assert len(problems) == 1, problems
    assert said in problems[0].text
    assert (command or "") in problems[0].command
    assert bool(problems[0].command) == bool(command)
    assert "mask" not in problems[0].command.replace("unmask", "")


def test_a_match_by_mac_address_is_a_warning_and_no_problem() -> None:
    mac = "00:15:5d:00:00:0a"
    matches = [MacMatch("/etc/netplan/a.yaml", mac, "eth0"), MacMatch("/b", mac)]
    facts = replace(HEALTHY, addresses=AddressFacts(by_mac=matches))
    assert found(facts) == []
    first, second = found(facts, WARNING)
    assert first.text.startswith("/etc/netplan/a.yaml finds eth0 by its MAC address")
    assert first.command.endswith("-StaticMacAddress 00155D00000A")
    assert f"/b is for the MAC address {mac}, which no interface has" in second.text


def test_what_the_host_has_set_is_said() -> None:
    facts = replace(HEALTHY, addresses=host_set(path="/ours", overridden="/theirs"))
    assert found(facts) == []
    said = "eth0 has what the host has set, by networkd; /ours overrides /theirs"
    assert said in [each.text for each in found(facts, GOOD)]
    facts.addresses = host_set(state="stored", detail="no carrier")
    (unknown,) = found(facts, UNKNOWN)
    assert unknown.text == "eth0 will have what the host has set, by networkd (no carrier)"


@pytest.mark.parametrize("transport", ["chardev", "loopback"])
def test_the_char_device_needs_no_netlink(transport: str) -> None:
    facts = replace(
        HEALTHY, daemon=daemon(transport=transport), connector=False, other_namespace=True
    )
    assert found(facts) == []


def test_over_the_char_device_a_listener_of_the_group_hears_nothing() -> None:
    """D4: after the command that was advised, doctor went on to call it a rival."""
    listener = Rival(9, "python3", "listens", ANY_SERVICE, listens=True)
    facts = replace(HEALTHY, daemon=daemon(transport="chardev"), rivals=[listener])
    assert found(facts) == []
    facts.rivals.append(Rival(10, "python3", "holds it", ANY_SERVICE))
    assert [each.text[:21] for each in found(facts)] == ["python3 (pid 10) hold"]


def test_what_is_about_to_start_is_no_problem_yet() -> None:
    """D6: our own daemon was reported as another one."""
    for change in (RUNNING, {"daemon": daemon(serving=False, state="registering")}):
        facts = replace(HEALTHY, daemon_age=1.0, **change)
        facts.units = ours(active="activating")
        assert found(facts) == []
        assert "(pid 7) is starting" in found(facts, UNKNOWN)[1].text


def test_without_its_unit_in_order_no_start_of_the_daemon_is_advised() -> None:
    """D6: `systemctl start` of a unit that is started again and again."""
    units = ours(active="activating", restarts=30)
    commands = [each.command for each in found(replace(HEALTHY, units=units, **GONE))]
    assert commands == ["", ""]


def test_nothing_is_said_of_the_inside_without_a_driver() -> None:
    facts = replace(HEALTHY, driver=False, daemon=None, units=UnitFacts())
    assert len(found(facts)) == 1


def test_what_an_ordinary_user_cannot_see_is_unknown_and_no_problem() -> None:
    facts = replace(
        HEALTHY, root=False, daemon=None, daemon_unknown="denied", other_namespace=None
    )
    assert found(facts) == []
    assert len(found(facts, UNKNOWN)) == 3


def test_the_command_says_what_this_machine_lacks() -> None:
    status, out, _ = run("doctor", "--json")
    states = [each["state"] for each in json.loads(out)]
    assert status == (3 if BAD in states else 0)
    if not os.path.isdir("/sys/bus/vmbus"):
        assert "this is not a Hyper-V guest" in run("doctor").out


PACKAGED = replace(OURS, is_packaged=True, file_state="static")


@pytest.fixture
def c_program(tmp_path: Path) -> str:
    """The path of a program that has the C daemon's name, and is no script."""
    program = tmp_path / os.path.basename(DEBIANS.command)
    program.write_bytes(b"\x7fELF")
    return str(program)


@pytest.mark.parametrize(
    ("change", "said", "command"),
    [
        ({}, f"{DEBIANS.name} starts another daemon", f"systemctl stop {DEBIANS.name}"),
        (
            {"rivals": [Rival(9, "hv_kvp_daemon", "holds /dev/x", DEBIANS.name)]},
            "hv_kvp_daemon (pid 9) holds /dev/x",
            f"systemctl stop {DEBIANS.name}",
        ),
        ({"daemon": daemon(version="0.0.1")}, "is version 0.0.1", "/usr/bin/hv-kvp doctor"),
    ],
)
def test_what_a_package_has_brought_is_not_mended_by_install_service(
    change: dict[str, object], said: str, command: str, c_program: str
) -> None:
    """I11: install-service was advised, which changes nothing there."""
    beside = replace(DEBIANS, command=c_program, is_replaced=True)
    facts = UnitFacts(
        units={UNIT: PACKAGED, beside.name: beside},
        is_of_another=True,
    )
    diagnoses = found(replace(HEALTHY, units=facts, **change))  # type: ignore[arg-type]
    (problem,) = [each for each in diagnoses if said in each.text]
    assert problem.command.startswith(command)


@pytest.mark.parametrize(
    ("manager", "command"),
    [
        ("apt", "apt-get install --reinstall hv-kvp-daemon python3-hv-kvp-daemon"),
        ("dnf", "dnf reinstall hv-kvp-daemon python3-hv-kvp-daemon"),
        ("zypper", "zypper install --force hv-kvp-daemon python3-hv-kvp-daemon"),
        ("another", ""),
    ],
)
def test_a_package_is_mended_by_the_manager_that_installed_it(
    manager: str, command: str, tmp_path: Path
) -> None:
    """I11, I15: apt was named on every distribution."""
    (tmp_path / manager).touch()
    facts = UnitFacts(
        units={UNIT: PACKAGED},
        program_fault="no program",
        package_manager=package_manager(str(tmp_path)),
    )
    (problem,) = found(replace(HEALTHY, units=facts))
    assert "cannot start: no program" in problem.text
    assert problem.command == command


def test_a_package_beside_that_of_the_c_daemon_has_no_problem(c_program: str) -> None:
    beside = replace(DEBIANS, command=c_program, active="inactive", is_replaced=True)
    facts = UnitFacts(units={UNIT: PACKAGED, beside.name: beside})
    healthy = [*diagnose(replace(HEALTHY, units=facts))]
    assert {each.state for each in healthy} == {GOOD}
    assert f"{UNIT} is installed by a package and active" in {each.text for each in healthy}
