# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The daemon as a child process."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from hv_kvp_daemon.simhost.daemon_process import DaemonProcess
from hv_kvp_daemon.simhost.errors import ProcessError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.daemon import RunningDaemon


def test_it_listens_when_it_has_started(daemon: RunningDaemon) -> None:
    with daemon.host():
        assert f"serves {daemon.pool_dir}" in daemon.stderr


def test_sigterm_ends_it_with_status_0(daemon: RunningDaemon) -> None:
    assert daemon.stop() == 0
    assert daemon.last_words == "stopped by signal"
    assert not psutil.pid_exists(daemon.pid)


def test_it_can_be_started_again(daemon: RunningDaemon) -> None:
    first = daemon.pid
    daemon.kill()
    daemon.start()
    assert daemon.pid != first
    with daemon.host():
        assert daemon.stderr.count("serves") == 2


def test_a_daemon_that_cannot_serve_is_reported_with_its_last_output(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    options = ("-n", "--transport", "loopback:h", "--pool-dir", f"{tmp_path}/file")
    with (
        pytest.raises(ProcessError, match="ended with status 1: error: pool directory"),
        DaemonProcess(*options),
    ):
        pytest.fail("it serves")


@pytest.fixture
def slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], DaemonProcess]:
    """A script in place of the daemon, with short limits for its start and its end."""

    def make(script: str) -> DaemonProcess:
        program = tmp_path / "python"
        program.write_text(f"#!{sys.executable} -I\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(program))
        return DaemonProcess(timeout=0.5)

    return make


def test_a_daemon_that_does_not_get_ready_is_killed(
    slow: Callable[[str], DaemonProcess],
) -> None:
    daemon = slow("import signal; signal.pause()")
    with pytest.raises(ProcessError, match=r"not ready within 0\.5 s"):
        daemon.start()
    assert not psutil.pid_exists(daemon.pid)
    daemon.close()


def test_a_daemon_that_ignores_sigterm_is_killed(daemon: RunningDaemon) -> None:
    daemon.timeout = 0.1
    os.kill(daemon.pid, signal.SIGSTOP)
    with pytest.raises(ProcessError, match=r"no end within 0\.1 s of SIGTERM"):
        daemon.stop()
    assert not psutil.pid_exists(daemon.pid)


def test_a_daemon_that_was_not_started_has_no_pid() -> None:
    daemon = DaemonProcess("-n")
    with pytest.raises(ProcessError, match="not started"):
        print(daemon.pid)
    daemon.close()
