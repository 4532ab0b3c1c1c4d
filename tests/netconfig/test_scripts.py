# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The scripts of administrators and distributions: real ones, with real time limits."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from hv_kvp_daemon.netconfig import networkmanager, program, scripts
from hv_kvp_daemon.netconfig.dhcp import uses_dhcp
from hv_kvp_daemon.netconfig.resolver import servers
from tests.support.emulator import require_spawn_errors

from .network import Machine, config, write

SCRIPTS = "/usr/libexec/hypervkvpd"

#: What the daemon allows; these tests have more.
SECONDS, LIMIT = scripts.SECONDS, program.LIMIT


class Guest(Machine):
    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.write("/etc/resolv.conf", "nameserver 192.0.2.9\n")

    def both(self, text: str) -> None:
        for name in ("hv_get_dhcp_info", "hv_get_dns_info"):
            self.script(f"{SCRIPTS}/{name}", text)

    def found(self, name: str = "eth0") -> tuple[bool, list[str]]:
        """What both questions of one request find."""
        asked = config(name, sole=False)
        programs = self.programs()
        found = uses_dhcp(programs, asked), servers(programs, asked)
        with pytest.raises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)
        return found


@pytest.fixture
def machine(tmp_path: Path) -> Guest:
    return Guest(tmp_path)


def test_a_plain_guest_costs_no_process(machine: Guest) -> None:
    assert machine.found() == (False, ["192.0.2.9"])
    assert machine.asked == []


def test_scripts_are_asked_with_one_word(machine: Guest) -> None:
    name = "a;$(x)*'"
    words = machine.root / "words"
    machine.script(f"{SCRIPTS}/hv_get_dhcp_info", f'echo "$#:$1" >{words}\necho Enabled')
    machine.script(f"{SCRIPTS}/hv_get_dns_info", "printf '192.0.2.7\\n192.0.2.8'")
    assert machine.found(name) == (True, ["192.0.2.7", "192.0.2.8"])
    assert words.read_text() == f"1:{name}\n"
    assert machine.reports == []


@pytest.mark.parametrize("directory", ["/usr/lib/hyper-v/bin", "/usr/sbin", "/usr/bin"])
def test_distributions_put_them_elsewhere(machine: Guest, directory: str) -> None:
    machine.script(f"{directory}/hv_get_dhcp_info", "echo Enabled")
    assert machine.found() == (True, ["192.0.2.9"])


@pytest.mark.parametrize("text", ["exit 1", "echo rubbish", "kill -9 $$", "yes"])
def test_scripts_that_are_no_help_are_done_without(
    machine: Guest, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scripts, "SECONDS", 1.0)
    machine.both(text)
    assert machine.found() == (False, ["192.0.2.9"])
    assert len(machine.reports) == 2


def test_scripts_that_cannot_run_are_done_without(machine: Guest) -> None:
    require_spawn_errors()
    machine.script(f"{SCRIPTS}/hv_get_dhcp_info", "#!/no/such/interpreter\n")
    write(machine.root, f"{SCRIPTS}/hv_get_dns_info", "no program\n", 0o755)
    assert machine.found() == (False, ["192.0.2.9"])
    assert [text.partition(": ")[2] for text in machine.reports] == [
        "No such file or directory",
        "Exec format error",
    ]


def test_a_file_that_may_not_be_run_is_no_script(machine: Guest) -> None:
    write(machine.root, f"{SCRIPTS}/hv_get_dns_info", "#!/bin/sh\necho 192.0.2.7\n", 0o644)
    (machine.root / "usr/sbin/hv_get_dhcp_info").mkdir(parents=True)
    assert machine.found() == (False, ["192.0.2.9"])
    assert machine.reports == []


def test_slow_scripts_are_given_up(machine: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    assert SECONDS == 2
    monkeypatch.setattr(scripts, "SECONDS", 0.2)
    machine.both("sleep 1000; echo Enabled")
    assert machine.found() == (False, ["192.0.2.9"])
    assert all("no answer within 0.2 s" in text for text in machine.reports)


def test_whatever_hangs_the_answer_is_there_within_the_limit(
    machine: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert LIMIT < 10
    monkeypatch.setattr(program, "LIMIT", 0.5)
    monkeypatch.setattr(networkmanager, "SECONDS", 0.4)
    machine.both("sleep 1000")
    machine.script("/usr/bin/nmcli", "sleep 1000")
    machine.running("NetworkManager")
    machine.write(
        "/run/NetworkManager/devices/2", "[device]\nmanaged=true\nconnection-uuid=1-2\n"
    )
    started = time.monotonic()
    assert machine.found() == (False, ["192.0.2.9"])
    # One script alone would take that long.
    assert time.monotonic() - started < scripts.SECONDS
    assert len(machine.reports) == 4
    assert machine.reports[-1].endswith("no time left")
