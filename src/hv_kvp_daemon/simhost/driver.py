"""The driver's part towards the daemon: a socket in place of ``/dev/vmbus/hv_kvp``.

In: one message at a time.  Out: the daemon's reply, or HV_E_FAIL after the
timeout, as the driver says it to a host.

One rule differs from the kernel's.  Requests carry no number, and the driver
sends a new one although the last is unanswered, so a late reply passes for the
new request's.  Here nothing is sent before the late reply has come and has been
thrown away: two requests are never under way, so each reply's request is known.
What the daemon does when the kernel mixes them up is shown by the driver lab.
"""

from __future__ import annotations

import socket
import time
from typing import Final, final

from hv_kvp_daemon.wire.errors import WireError
from hv_kvp_daemon.wire.message import MESSAGE_SIZE, encode_register, encode_status
from hv_kvp_daemon.wire.uapi import (
    HV_E_FAIL,
    HV_UTIL_TIMEOUT,
    KVP_OP_NAMES,
    KVP_OP_REGISTER1,
)

from .errors import BadReplyError, NoDaemonError
from .packet import to_daemon, to_host

#: HV_DRV_VERSION in hv_kvp.c; the daemon shows it as IntegrationServicesVersion.
VERSION: Final = b"3.1"

# Between two attempts to connect: nothing tells when a socket begins to listen.
_RETRY: Final = 0.01

# No socket there, nobody listens on it, or as many wait as it lets wait.
_NOT_YET: Final = (FileNotFoundError, ConnectionRefusedError, BlockingIOError)


@final
class Driver:
    """A connection to the daemon that listens at ``path``, with the handshake done.

    ``timeout`` is in seconds: how long to wait for the daemon, and for each reply.

    :raises NoDaemonError: nobody registered in that time, or the path cannot be used.
    :raises BadReplyError: what came first was no registration.
    """

    def __init__(self, path: str, timeout: float = HV_UTIL_TIMEOUT) -> None:
        self.path = path
        self.timeout = timeout
        #: Replies that came after the host had been told HV_E_FAIL.
        self.late_replies = 0
        self._owed = False
        deadline = time.monotonic() + timeout
        self._socket = self._connect(deadline)
        try:
            self._shake_hands(deadline)
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Driver:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up; the daemon waits for the next host."""
        self._socket.close()

    def carry(self, packet: bytes) -> tuple[int, bytes]:
        """Take a host's message to the daemon: the status, and the message with the answer.

        :raises NoDaemonError: the daemon hung up.
        :raises BadReplyError: the kernel could not use the reply.
        """
        reply = self.exchange(to_daemon(packet))
        try:
            return to_host(packet, reply)
        except WireError as error:
            name = KVP_OP_NAMES.get(packet[0], f"operation {packet[0]}")
            raise BadReplyError(f"reply to {name}, pool {packet[1]}: {error}") from error

    def exchange(self, message: bytes) -> bytes:
        """Send one message of 7432 bytes and wait for its reply, of 7432 bytes as well.

        After the timeout the reply is HV_E_FAIL.  It is so, too, without anything
        being sent, while an earlier request is still unanswered at that time.
        What interrupts the wait ends the conversation.

        :raises NoDaemonError: the daemon hung up.
        :raises BadReplyError: a reply of another size, or one that nobody asked for.
        """
        if len(message) != MESSAGE_SIZE:
            raise ValueError(f"a message has {MESSAGE_SIZE} bytes, not {len(message)}")
        deadline = time.monotonic() + self.timeout
        if self._owed:
            if self._receive(deadline) is None:
                return encode_status(HV_E_FAIL)
            self._owed = False
            self.late_replies += 1
        if self._receive(time.monotonic()) is not None:
            raise BadReplyError("the daemon sent a reply that nobody asked for")
        try:
            self._send(message)
            reply = self._receive(deadline)
        except BaseException:
            # After Ctrl-C nobody knows whether a reply will come.
            self.close()
            raise
        if reply is None:
            self._owed = True
            return encode_status(HV_E_FAIL)
        return reply

    def _connect(self, deadline: float) -> socket.socket:
        while True:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            # A blocking connect waits for ever while another host is served and
            # a second one waits already.
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
        if registration[0] != KVP_OP_REGISTER1:
            raise BadReplyError(
                f"operation {registration[0]} instead of REGISTER1 ({KVP_OP_REGISTER1})"
            )
        self._send(encode_register(VERSION))

    def _send(self, message: bytes) -> None:
        try:
            self._socket.settimeout(self.timeout)
            self._socket.send(message)
        except OSError as error:
            raise self._gone(error) from error

    def _receive(self, deadline: float) -> bytes | None:
        """One whole message; None when the deadline has passed."""
        try:
            self._socket.settimeout(max(0.0, deadline - time.monotonic()))
            # One byte more than a message, so that a longer one shows.
            message = self._socket.recv(MESSAGE_SIZE + 1)
        except (TimeoutError, BlockingIOError):
            return None
        except OSError as error:
            raise self._gone(error) from error
        if not message:
            raise NoDaemonError(f"the daemon at {self.path} hung up")
        if len(message) != MESSAGE_SIZE:
            size = "more" if len(message) > MESSAGE_SIZE else str(len(message))
            raise BadReplyError(f"a message of {MESSAGE_SIZE} bytes was due, {size} came")
        return message

    def _gone(self, error: OSError) -> NoDaemonError:
        if self._socket.fileno() < 0:
            return NoDaemonError(f"the conversation with {self.path} has ended")
        return NoDaemonError(f"the daemon at {self.path} has gone: {error.strerror or error}")
