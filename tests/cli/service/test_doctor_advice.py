# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Situations of a real daemon in which doctor's command is run, and which are over then.

Those that need systemd, and all that is done there as root, are in
`tests/soak/test_doctor.py`.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from hv_kvp_daemon.cli.service import pool_facts
from hv_kvp_daemon.cli.service.diagnosis import BAD, Diagnosis
from hv_kvp_daemon.cli.service.doctor import diagnose
from hv_kvp_daemon.cli.service.pool_facts import gather_pools
from hv_kvp_daemon.cli.service.system_facts import gather
from hv_kvp_daemon.cli.service.unit_facts import UnitFacts
from hv_kvp_daemon.pools.directory import pool_path
from hv_kvp_daemon.service.status_page import LAYOUT
from tests.pools.conftest import HOLD, PRELUDE
from tests.support.daemon import RunningDaemon
from tests.support.emulator import require_own_process_image
from tests.support.process import wait_for

if TYPE_CHECKING:
    from hv_kvp_daemon.simhost.simulated_host import SimulatedHost


class Trial:
    """A daemon with a host that has set a key, and what doctor finds."""

    def __init__(self, daemon: RunningDaemon, host: SimulatedHost) -> None:
        self.daemon = daemon
        self.host = host
        self.pool = pool_path(daemon.pool_dir, 0)
        self.children: list[subprocess.Popen[bytes]] = []

    def ask(self) -> None:
        self.host.set(0, "key", "value")

    def problems(self) -> list[Diagnosis]:
        """Doctor's problems, but for those of this machine, which has no driver."""
        facts = gather(self.daemon.pool_dir, f"{self.daemon.path}.status")
        facts.hyperv = facts.vmbus = facts.offered = facts.driver = facts.device = True
        facts.driver_fault, facts.rivals, facts.missing_bytecode = "", [], 0
        facts.units = UnitFacts(systemd=False)
        facts.pools.others_dir = None
        return [each for each in diagnose(facts) if each.state == BAD]


@pytest.fixture(scope="module")
def shared() -> Iterator[Trial]:
    require_own_process_image()
    with RunningDaemon() as daemon, daemon.host() as host:
        yield Trial(daemon, host)
        os.kill(daemon.pid, signal.SIGCONT)


@pytest.fixture
def trial(shared: Trial, monkeypatch: pytest.MonkeyPatch) -> Iterator[Trial]:
    """A trial in which all is well, before the test and after it."""
    monkeypatch.setattr(pool_facts, "_LONG_HOLD", 0.02)
    shared.ask()
    assert shared.problems() == []
    yield shared
    for child in shared.children:
        child.kill()
        child.communicate()
    shared.children.clear()


def stop(trial: Trial) -> None:
    os.kill(trial.daemon.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, trial.daemon.pid, os.WSTOPPED | os.WNOWAIT)


def make_a_directory_of_a_pool(trial: Trial) -> None:
    os.unlink(trial.pool)
    os.mkdir(trial.pool)
    trial.ask()


def hold(kind: str) -> Callable[[Trial], None]:
    def begin(trial: Trial) -> None:
        child = subprocess.Popen(
            [sys.executable, "-c", PRELUDE + HOLD, trial.pool, kind, ""],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        trial.children.append(child)
        assert child.stdout is not None
        child.stdout.readline()

    return begin


@pytest.mark.parametrize(
    ("begin", "said"),
    [
        (stop, "is stopped (SIGSTOP)"),
        (make_a_directory_of_a_pool, "is a directory, not a regular file"),
        (hold("flock shared"), "holds a lock (FLOCK READ)"),
        (hold("ofd"), "holds a lock (OFDLCK WRITE)"),
    ],
)
def test_the_command_ends_the_situation(
    trial: Trial, begin: Callable[[Trial], None], said: str
) -> None:
    """D1, D3, D5, D7."""
    shutil.rmtree(f"{trial.pool}.old", ignore_errors=True)
    begin(trial)
    found = [each for each in trial.problems() if said in each.text and each.command]
    assert len(found) == 1
    subprocess.run(["sh", "-ec", found[0].command], check=True)

    def is_over() -> bool:
        trial.ask()
        return not trial.problems()

    wait_for("no problem", is_over)


def test_a_failing_kind_of_request_is_a_problem_until_one_succeeds(trial: Trial) -> None:
    """D3."""
    make_a_directory_of_a_pool(trial)
    text = f"pool 0 ({trial.pool}): is a directory, not a regular file"
    failing, cause = (each.text for each in trial.problems())
    assert failing.startswith("the host's last SET failed ")
    assert failing.endswith(f" s ago (HV_E_FAIL): {text}")
    assert cause == text
    os.rmdir(trial.pool)
    assert len(trial.problems()) == 1
    trial.ask()
    assert trial.problems() == []


def test_a_lock_that_is_soon_released_is_no_problem(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold("flock")(trial)
    (holder,) = gather_pools(trial.daemon.pool_dir, trial.daemon.pid).lock_holders
    assert (holder.lock, holder.pid) == ("FLOCK WRITE", trial.children[0].pid)
    # The holder goes between the two looks.
    monkeypatch.setattr(time, "sleep", lambda _: trial.children[0].communicate())
    assert gather_pools(trial.daemon.pool_dir, trial.daemon.pid).lock_holders == []


def test_a_page_that_another_version_wrote_names_its_daemon(trial: Trial) -> None:
    """D6: it was said to be unknown, and doctor was content."""
    with open(f"{trial.daemon.path}.status", "r+b") as page:
        page.seek(8)
        page.write((99).to_bytes(4, sys.byteorder))
        page.flush()
        (problem,) = trial.problems()
        page.seek(8)
        page.write(LAYOUT.to_bytes(4, sys.byteorder))
    assert "has layout version 99" in problem.text
    assert problem.command == f"kill {trial.daemon.pid}"
