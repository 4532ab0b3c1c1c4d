# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The daemon where its run directory cannot be written, or is another one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.command import run
from tests.support.emulator import require_own_process_image
from tests.support.namespaces import mount_namespace
from tests.support.process import DEADLINE, wait_for

DAEMON = os.path.join(os.path.dirname(sys.executable), "hv_kvp_daemon")

NO_LOCK = "no lock, so a second daemon is not refused: "
NO_PAGE = "no status page, so hv-kvp status will not find this daemon: "


@contextmanager
def started(
    directory: Path, *options: str, prelude: str = ""
) -> Iterator[subprocess.Popen[str]]:
    """A daemon that has found no driver; with a prelude in a mount namespace of its own."""
    command = [DAEMON, "-n", "--transport=chardev", f"--pool-dir={directory}/pools", *options]
    if prelude:
        command = [*mount_namespace(), "sh", "-c", f'{prelude} && exec "$@"', "sh", *command]
    log = directory / "log"
    with log.open("w") as stderr, subprocess.Popen(command, stderr=stderr, text=True) as daemon:
        try:
            wait_for(
                "the daemon",
                lambda: "waiting for" in log.read_text() or daemon.poll() is not None,
            )
            yield daemon
        finally:
            daemon.terminate()
            daemon.wait(DEADLINE)


@pytest.mark.parametrize(
    ("prelude", "options", "error"),
    [
        ("mount -t tmpfs -o ro none /run", [], "Read-only file system: '/run/hv-kvp-daemon'"),
        ("mount -t tmpfs -o nr_inodes=1 none /run", [], "No space left on device"),
        ("true", ["--run-dir=/dev/null/missing/x"], None),
        ("true", ["--run-dir=/missing/x"], "No such file or directory: '/missing/x'"),
    ],
    ids=["read-only", "full", "no directory above", "missing above"],
)
def test_a_run_directory_that_cannot_be_written_does_not_keep_it_from_serving(
    tmp_path: Path, prelude: str, options: list[str], error: str | None
) -> None:
    """U3: on a read-only system (Talos, containers) it ended where the C daemon serves."""
    with started(tmp_path, *options, prelude=prelude) as daemon:
        log = (tmp_path / "log").read_text()
        if error is None:  # a mistake in the command line, not a read-only system
            assert daemon.wait(DEADLINE) == 1
            assert "cannot serve: [Errno 20] Not a directory" in log
            return
        assert daemon.poll() is None, log
        assert log.count(NO_LOCK) == log.count(NO_PAGE) == 1
        assert re.search(f"{NO_LOCK}.*{error}.*; see --run-dir", log), log
        assert (tmp_path / "pools/.kvp_pool_1").exists()
    assert daemon.returncode == 0


def test_another_run_directory_has_the_lock_and_the_page(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    require_own_process_image()
    if os.geteuid():
        pytest.skip("the device is root's")
    with started(tmp_path, f"--run-dir={run_dir}") as daemon:
        assert (run_dir / "lock").read_text() == f"{daemon.pid}\n"
        # It is published after the log has said what is waited for.
        wait_for("the page", (run_dir / "status").exists)
        status, out, _ = run("status", f"--run-dir={run_dir}")
        assert status == 3  # it waits for a driver
        assert f"pid {daemon.pid}" in out
        assert f"Pools: {tmp_path}/pools" in out
        second = subprocess.run(
            [DAEMON, "-n", "--transport=chardev", f"--run-dir={run_dir}"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert second.returncode == 1
        assert f"another hv-kvp-daemon serves this machine (pid {daemon.pid})" in second.stderr
    assert os.listdir(run_dir) == ["lock"]
    assert run("status", f"--run-dir={run_dir}").err.startswith("hv-kvp")


def test_an_ordinary_user_is_told_that_it_is_for_root(tmp_path: Path) -> None:
    command = [DAEMON, "-n", "--transport=chardev", f"--pool-dir={tmp_path}/pools"]
    command += ["--run-dir=/proc/1/none"]
    if os.geteuid() == 0:
        command = [sys.executable, "-c", _AS_NOBODY, *command[1:]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "run it as root" in done.stderr


# The modules are imported before, since nobody may not be allowed to read them.
_AS_NOBODY = """
import os
from hv_kvp_daemon.service import main
os.setgroups([]); os.setgid(65534); os.setuid(65534)
raise SystemExit(main.main())
"""
