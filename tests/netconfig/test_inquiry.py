"""A report that waits for programs: real scripts, real time limits."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from hv_kvp_daemon.netconfig import inquiry, networkmanager, scripts
from hv_kvp_daemon.netconfig.inquiry import Inquiry

from .network import finish, report, write

SCRIPTS = "/usr/libexec/hypervkvpd"


class Machine:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.problems: list[str] = []
        write(root, "/etc/resolv.conf", "nameserver 192.0.2.9\n")

    def script(self, path: str, text: str) -> None:
        write(self.root, path, text, 0o755)

    def both(self, text: str) -> None:
        for name in ("hv_get_dhcp_info", "hv_get_dns_info"):
            self.script(f"{SCRIPTS}/{name}", "#!/bin/sh\n" + text)

    def inquire(self, name: str = "eth0") -> Inquiry:
        return Inquiry(report(name, alone=False), self.problems.append, str(self.root))

    def found(self, name: str = "eth0") -> tuple[bool, list[str]]:
        finished = finish(self.inquire(name))
        with pytest.raises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)
        return finished.dhcp, finished.dns


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_plain_guest_costs_no_process(machine: Machine) -> None:
    asked = machine.inquire()
    assert asked.report is not None
    assert (asked.fileno(), asked.deadline) == (-1, None)
    assert (asked.report.dhcp, asked.report.dns) == (False, ["192.0.2.9"])
    asked.on_event()
    asked.expire()
    asked.close()


def test_scripts_are_asked_with_one_word(machine: Machine) -> None:
    name = "a;$(x)*'"
    words = machine.root / "words"
    machine.script(
        f"{SCRIPTS}/hv_get_dhcp_info", f'#!/bin/sh\necho "$#:$1" >{words}\necho Enabled\n'
    )
    machine.script(f"{SCRIPTS}/hv_get_dns_info", "#!/bin/sh\nprintf '192.0.2.7\\n192.0.2.8'\n")
    assert machine.found(name) == (True, ["192.0.2.7", "192.0.2.8"])
    assert words.read_text() == f"1:{name}\n"
    assert machine.problems == []


@pytest.mark.parametrize("directory", ["/usr/lib/hyper-v/bin", "/usr/sbin", "/usr/bin"])
def test_distributions_put_them_elsewhere(machine: Machine, directory: str) -> None:
    machine.script(f"{directory}/hv_get_dhcp_info", "#!/bin/sh\necho Enabled\n")
    assert machine.found() == (True, ["192.0.2.9"])


@pytest.mark.parametrize("text", ["exit 1", "echo rubbish", "kill -9 $$", "yes"])
def test_scripts_that_are_no_help_are_done_without(
    machine: Machine, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scripts, "SECONDS", 1.0)
    machine.both(text)
    assert machine.found() == (False, ["192.0.2.9"])
    assert len(machine.problems) == 2


def test_scripts_that_cannot_run_are_done_without(machine: Machine) -> None:
    machine.script(f"{SCRIPTS}/hv_get_dhcp_info", "#!/no/such/interpreter\n")
    machine.script(f"{SCRIPTS}/hv_get_dns_info", "no program\n")
    assert machine.found() == (False, ["192.0.2.9"])
    assert [text.partition(": ")[2] for text in machine.problems] == [
        "No such file or directory",
        "Exec format error",
    ]


def test_a_file_that_may_not_be_run_is_no_script(machine: Machine) -> None:
    write(machine.root, f"{SCRIPTS}/hv_get_dns_info", "#!/bin/sh\necho 192.0.2.7\n", 0o644)
    (machine.root / "usr/sbin/hv_get_dhcp_info").mkdir(parents=True)
    assert machine.found() == (False, ["192.0.2.9"])
    assert machine.problems == []


def test_slow_scripts_are_given_up(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    assert scripts.SECONDS == 2
    monkeypatch.setattr(scripts, "SECONDS", 0.2)
    machine.both("sleep 1000; echo Enabled")
    assert machine.found() == (False, ["192.0.2.9"])
    assert all("no answer within 0.2 s" in text for text in machine.problems)


def test_whatever_hangs_the_report_is_there_within_the_limit(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert inquiry.LIMIT < 10
    monkeypatch.setattr(inquiry, "LIMIT", 0.5)
    monkeypatch.setattr(networkmanager, "SECONDS", 0.4)
    machine.both("sleep 1000")
    machine.script("/usr/bin/nmcli", "#!/bin/sh\nsleep 1000\n")
    write(
        machine.root,
        "/run/NetworkManager/devices/2",
        "[device]\nmanaged=true\nconnection-uuid=1-2\n",
    )
    started = time.monotonic()
    assert machine.found() == (False, ["192.0.2.9"])
    assert time.monotonic() - started < 0.9
    assert len(machine.problems) == 4
    assert machine.problems[-1].endswith("no time left")


def test_closing_ends_the_program(machine: Machine) -> None:
    machine.both("sleep 1000")
    asked = machine.inquire()
    assert asked.fileno() >= 0
    asked.close()
    assert asked.fileno() == -1
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_deadline_that_has_not_come_changes_nothing(machine: Machine) -> None:
    machine.both("sleep 1000")
    asked = machine.inquire()
    asked.expire()
    asked.on_event()
    assert asked.report is None
    asked.close()
