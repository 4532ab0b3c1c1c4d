# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Programs that answer, fail, write too much and never end."""

from __future__ import annotations

import os
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hv_kvp_daemon.guest.child import wait_readable
from hv_kvp_daemon.netconfig import program
from hv_kvp_daemon.netconfig.program import MAX_OUTPUT, Programs
from tests.support.emulator import require_spawn_errors
from tests.support.process import wait_for

from .network import unit

if TYPE_CHECKING:
    from hv_kvp_daemon.guest.child import Wait


PATIENCE = 60.0


class Shell:
    """Runs shell scripts; ``reports`` are the lines for the log."""

    def __init__(self) -> None:
        self.reports: list[str] = []

    def __call__(
        self,
        script: str,
        seconds: float = PATIENCE,
        *,
        any_status: bool = False,
        wait: Wait = wait_readable,
    ) -> str | None:
        programs = Programs(wait, self.reports.append)
        try:
            return programs.run("/bin/sh", "-c", script, seconds=seconds, any_status=any_status)
        finally:
            with pytest.raises(ChildProcessError):
                os.waitpid(-1, os.WNOHANG)


@pytest.fixture
def run() -> Shell:
    return Shell()


def test_what_it_writes_is_its_answer(run: Shell) -> None:
    assert run("echo one; echo two; echo three >&2; cat") == "one\ntwo\n"
    assert run("") == ""
    assert run("printf '\\377'") == "\udcff"
    assert run.reports == []


def test_a_failure_is_no_answer_and_is_reported(run: Shell) -> None:
    assert run("echo one; exit 3") is None
    assert run("kill -9 $$") is None
    assert run.reports == ["/bin/sh: status 3", "/bin/sh: status -9"]


def test_the_output_of_a_failure_counts_where_the_status_does_not(run: Shell) -> None:
    assert run("echo one; exit 3", any_status=True) == "one\n"
    assert run("exit 3", any_status=True) is None
    assert run("echo half; sleep 1000", 0.2, any_status=True) is None
    assert run.reports == [
        *["/bin/sh: status 3"] * 2,
        "/bin/sh: no answer within 0.2 s",
    ]


def test_one_that_never_ends_is_killed_with_all_that_it_started(
    run: Shell, tmp_path: Path
) -> None:
    pids = tmp_path / "pids"

    def wait(fd: int, seconds: float) -> bool:
        wait_for("both", lambda: pids.exists() and pids.read_text().endswith("\n"))
        return wait_readable(fd, seconds)

    script = f"sleep 1000 & echo $! $$ >{pids}; echo half; wait"
    assert run(script, 0.1, wait=wait) is None
    assert run.reports == ["/bin/sh: no answer within 0.1 s"]
    for pid in pids.read_text().split():
        # Not a child of ours, so its end is seen in /proc: gone, or a zombie of init's.
        wait_for("its end", lambda pid=pid: not _runs(pid))  # type: ignore[misc]  # no type for it


