# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Uevents of the KVP device: the kernel announces that it appears or disappears.

A driver that is loaded late or reloaded sends nothing over the connector, and the host is
not served until a daemon registers.  But the kernel announces the driver's device on
NETLINK_KOBJECT_UEVENT, group 1: ``add@/devices/virtual/misc/vmbus!hv_kvp`` and
NUL-separated ``KEY=value``.

Every interface of every container is announced there, too.  With a socket filter the
kernel drops the events of other devices, so that they do not wake an idle daemon.
"""

from __future__ import annotations

import _socket
import errno
import struct

from hv_kvp_daemon.wire.uapi import NETLINK_ADD_MEMBERSHIP, NETLINK_KOBJECT_UEVENT, SOL_NETLINK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

DEVPATH: Final = b"/devices/virtual/misc/vmbus!hv_kvp"

ADD: Final = "add"
REMOVE: Final = "remove"

# lib/kobject_uevent.c: an event has at most UEVENT_BUFFER_SIZE (2048) bytes of text after
# its path.
_BUFFER_SIZE: Final = 8192
_KERNEL_GROUP: Final = 1

# Datagrams that are read at once: a process with CAP_NET_ADMIN can send without end.
_MOST_READ: Final = 64

# The offsets of the four bytes "vmbu" of the path in an "add@" and in a "remove@" event.
_NAME: Final = DEVPATH.index(b"vmbus")
_ADD_AT: Final = len(b"add@") + _NAME
_REMOVE_AT: Final = len(b"remove@") + _NAME

# include/uapi/asm-generic/socket.h and linux/bpf_common.h.
_SO_ATTACH_FILTER: Final = 26
_BPF_LD_W_ABS: Final = 0x20
_BPF_JEQ_K: Final = 0x15
_BPF_RET_K: Final = 0x06
_ALL: Final = 0xFFFFFFFF

# struct sock_filter: code, jt, jf, k.  A load beyond the end of a message drops it, so the
# smaller offset is tested first.
_INSTRUCTION: Final = struct.Struct("=HBBI")
_WORD: Final = int.from_bytes(b"vmbu", "big")
_FILTER: Final = b"".join(
    _INSTRUCTION.pack(*instruction)
    for instruction in (
        (_BPF_LD_W_ABS, 0, 0, _ADD_AT),
        (_BPF_JEQ_K, 2, 0, _WORD),
        (_BPF_LD_W_ABS, 0, 0, _REMOVE_AT),
        (_BPF_JEQ_K, 0, 1, _WORD),
        (_BPF_RET_K, 0, 0, _ALL),
        (_BPF_RET_K, 0, 0, 0),
    )
)
# struct sock_fprog: the number of instructions, and a pointer to them.
_PROGRAM: Final = struct.Struct("@HP")


def attach_filter(sock: _socket.socket) -> None:
    """Let the kernel drop all events but the add and remove of a VMBus misc device.

    :raises OSError: the kernel refuses the filter.
    """
    # Gives the address of the instructions.  It costs 0.4 MiB, so it is imported here.
    import ctypes  # noqa: PLC0415

    instructions = ctypes.create_string_buffer(_FILTER, len(_FILTER))
    program = _PROGRAM.pack(len(_FILTER) // _INSTRUCTION.size, ctypes.addressof(instructions))
    sock.setsockopt(_socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


class Uevents:
    """A socket that receives the events of the KVP device only.

    :raises OSError: this network namespace has no uevents.
    """

    def __init__(self) -> None:
        self._buffer = bytearray(_BUFFER_SIZE)
        self._socket = _socket.socket(
            _socket.AF_NETLINK,
            _socket.SOCK_DGRAM | _socket.SOCK_NONBLOCK | _socket.SOCK_CLOEXEC,
            NETLINK_KOBJECT_UEVENT,
        )
        try:
            attach_filter(self._socket)
            self._socket.bind((0, 0))
            self._socket.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, _KERNEL_GROUP)
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        return self._socket.fileno()

    def read(self) -> str:
        """Read the socket empty, or `_MOST_READ` times; return the last action, or ``""``.

        That is ADD or REMOVE.  If events were lost to a full queue, that counts as ADD:
        registering again does no harm.
        """
        last = ""
        for _ in range(_MOST_READ):
            try:
                size, sender = self._socket.recvfrom_into(self._buffer)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno not in (errno.ENOBUFS, errno.ENOMEM, errno.EINTR):
                    raise
                last = ADD
                continue
            if sender[0] == 0:
                last = parse(bytes(self._buffer[:size])) or last
        return last

    def close(self) -> None:
        self._socket.close()


def parse(event: bytes) -> str:
    """Return ADD or REMOVE for such an event of the KVP device, else ``""``.

    Events that ``udevadm trigger`` makes the kernel repeat have a SYNTH_UUID (Linux 4.13
    and later) and are ignored.
    """
    head, *fields = event.split(b"\0")
    action, _, path = head.partition(b"@")
    if path != DEVPATH or any(field.startswith(b"SYNTH_UUID=") for field in fields):
        return ""
    return {b"add": ADD, b"remove": REMOVE}.get(action, "")
