# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Netlink messages: the 16-byte header that every netlink protocol shares.

A datagram holds one or more messages, each a header in host byte order and a
payload, padded to 4 bytes.  Lengths are checked before they are used: a message
that does not lie inside its datagram is a `WireError`.
"""

from __future__ import annotations

import errno
import os
import struct

from .errors import WireError
from .uapi import (
    NLM_F_ACK,
    NLM_F_DUMP_FILTERED,
    NLM_F_DUMP_INTR,
    NLM_F_ECHO,
    NLM_F_MULTI,
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
    NLMSG_NOOP,
    NLMSG_OVERRUN,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

#: struct nlmsghdr: len (header and payload, without padding), type, flags, seq, pid.
NLMSGHDR: Final = struct.Struct("=IHHII")

#: struct cn_msg without its data: id.idx, id.val, seq, ack, len, flags
#: (include/uapi/linux/connector.h).
CN_MSG: Final = struct.Struct("=IIIIHH")

#: include/linux/err.h: the kernel's error numbers lie between 1 and this.
MAX_ERRNO = 4095

_ERRNO = struct.Struct("=i")

_CONTROL_NAMES: Final = {
    NLMSG_NOOP: "NOOP",
    NLMSG_ERROR: "ERROR",
    NLMSG_DONE: "DONE",
    NLMSG_OVERRUN: "OVERRUN",
}

# The flags from 0x100 up mean something else for each type of message.
_FLAG_NAMES: Final = {
    NLM_F_REQUEST: "REQUEST",
    NLM_F_MULTI: "MULTI",
    NLM_F_ACK: "ACK",
    NLM_F_ECHO: "ECHO",
    NLM_F_DUMP_INTR: "DUMP_INTR",
    NLM_F_DUMP_FILTERED: "DUMP_FILTERED",
}


class Message:
    """One netlink message; ``payload`` is what follows the header, without padding.

    `split` makes the payload a view of the datagram, so it changes when that
    buffer is reused.
    """

    __slots__ = ("flags", "payload", "pid", "seq", "type")

    def __init__(
        self, type_: int, flags: int, seq: int, pid: int, payload: bytes | memoryview
    ) -> None:
        self.type = type_
        self.flags = flags
        self.seq = seq
        self.pid = pid
        self.payload = payload


class RefusedError(WireError):
    """The kernel answered a request with an error.

    ``errno`` is positive, as in OSError.  ``request`` is the header of the
    refused message, without payload.  It is None for an error that ends a dump,
    because NLMSG_DONE does not repeat the request.
    """

    def __init__(self, number: int, request: Message | None) -> None:
        super().__init__(f"the kernel answered {_errno_name(number)}, {os.strerror(number)}")
        self.errno = number
        self.request = request


def align(length: int) -> int:
    """Round up to 4 bytes, as NLMSG_ALIGN, NLA_ALIGN and RTNH_ALIGN do."""
    return (length + 3) & ~3


def pack(type_: int, flags: int, seq: int, pid: int, payload: bytes) -> bytes:
    """Encode one message, padded to 4 bytes; ``nlmsg_len`` excludes the padding.

    :raises WireError: a number does not fit its field.
    """
    length = NLMSGHDR.size + len(payload)
    try:
        header = NLMSGHDR.pack(length, type_, flags, seq, pid)
    except struct.error as error:
        raise WireError(f"netlink header of type {type_}: {error}") from error
    return header + payload + bytes(align(length) - length)


def split(datagram: bytes | bytearray | memoryview) -> list[Message]:
    """Split a datagram into its messages; the payloads are views of it.

    The last message may lack its padding, because programs often do not round up
    the length of what they send.

    :raises WireError: a length is less than the header's 16 bytes or runs past
        the datagram.
    """
    view = memoryview(datagram)
    end = len(view)
    messages = []
    at = 0
    while at < end:
        room = end - at
        if room < NLMSGHDR.size:
            raise WireError(f"{room} bytes at {at}, a netlink header has {NLMSGHDR.size}")
        length, type_, flags, seq, pid = NLMSGHDR.unpack_from(view, at)
        if not NLMSGHDR.size <= length <= room:
            raise WireError(
                f"netlink length {length} at {at}, allowed {NLMSGHDR.size} to {room}"
            )
        messages.append(Message(type_, flags, seq, pid, view[at + NLMSGHDR.size : at + length]))
        at += (length + 3) & ~3  # align(), inlined: a call for each message is slower
    return messages


def error_of(message: Message) -> tuple[int, Message | None]:
    """Decode an NLMSG_ERROR: a positive errno, or 0 for an acknowledgment, and the request.

    An NLMSG_DONE carries the result of a dump in the same place, but does not repeat
    the request: then the second value is None.

    :raises WireError: the payload is too short, or its number is not an errno.
    """
    payload = message.payload
    if len(payload) < _ERRNO.size:
        raise WireError(f"netlink error of {len(payload)} bytes, an errno has {_ERRNO.size}")
    (result,) = _ERRNO.unpack_from(payload)
    if not -MAX_ERRNO <= result <= 0:
        raise WireError(f"netlink error {result}, allowed {-MAX_ERRNO} to 0")
    if message.type == NLMSG_DONE:
        return -result, None
    offending = payload[_ERRNO.size :]
    if len(offending) < NLMSGHDR.size:
        raise WireError(
            f"netlink error with {len(offending)} bytes of the refused message, "
            f"its header has {NLMSGHDR.size}"
        )
    _, type_, flags, seq, pid = NLMSGHDR.unpack_from(offending)
    return -result, Message(type_, flags, seq, pid, b"")


class Dump:
    """The multipart answer to one request, assembled from datagrams.

    ``done`` becomes true with the message that ends the answer.  ``inconsistent``
    becomes true if parts were lost (NLMSG_OVERRUN) or the kernel's tables changed
    during the dump (NLM_F_DUMP_INTR); the request must then be repeated.  Messages
    with another sequence number or port id belong to other requests and are skipped.
    """

    __slots__ = ("_pid", "_seq", "done", "inconsistent")

    def __init__(self, seq: int, pid: int) -> None:
        self._seq = seq
        self._pid = pid
        self.done = False
        self.inconsistent = False

    def feed(self, datagram: bytes | bytearray | memoryview) -> list[Message]:
        """Return the messages of the answer in a datagram, as views of it.

        :raises RefusedError: the kernel ended the answer with an errno.
        :raises WireError: the datagram is malformed.
        """
        parts = []
        for message in split(datagram):
            if self.done or message.seq != self._seq or message.pid != self._pid:
                continue
            if message.flags & NLM_F_DUMP_INTR:
                self.inconsistent = True
            if message.type == NLMSG_NOOP:
                continue
            if message.type == NLMSG_OVERRUN:
                # NLMSG_DONE may be among the lost messages, so do not wait for it.
                self.inconsistent = self.done = True
            elif message.type in (NLMSG_DONE, NLMSG_ERROR):
                self.done = True
                number, request = error_of(message)
                if number:
                    raise RefusedError(number, request)
            else:
                parts.append(message)
        return parts


def describe(datagram: bytes | bytearray | memoryview) -> str:
    """Describe the first message of a datagram in one line, for the debug trace.

    Any bytes are accepted.  Only the errno or the connector id of a payload is
    shown, because the rest may be keys and values that must not reach the log.
    """
    size = len(datagram)
    if size < NLMSGHDR.size:
        return f"{size} bytes, no netlink header"
    length, type_, flags, seq, pid = NLMSGHDR.unpack_from(datagram)
    name = _CONTROL_NAMES.get(type_, f"type {type_}")
    line = f"{name} flags={_flag_names(flags)} seq={seq} pid={pid} len={length}"
    if not NLMSGHDR.size <= length <= size:
        return f"{line} (wrong, the datagram has {size} bytes)"
    line += _describe_payload(type_, memoryview(datagram)[NLMSGHDR.size : length])
    more = size - align(length)
    return f"{line} (+{more} bytes)" if more > 0 else line


def _describe_payload(type_: int, payload: memoryview) -> str:
    if type_ == NLMSG_DONE and len(payload) >= CN_MSG.size:
        idx, val, _, _, length, _ = CN_MSG.unpack_from(payload)
        return f" connector={{{idx}, {val}}} data={length}"
    if type_ in (NLMSG_DONE, NLMSG_ERROR) and len(payload) >= _ERRNO.size:
        (result,) = _ERRNO.unpack_from(payload)
        return f" errno={_errno_name(-result)}"
    return ""


def _flag_names(flags: int) -> str:
    named = [name for bit, name in _FLAG_NAMES.items() if flags & bit]
    rest = flags & ~sum(_FLAG_NAMES)
    if rest or not named:
        named.append(f"{rest:#x}")
    return "|".join(named)


def _errno_name(number: int) -> str:
    return errno.errorcode.get(number, str(number))
