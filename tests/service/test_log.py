# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Each message is one line, whatever it contains, and repetitions are limited."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

from hv_kvp_daemon.service import log as logs
from hv_kvp_daemon.service.log import DEBUG, ERR, INFO, WARNING, Log, Reporter

if TYPE_CHECKING:
    import pytest


class Lines(list[tuple[int, str]]):
    def write(self, priority: int, line: str) -> None:
        self.append((priority, line))


def test_messages_above_the_level_are_not_written() -> None:
    lines = Lines()
    log = Log(lines.write, WARNING)
    log.error("error")
    log.warning("warning")
    log.info("info")
    log.debug("debug")
    assert lines == [(ERR, "error"), (WARNING, "warning")]


def test_in_the_foreground_a_line_has_its_time(capfd: pytest.CaptureFixture[str]) -> None:
    logs.to_terminal_with_time(INFO, "line")
    logs.to_terminal_with_time(ERR, "line")
    plain, error = capfd.readouterr().err.splitlines()
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3} line", plain)
    assert error.endswith(" error: line")


def test_a_reason_is_logged_once_and_counted() -> None:
    lines = Lines()
    log = Log(lines.write)
    counted: list[None] = []
    log.on_drop = lambda: counted.append(None)
    for number in range(100):
        log.dropped("foreign sender", f"port {number}")
    log.dropped("short", "3 bytes")
    assert lines == [
        (WARNING, "dropped: foreign sender (port 0)"),
        (WARNING, "dropped: short (3 bytes)"),
    ]
    assert len(counted) == 101


def test_after_a_minute_the_log_has_the_number_of_suppressed_messages() -> None:
    lines = Lines()
    log = Log(lines.write)
    report = Reporter(log)
    report("first", "reason")
    report("second", "reason")
    last, held_back = log._seen["reason"]
    log._seen["reason"] = (last - logs.INTERVAL, held_back)
    report("third", "reason")
    assert [line for _, line in lines] == ["first", "third (1 more like this before)"]


def test_the_reasons_that_are_remembered_are_bounded() -> None:
    """D8: with a new reason each time, the limit was none, and the table grew for ever."""
    lines = Lines()
    report = Reporter(Log(lines.write))
    for number in range(3 * logs.MOST_REASONS):
        report("failed", f"reason {number}")
    report("failed as before", "reason 0")
    assert len(lines) == logs.MOST_REASONS + 1


def test_a_forged_priority_or_line_stays_within_its_line() -> None:
    lines = Lines()
    Log(lines.write).warning("key\n<0>forged \x1b[2J")
    assert lines == [(WARNING, "key\\n<0>forged \\x1b[2J")]


def test_the_journals_priorities_and_the_terminals_marks() -> None:
    code = (
        "from hv_kvp_daemon.service.log import *\n"
        "to_journal(4, 'w'); to_terminal(3, 'e'); to_terminal(6, 'caf\\udce9')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stderr == b"<4>w\nerror: e\ncaf\\udce9\n"


def test_the_journal_is_known_by_its_stream() -> None:
    read, write = os.pipe()
    status = os.fstat(write)
    code = "from hv_kvp_daemon.service.log import *; print(stderr_is_journal())"
    for stream, expected in ((f"{status.st_dev}:{status.st_ino}", "True"), ("1:2", "False")):
        done = subprocess.run(
            [sys.executable, "-c", code],
            stdout=subprocess.PIPE,
            stderr=write,
            env={**os.environ, "JOURNAL_STREAM": stream},
            text=True,
            check=True,
        )
        assert done.stdout.strip() == expected
    os.close(read)
    os.close(write)


def test_a_log_without_a_reader_does_not_end_the_writer() -> None:
    code = (
        "import signal; signal.signal(signal.SIGPIPE, signal.SIG_IGN)\n"
        "from hv_kvp_daemon.service.log import *\n"
        "to_terminal(6, 'x'); print('alive')"
    )
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=write,
        text=True,
        check=True,
    )
    os.close(write)
    assert done.stdout == "alive\n"


def test_debug_is_the_highest_level() -> None:
    assert max(logs.LEVELS.values()) == DEBUG
    assert logs.LEVELS["info"] == INFO
