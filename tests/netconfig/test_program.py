"""Programs that answer, fail, write too much and never end."""

from __future__ import annotations

import os
import select
import signal
import tempfile
import time
from pathlib import Path

import pytest

from hv_kvp_daemon.netconfig.program import MAX_OUTPUT, Answer, Program, Question


def run(script: str, seconds: float = 10.0) -> Answer:
    program = Program(Question(("/bin/sh", "-c", script), seconds), time.monotonic())
    while True:
        poll = select.poll()
        poll.register(program.fileno(), select.POLLIN)
        left = program.deadline - time.monotonic()
        ready = poll.poll(max(0, int(left * 1000) + 1))
        answer = program.on_event() if ready else program.expire()
        if answer is not None:
            return answer


def no_child_is_left() -> bool:
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
    return True


def test_what_it_writes_is_its_answer() -> None:
    answer = run("echo one; echo two; echo three >&2; cat")
    assert (answer.output, answer.trouble) == ("one\ntwo\n", "")
    assert no_child_is_left()


def test_a_failure_is_told_beside_the_output() -> None:
    answer = run("echo one; exit 3")
    assert (answer.output, answer.trouble) == ("one\n", "/bin/sh: status 3")
    answer = run("kill -9 $$")
    assert (answer.output, answer.trouble) == ("", "/bin/sh: status -9")


def test_one_that_never_ends_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    answer = run(f"sleep 1000 & echo $! $$ >{pids}; echo half; wait", 0.3)
    assert (answer.output, answer.trouble) == (None, "/bin/sh: no answer within 0.3 s")
    assert no_child_is_left()
    ended = time.monotonic() + 5
    for pid in pids.read_text().split():
        # Not a child of ours, so its end is seen in /proc: gone, or a zombie of init's.
        while _runs(pid):
            assert time.monotonic() < ended


def _runs(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_one_that_closes_its_output_is_not_waited_for() -> None:
    started = time.monotonic()
    assert run("echo out; exec >&-; sleep 1000").output == "out\n"
    assert time.monotonic() - started < 5
    assert no_child_is_left()


def test_one_that_writes_without_end_is_no_answer() -> None:
    answer = run("while :; do echo rubbish; done")
    assert answer.output is None
    assert answer.trouble == f"/bin/sh: wrote more than {MAX_OUTPUT} bytes"
    assert no_child_is_left()


def test_it_gets_no_descriptor_of_ours_and_no_ignored_signal() -> None:
    with tempfile.NamedTemporaryFile(prefix="hv-kvp-ours-") as ours:
        answer = run("ls -l /proc/$$/fd; grep SigIgn /proc/self/status")
    assert answer.output is not None
    assert "pipe:" in answer.output
    assert ours.name not in answer.output
    ignored = int(answer.output.rpartition("SigIgn:")[2], 16)
    assert not ignored & (1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1)


def test_it_has_a_path_where_we_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PATH")
    assert run("echo $PATH").output == (
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
    )


def test_arguments_stay_single_words() -> None:
    word = "a b;$(echo c)'\"*"
    program = Program(Question(("/bin/echo", word), 10), time.monotonic())
    poll = select.poll()
    poll.register(program.fileno(), select.POLLIN)
    answer = None
    while answer is None:
        poll.poll(10_000)
        answer = program.on_event()
    assert answer.output == word + "\n"


def test_what_cannot_be_started_is_an_oserror(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="No such file"):
        Program(Question((str(tmp_path / "none"),), 1), time.monotonic())
    assert len(os.listdir("/proc/self/fd")) == before


def test_close_ends_it() -> None:
    program = Program(Question(("/bin/sleep", "1000"), 1000), time.monotonic())
    program.close()
    assert no_child_is_left()
