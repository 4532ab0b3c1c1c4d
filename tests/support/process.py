# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The real daemon as a process, and the driver's end of its loopback socket.

It is for tests of the process itself: nothing waits for READY=1, the daemon may detach,
and a test sends any message.  `tests.support.daemon` has a daemon that serves, and a host.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from hv_kvp_daemon.wire.message import (
    MESSAGE_SIZE,
    Reply,
    Request,
    decode_reply,
    encode_register,
    encode_request,
)

if TYPE_CHECKING:
    from typing_extensions import Self

# No measure of speed: only a test that fails waits so long.
DEADLINE = 60.0


def wait_for(what: str, condition: Callable[[], object], seconds: float = DEADLINE) -> None:
    """Poll until a condition holds; for what has no event to wait for."""
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, f"not within {seconds} s: {what}"
        select.select([], [], [], 0.005)


def has_ended(process: psutil.Process) -> bool:
    """Tell whether a process that another one has adopted has gone or waits to be reaped."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


class Peer:
    """The driver's end: registration answered with ``version``, one request at a time."""

    def __init__(self, path: str, version: bytes = b"3.1") -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(DEADLINE)
        try:
            self.socket.connect(path)
        except OSError:
            self.socket.close()
            raise
        self.registration = self.socket.recv(MESSAGE_SIZE + 1)
        if version:
            self.socket.send(encode_register(version))

    def ask(
        self, operation: int, pool: int, key: str = "", value: str = "", index: int = 0
    ) -> Reply:
        """One request and its reply."""
        request = Request(operation, pool, key.encode(), value.encode(), index)
        return self.exchange(encode_request(request))

    def exchange(self, message: bytes) -> Reply:
        self.socket.send(message)
        return decode_reply(self.socket.recv(MESSAGE_SIZE + 1))

    def close(self) -> None:
        self.socket.close()


def connect(path: str, watch: Callable[[], object] = lambda: None) -> Peer:
    """Connect as soon as a process listens; an exception of ``watch`` ends the wait."""
    ends = time.monotonic() + DEADLINE
    while True:
        try:
            return Peer(path)
        except (FileNotFoundError, ConnectionRefusedError):  # noqa: PERF203 - that is the wait
            watch()
            assert time.monotonic() < ends, f"no process listens on {path}"
            select.select([], [], [], 0.01)


class RunningDaemon:
    """``python -m hv_kvp_daemon`` on a loopback socket and pools below a directory.

    Its standard error is in ``stderr``; leaving the context ends it.
    """

    def __init__(
        self,
        directory: Path,
        *options: str,
        env: dict[str, str] | None = None,
        attached: str = "-n",
    ) -> None:
        self.socket_path = str(directory / "host")
        self.pool_dir = directory / "pools"
        self._stderr = directory / "stderr"
        self._peers: list[Peer] = []
        with self._stderr.open("ab") as stderr:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "hv_kvp_daemon"),
                    *([attached] if attached else []),
                    *("--transport", f"loopback:{self.socket_path}"),
                    *("--pool-dir", str(self.pool_dir), *options),
                ],
                stderr=stderr,
                env={**os.environ, **(env or {})},
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def stderr(self) -> str:
        return self._stderr.read_text(errors="replace")

    def connect(self) -> Peer:
        """Connect as soon as it listens; the connection is closed with the context."""
        self._peers.append(connect(self.socket_path, self._must_run))
        return self._peers[-1]

    def pool(self, number: int) -> Path:
        return self.pool_dir / f".kvp_pool_{number}"

    def stop(self, number: int = signal.SIGTERM, seconds: float = DEADLINE) -> int:
        """Send a signal and return the exit status."""
        self.process.send_signal(number)
        return self.process.wait(seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for peer in self._peers:
            peer.close()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(DEADLINE)
        # pytest shows it with a test that fails.
        print(self.stderr, file=sys.stderr)

    def _must_run(self) -> None:
        assert self.process.poll() is None, f"it ended: {self.stderr}"
