# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Runs commands: forked, as the installed process, on a terminal, as an ordinary user."""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import io
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from typing import TYPE_CHECKING, final

from hv_kvp_daemon.cli.main import build_parser, main
from hv_kvp_daemon.pools.directory import pool_path
from tests.support.process import DEADLINE
from tests.support.run_forked import Done, run_forked

if TYPE_CHECKING:
    from collections.abc import Mapping

COMMAND = os.path.join(os.path.dirname(sys.executable), "hv-kvp")

_PLAIN = {
    "PATH": os.environ["PATH"],
    "LC_ALL": "C.UTF-8",
    # A path in a Makefile's or a bare checkout's environment, and what `make coverage` sets.
    **{
        name: os.environ[name]
        for name in ("PYTHONPATH", "COVERAGE_PROCESS_CONFIG")
        if name in os.environ
    },
}

_IMPORTED_LATE = (
    *("binascii", "ctypes", "json", "shlex"),
    *("hv_kvp_daemon.cli.jsontext", "hv_kvp_daemon.cli.pools.split_values"),
    "hv_kvp_daemon.wire.columns",
)


class Pools:
    """A directory of pools, and the command that works on it, in a forked child."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __call__(self, *words: str | bytes, stdin: bytes = b"") -> Done:
        return run(*words, "--pool-dir", self.path, stdin=stdin)

    def file(self, number: int) -> str:
        return pool_path(self.path, number)

    def data(self, number: int) -> bytes:
        with open(self.file(number), "rb") as file:
            return file.read()

    def write(self, number: int, data: bytes) -> None:
        os.makedirs(self.path, exist_ok=True)
        with open(self.file(number), "wb") as file:
            file.write(data)


def run(*words: str | bytes, stdin: bytes = b"", cwd: str = ".") -> Done:
    """Run a command in a forked child."""
    return run_forked([*map(os.fsdecode, words)], lambda: os.chdir(cwd), stdin=stdin)


def run_installed(*words: str, env: Mapping[str, str] | None = None) -> Done:
    """Run the installed command, with an empty standard input."""
    done = subprocess.run(
        [COMMAND, *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=DEADLINE,
        env={**_PLAIN, **(env or {})},
    )
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode())


def call(*words: str) -> Done:
    """Run a command in this process, which is faster, without a terminal."""
    streams = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(3)]
    out, err, stdin = streams
    before = sys.stdin
    sys.stdin = stdin
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                status = main(words)
            except SystemExit as ended:  # argparse
                status = int(ended.code or 0)
    finally:
        sys.stdin = before
    for stream in out, err:
        stream.seek(0)
    return Done(status, out.read(), err.read())


@final
class Terminal:
    """A command whose standard descriptors are a terminal of a given number of columns."""

    def __init__(
        self, *words: str, columns: int = 80, env: Mapping[str, str] | None = None
    ) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.process = subprocess.Popen(
            [COMMAND, *words],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env={**_PLAIN, "TERM": "xterm", **(env or {})},
        )
        os.close(slave)
        self._written = b""

    @property
    def screen(self) -> str:
        """What was written; of a character whose bytes come in two reads, all of them."""
        return self._written.decode(errors="replace")

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)

    def wait_for(self, text: str) -> None:
        deadline = time.monotonic() + DEADLINE
        while text not in self.screen:
            assert self._read(deadline), f"no {text!r} in {self.screen!r}"

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def end(self) -> int:
        deadline = time.monotonic() + DEADLINE
        while self._read(deadline):
            pass
        return self.process.wait(DEADLINE)

    def _read(self, deadline: float) -> bool:
        # poll, since select takes no descriptor above 1023.
        poll = select.poll()
        poll.register(self._master, select.POLLIN)
        ready = poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
        assert ready, f"nothing more within {DEADLINE} s than {self.screen!r}"
        try:
            data = os.read(self._master, 4096)
        except OSError:  # EIO: the other end is closed
            return False
        self._written += data
        return bool(data)


def become_nobody() -> None:
    """Import what a command may need, which nobody may not be allowed to read; drop root."""
    build_parser().format_help()
    for module in _IMPORTED_LATE:
        importlib.import_module(module)
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)


class OrdinaryUser:
    """A directory that every user can enter, and commands of a user who owns no file in it."""

    def __init__(self, path: str) -> None:
        self.pools = Pools(f"{path}/pools")

    def __call__(self, *words: str) -> Done:
        return run_forked([*words, "--pool-dir", self.pools.path], become_nobody)
