# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""A UNIX socket in place of the driver, for the simulated host.

The daemon listens on a SOCK_SEQPACKET socket.  A process that connects simulates the
driver, one process at a time, with the rules of the character device: whole messages of
7432 bytes, the registration first.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import stat

from hv_kvp_daemon.wire.message import MESSAGE_SIZE, decode_version, encode_register

from .errors import TransportError, TransportLostError
from .link import Link, is_readable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Listener:
    """The listening socket at ``path``; `close` removes the path.

    :raises TransportError: the path is in use or cannot be used.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self._remove_stale()
            self._bind()
            self._socket.listen(1)
            self._socket.setblocking(False)
        except OSError as error:
            self._socket.close()
            raise TransportError(f"loopback:{path}: {error.strerror or error}") from error

    def _bind(self) -> None:
        # For this user only: requests change the pools, and replies carry their values.  By
        # the umask, since another user who may write in the directory could put a link to
        # any file in place of the path before a chmod.
        former = os.umask(0o177)
        try:
            self._socket.bind(self._path)
        finally:
            os.umask(former)

    def _remove_stale(self) -> None:
        """Remove a socket on which no process listens, left by a killed daemon."""
        try:
            if not stat.S_ISSOCK(os.lstat(self._path).st_mode):
                return
        except FileNotFoundError:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
            try:
                probe.connect(self._path)
            except ConnectionRefusedError:
                os.unlink(self._path)

    def fileno(self) -> int:
        return self._socket.fileno()

    def accept(self) -> Loopback | None:
        """Return the connected peer, or None if it has already gone."""
        try:
            connection, _ = self._socket.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return None
        connection.setblocking(False)
        return Loopback(connection)

    def close(self) -> None:
        self._socket.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)


class Loopback:
    """The daemon's end of a connection."""

    name = "loopback"

    def __init__(self, connection: socket.socket) -> None:
        self.version = b""
        self._socket = connection
        # One byte more than a message, to detect a longer one.
        self._buffer = memoryview(bytearray(MESSAGE_SIZE + 1))

    def fileno(self) -> int:
        return self._socket.fileno()

    def register(self) -> None:
        """Send REGISTER1.

        :raises TransportLostError: the peer has gone.
        """
        self.send(encode_register())

    def receive(self) -> memoryview | None:
        """Read one message; return it if it is a request, else None.

        :raises TransportLostError: the peer has gone, or has not sent 7432 bytes.
        """
        try:
            size = self._socket.recv_into(self._buffer)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError as error:
            raise TransportLostError(f"read: {error.strerror}") from error
        if not size:
            raise TransportLostError("the peer closed the connection")
        if size != MESSAGE_SIZE:
            raise TransportLostError(f"read {size} bytes or more, a message has {MESSAGE_SIZE}")
        message = self._buffer[:MESSAGE_SIZE]
        version = decode_version(message)
        if version:
            self.version = version
            return None
        return message

    def send(self, reply: bytes) -> None:
        """Send one message.

        :raises TransportLostError: the peer has gone or does not read.
        """
        try:
            self._socket.send(reply)
        except OSError as error:
            raise TransportLostError(f"write: {error.strerror}") from error

    def close(self) -> None:
        self._socket.close()


class LoopbackLink(Link):
    """Serves the processes that connect, one after the other.

    :raises TransportError: the path is in use or cannot be used.
    """

    name = Loopback.name

    def __init__(self, report: Callable[[str], None], path: str) -> None:
        super().__init__(report)
        self._path = path
        self._listener = Listener(path)
        self._peer: Loopback | None = None
        self._watch()

    def start(self) -> None:
        self.say(f"waiting for a simulated host on {self._path}")

    def _watch(self) -> None:
        source = self._listener if self._peer is None else self._peer
        self.watched = ((source.fileno(), select.POLLIN),)
        self.message_ready = None if self._peer is None else list(self.watched)

    def on_event(self, fd: int, events: int) -> memoryview | None:  # noqa: ARG002 - end of file comes with recv
        if self._peer is not None:
            return self.receive()
        self._peer = self._listener.accept()
        self._watch()
        if self._peer is not None:
            try:
                self._peer.register()
            except TransportLostError:
                self._hang_up()
        return None

    def receive(self) -> memoryview | None:
        if self._peer is None:
            return None
        try:
            request = self._peer.receive()
        except TransportLostError:
            self._hang_up()
            return None
        self.version = self._peer.version
        return request

    def _hang_up(self) -> None:
        if self._peer is not None:
            self._peer.close()
            self._peer = None
            self._watch()
        self.version = b""

    def on_deadline(self) -> memoryview | None:
        return None

    def newer(self) -> memoryview | None:
        if self._peer is not None and is_readable(self._peer.fileno()):
            return self.receive()
        return None

    def send(self, reply: bytes) -> None:
        if self._peer is not None:
            try:
                self._peer.send(reply)
            except TransportLostError:
                self._hang_up()

    def close(self) -> None:
        self._hang_up()
        self._listener.close()

    def state(self) -> str:
        return f"serving on {self._path}" if self._peer else f"waiting on {self._path}"
