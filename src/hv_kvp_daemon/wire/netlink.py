"""Netlink messages: the header that every netlink protocol shares.

In: datagrams as a netlink socket delivers them.  Out: `Message` values, and
bytes to send.  A datagram holds one or more messages, each a header of 16 bytes
in host byte order and a payload, padded to 4 bytes.  No length is believed: a
message that does not lie inside its datagram is a `WireError`.
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
    from collections.abc import Mapping
    from typing import Final

#: struct nlmsghdr: len (header and payload, without padding), type, flags, seq, pid.
NLMSGHDR: Final = struct.Struct("=IHHII")

#: include/linux/err.h: the kernel's error numbers lie between 1 and this.
MAX_ERRNO = 4095

_ERRNO = struct.Struct("=i")
# struct cn_msg without its data.  connector.py decodes it; here it is only named.
_CN_MSG = struct.Struct("=IIIIHH")

CONTROL_NAMES: Final = {
    NLMSG_NOOP: "NOOP",
    NLMSG_ERROR: "ERROR",
    NLMSG_DONE: "DONE",
    NLMSG_OVERRUN: "OVERRUN",
}

# From 0x100 on the meaning of a flag depends on the type of the message.
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

    A payload that comes from `split` is a view: it changes when the datagram's
    buffer is used again.
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
    """The kernel answered a request with an error instead of what was asked for.

    ``errno`` is positive, as in OSError.  ``request`` is the header of the
    refused message, without payload; None for the error that ends a dump, which
    names no message.
    """

    def __init__(self, number: int, request: Message | None) -> None:
        super().__init__(f"the kernel answered {_errno_name(number)}, {os.strerror(number)}")
        self.errno = number
        self.request = request


def align(length: int) -> int:
    """Round up to 4 bytes, as NLMSG_ALIGN, NLA_ALIGN and RTNH_ALIGN do."""
    return (length + 3) & ~3


def pack(type_: int, flags: int, seq: int, pid: int, payload: bytes) -> bytes:
    """Make one message, padded to 4 bytes; its length leaves the padding out.

    :raises WireError: a number does not fit its field.
    """
    length = NLMSGHDR.size + len(payload)
    try:
        header = NLMSGHDR.pack(length, type_, flags, seq, pid)
    except struct.error as error:
        raise WireError(f"netlink header of type {type_}: {error}") from error
    return header + payload + bytes(align(length) - length)


def split(datagram: bytes | bytearray | memoryview) -> list[Message]:
    """Take a datagram apart; the payloads are views of it.

    The padding behind the last message may be missing: the length of a datagram
    that user space sends is often not rounded up.

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
        at += align(length)
    return messages


def error_of(message: Message) -> tuple[int, Message | None]:
    """Read the errno and the refused header of an NLMSG_ERROR; 0 acknowledges.

    An NLMSG_DONE that ends a dump carries the dump's result in the same place and
    no header: None.  The errno is returned positive.

    :raises WireError: the payload is too short, or its number is no errno.
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
    """The multi-part answer to one request, put together from datagrams.

    ``done`` becomes true with the message that ends the answer.  ``inconsistent``
    says that parts were lost (OVERRUN) or that the kernel's tables changed in the
    middle (NLM_F_DUMP_INTR): ask again.  A message with another sequence number
    or port id answers somebody else's question and is left out.
    """

    __slots__ = ("_pid", "_seq", "done", "inconsistent")

    def __init__(self, seq: int, pid: int) -> None:
        self._seq = seq
        self._pid = pid
        self.done = False
        self.inconsistent = False

    def feed(self, datagram: bytes | bytearray | memoryview) -> list[Message]:
        """Return the parts of the answer that a datagram brings, as views of it.

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
                # The end may be among what was lost, so nobody waits for it.
                self.inconsistent = self.done = True
            elif message.type in (NLMSG_DONE, NLMSG_ERROR):
                self.done = True
                number, request = error_of(message)
                if number:
                    raise RefusedError(number, request)
            else:
                parts.append(message)
        return parts


def describe(
    datagram: bytes | bytearray | memoryview, names: Mapping[int, str] = CONTROL_NAMES
) -> str:
    """Describe the first message of a datagram in one line, for the debug trace.

    ``names`` are those of the protocol's types.  Whatever the bytes are, nothing
    is raised, and of a payload only an errno or a connector id is shown: it may
    hold keys and values that are not for the log.
    """
    size = len(datagram)
    if size < NLMSGHDR.size:
        return f"{size} bytes, no netlink header"
    length, type_, flags, seq, pid = NLMSGHDR.unpack_from(datagram)
    name = CONTROL_NAMES.get(type_) or names.get(type_) or f"type {type_}"
    line = f"{name} flags={_flag_names(flags)} seq={seq} pid={pid} len={length}"
    if not NLMSGHDR.size <= length <= size:
        return f"{line} (wrong, the datagram has {size} bytes)"
    line += _describe_payload(type_, memoryview(datagram)[NLMSGHDR.size : length])
    behind = size - align(length)
    return f"{line} (+{behind} bytes)" if behind > 0 else line


def _describe_payload(type_: int, payload: memoryview) -> str:
    if type_ == NLMSG_DONE and len(payload) >= _CN_MSG.size:
        idx, val, _, _, length, _ = _CN_MSG.unpack_from(payload)
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
