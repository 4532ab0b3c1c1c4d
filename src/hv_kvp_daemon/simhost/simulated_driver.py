# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""A simulated driver: the other end of the daemon's loopback socket.

It stands in for hv_kvp.c: it completes the registration, hands the daemon one message at a
time, and answers the host with HV_E_FAIL after the timeout.

One thing differs.  Requests carry no number, and the kernel's driver sends the next one
although the last is unanswered, so a late reply is taken for the answer to the new request.
Here nothing is sent before the late reply has come and was discarded, so the request of
each reply is known.  What the daemon does when the kernel mixes them up is tested with the
real driver (tests/driver).
"""

from __future__ import annotations

import socket
import time
from typing import Final, final

from hv_kvp_daemon.wire import uapi
from hv_kvp_daemon.wire.errors import WireError
from hv_kvp_daemon.wire.message import MESSAGE_SIZE, encode_register, encode_status

from .errors import BadReplyError, NoDaemonError
from .packet import to_daemon, to_host

#: HV_DRV_VERSION in hv_kvp.c, which the daemon serves as IntegrationServicesVersion.
VERSION: Final = b"3.1"

# Seconds between attempts to connect: there is no event for a socket that begins to listen.
_RETRY: Final = 0.01

# The socket does not exist, is not listened on, or its backlog is full.
_NOT_YET: Final = (FileNotFoundError, ConnectionRefusedError, BlockingIOError)


@final
class SimulatedDriver:
    """A connection to the daemon that listens at ``path``, after its registration.

    ``timeout`` is in seconds, for the daemon to register and for each reply.

    :raises NoDaemonError: no daemon registered in that time, or the path is unusable.
    :raises BadReplyError: the first message was not a registration.
    """

    def __init__(self, path: str, timeout: float = uapi.HV_UTIL_TIMEOUT) -> None:
        self.path = path
        self.timeout = timeout
        #: Replies that came after the host had got HV_E_FAIL.
        self.late_replies = 0
        self._reply_is_due = False
        deadline = time.monotonic() + timeout
        self._socket = self._connect(deadline)
        try:
            self._shake_hands(deadline)
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> SimulatedDriver:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the daemon waits for the next host."""
        self._socket.close()

    def carry(self, packet: bytes) -> tuple[int, bytes]:
        """Answer a host's message: return the status, and the message with the answer in it.

        :raises NoDaemonError: the daemon closed the connection.
        :raises BadReplyError: the kernel's driver could not use the reply.
        """
        reply = self.exchange(to_daemon(packet))
        try:
            return to_host(packet, reply)
        except WireError as error:
            name = uapi.KVP_OP_NAMES.get(packet[0], f"operation {packet[0]}")
            raise BadReplyError(f"reply to {name}, pool {packet[1]}: {error}") from error

    def exchange(self, message: bytes) -> bytes:
        """Send one message of 7432 bytes and return the reply, of 7432 bytes as well.

        After the timeout the reply is HV_E_FAIL.  While an earlier request is unanswered
        that long, nothing is sent and the reply is the same.  An exception during the wait
        (KeyboardInterrupt) closes the connection.

        :raises NoDaemonError: the daemon closed the connection.
        :raises BadReplyError: a reply of another size, or one without a request.
        """
        if len(message) != MESSAGE_SIZE:
            raise ValueError(f"a message has {MESSAGE_SIZE} bytes, not {len(message)}")
        deadline = time.monotonic() + self.timeout
        if self._reply_is_due:
            if self._receive(deadline) is None:
                return encode_status(uapi.HV_E_FAIL)
            self._reply_is_due = False
            self.late_replies += 1
        if self._receive(time.monotonic()) is not None:
            raise BadReplyError("the daemon sent a reply without a request")
        try:
            self._send(message)
            reply = self._receive(deadline)
        except BaseException:
            # A reply may or may not come now; it would be taken for that of the next request.
            self.close()
            raise
        if reply is None:
            self._reply_is_due = True
            return encode_status(uapi.HV_E_FAIL)
        return reply

    def _connect(self, deadline: float) -> socket.socket:
        while True:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            # A blocking connect would wait without end while the backlog is full: another
            # host is served, and a second one waits.
            connection.setblocking(False)
            try:
                connection.connect(self.path)
            except OSError as error:
                connection.close()
                if not isinstance(error, _NOT_YET) or time.monotonic() >= deadline:
                    text = error.strerror or str(error)
                    raise NoDaemonError(f"no daemon at {self.path}: {text}") from error
            else:
                return connection
            time.sleep(_RETRY)

    def _shake_hands(self, deadline: float) -> None:
        registration = self._receive(deadline)
        if registration is None:
            raise NoDaemonError(
                f"the daemon at {self.path} did not register within {self.timeout:g} s:"
                " it hangs or serves another host"
            )
        if registration[0] != uapi.KVP_OP_REGISTER1:
            raise BadReplyError(
                f"operation {registration[0]} instead of REGISTER1 ({uapi.KVP_OP_REGISTER1})"
            )
        self._send(encode_register(VERSION))

    def _send(self, message: bytes) -> None:
        try:
            self._socket.settimeout(self.timeout)
            self._socket.send(message)
        except OSError as error:
            raise self._gone(error) from error

    def _receive(self, deadline: float) -> bytes | None:
        """Return one whole message; None once the deadline has passed."""
        try:
            self._socket.settimeout(max(0.0, deadline - time.monotonic()))
            # One byte more than a message has, to notice a longer one.
            message = self._socket.recv(MESSAGE_SIZE + 1)
        except (TimeoutError, BlockingIOError):
            return None
        except OSError as error:
            raise self._gone(error) from error
        if not message:
            raise NoDaemonError(f"the daemon at {self.path} closed the connection")
        if len(message) != MESSAGE_SIZE:
            size = "more" if len(message) > MESSAGE_SIZE else str(len(message))
            raise BadReplyError(f"a message of {MESSAGE_SIZE} bytes was expected, {size} came")
        return message

    def _gone(self, error: OSError) -> NoDaemonError:
        if self._socket.fileno() < 0:
            return NoDaemonError(f"the connection to {self.path} is closed")
        return NoDaemonError(f"the daemon at {self.path} is gone: {error.strerror or error}")
