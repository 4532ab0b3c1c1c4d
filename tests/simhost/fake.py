# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""A fake daemon: the test itself sends and receives its messages."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from hv_kvp_daemon.simhost.simulated_driver import SimulatedDriver
from hv_kvp_daemon.wire.message import MESSAGE_SIZE, encode_register

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future, ThreadPoolExecutor
    from typing import ParamSpec, TypeVar

    P = ParamSpec("P")
    T = TypeVar("T")

# Seconds to wait for a message that is certain to arrive.
LONG = 60.0


class FakeDaemon:
    """A listener for which the test sends and receives; the driver runs in a thread."""

    def __init__(self, path: str, pool: ThreadPoolExecutor) -> None:
        self.path = path
        self._pool = pool
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(path)
        self._listener.listen(1)
        self._listener.settimeout(LONG)
        self.connection: socket.socket | None = None

    def accept(self, registration: bytes) -> Future[SimulatedDriver]:
        """Let a driver connect, and send it these bytes as the registration."""
        future = self._pool.submit(SimulatedDriver, self.path, LONG)
        self.connection, _ = self._listener.accept()
        self.connection.settimeout(LONG)
        self.connection.send(registration)
        return future

    def registered(self, timeout: float = LONG) -> SimulatedDriver:
        """Return a driver that has registered; ``timeout`` is that of its requests."""
        driver = self.accept(encode_register()).result(LONG)
        assert self.receive() == encode_register(b"3.1")
        driver.timeout = timeout
        return driver

    def run(self, call: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> Future[T]:
        """Call a function that waits for this daemon, in the thread."""
        return self._pool.submit(call, *arguments, **options)

    def receive(self) -> bytes:
        assert self.connection is not None
        return self.connection.recv(2 * MESSAGE_SIZE)

    def send(self, message: bytes) -> None:
        assert self.connection is not None
        self.connection.send(message)

    def hang_up(self) -> None:
        if self.connection is not None:
            self.connection.close()

    def close(self) -> None:
        self.hang_up()
        self._listener.close()
