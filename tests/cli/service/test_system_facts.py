# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Facts about this machine and the daemon's process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hv_kvp_daemon.cli.service import system_facts
from tests.support.network import connector_socket


def test_a_listener_of_the_drivers_group_is_found_by_its_socket() -> None:
    with connector_socket() as listener:
        try:
            listener.bind((0, 1 << 8))
        except PermissionError:
            pytest.skip("before Linux 6.6 only root may join")
        rivals = system_facts.gather("/var/opt/hyperv").rivals
        assert [rival.pid for rival in rivals if "group 9" in rival.way] == [os.getpid()]
    assert os.getpid() not in {
        rival.pid for rival in system_facts.gather("/var/opt/hyperv").rivals
    }


@pytest.fixture
def starting(tmp_path: Path) -> Iterator[int]:
    """A process that has the lock of a run directory, as has its child, and no page."""
    code = (
        "import os, sys; from hv_kvp_daemon.service.instance import take\n"
        "os.set_inheritable(take(sys.argv[1]), True)\n"
        "child = os.fork()\n"
        "if child: print(flush=True)\n"
        "sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid


def test_a_daemon_that_has_no_page_yet_is_found_by_its_lock(
    tmp_path: Path, starting: int
) -> None:
    """D6: it was said not to run, and to be another daemon."""
    facts = system_facts.gather(str(tmp_path), f"{tmp_path}/status")
    assert (facts.daemon, facts.daemon_pid) == (None, starting)
    assert 0 <= facts.daemon_age < 3600
    assert facts.stall is None


def test_the_daemon_and_its_children_are_no_rivals(monkeypatch: pytest.MonkeyPatch) -> None:
    """D6: the child that looks up the host's name has the daemon's descriptors."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as child:
        holding = [(pid, "name") for pid in (os.getpid(), child.pid, os.getppid())]
        monkeypatch.setattr(system_facts, "device_holders", lambda _: holding)
        monkeypatch.setattr(system_facts, "group_inodes", lambda _: set())
        assert [each.pid for each in system_facts._rivals(os.getpid())] == [os.getppid()]
        assert len(system_facts._rivals(0)) == 3


def test_the_facts_of_a_machine_without_hyper_v() -> None:
    facts = system_facts.gather("/var/opt/hyperv")
    assert facts.root == (os.geteuid() == 0)
    assert facts.pools.path == os.path.realpath("/var/opt/hyperv")
    if not os.path.isdir("/sys/bus/vmbus"):
        assert (facts.vmbus, facts.offered, facts.device) == (False, False, False)
    assert facts.units.systemd == os.path.isdir("/run/systemd/system")


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
