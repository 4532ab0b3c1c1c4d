"""The netlink connector: the driver's messages as datagrams of group CN_KVP_IDX.

Facts that shape this module (``hv_utils_transport.c``, ``connector.c``):

- The driver multicasts each request to group 9 and takes as the answer whatever
  arrives next for connector {9, 1}.  Requests carry no id.  After a stall the
  queue holds requests that the driver has given up, and a reply to one of those
  would answer the newer one (measured: the host got key 7 for index 8).  So the
  socket is read empty before anything is served, and only the newest counts.
- Any local user may send to the kernel's port and, on Linux 6.6 and later, join
  group 9.  Nobody but the kernel has port id 0, so the sender's address (not
  ``nlmsg_pid``, which the sender writes) proves where a datagram is from.
- A full receive queue is reported once, as ENOBUFS, and then goes on.
"""

from __future__ import annotations

import _socket
import errno
import os

from hv_kvp_daemon.wire import connector as frame
from hv_kvp_daemon.wire.errors import WireError
from hv_kvp_daemon.wire.message import MESSAGE_SIZE, decode_version, encode_register
from hv_kvp_daemon.wire.uapi import (
    CN_KVP_IDX,
    NETLINK_ADD_MEMBERSHIP,
    NETLINK_CONNECTOR,
    SOL_NETLINK,
)

from .errors import TransportError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Trace = Callable[[int | None, memoryview], None]

KERNEL = (0, 0)

# A whole frame and some more, so that a longer datagram, cut by the kernel to
# this size, cannot pass for a frame.
_BUFFER_SIZE = 2 * frame.FRAME_SIZE

_TRANSIENT = frozenset({errno.ENOBUFS, errno.ENOMEM, errno.EINTR})

FOREIGN_SENDER = "not sent by the kernel"
OVERRUN = "receive queue full"
SUPERSEDED = "request given up by the driver"


class Connector:
    """A bound NETLINK_CONNECTOR socket, member of group 9.

    ``drop`` is told the reason and a detail of every datagram that is not
    served.  ``version`` is what the driver answered to the registration.  ``sock``
    takes the place of the socket that is opened otherwise.  ``trace``, where
    given, gets the sender's port id (None for our own) and each datagram.

    :raises TransportError: this kernel, network namespace or user cannot do it.
    """

    name = "netlink"

    def __init__(
        self,
        drop: Callable[[str, str], None],
        sock: _socket.socket | None = None,
        trace: Trace | None = None,
    ) -> None:
        self._drop = drop
        self._trace = trace
        self._header = frame.pack_header()
        self._spare = memoryview(bytearray(_BUFFER_SIZE))
        self._newest = memoryview(bytearray(_BUFFER_SIZE))
        self.version = b""
        self._socket = _joined_socket() if sock is None else sock

    def fileno(self) -> int:
        return self._socket.fileno()

    @property
    def port_id(self) -> int:
        """The socket's own netlink port id, as /proc/net/netlink shows it."""
        port: int = self._socket.getsockname()[0]
        return port

    def register(self) -> None:
        """Send REGISTER1.

        :raises TransportError: there is no kernel to send to in this network
            namespace (the driver's connector lives in the initial one only).
        """
        try:
            self._send(encode_register())
        except OSError as error:
            raise TransportError(
                f"cannot send to the netlink connector: {error.strerror}"
            ) from error

    def receive(self) -> memoryview | None:
        """Read the socket empty; the newest request, or None.

        The view is valid until the next call.
        """
        request = None
        while True:
            try:
                size, sender = self._socket.recvfrom_into(self._spare)
            except BlockingIOError:
                return request
            except OSError as error:
                if error.errno not in _TRANSIENT:
                    raise
                self._drop(OVERRUN, os.strerror(error.errno))
                continue
            if self._trace is not None:
                self._trace(sender[0], self._spare[:size])
            if sender[0] != 0:
                self._drop(FOREIGN_SENDER, f"{size} bytes from port id {sender[0]}")
                continue
            try:
                message = frame.unpack(self._spare[:size])
            except frame.FrameError as error:
                self._drop(error.reason, str(error))
                continue
            version = decode_version(message)
            if version:
                self.version = version
                continue
            if request is not None:
                self._drop(SUPERSEDED, "a newer one followed before this was served")
            request = message
            self._spare, self._newest = self._newest, self._spare

    def send(self, reply: bytes) -> None:
        """One datagram of 7468 bytes, to the kernel alone.

        A reply that cannot be sent is dropped and counted: the driver tells the
        host HV_E_FAIL after 30 s, and the next request is served.
        """
        try:
            self._send(reply)
        except OSError as error:
            self._drop("reply not sent", os.strerror(error.errno or 0))

    def _send(self, message: bytes) -> None:
        if len(message) != MESSAGE_SIZE:
            raise WireError(f"a message has {len(message)} bytes, not {MESSAGE_SIZE}")
        datagram = self._header + message
        if self._trace is not None:
            self._trace(None, memoryview(datagram))
        while True:
            try:
                self._socket.sendto(datagram, KERNEL)
            except InterruptedError:
                continue
            return

    def close(self) -> None:
        self._socket.close()


def _joined_socket() -> _socket.socket:
    try:
        joined = _socket.socket(
            _socket.AF_NETLINK,
            _socket.SOCK_DGRAM | _socket.SOCK_NONBLOCK | _socket.SOCK_CLOEXEC,
            NETLINK_CONNECTOR,
        )
    except OSError as error:
        raise TransportError(
            f"no netlink connector in this kernel: {error.strerror}"
        ) from error
    try:
        # A group mask in the address could only name groups 1 to 32 by bit and
        # is easily mistaken for a number (9 joins groups 1 and 4).
        joined.bind((0, 0))
        joined.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, CN_KVP_IDX)
    except OSError as error:
        joined.close()
        raise TransportError(
            f"cannot join netlink group {CN_KVP_IDX}: {error.strerror}"
        ) from error
    return joined
