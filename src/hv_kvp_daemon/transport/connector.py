# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The netlink connector: the driver's messages as datagrams of group CN_KVP_IDX.

Facts on which this module rests (``hv_utils_transport.c``, ``connector.c``):

- The driver multicasts each request to group 9, and takes the next message for connector
  {9, 1} as the answer, whoever sent it.  Requests carry no id.  After a stall the receive
  queue holds requests that the driver has given up, and a reply to one of those would
  answer a newer one (measured: the host got key 7 for index 8).  The same happens when
  another process replies in the daemon's place, as any local user can.  So the queue is
  read empty before each answer, and only the newest request is answered.
- Any local user may send to the kernel and, on Linux 6.6 and later, join group 9.  A
  process with CAP_NET_ADMIN may send to this socket and to the group.  Only the kernel has
  port id 0, so the address of the sender proves the origin of a datagram.  ``nlmsg_pid``
  does not, since the sender writes it.
- A full receive queue is reported once, as ENOBUFS; the socket then works again.
- A process with CAP_NET_ADMIN can send as fast as this one reads, so that the queue never
  becomes empty.  So it is read `_MOST_READ` times at most; then nothing is answered.
"""

from __future__ import annotations

import _socket
import errno
import os
import select

from hv_kvp_daemon.wire import connector as frame
from hv_kvp_daemon.wire.errors import WireError
from hv_kvp_daemon.wire.message import (
    MESSAGE_SIZE,
    answers_old_register,
    decode_version,
    encode_register,
)
from hv_kvp_daemon.wire.uapi import (
    CN_KVP_IDX,
    KVP_OP_REGISTER1,
    NETLINK_ADD_MEMBERSHIP,
    NETLINK_CONNECTOR,
    SOL_NETLINK,
)

from .errors import TransportError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    #: Called with the sender's port id (None for this daemon) and the datagram.
    Trace = Callable[[int | None, memoryview], None]

KERNEL = (0, 0)

# Larger than a frame.  The kernel cuts a longer datagram to this size, so it cannot pass
# for a frame.
_BUFFER_SIZE = 2 * frame.FRAME_SIZE

# The queue holds 300 short datagrams, and fewer of the driver's.
_MOST_READ = 1024

_TRANSIENT = frozenset({errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM, errno.EINTR})

FOREIGN_SENDER = "not sent by the kernel"
OVERRUN = "receive queue full"
SUPERSEDED = "request given up by the driver"
FLOODED = "request lost among messages of another process"
_SUPERSEDED = "a newer request arrived before this one was answered"


class Connector:
    """A bound NETLINK_CONNECTOR socket, member of group 9.

    ``drop(reason, detail)`` is called for every datagram that is not served, and ``trace``
    for every datagram.  ``sock``, if given, is used instead of a new socket.  ``version``
    is the driver's version, from its answer to the registration, or ``b""``.

    :raises TransportError: the kernel has no connector, or this user may not join.
    """

    name = "netlink"

    def __init__(
        self,
        drop: Callable[[str, str], None],
        sock: _socket.socket | None = None,
        trace: Trace | None = None,
    ) -> None:
        #: Called with the reason and a detail of each datagram that is not served.
        self.drop = drop
        self._trace = trace
        self._header = frame.pack_header()
        # Two buffers: a newer datagram must not overwrite the request that is being served.
        self._spare, self._used = _make_buffer(), _make_buffer()
        self.version = b""
        #: Whether the driver has not answered a registration since its last reset, so that
        #: an operation 4 can be its answer to another process.
        self.registering = True
        #: Whether the driver has answered a registration of the old protocol, which this
        #: daemon does not send.
        self.preempted = False
        #: Port id of another process that has sent a valid frame of this connector, or has
        #: sent without end, or 0.
        self.stranger = 0
        self._socket = _join() if sock is None else sock
        queue = select.poll()
        queue.register(self._socket.fileno(), select.POLLIN)
        self._has_more = queue.poll

    def fileno(self) -> int:
        return self._socket.fileno()

    @property
    def port_id(self) -> int:
        """The netlink port id of this socket, as in /proc/net/netlink."""
        port: int = self._socket.getsockname()[0]
        return port

    def register(self) -> None:
        """Send REGISTER1.

        :raises TransportError: this network namespace has no connector; the kernel creates
            it in the initial one only.
        """
        try:
            self._send(encode_register())
        except OSError as error:
            raise TransportError(
                f"cannot send to the netlink connector: {error.strerror}"
            ) from error

    def receive(self) -> memoryview | None:
        """Read the socket empty and return the newest request, or None.

        The view is valid until the call after next.
        """
        request = None
        sender = KERNEL
        for _ in range(_MOST_READ):
            datagram, message = self._spare
            try:
                size, sender = self._socket.recvfrom_into(datagram)
            except OSError as error:
                self._not_read(error)
            else:
                if self._trace is not None:
                    self._trace(sender[0], datagram[:size])
                if self._is_request(size, sender[0]):
                    if request is not None:
                        self.drop(SUPERSEDED, _SUPERSEDED)
                    request = message
                    self._spare, self._used = self._used, self._spare
            # poll is cheaper than a receive that fails with EAGAIN and raises.
            if not self._has_more(0):
                return request
        self.stranger = self.stranger or sender[0]
        if request is not None:
            # A newer one may be in the queue.
            self.drop(FLOODED, f"still not empty after {_MOST_READ} messages")
        return None

    def newer(self) -> memoryview | None:
        """Like `receive`, while the request that was received last is still being served."""
        newer = self.receive() if self._has_more(0) else None
        if newer is not None:
            self.drop(SUPERSEDED, _SUPERSEDED)
        return newer

    def _not_read(self, error: OSError) -> None:
        if error.errno not in _TRANSIENT:
            raise error
        if error.errno != errno.EAGAIN:
            self.drop(OVERRUN, os.strerror(error.errno or 0))

    def _is_request(self, size: int, sender: int) -> bool:
        """Whether the datagram is a request; store the version from an answer to REGISTER1."""
        datagram, message = self._spare
        try:
            frame.unpack(datagram[:size])
        except frame.FrameError as error:
            reason, detail = error.reason, str(error)
        else:
            reason, detail = "", ""
            if sender:
                self.stranger = sender
        if sender:
            reason, detail = FOREIGN_SENDER, f"{size} bytes from port id {sender}"
        if reason:
            self.drop(reason, detail)
            return False
        if message[0] == KVP_OP_REGISTER1 and (version := decode_version(message)):
            self.version = version
            return False
        if self.registering and answers_old_register(message):
            self.preempted = True
            return False
        return True

    def send(self, reply: bytes) -> None:
        """Send one datagram of 7468 bytes to the kernel only.

        A reply that cannot be sent is dropped and counted: the driver returns HV_E_FAIL to
        the host after 30 s, and the next request is served.
        """
        try:
            self._send(reply)
        except OSError as error:
            self.drop("reply not sent", os.strerror(error.errno or 0))

    def _send(self, message: bytes) -> None:
        if len(message) != MESSAGE_SIZE:
            raise WireError(f"a message has {len(message)} bytes, not {MESSAGE_SIZE}")
        datagram = self._header + message
        if self._trace is not None:
            self._trace(None, memoryview(datagram))
        self._socket.sendto(datagram, KERNEL)

    def close(self) -> None:
        self._socket.close()


def _make_buffer() -> tuple[memoryview, memoryview]:
    """Return a buffer for one datagram, and a view of the message in it."""
    datagram = memoryview(bytearray(_BUFFER_SIZE))
    return datagram, datagram[frame.HEADER_SIZE : frame.FRAME_SIZE]


def _join() -> _socket.socket:
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
        # The address could have a group mask.  It is limited to groups 1 to 32, and easily
        # mistaken for a number: 9 joins groups 1 and 4.
        joined.bind((0, 0))
        joined.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, CN_KVP_IDX)
    except OSError as error:
        joined.close()
        raise TransportError(
            f"cannot join netlink group {CN_KVP_IDX}: {error.strerror}"
        ) from error
    return joined
