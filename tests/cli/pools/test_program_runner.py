# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""``watch --exec``: a program for each change."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from hv_kvp_daemon.cli import main as command_line
from hv_kvp_daemon.cli.pools.program_runner import Runner
from hv_kvp_daemon.cli.pools.watch import Watcher
from hv_kvp_daemon.wire.record import encode
from tests.support.command import COMMAND, run
from tests.support.emulator import require_spawn_errors
from tests.support.process import DEADLINE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.command import Pools


def program(path: Path, text: str) -> str:
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


def test_changes_wait_while_the_program_runs_and_none_is_lost(
    tmp_path: Path, pools: Pools, capfd: pytest.CaptureFixture[str]
) -> None:
    """Each value of a key that changes meanwhile, one after the other.

    The watcher waits when it has read the pool, so each change is one that it sees.
    """
    os.mkfifo(tmp_path / "gate")
    gate = os.open(tmp_path / "gate", os.O_RDWR)
    text = f'#!/bin/sh\necho "$1 $HV_KVP_VALUE"\nread line < {tmp_path}/gate\necho end\n'
    values = ["1", "2", "3"]

    def wait(fd: int, seconds: float) -> bool:
        if not values:
            return False
        words = ["set", "k", values.pop(0), "--pool-dir", pools.path]
        assert command_line.main(words) == 0
        return runner.wait(fd, seconds)

    pools.write(1, encode(b"k", b"0"))
    with Runner(program(tmp_path / "program", text)) as runner:
        for change in Watcher(pools.path, (1,), None, wait).changes():
            runner.add(change)
        os.write(gate, b"\n" * 4)
        runner.finish()
    os.close(gate)
    assert capfd.readouterr() == (
        "present 0\nend\nchanged 1\nend\nchanged 2\nend\nchanged 3\nend\n",
        "",
    )
    assert not runner.failed


def test_a_signal_reaches_the_program_and_its_children_and_ends_the_command(
    tmp_path: Path, pools: Pools
) -> None:
    os.mkfifo(tmp_path / "gate")
    script = program(tmp_path / "program", f"#!/bin/sh\necho begin\ncat {tmp_path}/gate\n:\n")
    pools.write(1, encode(b"k", b"1") + encode(b"l", b"2"))
    watch = subprocess.Popen(
        [COMMAND, "watch", "--present", "--exec", script, "--pool-dir", pools.path],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert watch.stdout is not None
    assert watch.stdout.readline() == "begin\n"
    watch.send_signal(signal.SIGTERM)
    # To the end of the output: no process of the program has it open any more.
    out, err = watch.communicate(timeout=DEADLINE)
    assert (watch.returncode, out) == (128 + signal.SIGTERM, "")
    assert err.splitlines() == [
        f"hv-kvp: {script}: ended by signal 15; it was run for: present guest k",
        f"hv-kvp: {script}: not run for 1 more changes",
    ]


def run_here(pools: Pools, *words: str) -> int:
    return command_line.main(["watch", *words, "--pool-dir", pools.path])


def test_the_program_gets_the_bytes_of_the_record(
    tmp_path: Path, pools: Pools, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    script = program(
        tmp_path / "program", '#!/bin/sh\nprintf "%s|" "$#" "$@" "$HV_KVP_VALUE"\ncat\n'
    )
    pools.write(1, encode(b"-k \xff*", b"$(id)\n\xfe"))
    words = ("--present", "--timeout", "0", "--exec", script)
    assert run_here(pools, *words) == 0
    assert capfdbinary.readouterr().out == b"3|present|guest|-k \xff*|$(id)\n\xfe|"


def test_a_program_that_fails_is_reported_and_run_for_the_next_change(
    tmp_path: Path, pools: Pools, capfd: pytest.CaptureFixture[str]
) -> None:
    script = program(tmp_path / "program", '#!/bin/sh\necho "$3"\ntest "$3" != bad || exit 7\n')
    pools.write(1, encode(b"bad", b"") + encode(b"good", b""))
    words = ("--present", "--exec", script, "--until", "good", "--timeout", "60")
    assert run_here(pools, *words) == 3
    out, err = capfd.readouterr()
    assert out == "bad\ngood\n"
    assert err == f"hv-kvp: {script}: exit status 7; it was run for: present guest bad\n"


def test_a_program_that_the_kernel_refuses_is_reported(tmp_path: Path, pools: Pools) -> None:
    """In a process without threads, as the command is.

    The C library blocks signals in the thread that calls posix_spawn, and reaps a child that
    ran no program.  So of several threads another one takes SIGCHLD, and may still be at it
    when the command has ended and has restored the handlers; Python then warns of the signal.
    """
    require_spawn_errors()
    script = program(tmp_path / "program", "no interpreter\n")
    pools.write(1, encode(b"k", b"v"))
    words = ("--present", "--timeout", "0", "--exec", script, "--pool-dir", pools.path)
    status, _, err = run("watch", *words)
    assert status == 3
    assert "Exec format error; it was run for: present guest k" in err


def test_only_the_changes_of_one_key(
    tmp_path: Path, pools: Pools, capfd: pytest.CaptureFixture[str]
) -> None:
    script = program(tmp_path / "program", '#!/bin/sh\necho "$3"\n')
    pools.write(1, encode(b"other", b"") + encode(b"k", b"1") + encode(b"k", b"2"))
    words = ("--key", "k", "--present", "--timeout", "0")
    assert run_here(pools, *words, "--exec", script) == 0
    assert capfd.readouterr().out == "k\nk\n"
    assert run_here(pools, *words) == 0
    assert capfd.readouterr().out == "=\tguest\tk\t1\n=\tguest\tk\t2\n"


def test_signals_that_were_ignored_stay_ignored(pools: Pools) -> None:
    """As after nohup: the handlers are as before, too."""
    pools.write(1, encode(b"k", b"v"))
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    interrupt = signal.getsignal(signal.SIGINT)
    try:
        words = ("--present", "--timeout", "0", "--exec", "/bin/true")
        assert run_here(pools, *words) == 0
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert signal.getsignal(signal.SIGINT) == interrupt


@pytest.mark.parametrize("name", ["/nowhere/program", "no-such-program", "/etc/passwd", ""])
def test_what_is_no_program_is_refused_at_once(name: str) -> None:
    status, _, err = run("watch", "--exec", name)
    assert status == 2
    assert f"{name!r} is no program that can be run" in err


def test_json_is_for_changes_that_are_shown(pools: Pools) -> None:
    assert run_here(pools, "--json", "--exec", "/bin/true") == 2
