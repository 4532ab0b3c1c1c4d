# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""hv-kvp in a real terminal: a narrow window of tmux, and its visible contents.

These tests need no VM, only tmux, which is installed if it is missing.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from hv_kvp_daemon.pools.directory import pool_path
from hv_kvp_daemon.pools.pool import PoolFile
from hv_kvp_daemon.wire.record import encode
from tests.support.command import COMMAND
from tests.support.external import install
from tests.support.process import DEADLINE as PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COLUMNS = 60
PROMPT = "ready> "

# As on a screen: without blanks at the end of a line.
_BARE = PROMPT.rstrip()

RECORDS = (
    (b"key", b"long value " * 90),
    ("ключ🐧".encode(), "шире, чем окно ".encode() * 60),
    # Clears the screen, sets title and colors, returns to the line's start, reverses text.
    (
        b"evil\x1b[2J\x1b[H\a",
        b"\x1b]2;owned\a\x1b[31m\rover\r\nnext \xe2\x80\xae\xc2\x9b31m\xff",
    ),
    (b"state", b"ready"),
)


class Tmux:
    """A window with a given number of columns and a shell, on a tmux server of its own."""

    def __init__(self, directory: Path) -> None:
        self._server = ("tmux", "-S", str(directory / "tmux"), "-f", "/dev/null")
        environment = {
            "PATH": f"{os.path.dirname(COMMAND)}:{os.environ['PATH']}",
            "LC_ALL": "C.UTF-8",
            "TERM": "screen",
            "PS1": PROMPT,
        }
        shell = shlex.join(
            ["env", "-i", *(f"{name}={value}" for name, value in environment.items()), "sh"]
        )
        self.run(
            "new-session", "-d", "-x", str(COLUMNS), "-y", "24", "-c", str(directory), shell
        )
        self.wait_for(_BARE)

    def run(self, *words: str) -> str:
        done = subprocess.run(
            [*self._server, *words],
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
            capture_output=True,
            text=True,
            check=True,
            timeout=PATIENCE,
        )
        return done.stdout

    def type(self, text: str) -> None:
        """Type a line and Enter."""
        self.run("send-keys", "-l", text)
        self.run("send-keys", "Enter")

    def screen(self) -> list[str]:
        """The visible lines, up to the last that is not empty."""
        return self.run("capture-pane", "-p").rstrip("\n").split("\n")

    def wait_for(self, end: str) -> list[str]:
        """Wait until this is the last line, and return the screen."""
        deadline = time.monotonic() + PATIENCE
        while (lines := self.screen())[-1] != end:
            assert time.monotonic() < deadline, f"no {end!r} at the end of {lines}"
        return lines

    def wait_for_line(self, number: int) -> str:
        """Wait until the screen has a line with this number, from 1, and return it."""
        deadline = time.monotonic() + PATIENCE
        while len(lines := self.screen()) < number:
            assert time.monotonic() < deadline, f"no line {number} in {lines}"
        return lines[number - 1]

    def wait_until_done(self) -> list[str]:
        """Wait for a prompt below the typed line, and return the screen."""
        deadline = time.monotonic() + PATIENCE
        while (lines := self.screen())[-1] != _BARE or len(lines) == 1:
            assert time.monotonic() < deadline, f"no end of what is seen in {lines}"
        return lines

    def child(self) -> psutil.Process:
        """Wait until a program runs in the window, and return it."""
        shell = psutil.Process(int(self.run("display-message", "-p", "#{pane_pid}")))
        deadline = time.monotonic() + PATIENCE
        while not (children := shell.children()):
            assert time.monotonic() < deadline, "nothing was started"
        return children[0]

    def end(self) -> None:
        self.run("kill-server")


@pytest.fixture(scope="module")
def tmux_program() -> None:
    if shutil.which("tmux") is None:
        install("tmux")


@pytest.fixture
def pools(tmp_path: Path) -> Path:
    path = tmp_path / "pools"
    path.mkdir()
    with open(pool_path(str(path), 1), "wb") as file:
        file.write(b"".join(encode(*record) for record in RECORDS))
    return path


@pytest.fixture
def tmux(tmux_program: None, tmp_path: Path) -> Iterator[Tmux]:
    terminal = Tmux(tmp_path)
    yield terminal
    terminal.end()


def test_list_fits_the_window_and_nothing_drives_it(tmux: Tmux, pools: Path) -> None:
    title = tmux.run("display-message", "-p", "#{pane_title}")
    tmux.type("hv-kvp list --pool-dir pools")
    lines = tmux.wait_until_done()
    # Had a line been too long, or moved the cursor, there were others or more of them.
    assert lines == [
        f"{PROMPT}hv-kvp list --pool-dir pools",
        "POOL   KEY                    VALUE",
        "guest  key                    long value long value long va…",
        "guest  ключ🐧                 шире, чем окно шире, чем окно…",
        r"guest  evil\x1b[2J\x1b[H\x07  \x1b]2;owned\x07\x1b[31m\rove…",
        "guest  state                  ready",
        _BARE,
    ]
    assert tmux.run("display-message", "-p", "#{pane_title}") == title
    coloured = tmux.run("capture-pane", "-p", "-e")
    assert "\x1b[31m" not in coloured


def test_clear_asks_and_takes_no_for_an_answer(tmux: Tmux, pools: Path) -> None:
    before = (pools / ".kvp_pool_1").read_bytes()
    tmux.type("hv-kvp clear guest --pool-dir pools; echo status $?")
    tmux.wait_for("Remove all records of pool guest (4)? [y/N]")
    tmux.type("n")
    lines = tmux.wait_until_done()
    assert lines[1:] == [
        "Remove all records of pool guest (4)? [y/N] n",
        "status 1",
        _BARE,
    ]
    assert (pools / ".kvp_pool_1").read_bytes() == before


def test_watch_shows_a_change_as_it_happens(tmux: Tmux, pools: Path) -> None:
    tmux.type("hv-kvp watch guest --until go --pool-dir pools")
    wait_until_it_watches(tmux.child())
    pool = PoolFile(1, pool_path(str(pools), 1), report=print, sync=False)
    pool.store(b"state", b"\x1b[2Jbusy " * 20)
    seen = tmux.wait_for_line(2)
    assert re.fullmatch(r"\d\d:\d\d:\d\d ~ guest    state  \\x1b\[2Jbusy .*…", seen)
    assert len(seen) == COLUMNS
    pool.delete(b"key")
    assert "- guest    key  long value" in tmux.wait_for_line(3)
    pool.append(b"go", b"1")
    pool.close()
    lines = tmux.wait_until_done()
    assert lines[3][9:] == "+ guest    go  1"
    assert len(lines) == 5


def wait_until_it_watches(process: psutil.Process) -> None:
    """A watch on the directory is there when the process sleeps and has an inotify."""
    deadline = time.monotonic() + PATIENCE
    while not (has_inotify(process.pid) and process.status() == psutil.STATUS_SLEEPING):
        assert time.monotonic() < deadline, "it watches nothing"


def has_inotify(pid: int) -> bool:
    try:
        links = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
    except FileNotFoundError:  # closed in this moment
        return False
    return "anon_inode:inotify" in links
