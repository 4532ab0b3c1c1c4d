"""The kernel's announcements that the KVP device appeared or went.

A driver that is loaded late or again says nothing over the connector, and the
host is not served until somebody registers.  But the kernel announces the
driver's device on NETLINK_KOBJECT_UEVENT, group 1:
``add@/devices/virtual/misc/vmbus!hv_kvp`` and NUL-separated ``KEY=value``.
"""

from __future__ import annotations

import _socket
import errno

from hv_kvp_daemon.wire.uapi import NETLINK_ADD_MEMBERSHIP, NETLINK_KOBJECT_UEVENT, SOL_NETLINK

DEVPATH = b"/devices/virtual/misc/vmbus!hv_kvp"

ADD = "add"
REMOVE = "remove"

# lib/kobject_uevent.c: an event has at most UEVENT_BUFFER_SIZE bytes of text
# and its path in front.
_BUFFER_SIZE = 8192
_KERNEL_GROUP = 1


class Uevents:
    """A socket that tells of the KVP device only.

    :raises OSError: the kernel has no uevent socket for this namespace.
    """

    def __init__(self) -> None:
        self._buffer = bytearray(_BUFFER_SIZE)
        self._socket = _socket.socket(
            _socket.AF_NETLINK,
            _socket.SOCK_DGRAM | _socket.SOCK_NONBLOCK | _socket.SOCK_CLOEXEC,
            NETLINK_KOBJECT_UEVENT,
        )
        try:
            self._socket.bind((0, 0))
            self._socket.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, _KERNEL_GROUP)
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        return self._socket.fileno()

    def read(self) -> str:
        """Read the socket empty: ADD or REMOVE, whichever came last, or ``""``.

        Events lost to a full queue count as ADD: looking again does no harm.
        """
        last = ""
        while True:
            try:
                size, sender = self._socket.recvfrom_into(self._buffer)
            except BlockingIOError:
                return last
            except OSError as error:
                if error.errno not in (errno.ENOBUFS, errno.ENOMEM, errno.EINTR):
                    raise
                last = ADD
                continue
            if sender[0] == 0:
                last = parse(bytes(self._buffer[:size])) or last

    def close(self) -> None:
        self._socket.close()


def parse(event: bytes) -> str:
    """ADD or REMOVE where an event says so of the KVP device, else ``""``.

    What ``udevadm trigger`` makes the kernel repeat carries SYNTH_UUID (Linux
    4.13 and later) and is no news.
    """
    head, *fields = event.split(b"\0")
    action, _, path = head.partition(b"@")
    if path != DEVPATH or any(field.startswith(b"SYNTH_UUID=") for field in fields):
        return ""
    return {b"add": ADD, b"remove": REMOVE}.get(action, "")
