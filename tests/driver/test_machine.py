# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""A scenario passes only if each of its checks was reported."""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.driver import machine
from tests.support.process import has_ended, wait_for

TWO_CHECKS = machine.Scenario("example", checks=("check_a", "check_b"))


def test_a_scenario_passes_when_each_check_was_reported_ok() -> None:
    console = "said by the scenario\nok check_a (0.1 s)\nok check_b (0.1 s)\n2 checks\n"
    assert machine.Outcome(TWO_CHECKS, 0, console).problems == []


@pytest.mark.parametrize(
    ("status", "console"),
    [
        (0, ""),
        (0, "ok check_a (0.1 s)\n"),
        (0, "ok check_a (0.1 s)\nok check_a (0.1 s)\n"),
        (0, "ok check_a (0.1 s)\nok check_b (0.1 s)\nok check_b (0.1 s)\n"),
        (0, "ok check_a (0.1 s)\nok check_b (0.1 s)\nFAIL kernel: BUG\n"),
        (1, "ok check_a (0.1 s)\nok check_b (0.1 s)\n"),
        (124, "ok check_a (0.1 s)\nok check_b (0.1 s)\n"),
    ],
)
def test_it_fails_otherwise(status: int, console: str) -> None:
    outcome = machine.Outcome(TWO_CHECKS, status, console)
    assert outcome.problems
    assert console in outcome.report()


def test_it_fails_without_any_check() -> None:
    assert machine.Outcome(machine.Scenario("example"), 0, "").problems


def test_constants_and_checks_are_read_from_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "SCENARIOS", os.fspath(tmp_path))
    (tmp_path / "example.py").write_text(
        'APPEND = "hvlab.manual"\nSECONDS = 99\nDISK_MIB = 64\n'
        'VARIANTS = {"x": {"A": "1"}, "y": {"A": "2"}}\n'
        "def setup(): ...\ndef check_one(): ...\ndef check_two(): ...\n"
    )
    first, second = machine.scenarios()
    assert (first.id, second.id) == ("example@x", "example@y")
    assert second.environment == {"A": "2"}
    assert (second.append, second.seconds, second.disk_mib) == ("hvlab.manual", 99, 64)
    assert second.checks == ("check_one", "check_two")


def test_a_lab_that_cannot_be_built_is_reported_with_the_cause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(machine, "LAB", "/dev/null/lab")
    with pytest.raises(machine.LabError, match="Not a directory"):
        machine.build()


def test_an_unknown_kernel_is_refused_with_the_known_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(machine, "KERNEL", "5.4")
    with pytest.raises(machine.LabError, match=r"no kernel 5\.4: 6\.1, 6\.12 or backports"):
        machine.build()


def test_a_vm_does_not_outlive_the_process_that_has_started_it(
    lab: None, tmp_path: Path
) -> None:
    payload = tmp_path / "payload"
    payload.mkdir()
    (payload / "run").write_text("sleep infinity\n")
    code = "import subprocess, sys; subprocess.run(sys.argv[1:])"
    argv = [sys.executable, "-c", code, *machine.VM_COMMAND, os.fspath(payload)]
    environment = {**os.environ, "TMPDIR": os.fspath(tmp_path)}
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, env=environment) as starter:
        started: list[psutil.Process] = []

        def boots() -> bool:
            started[:] = psutil.Process(starter.pid).children(recursive=True)
            with contextlib.suppress(psutil.NoSuchProcess):
                return any(each.name().startswith("qemu") for each in started)
            return False

        wait_for("the VM", boots)
        starter.kill()
    for process in started:
        wait_for(f"the end of {process}", functools.partial(has_ended, process))
