"""The character device ``/dev/vmbus/hv_kvp``: whole messages by read and write.

Facts that shape this module (``hv_utils_transport.c``): the driver serves one
opener (EBUSY for a second) and forgets the registration at close; ``poll`` never
says POLLOUT; a driver that goes away says POLLERR|POLLHUP and then waits for our
close; a write that answers nothing fails with EINVAL, which after a stall or
hibernation is the only sign that the conversation is broken.  Whatever fails,
closing and opening again sets both sides back to the start.
"""

from __future__ import annotations

import os

from hv_kvp_daemon.wire.message import MESSAGE_SIZE, decode_version, encode_register

from .errors import TransportError, TransportLostError

DEVICE = "/dev/vmbus/hv_kvp"


class CharDevice:
    """The opened device.

    :raises TransportError: it is missing, held by another process (EBUSY), or
        forbidden; ``__cause__`` is the OSError.
    """

    name = "chardev"

    def __init__(self, path: str = DEVICE) -> None:
        self.version = b""
        self._buffer = memoryview(bytearray(MESSAGE_SIZE))
        try:
            # Without O_NONBLOCK, as the driver ignores it: a read without
            # POLLIN would block, so there is exactly one for each POLLIN.
            self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise TransportError(f"{path}: {error.strerror}") from error

    def fileno(self) -> int:
        return self._fd

    def register(self) -> None:
        """Write REGISTER1.

        :raises TransportLostError: the driver refused it.
        """
        self.send(encode_register())

    def receive(self) -> memoryview | None:
        """Read one message; a request, or None. Call it after POLLIN only.

        The driver keeps no queue: one message is all there can be.  The view is
        valid until the next call.

        :raises TransportLostError: the device is gone or broken.
        """
        try:
            size = os.readv(self._fd, [self._buffer])
        except (BlockingIOError, InterruptedError):
            return None  # woken with nothing there: EAGAIN by the driver's own choice
        except OSError as error:
            raise TransportLostError(f"read: {error.strerror}") from error
        if size != MESSAGE_SIZE:
            raise TransportLostError(f"read {size} bytes, a message has {MESSAGE_SIZE}")
        version = decode_version(self._buffer)
        if version:
            self.version = version
            return None
        return self._buffer

    def send(self, reply: bytes) -> None:
        """Write one message.

        :raises TransportLostError: the driver refused it (EINVAL: it waits for
            no answer any more) or took a part.
        """
        try:
            size = os.write(self._fd, reply)
        except OSError as error:
            raise TransportLostError(f"write: {error.strerror}") from error
        if size != len(reply):
            raise TransportLostError(f"wrote {size} of {len(reply)} bytes")

    def close(self) -> None:
        os.close(self._fd)
