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
import select
import time

from hv_kvp_daemon.wire import connector as frame
from hv_kvp_daemon.wire.errors import WireError
from hv_kvp_daemon.wire.message import MESSAGE_SIZE, decode_version, encode_register
from hv_kvp_daemon.wire.uapi import (
    CN_KVP_IDX,
    NETLINK_ADD_MEMBERSHIP,
    NETLINK_CONNECTOR,
    SOL_NETLINK,
)

from .conversation import AWAY
from .errors import TransportError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .conversation import Conversation, Ready

    Trace = Callable[[int | None, memoryview], None]

    #: Of one datagram: the buffer, the message in it, and that as numbers of 8 bytes.
    _Room = tuple[memoryview, memoryview, memoryview]

KERNEL = (0, 0)

# A whole frame and some more, so that a longer datagram, cut by the kernel to
# this size, cannot pass for a frame.
_BUFFER_SIZE = 2 * frame.FRAME_SIZE

_TRANSIENT = frozenset({errno.ENOBUFS, errno.ENOMEM, errno.EINTR})

FOREIGN_SENDER = "not sent by the kernel"
OVERRUN = "receive queue full"
SUPERSEDED = "request given up by the driver"
_SUPERSEDED = "a newer one followed before this was served"


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
        self._spare = _room()
        # Where the newest request is.
        self._used = _room()
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
            datagram = self._spare[0]
            try:
                size, sender = self._socket.recvfrom_into(datagram)
            except BlockingIOError:
                return request
            except OSError as error:
                self._not_read(error)
                continue
            if self._trace is not None:
                self._trace(sender[0], datagram[:size])
            if not self._is_request(size, sender[0]):
                continue
            if request is not None:
                self._drop(SUPERSEDED, _SUPERSEDED)
            self._exchange()
            request = self._used[1]

    def _newer(self) -> memoryview | None:
        """As `receive`, while a request is in the room that was read into last."""
        self._exchange()
        newer = self.receive()
        if newer is not None:
            self._drop(SUPERSEDED, _SUPERSEDED)
        return newer

    def _exchange(self) -> None:
        self._spare, self._used = self._used, self._spare

    def _not_read(self, error: OSError) -> None:
        if error.errno == errno.EAGAIN:
            return  # woken with nothing there
        if error.errno not in _TRANSIENT:
            raise error
        self._drop(OVERRUN, os.strerror(error.errno))

    def _is_request(self, size: int, sender: int) -> bool:
        """Whether what was read is one; the driver's version is taken from its answer."""
        datagram, message, _ = self._spare
        if sender != 0:
            self._drop(FOREIGN_SENDER, f"{size} bytes from port id {sender}")
            return False
        try:
            frame.unpack(datagram[:size])
        except frame.FrameError as error:
            self._drop(error.reason, str(error))
            return False
        return not self._is_answer(message)

    def _is_answer(self, message: memoryview) -> bool:
        """Whether a message answers a registration; then the driver's version is taken."""
        version = decode_version(message)
        if version:
            self.version = version
        return bool(version)

    # One function, since each that it would be parted into costs 0.1 us per request.
    def converse(  # noqa: C901, PLR0912
        self, conversation: Conversation
    ) -> tuple[Ready, memoryview | None]:
        """As `Line.converse`, with nothing between the system calls that can be spared.

        It ends also when what was read was the driver's answer to a registration.

        Before each answer the socket is looked at once more: whoever answers in the
        daemon's name, as any local user can, has the driver send the next request before
        the last was read, and each answer would be the one before from then on.
        """
        wait, answer, stops = conversation.wait, conversation.answer, conversation.stops
        prepared, glance = conversation.prepared.get, conversation.glance
        receive, fixed = self._socket.recvfrom_into, frame.FIXED.unpack_from
        fd, send, header, clock = self.fileno(), os.write, self._header, time.monotonic
        one_message = [(fd, select.POLLIN)]
        queue = select.poll()
        queue.register(fd, select.POLLIN)
        more = queue.poll
        datagram, message, numbers = self._spare
        took, answered, answered_at = conversation.took, 0, 0.0
        try:
            while (ready := wait()) == one_message:
                woke = clock()
                try:
                    size, sender = receive(datagram)
                except OSError as error:
                    self._not_read(error)
                    continue
                if sender[0] or size != frame.FRAME_SIZE or fixed(datagram) != frame.EXPECTED:
                    self._is_request(size, sender[0])
                    continue
                reply = prepared(numbers[0])
                if reply is None:
                    reply = glance(message)
                    if reply is None and self._is_answer(message):
                        return [], None
                request = message
                if more(0):
                    newer = self._newer()
                    if newer is not None:
                        request, reply = newer, None
                    datagram, message, numbers = self._spare
                # Stopped, or kept from running since it woke: the driver may have asked
                # anew, and the host does not expect a change any more.
                if stops.continued or clock() - woke >= AWAY:
                    return [], request
                if reply is not None:
                    answered, answered_at = answered + 1, woke
                    if answered == 1:
                        # At once: a conversation may last as long as the host asks.
                        took(1, woke)
                else:
                    reply = answer(request)
                    if reply is None:
                        return [], None
                try:
                    send(fd, header + reply)  # without an address it is for the kernel
                except OSError as error:
                    self._not_sent(error)
        finally:
            if answered > 1:
                took(answered - 1, answered_at)
        return ready, None

    def send(self, reply: bytes) -> None:
        """One datagram of 7468 bytes, to the kernel alone.

        A reply that cannot be sent is dropped and counted: the driver tells the
        host HV_E_FAIL after 30 s, and the next request is served.
        """
        try:
            self._send(reply)
        except OSError as error:
            self._not_sent(error)

    def _not_sent(self, error: OSError) -> None:
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


def _room() -> _Room:
    datagram = memoryview(bytearray(_BUFFER_SIZE))
    message = datagram[frame.HEADER_SIZE : frame.FRAME_SIZE]
    return datagram, message, message.cast("Q")


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
