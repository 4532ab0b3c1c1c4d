"""``doctor``: each trouble has its sentence and its command."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest

from hv_kvp_daemon.cli.service.doctor import BAD, GOOD, UNKNOWN, Diagnosis, diagnose
from hv_kvp_daemon.cli.service.system_facts import Facts, Rival, Unit
from hv_kvp_daemon.cli.service.unit_files import UNIT
from hv_kvp_daemon.service.status import DaemonStatus
from tests.support.command import run

SERVING = DaemonStatus(pid=7, serving=True, transport="netlink")
OURS = Unit(UNIT, "loaded", "active", "enabled", "/usr/bin/hv-kvp-daemon")
THEIRS = Unit("hypervkvpd.service", "loaded", "active", "enabled", "/usr/sbin/hypervkvpd")
HEALTHY = Facts(daemon=SERVING, units={UNIT: OURS})


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
            "hv_kvp_daemon (pid 9) holds /dev/x",
            "hv-kvp install-service",
        ),
        ({"rivals": [Rival(9, "other", "listens to it")]}, "other (pid 9)", "kill 9"),
        (
            {"units": {UNIT: OURS, THEIRS.name: THEIRS}},
            "hypervkvpd.service starts another daemon: /usr/sbin/hypervkvpd",
            "hv-kvp install-service",
        ),
        (
            {"units": {UNIT: replace(OURS, command="/usr/sbin/hv_kvp_daemon")}},
            f"{UNIT} starts another daemon: /usr/sbin/hv_kvp_daemon",
            "hv-kvp install-service",
        ),
        ({"units": {}}, "not installed", "hv-kvp install-service"),
        (
            {"units": {UNIT: Unit(UNIT, "masked", "inactive", "masked")}},
            "is masked",
            f"systemctl unmask {UNIT}",
        ),
        (
            {"units": {UNIT: replace(OURS, active="failed")}},
            "has failed",
            f"systemctl restart {UNIT}",
        ),
        (
            {"units": {UNIT: replace(OURS, file_state="disabled")}},
            "is not enabled",
            f"systemctl enable --now {UNIT}",
        ),
        ({"daemon": None}, "the daemon is not running", f"systemctl start {UNIT}"),
        (
            {"daemon": DaemonStatus(pid=7, serving=False, state="waiting for it")},
            "does not serve: waiting for it",
            f"systemctl restart {UNIT}",
        ),
        (
            {"pool_dir_replaced": True},
            "/var/opt/hyperv was replaced while the daemon ran",
            f"systemctl restart {UNIT}",
        ),
        (
            {"others_dir": "/var/lib/hyperv"},
            "cloud-init and others use /var/lib/hyperv: the host",
            "mv /var/lib/hyperv /var/lib/hyperv.old && ln -s ../opt/hyperv /var/lib/hyperv",
        ),
        (
            {"others_dir": "/var/lib/hyperv", "others_have_records": True},
            "which has records, too",
            (
                "hv-kvp export guest --pool-dir /var/lib/hyperv | hv-kvp import --merge --yes"
                " --pool-dir /var/opt/hyperv && mv /var/lib/hyperv"
            ),
        ),
        (
            {"denials": ['avc:  denied  { create } for pid=7 comm="hv_kvp_daemon"']},
            "denied by the security module: avc:",
            "audit2allow",
        ),
        (
            {"denials": ['apparmor="DENIED" profile="/usr/bin/hv;x" name="/kvp_pool"']},
            "denied by the security module",
            "aa-complain '/usr/bin/hv;x'",
        ),
        ({"missing_bytecode": 3}, "3 modules without bytecode", "-m compileall"),
    ],
)
def test_each_trouble_is_found_alone(
    change: dict[str, object], said: str, command: str
) -> None:
    facts = replace(HEALTHY)
    for name, value in change.items():
        setattr(facts, name, value)
    problems = found(facts)
    assert len(problems) == 1
    assert said in problems[0].text
    assert command in problems[0].command


def test_the_char_device_needs_no_netlink() -> None:
    daemon = DaemonStatus(pid=7, serving=True, transport="chardev")
    facts = replace(HEALTHY, daemon=daemon, connector=False, other_namespace=True)
    assert found(facts) == []


def test_nothing_is_said_of_the_inside_without_a_driver() -> None:
    facts = replace(HEALTHY, driver=False, daemon=None, units={})
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
