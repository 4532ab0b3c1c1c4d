# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Text for a person, and questions."""

from __future__ import annotations

import io
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from hv_kvp_daemon.cli import terminal
from hv_kvp_daemon.service.options import UsageError
from tests.support.process import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.command import Pools, Terminal


def test_a_control_character_is_written_as_python_writes_it() -> None:
    assert terminal.text(b"a\x1b\n\xc2\x9b\xe2\x80\xae\xff") == "a\\x1b\\n\\x9b\\u202e\\xff"


@pytest.mark.parametrize(("encoding", "mark"), [("utf-8", "…"), ("ascii", "...")])
def test_a_cut_is_marked_as_the_encoding_allows(
    encoding: str, mark: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    assert terminal.fit("a long line", 6) == "a long"[: 6 - len(mark)] + mark


@pytest.mark.parametrize(
    ("wanted", "width"), [("40", 40), ("0", 80), ("wide", 80), ("", 80), ("-1", 80)]
)
def test_columns_come_from_the_environment_where_there_is_no_terminal(
    wanted: str, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", wanted)
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert terminal.columns() == width


def test_a_closed_stream_is_no_terminal() -> None:
    stream = io.StringIO()
    stream.close()
    assert not terminal.is_terminal(stream)


def test_a_question_without_a_terminal_is_wrong_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    assert terminal.confirmed("Really?", yes=True)
    with pytest.raises(UsageError, match="Really"):
        terminal.confirmed("Really?", yes=False)


def test_what_is_said_is_one_safe_line(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.say("a\x1b[31m\nb")
    assert capsys.readouterr().err == "hv-kvp: a\\x1b[31m\\nb\n"


def test_progress_of_what_is_quick_shows_nothing(
    pools: Pools, on_terminal: Callable[..., Terminal]
) -> None:
    handler = signal.getsignal(signal.SIGALRM)
    with terminal.Progress("waiting"):
        assert signal.getsignal(signal.SIGALRM) is handler  # standard error is no terminal

    def shown() -> str:
        command = on_terminal("set", "k", "v")
        assert command.end() == 0
        return command.screen

    # Once is enough: a busy disk may need a second.
    wait_for("one that is quick", lambda: shown() == "")
