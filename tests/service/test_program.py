# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The daemon is found by the C daemon's name, as health checks look for it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from hv_kvp_daemon.service.program import is_script
from hv_kvp_daemon.wire.uapi import HV_S_OK, KVP_OP_SET
from tests.support.emulator import require_own_process_image
from tests.support.process import connect, has_ended, wait_for

BIN = os.path.dirname(sys.executable)
NAME = "hv_kvp_daemon"


def options(directory: Path) -> list[str]:
    return [f"--transport=loopback:{directory}/host", f"--pool-dir={directory}/pools"]


def start(directory: Path, *program: str) -> psutil.Process:
    """Start a program that detaches, and return the daemon."""
    done = subprocess.run(
        [*program, *options(directory)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (daemon,) = (
        process
        for process in psutil.process_iter(["cmdline"])
        if f"--transport=loopback:{directory}/host" in (process.info["cmdline"] or [])
        and os.getsid(process.pid) == process.pid
    )
    return daemon


def end(daemon: psutil.Process) -> None:
    daemon.send_signal(signal.SIGTERM)
    wait_for("its end", lambda: has_ended(daemon))


@pytest.mark.parametrize("name", ["hv-kvp-daemon", NAME])
def test_a_detached_daemon_is_found_in_the_list_of_processes(tmp_path: Path, name: str) -> None:
    """U5: WALinuxAgent's and LISA's checks read `ps -ef`, which shows the arguments."""
    daemon = start(tmp_path, os.path.join(BIN, name))
    try:
        # pytest sets COLUMNS, at which ps cuts its lines.
        wide = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
        listed = subprocess.run(
            ["ps", "-ef"], capture_output=True, text=True, check=True, env=wide
        )
        named = {line.split()[1] for line in listed.stdout.splitlines() if NAME in line}
        assert str(daemon.pid) in named
        for way in (["-f", NAME], [NAME]):
            found = subprocess.run(["pgrep", *way], capture_output=True, text=True, check=True)
            assert str(daemon.pid) in found.stdout.split()
        peer = connect(f"{tmp_path}/host")
        assert peer.ask(KVP_OP_SET, 1, "key", "value").status == HV_S_OK
        peer.close()
    finally:
        end(daemon)


def test_options_of_the_interpreter_stay(tmp_path: Path) -> None:
    require_own_process_image()
    program = os.path.join(BIN, "hv-kvp-daemon")
    daemon = start(tmp_path, sys.executable, "-I", "-X", "utf8", program)
    try:
        expected = [sys.executable, "-I", "-X", "utf8", os.path.join(BIN, NAME)]
        assert daemon.cmdline() == [*expected, *options(tmp_path)]
    finally:
        end(daemon)


@pytest.mark.parametrize("beside", ["nothing", "the C daemon"])
def test_a_program_alone_or_beside_the_c_daemon_serves_by_its_own_name(
    tmp_path: Path, beside: str
) -> None:
    program = tmp_path / "hv-kvp-daemon"
    shutil.copy(os.path.join(BIN, "hv-kvp-daemon"), program)
    if beside == "the C daemon":
        shutil.copy("/bin/true", tmp_path / NAME)
    daemon = start(tmp_path, str(program))
    try:
        assert str(program) in daemon.cmdline()
    finally:
        end(daemon)


def test_a_script_is_told_from_a_compiled_program(tmp_path: Path) -> None:
    assert is_script(os.path.join(BIN, NAME))
    assert not is_script("/bin/true")
    # Ubuntu's, of linux-cloud-tools-common.
    (tmp_path / NAME).write_text('#!/bin/bash\nexec /usr/lib/linux-tools/$(uname -r)/$0 "$@"\n')
    assert not is_script(str(tmp_path / NAME))
    assert not is_script(str(tmp_path / "missing"))
