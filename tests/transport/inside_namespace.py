# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Tests of the real connector socket, in a user and network namespace of their own.

test_connector.py runs this file.  There is no driver in the namespace, but the socket, the
group and every other sender are real.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
from collections import Counter
from collections.abc import Iterator

import pytest

from hv_kvp_daemon.transport.connector import FOREIGN_SENDER, OVERRUN, Connector
from hv_kvp_daemon.transport.errors import TransportError
from hv_kvp_daemon.transport.holders import group_members
from hv_kvp_daemon.wire.connector import FRAME_SIZE, pack_header
from hv_kvp_daemon.wire.message import Request, encode_register, encode_request

GROUP_9 = 1 << 8
SET = encode_request(Request(1, 0, b"key", b"value"))
ENOUGH = 60


class Under:
    """A connector under test, a foreign socket, and what was dropped."""

    def __init__(self) -> None:
        self.dropped: Counter[str] = Counter()
        self.details: list[str] = []
        self.connector = Connector(self.drop)
        self.foreign = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 11)
        self.foreign.bind((0, 0))

    def drop(self, reason: str, detail: str) -> None:
        self.dropped[reason] += 1
        self.details.append(detail)

    def unicast(self, data: bytes) -> None:
        self.foreign.sendto(data, (self.connector.port_id, 0))

    def multicast(self, data: bytes) -> None:
        # Delivered to the members; then the kernel's own port, which is not in
        # this namespace, refuses it.
        with contextlib.suppress(ConnectionRefusedError):
            self.foreign.sendto(data, (0, GROUP_9))

    def readable(self) -> bool:
        return bool(select.select([self.connector], [], [], 0)[0])


@pytest.fixture
def under() -> Iterator[Under]:
    under = Under()
    yield under
    under.connector.close()
    under.foreign.close()


def test_the_socket_is_bound_without_a_mask_and_joined_to_group_9(under: Under) -> None:
    """T1, T8: bind() with 9 as a mask joined groups 1 and 4."""
    with open("/proc/net/netlink", encoding="ascii") as table:
        rows = [line.split() for line in table]
    (mask,) = [row[3] for row in rows if row[1:3] == ["11", str(under.connector.port_id)]]
    assert int(mask, 16) == GROUP_9
    assert group_members(9) == {under.connector.port_id}
    assert group_members(1) == set()


def test_a_unicast_from_another_process_is_dropped(under: Under) -> None:
    """T3, CVE-2012-5532: any message from user space ended the daemon."""
    under.unicast(pack_header() + SET)
    assert under.connector.receive() is None
    assert under.dropped == {FOREIGN_SENDER: 1}
    assert str(under.foreign.getsockname()[0]) in under.details[0]


def test_a_multicast_from_another_process_is_dropped(under: Under) -> None:
    """T3: it is sent to group 9 like the driver's messages, but not from port id 0."""
    under.multicast(pack_header() + SET)
    assert under.readable()
    assert under.connector.receive() is None
    assert under.dropped == {FOREIGN_SENDER: 1}


def test_a_forged_sender_in_the_header_does_not_help(under: Under) -> None:
    frame = bytearray(pack_header() + SET)
    struct.pack_into("=I", frame, 12, 0)
    under.unicast(bytes(frame))
    assert under.connector.receive() is None
    assert under.dropped == {FOREIGN_SENDER: 1}


def test_a_foreign_handshake_is_not_believed(under: Under) -> None:
    under.unicast(pack_header() + encode_register(b"6.6"))
    assert under.connector.receive() is None
    assert under.connector.version == b""


def test_foreign_messages_of_every_length_are_dropped(under: Under) -> None:
    """T2: lengths were not checked."""
    frame = (pack_header() + SET) * 3
    sizes = [*range(1, 100), *range(FRAME_SIZE - 3, FRAME_SIZE + 4), 9000, 14936, 14937, 20000]
    for count, size in enumerate(sizes, start=1):
        under.unicast(frame[:size])
        assert under.connector.receive() is None
        assert under.dropped == {FOREIGN_SENDER: count}


def test_an_overrun_is_counted_and_survived(under: Under) -> None:
    """T6: ENOBUFS ended the daemon."""
    # Whatever net.core.rmem_default is.
    under.connector._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    frame = pack_header() + SET
    for _ in range(ENOUGH):
        under.multicast(frame)
    assert under.connector.receive() is None
    assert under.dropped[OVERRUN] == 1
    before = under.dropped[FOREIGN_SENDER]
    under.unicast(frame)
    assert under.connector.receive() is None
    assert under.dropped[FOREIGN_SENDER] == before + 1


def test_registering_where_no_kernel_listens_is_refused(under: Under) -> None:
    with pytest.raises(TransportError, match="Connection refused"):
        under.connector.register()


def test_a_reply_reaches_no_other_member_of_the_group(under: Under) -> None:
    """T4: replies were multicast to group 9."""
    listener = Connector(under.drop)
    under.connector.send(SET)
    assert under.dropped == {"reply not sent": 1}
    assert not select.select([listener], [], [], 0)[0]
    listener.close()


def test_descriptors_are_not_inherited(under: Under) -> None:
    """P19, for the transport: helpers got the daemon's sockets."""
    assert not os.get_inheritable(under.connector.fileno())
