# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The connector's frame around a KVP message: ``nlmsghdr`` and ``cn_msg``.

A datagram of the KVP driver has 16 bytes of netlink header, 20 bytes of connector
header and one ``hv_kvp_msg``: 7468 bytes.  Other processes can send to the daemon's
socket, too, so any other datagram is refused, with a reason that can be counted.
"""

from __future__ import annotations

import struct

from .errors import WireError
from .message import MESSAGE_SIZE
from .netlink import CN_MSG, NLMSGHDR
from .uapi import CN_KVP_IDX, CN_KVP_VAL, NLMSG_DONE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

#: Bytes in front of the KVP message.
HEADER_SIZE: Final = NLMSGHDR.size + CN_MSG.size
#: Bytes of a whole datagram.
FRAME_SIZE: Final = HEADER_SIZE + MESSAGE_SIZE

# The fields of both headers that are the same in each message of the driver: nlmsg_len,
# nlmsg_type; id.idx, id.val, len.
_FIXED: Final = struct.Struct("=IH10xII8xH2x")


class FrameError(WireError):
    """A datagram that is not from the KVP driver; ``reason`` is one of `REASONS`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason


SHORT = "shorter than its headers"
TYPE = "not of type NLMSG_DONE"
FOREIGN_ID = "another connector id"
LENGTH = "not 7432 bytes of KVP message"
REASONS: Final = (SHORT, TYPE, FOREIGN_ID, LENGTH)


def pack_header() -> bytes:
    """Encode the 36 bytes that precede a message of 7432 bytes.

    ``nlmsg_len`` is 7468 and ``cn_msg.len`` 7432.  The kernel knows the sender's port
    id, so that field is 0, and the driver ignores the sequence numbers.
    """
    return NLMSGHDR.pack(FRAME_SIZE, NLMSG_DONE, 0, 0, 0) + CN_MSG.pack(
        CN_KVP_IDX, CN_KVP_VAL, 0, 0, MESSAGE_SIZE, 0
    )


def unpack(datagram: memoryview) -> memoryview:
    """Return a view of the 7432 bytes of KVP message in a datagram.

    :raises FrameError: it is not one whole message of connector {9, 1}.
    """
    size = len(datagram)
    if size < HEADER_SIZE:
        raise FrameError(SHORT, f"{size} bytes, at least {HEADER_SIZE} expected")
    nlmsg_len, kind, idx, val, data_len = _FIXED.unpack_from(datagram)
    if kind != NLMSG_DONE:
        raise FrameError(TYPE, f"nlmsg_type {kind}")
    if idx != CN_KVP_IDX or val != CN_KVP_VAL:
        raise FrameError(FOREIGN_ID, f"{{{idx}, {val}}}")
    if size != FRAME_SIZE or nlmsg_len != FRAME_SIZE or data_len != MESSAGE_SIZE:
        raise FrameError(
            LENGTH, f"datagram {size}, nlmsg_len {nlmsg_len}, cn_msg.len {data_len} bytes"
        )
    return datagram[HEADER_SIZE:]
