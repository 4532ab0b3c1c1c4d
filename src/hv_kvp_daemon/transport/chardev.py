"""The character device ``/dev/vmbus/hv_kvp``: whole messages by read and write.

Facts about the driver that shape this module (``hv_utils_transport.c``):

- It serves one opener (EBUSY for a second) and forgets the registration at close.
- poll never reports POLLOUT.  A driver that is being removed reports POLLERR|POLLHUP and
  then waits until the device is closed.
- It keeps one message at most: the next is there only after the first was answered, or
  after the driver has given it up.
- O_NONBLOCK is ignored, so a read without a message blocks.
- A write fails with EINVAL while no request is under way: the reply came later than the
  driver's 30 s, or the guest was suspended meanwhile.  The device is in order, and closing
  it would fail the request that the driver has handed over since.
"""

from __future__ import annotations

import errno
import os
import select
from io import FileIO

from hv_kvp_daemon.wire.message import MESSAGE_SIZE, decode_version, encode_register
from hv_kvp_daemon.wire.uapi import KVP_OP_REGISTER1

from .driver import DEVICE
from .errors import TransportError, TransportLostError


class CharDevice:
    """The opened device.

    :raises TransportError: it is missing, held by another process (EBUSY), or
        forbidden; ``__cause__`` is the OSError.
    """

    name = "chardev"

    #: Edge-triggered: the driver wakes its poller for each message and when it goes.
    #: Level-triggered, epoll would ask it once more after each message, which costs 0.25
    #: of the 5.4 us of a request (measured natively on Linux 6.18).
    EVENTS = select.POLLIN | select.EPOLLET

    def __init__(self, path: str = DEVICE) -> None:
        #: What the driver answered to the registration.
        self.version = b""
        self._buffer = memoryview(bytearray(MESSAGE_SIZE))
        try:
            self._file = FileIO(os.open(path, os.O_RDWR | os.O_CLOEXEC), "r+b")
        except OSError as error:
            raise TransportError(f"{path}: {error.strerror}") from error

    def fileno(self) -> int:
        return self._file.fileno()

    def register(self) -> None:
        """Write REGISTER1.

        :raises TransportLostError: the driver refused it.
        """
        if not self.send(encode_register()):
            raise TransportLostError("the driver refused the registration")

    def receive(self) -> memoryview | None:
        """Read one message after POLLIN: the request, or None if it was none.

        The view is valid until the next call.

        :raises TransportLostError: the device is gone or broken.
        """
        try:
            size = self._file.readinto(self._buffer)
        except OSError as error:
            raise TransportLostError(f"read: {error.strerror}") from error
        if size is None:
            return None  # EAGAIN: woken with nothing there
        if size != MESSAGE_SIZE:
            raise TransportLostError(f"read {size} bytes, a message has {MESSAGE_SIZE}")
        if self._buffer[0] == KVP_OP_REGISTER1 and (version := decode_version(self._buffer)):
            self.version = version
            return None
        return self._buffer

    def send(self, reply: bytes) -> bool:
        """Write one message; False: the driver does not wait for it any more.

        :raises TransportLostError: the device is gone, or took a part of the message.
        """
        try:
            size = self._file.write(reply)
        except OSError as error:
            if error.errno == errno.EINVAL:
                return False
            raise TransportLostError(f"write: {error.strerror}") from error
        if size != len(reply):
            raise TransportLostError(f"wrote {size} of {len(reply)} bytes")
        return True

    def close(self) -> None:
        self._file.close()
