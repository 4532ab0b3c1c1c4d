# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""``make demo``, as a process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import psutil
import pytest

from hv_kvp_daemon.wire.text import width
from hv_kvp_daemon.wire.uapi import KVP_AUTO_KEYS
from tests.support.process import has_ended, wait_for

PATIENCE = 60


def demo(tmp_path: Path, fault: str = "pass") -> subprocess.CompletedProcess[str]:
    """Run the demo in a temporary directory, after a statement that injects a fault."""
    code = (
        "import os, signal, sys\n"
        "from hv_kvp_daemon.simhost import demo\n"
        "from hv_kvp_daemon.simhost.simulated_host import SimulatedHost\n"
        f"{fault}\n"
        "sys.exit(demo.main())"
    )
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def leftovers(tmp_path: Path) -> list[str]:
    """The remaining files of a demo, once all processes with its directory's name have ended.

    A child that looks up a name can outlive a killed daemon for a moment.
    """
    for process in psutil.process_iter(["cmdline"]):
        if f"{tmp_path}/" in " ".join(process.info["cmdline"] or ()):
            wait_for("the end of a process", partial(has_ended, process))
    return os.listdir(tmp_path)


def test_it_shows_what_happens_and_what_an_administrator_sees(tmp_path: Path) -> None:
    done = demo(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    words = [line.split() for line in lines]
    for expected in (
        "SET external demo.text HV_S_OK Hello, guest",
        "SET external demo.count HV_S_OK 42",
        "GET external demo.unicode HV_S_OK na\u00efve \U0001d11e \U0001f427",
        "ENUMERATE auto 1 IntegrationServicesVersion HV_S_OK 3.1",
        "ENUMERATE auto 10 HV_S_CONT",
        "ENUMERATE guest 0 guest.state HV_S_OK ready",
        "GET external demo.count HV_S_OK 1099511627776",
        "DELETE external demo.text HV_S_OK",
        "GET external demo.text HV_S_CONT",
        "ENUMERATE pool 77 0 HV_S_CONT",
        "SET auto OSName HV_E_FAIL",
        "op 99 external HV_ERROR_NOT_SUPPORTED",
    ):
        found = [line for line in words if line[:-1] == expected.split()]
        assert len(found) == 1, expected
        assert 0 <= int(found[0][-1]) < PATIENCE * 10**6
    listed = [line[0] for line in words if line and line[-1] == "2"]
    assert listed == [key.decode() for key in KVP_AUTO_KEYS]
    for row in ("guest.state ready 1", "demo.count 1099511627776 0"):
        assert row.split() in words
    # The first line is as long as the directory's name.
    assert [line for line in lines[1:] if width(line) > 80] == []
    assert lines[-1].startswith("All as expected, in ")
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize(
    ("fault", "complaint"),
    [
        (
            "SimulatedHost.get = lambda self, pool, key: (0, 'other')",
            "GET external demo.count: '42' was expected, 'other' came",
        ),
        (
            "SimulatedHost.set = lambda self, *asked: 0x80004005",
            "SET external demo.text: 'HV_S_OK' was expected, 'HV_E_FAIL' came",
        ),
        (
            "os.uname = lambda: os.uname_result(('', '', 'other', '', ''))",
            "OSBuildNumber: 'other' was expected,",
        ),
    ],
)
def test_what_is_not_as_expected_fails_with_one_line(
    tmp_path: Path, fault: str, complaint: str
) -> None:
    done = demo(tmp_path, fault)
    assert done.returncode == 1
    assert done.stderr.startswith(f"demo: {complaint}")
    assert len(done.stderr.splitlines()) == 1
    assert "All as expected" not in done.stdout
    assert leftovers(tmp_path) == []


def test_a_daemon_that_dies_fails_with_one_line(tmp_path: Path) -> None:
    fault = (
        "def start(daemon, start=demo.DaemonProcess.start):\n"
        "    start(daemon)\n"
        "    SimulatedHost.delete = lambda *asked: (daemon.kill(), SimulatedHost.get(*asked))\n"
        "demo.DaemonProcess.start = start"
    )
    done = demo(tmp_path, fault)
    assert done.returncode == 1
    assert done.stderr.startswith(f"demo: the daemon at {tmp_path}/")
    assert "waiting for a simulated host" in done.stderr  # the daemon's last words
    assert len(done.stderr.splitlines()) == 1
    assert leftovers(tmp_path) == []


def test_a_daemon_that_cannot_start_fails_with_one_line(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    done = demo(long)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("demo: the daemon ended with status 1: error: loopback:")
    assert len(done.stderr.splitlines()) == 1
    assert leftovers(long) == []


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
)
def test_a_signal_ends_it_and_leaves_nothing(
    tmp_path: Path, number: signal.Signals, status: int
) -> None:
    fault = f"SimulatedHost.delete = lambda self, *asked: os.kill(os.getpid(), {int(number)})"
    done = demo(tmp_path, fault)
    assert (done.returncode, done.stderr) == (status, "")
    assert "SET" in done.stdout
    assert leftovers(tmp_path) == []


def test_a_closed_output_ends_it_and_leaves_nothing(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "hv_kvp_daemon.simhost.demo"],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    os.close(write)
    assert done.returncode == 1
    assert done.stderr == "demo: its output is not read any more\n"
    assert leftovers(tmp_path) == []