def _runs(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_one_that_closes_its_output_is_not_waited_for(run: Shell) -> None:
    started = time.monotonic()
    assert run("echo out; exec >&-; sleep 1000", any_status=True) == "out\n"
    assert time.monotonic() - started < PATIENCE


def test_one_that_exits_soon_after_it_has_closed_its_output_has_its_status(
    run: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As GNU programs do, which look for a write error before they exit."""
    monkeypatch.setattr(program, "_GRACE", PATIENCE)
    assert run("echo out; exec >&-; sleep 0.05") == "out\n"
    assert run("echo out; exec >&-; sleep 0.05; exit 3") is None
    assert run.reports == ["/bin/sh: status 3"]


def test_one_that_writes_without_end_is_no_answer(run: Shell) -> None:
    assert run("while :; do echo rubbish; done") is None
    assert run.reports == [f"/bin/sh: wrote more than {MAX_OUTPUT} bytes"]


def test_it_gets_no_descriptor_of_ours_and_no_ignored_signal(run: Shell) -> None:
    with tempfile.NamedTemporaryFile(prefix="hv-kvp-ours-") as ours:
        output = run("ls -l /proc/$$/fd; grep SigIgn /proc/self/status")
    assert output is not None
    assert "pipe:" in output
    assert ours.name not in output
    ignored = int(output.rpartition("SigIgn:")[2], 16)
    assert not ignored & (1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1)


def test_it_has_a_path_where_we_have_none(run: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PATH")
    assert run("echo $PATH") == "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"


def test_arguments_stay_single_words() -> None:
    word = "a b;$(echo c)'\"*"
    programs = Programs(wait_readable, print)
    assert programs.run("/bin/echo", word, seconds=PATIENCE) == word + "\n"


def test_a_program_is_one_below_the_root(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/name").symlink_to("/bin/echo")
    programs = Programs(wait_readable, print, str(tmp_path))
    assert programs.run("/bin/name", "a", seconds=PATIENCE) == "a\n"


def test_what_cannot_be_started_is_reported(tmp_path: Path) -> None:
    require_spawn_errors()
    before = len(os.listdir("/proc/self/fd"))
    reports: list[str] = []
    assert (
        Programs(wait_readable, reports.append, str(tmp_path)).run("/none", seconds=1) is None
    )
    assert reports == [f"{tmp_path}/none: No such file or directory"]
    assert len(os.listdir("/proc/self/fd")) == before


class Clock:
    """time.monotonic() that stands still but for the waits for the output of a program."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def wait(self, fd: int, seconds: float) -> bool:
        """Wait for /bin/echo for no time, and in vain for /bin/sleep."""
        if self.now == 1000.0:
            return wait_readable(fd, PATIENCE)
        self.now += seconds
        return False


def test_all_programs_together_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(program, "time", clock)
    monkeypatch.setattr(program, "LIMIT", 9.5)
    reports: list[str] = []
    programs = Programs(clock.wait, reports.append)
    assert programs.run("/bin/echo", "quick", seconds=6) == "quick\n"
    clock.now += 1.0
    for _ in range(4):
        assert programs.run("/bin/sleep", "1000", seconds=6) is None
    assert reports == [
        *("/bin/sleep: no answer within 6 s", "/bin/sleep: no answer within 2.5 s"),
        *["/bin/sleep: no time left"] * 2,
    ]


def ask(root: Path, seconds: float = PATIENCE) -> tuple[str | None, list[str]]:
    """What a unit answers, else /bin/echo below a root; and the lines for the log."""
    reports: list[str] = []
    programs = Programs(wait_readable, reports.append, str(root))
    return programs.ask("/ask.socket", "/echo", "program", seconds=seconds), reports


@pytest.fixture
def root() -> Iterator[Path]:
    # Not pytest's tmp_path: with a long test name a socket's path is too long.
    with tempfile.TemporaryDirectory(prefix="hv-kvp-test-") as directory:
        Path(directory, "echo").symlink_to("/bin/echo")
        yield Path(directory)


def test_a_unit_answers_in_place_of_the_program(root: Path) -> None:
    """S3: the program needs D-Bus, which the daemon cannot reach."""
    with unit(root / "ask.socket", "unit\n"):
        assert ask(root) == ("unit\n", [])


@pytest.mark.parametrize("there", ["nothing", "a socket to which nothing listens"])
def test_without_a_unit_the_program_is_run(root: Path, there: str) -> None:
    if there != "nothing":
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(root / "ask.socket"))
    assert ask(root) == ("program\n", [])


def test_a_unit_that_sends_nothing_is_no_answer(root: Path) -> None:
    """Such as one whose program has failed."""
    with unit(root / "ask.socket", ""):
        assert ask(root) == (None, ["/ask.socket: no answer"])


def test_a_unit_that_hangs_is_not_waited_for(root: Path) -> None:
    with unit(root / "ask.socket", None):
        assert ask(root, 0.2) == (None, ["/ask.socket: no answer within 0.2 s"])


def test_a_unit_that_sends_without_end_is_no_answer(root: Path) -> None:
    with unit(root / "ask.socket", "rubbish" * MAX_OUTPUT):
        assert ask(root) == (None, [f"/ask.socket: wrote more than {MAX_OUTPUT} bytes"])


def test_a_wait_that_ends_early_ends_the_program(run: Shell) -> None:
    """Which means that this process is to end, by SIGTERM."""
    programs = Programs(lambda fd, seconds: False, run.reports.append)
    with pytest.raises(InterruptedError):
        programs.run("/bin/sleep", "1000", seconds=PATIENCE)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
    assert run.reports == []
