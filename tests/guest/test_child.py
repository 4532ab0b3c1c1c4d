# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Waiting for a child's output, ending children, and names of processes."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hv_kvp_daemon.guest.child import end_child, wait_readable
from tests.support.process import wait_for

PATIENCE = 60.0

pytestmark = pytest.mark.usefixtures("no_child_and_no_descriptor_is_left")


def start(script: str) -> int:
    """Start a shell that leads a process group."""
    argv = ["/bin/sh", "-c", script]
    return os.posix_spawn(argv[0], argv, os.environ, setpgroup=0)


def test_available_data_is_readable_at_once() -> None:
    read_end, write_end = os.pipe()
    os.write(write_end, b"x")
    assert wait_readable(read_end, 0)
    os.close(write_end)
    os.read(read_end, 1)
    # The end of the file, too.
    assert wait_readable(read_end, 0)
    os.close(read_end)


@pytest.mark.parametrize("seconds", [3_000_000, math.inf])
def test_a_wait_may_be_longer_than_poll_takes(seconds: float) -> None:
    read_end, write_end = os.pipe()
    os.write(write_end, b"x")
    assert wait_readable(read_end, seconds)
    for fd in (read_end, write_end):
        os.close(fd)


def test_data_ends_the_wait() -> None:
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write_end, b"x")
        os._exit(0)
    assert wait_readable(read_end, PATIENCE)
    for fd in (read_end, write_end):
        os.close(fd)
    os.waitpid(child, 0)


@pytest.mark.parametrize("seconds", [-1.0, 0.0, 0.0001, 0.05])
def test_the_wait_is_over_when_its_time_is_over_and_not_before(seconds: float) -> None:
    read_end, write_end = os.pipe()
    began = time.monotonic()
    assert not wait_readable(read_end, seconds)
    assert seconds <= time.monotonic() - began < 30
    for fd in (read_end, write_end):
        os.close(fd)


def test_a_running_child_is_killed_and_reaped() -> None:
    assert end_child(start("exec sleep 1000")) == -signal.SIGKILL


def test_a_child_that_has_ended_keeps_its_status() -> None:
    child = start("exit 3")
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    assert end_child(child) == 3


def test_a_process_group_is_killed_as_a_whole(tmp_path: Path) -> None:
    held, write_end = os.pipe2(os.O_CLOEXEC)
    os.set_inheritable(write_end, True)
    child = start(f"sleep 1000 & echo $! >{tmp_path}/pid; wait")
    os.close(write_end)
    wait_for("the shell", (tmp_path / "pid").exists)
    assert not wait_readable(held, 0)
    end_child(child, os.killpg)
    # End of file: neither of the two has the pipe any more.
    assert wait_readable(held, PATIENCE)
    os.close(held)


def test_a_child_that_the_kernel_has_reaped_is_no_error() -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert end_child(start("exec sleep 1000")) == 0
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_a_child_that_may_not_be_killed_is_not_waited_for() -> None:
    def refuse(pid: int, number: int) -> None:
        raise PermissionError(pid, number)

    child = start("exec sleep 1000")
    assert end_child(child, refuse) == -signal.SIGKILL
    assert end_child(child) == -signal.SIGKILL


def test_a_process_is_called_by_its_name() -> None:
    script = (
        "from hv_kvp_daemon.guest.child import set_process_name\n"
        "set_process_name('hv_kvp_test'); print(open('/proc/self/comm').read())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    assert done.stdout.split() == ["hv_kvp_test"]
