# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""A process that cannot run, in each way in which a real one can be brought to a halt."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from hv_kvp_daemon.cli.service import process_state
from hv_kvp_daemon.cli.service.process_state import find_stall, parent
from tests.support.emulator import require_own_process_image
from tests.support.process import wait_for

PTRACE_SEIZE, PTRACE_INTERRUPT = 0x4206, 0x4207


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """A process that sleeps until its standard input ends."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as cat:
        yield cat
        cat.kill()


def run(command: str) -> None:
    subprocess.run(["sh", "-c", command], check=True)


def test_a_process_that_sleeps_has_no_stall(process: subprocess.Popen[bytes]) -> None:
    assert find_stall(process.pid) is None
    assert parent(process.pid) == os.getpid()


def test_a_stopped_process_is_continued(process: subprocess.Popen[bytes]) -> None:
    """D1: status and doctor were content with it."""
    process.send_signal(signal.SIGSTOP)
    wait_for("the stop", lambda: find_stall(process.pid))
    stall = find_stall(process.pid)
    assert stall is not None
    assert stall.text == "is stopped (SIGSTOP)"
    run(stall.command)
    wait_for("its run", lambda: find_stall(process.pid) is None)


def test_the_debugger_of_a_process_is_ended() -> None:
    """D1.  The process is its child: Yama may allow no other (kernel.yama.ptrace_scope)."""
    require_own_process_image()
    code = (
        "import ctypes, subprocess, sys; libc = ctypes.CDLL(None)\n"
        "pid = subprocess.Popen(['cat']).pid\n"
        f"assert libc.ptrace({PTRACE_SEIZE}, pid, 0, 0) == 0\n"
        f"assert libc.ptrace({PTRACE_INTERRUPT}, pid, 0, 0) == 0\n"
        "print(pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as debugger:
        assert debugger.stdout is not None
        pid = int(debugger.stdout.readline())
        wait_for("the trace", lambda: find_stall(pid))
        stall = find_stall(pid)
        assert stall is not None
        assert stall == (
            f"is stopped by a debugger (pid {debugger.pid})",
            f"kill {debugger.pid}",
        )
        run(stall.command)
        debugger.wait()
        wait_for("its run", lambda: find_stall(pid) is None)


def test_a_process_that_was_not_reaped_has_ended(process: subprocess.Popen[bytes]) -> None:
    """D1: its pid and its start time are still those on the page."""
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    stall = find_stall(process.pid)
    assert stall is not None
    assert stall.text == f"has ended, but its parent (pid {os.getpid()}) has not reaped it"
    process.wait()
    assert find_stall(process.pid) is None


@pytest.mark.parametrize("long", [True, False])
def test_a_wait_that_no_signal_ends_counts_once_it_is_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, long: bool
) -> None:
    """D1.  The wait is for a child of vfork(2), which opens a FIFO before it executes."""
    require_own_process_image()
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    code = (
        "import os, sys\n"
        "os.posix_spawn('/bin/true', ['true'], {}, file_actions=[\n"
        "    (os.POSIX_SPAWN_OPEN, 0, sys.argv[1], os.O_RDONLY, 0)])\n"
        "sys.stdin.read()\n"
    )
    monkeypatch.setattr(process_state, "_LONG_WAIT", 0.1 if long else 60.0)
    with subprocess.Popen(
        [sys.executable, "-c", code, str(fifo)], stdin=subprocess.PIPE
    ) as process:
        state = Path(f"/proc/{process.pid}/stat")
        wait_for("the wait", lambda: ") D " in state.read_text())
        if long:
            stall = find_stall(process.pid)
            assert stall is not None
            assert stall.text.startswith("waits in the kernel")
            fifo.open("w").close()
        else:
            release = threading.Timer(0.2, lambda: fifo.open("w").close())
            release.start()
            assert find_stall(process.pid) is None
            release.join()


def is_removed(cgroup: Path) -> bool:
    try:
        cgroup.rmdir()
    except OSError as error:
        # A process that was reaped may still belong to it for a moment.
        if error.errno != errno.EBUSY:
            raise
        return False
    return True


@pytest.fixture
def cgroup() -> Iterator[tuple[Path, str]]:
    """A new cgroup that can be frozen, and the word that freezes it."""
    roots = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/freezer"))
    root = roots[1] if (roots[1] / "cgroup.procs").exists() else roots[0]
    path = root / f"hv-kvp-test-{os.getpid()}"
    try:
        path.mkdir()
    except OSError as error:
        pytest.skip(f"no cgroup can be made here: {error}")
    inner = path / "inner"
    inner.mkdir()
    yield inner, "freezer.state" if root == roots[1] else "cgroup.freeze"
    for each in inner, path:
        wait_for("the end of its process", partial(is_removed, each))


def test_a_frozen_cgroup_is_thawed(
    cgroup: tuple[Path, str], process: subprocess.Popen[bytes]
) -> None:
    """D1: the process itself looks as if it slept.  It is frozen with all below a cgroup."""
    inner, switch = cgroup
    (inner / "cgroup.procs").write_text(str(process.pid))
    assert find_stall(process.pid) is None
    outer = inner.parent
    (outer / switch).write_text("FROZEN" if switch == "freezer.state" else "1")
    try:
        stall = find_stall(process.pid)
        assert stall is not None
        assert stall.text == f"is frozen with its cgroup /{outer.name}"
        run(stall.command)
        assert find_stall(process.pid) is None
    finally:
        with contextlib.suppress(OSError):
            (outer / switch).write_text("THAWED" if switch == "freezer.state" else "0")
        process.kill()
        process.wait()


def test_of_a_process_that_does_not_exist_nothing_is_said() -> None:
    assert find_stall(2**22 + 1) is None
    assert parent(2**22 + 1) == 0
