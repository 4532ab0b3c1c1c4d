"""Facts about this machine, and what is made of systemctl's output."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from hv_kvp_daemon.cli.service import system_facts
from hv_kvp_daemon.cli.service.system_facts import Unit
from hv_kvp_daemon.cli.service.unit_files import UNIT


def test_a_listener_of_the_drivers_group_is_found_by_its_socket() -> None:
    try:
        listener = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 11)
    except OSError as error:
        pytest.skip(f"this kernel has no connector: {error}")
    with listener:
        try:
            listener.bind((0, 1 << 8))
        except PermissionError:
            pytest.skip("before Linux 6.6 only root may join")
        rivals = system_facts.gather("/var/opt/hyperv").rivals
        assert [rival.pid for rival in rivals if "group 9" in rival.way] == [os.getpid()]
    assert os.getpid() not in {
        rival.pid for rival in system_facts.gather("/var/opt/hyperv").rivals
    }


def test_units_are_read_as_systemctl_shows_them(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open(f"{tmp_path}/systemctl", "w", encoding="ascii") as script:
        script.write(
            "#!/bin/sh\n"
            "cat <<'END'\n"
            "Id=hv-kvp-daemon.service\nLoadState=loaded\nActiveState=active\n"
            "UnitFileState=enabled\nExecStart={ path=/usr/bin/hv-kvp-daemon ;"
            " argv[]=/usr/bin/hv-kvp-daemon -n ; ignore_errors=no }\n\n"
            "Id=hypervkvpd.service\nLoadState=not-found\nActiveState=inactive\n\n"
            "Id=hv-kvp-daemon.service\nLoadState=loaded\nActiveState=active\n"
            "UnitFileState=enabled\nExecStart={ path=/usr/bin/hv-kvp-daemon ; }\n"
            "END\n"
        )
    os.chmod(f"{tmp_path}/systemctl", 0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert system_facts.units() == {
        UNIT: Unit(UNIT, "loaded", "active", "enabled", "/usr/bin/hv-kvp-daemon")
    }


def test_a_unit_is_ours_if_its_program_is_a_script(tmp_path: Path) -> None:
    """The C daemon's file has the same name."""
    program = tmp_path / "hv_kvp_daemon"
    unit = Unit(UNIT, "loaded", "active", "static", str(program))
    assert not unit.is_ours
    program.write_bytes(b"\x7fELF")
    assert not unit.is_ours
    program.write_text("#!/usr/bin/python3\nimport hv_kvp_daemon.service.main\n")
    assert unit.is_ours


def test_a_missing_systemctl_is_no_unit(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert system_facts.units() == {}


def test_the_facts_of_a_machine_without_hyper_v() -> None:
    facts = system_facts.gather("/var/opt/hyperv")
    assert facts.root == (os.geteuid() == 0)
    assert facts.pool_dir == os.path.realpath("/var/opt/hyperv")
    if not os.path.isdir("/sys/bus/vmbus"):
        assert (facts.vmbus, facts.offered, facts.device) == (False, False, False)
    assert facts.systemd == os.path.isdir("/run/systemd/system")


@pytest.mark.parametrize(
    ("lines", "unit"),
    [
        ("0::/system.slice/hypervkvpd.service\n", "hypervkvpd.service"),
        ("0::/user.slice/session-1.scope\n", ""),
        ("", ""),
    ],
)
def test_the_unit_of_a_process_is_the_end_of_its_cgroup(
    lines: str, unit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system_facts, "_read", lambda path: lines)
    assert system_facts.unit_of(7) == unit


@pytest.mark.parametrize(
    "line",
    [
        "RIP: 0010:hvutil_transport_send+0x1c/0x90 [hv_utils]",
        "pc : kvp_on_msg+0x120/0x3f0 [hv_utils]",
    ],
)
def test_a_crash_of_the_driver_is_found_in_the_kernels_log(tmp_path: Path, line: str) -> None:
    log = tmp_path / "kmsg"
    log.write_text(
        "6,1,100,-;Linux version 6.1\n"
        "4,2,200,-;BUG: kernel NULL pointer dereference, address: 0000000000000008\n"
        f"4,3,300,-;{line}\n"
    )
    assert system_facts.driver_fault(str(log)) == line


@pytest.mark.parametrize(
    "text",
    [
        "",
        "4,1,100,-;RIP: 0010:vmbus_sendpacket+0x1c/0x90 [hv_vmbus]\n",
        "6,1,100,-;hvt_cn_callback: unexpected netlink message!\n",
    ],
)
def test_other_lines_are_no_crash_of_the_driver(tmp_path: Path, text: str) -> None:
    log = tmp_path / "kmsg"
    log.write_text(text)
    assert system_facts.driver_fault(str(log)) == ""
    assert system_facts.driver_fault(str(tmp_path / "none")) == ""


def test_the_kernels_own_log_is_read_to_its_end() -> None:
    assert isinstance(system_facts.driver_fault(), str)
