# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The connector answers only the newest request, only the kernel, with one datagram."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from hv_kvp_daemon.transport.connector import (
    FLOODED,
    FOREIGN_SENDER,
    OVERRUN,
    SUPERSEDED,
    Connector,
)
from hv_kvp_daemon.wire.connector import FRAME_SIZE, LENGTH, pack_header, unpack
from hv_kvp_daemon.wire.errors import WireError
from hv_kvp_daemon.wire.message import (
    Request,
    decode_reply,
    decode_request,
    encode_pair,
    encode_register,
    encode_request,
    encode_status,
)

NAMESPACED = Path(__file__).with_name("inside_namespace.py")


def test_in_a_namespace_of_its_own() -> None:
    """Runs inside_namespace.py as root of a user and network namespace."""
    done = subprocess.run(
        [
            *("unshare", "--user", "--map-root-user", "--net", sys.executable),
            *("-m", "pytest", "-q", "-p", "no:cacheprovider", str(NAMESPACED)),
        ],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


class KernelSocket:
    """A socket whose other end simulates the kernel: each datagram has port id 0."""

    def __init__(self) -> None:
        self.kernel, self._daemon = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._daemon.setblocking(False)
        self.errors: list[int] = []
        self.destinations: list[object] = []

    def recvfrom_into(self, buffer: memoryview) -> tuple[int, tuple[int, int]]:
        if self.errors:
            raise OSError(self.errors.pop(0), "injected")
        return self._daemon.recv_into(buffer), (0, 256)

    def sendto(self, data: bytes, address: object) -> int:
        if self.errors:
            raise OSError(self.errors.pop(0), "injected")
        self.destinations.append(address)
        return self._daemon.send(data)

    def fileno(self) -> int:
        return self._daemon.fileno()

    def close(self) -> None:
        self.kernel.close()
        self._daemon.close()


class Under:
    def __init__(self) -> None:
        self.dropped: Counter[str] = Counter()
        self.socket = KernelSocket()
        self.connector = Connector(self.drop, self.socket)  # type: ignore[arg-type]

    def drop(self, reason: str, detail: str) -> None:
        self.dropped[reason] += 1

    def ask(self, message: bytes) -> None:
        self.socket.kernel.send(pack_header() + message)


@pytest.fixture
def under() -> Iterator[Under]:
    under = Under()
    yield under
    under.connector.close()


def enumerate_request(index: int) -> bytes:
    return encode_request(Request(3, 1, index=index))


def test_only_the_newest_request_counts(under: Under) -> None:
    """T11: after a stall the host got key 7 for index 8."""
    for index in (6, 7, 8):
        under.ask(enumerate_request(index))
    request = under.connector.receive()
    assert request is not None
    assert bytes(request) == enumerate_request(8)
    assert under.dropped == {SUPERSEDED: 2}
    assert under.connector.receive() is None


def test_a_handshake_among_requests_is_taken_and_hides_none(under: Under) -> None:
    under.ask(enumerate_request(1))
    under.ask(encode_register(b"3.1"))
    request = under.connector.receive()
    assert under.connector.version == b"3.1"
    assert request is not None
    assert bytes(request) == enumerate_request(1)
    assert not under.dropped


def test_an_answer_to_a_registration_of_the_old_protocol_is_no_request(under: Under) -> None:
    """T22."""
    under.ask(encode_register(b"3.1", 4))
    under.ask(enumerate_request(1))
    request = under.connector.receive()
    assert request is not None
    assert bytes(request) == enumerate_request(1)
    assert under.connector.preempted
    assert under.connector.version == b""


@pytest.mark.parametrize(
    ("adapter", "registering"),
    [
        (b"00:15:5D:01:02:03", True),
        (b"001550102030", True),
        (b"0015.5010.2030", True),
        (b"", True),
        (b"3.1", False),
    ],
    ids=["colons", "digits", "dots", "empty", "a version while it serves"],
)
def test_get_ip_info_is_no_answer(under: Under, adapter: bytes, *, registering: bool) -> None:
    under.connector.registering = registering
    under.ask(encode_register(adapter, 4))
    assert under.connector.receive() is not None
    assert not under.connector.preempted


def test_an_operation_100_without_a_version_is_a_request(under: Under) -> None:
    under.ask(encode_register())
    request = under.connector.receive()
    assert request is not None
    assert request[0] == 100


def test_rubbish_does_not_hide_a_request(under: Under) -> None:
    under.ask(enumerate_request(1))
    under.socket.kernel.send((pack_header() + enumerate_request(2))[:-1])
    request = under.connector.receive()
    assert request is not None
    assert bytes(request) == enumerate_request(1)
    assert under.dropped == {LENGTH: 1}


@pytest.mark.parametrize("code", [errno.ENOBUFS, errno.ENOMEM, errno.EINTR])
def test_a_transient_error_does_not_end_it(under: Under, code: int) -> None:
    """T6."""
    under.socket.errors = [code]
    under.ask(enumerate_request(1))
    request = under.connector.receive()
    assert request is not None
    assert under.dropped == {OVERRUN: 1}


def test_a_reply_is_one_datagram_of_7468_bytes_to_the_kernel_alone(under: Under) -> None:
    """T4, T5: replies went to groups, 16 bytes too long."""
    under.connector.send(encode_status(0))
    datagram = under.socket.kernel.recv(20000)
    assert len(datagram) == FRAME_SIZE
    assert bytes(unpack(memoryview(datagram))) == encode_status(0)
    assert under.socket.destinations == [(0, 0)]


def test_a_registration_is_a_whole_message_of_zeros_after_its_number(under: Under) -> None:
    """T5: 7468 bytes were sent of an array of 4096."""
    under.connector.register()
    message = bytes(unpack(memoryview(under.socket.kernel.recv(20000))))
    assert message == b"\x64" + bytes(7431)


def test_a_reply_that_cannot_be_sent_is_counted(under: Under) -> None:
    under.socket.errors = [errno.ENOBUFS]
    under.connector.send(encode_status(0))
    assert under.dropped == {"reply not sent": 1}


def serve(under: Under) -> list[bytes]:
    """Answer each request with its ordinal number until there is none; return the requests."""
    asked = []
    while (request := under.connector.receive()) is not None:
        asked.append(bytes(request))
        under.connector.send(encode_status(len(asked)))
    return asked


def test_rubbish_and_a_full_queue_are_passed_over(under: Under) -> None:
    under.socket.kernel.send((pack_header() + enumerate_request(1))[:-1])
    under.ask(enumerate_request(2))
    under.socket.errors = [errno.ENOBUFS]
    assert serve(under) == [enumerate_request(2)]
    assert under.socket.kernel.recv(9000) == pack_header() + encode_status(1)
    assert under.dropped == {LENGTH: 1, OVERRUN: 1}


@pytest.mark.parametrize("others", [1, 2, 3])
def test_it_continues_after_an_expired_request(under: Under, others: int) -> None:
    for turn in range(3):
        for index in range(others):
            under.ask(enumerate_request(100 * turn + index))
        assert serve(under) == [enumerate_request(100 * turn + others - 1)]
        under.socket.kernel.send((pack_header() + enumerate_request(1))[:-1])
    assert under.dropped == Counter({SUPERSEDED: 3 * (others - 1), LENGTH: 2})


def test_a_newer_request_leaves_the_one_being_served_as_it_is(under: Under) -> None:
    under.ask(enumerate_request(1))
    request = under.connector.receive()
    assert under.connector.newer() is None
    for index in (2, 3):
        under.ask(enumerate_request(index))
    newer = under.connector.newer()
    assert request is not None
    assert newer is not None
    assert bytes(newer) == enumerate_request(3)
    assert under.dropped == {SUPERSEDED: 2}


def test_a_reply_from_another_process_costs_one_answer(under: Under) -> None:
    """Any local user can reply in the daemon's place; the driver then sends another."""
    answers: list[int] = []
    asked = 0
    under.ask(enumerate_request(0))
    while (request := under.connector.receive()) is not None:
        index = decode_request(request).index
        under.connector.send(encode_pair(b"key", b"%d" % index, index))
        # The driver takes any message for the answer to its last request.
        reply = decode_reply(unpack(memoryview(under.socket.kernel.recv(9000))))
        answers.append(int(reply.value) - asked)
        if asked < 20:
            asked += 1
            under.ask(enumerate_request(asked))
            if asked == 10:
                asked += 1
                under.ask(enumerate_request(asked))
    assert answers == [0] * 20
    assert under.dropped == {SUPERSEDED: 1}


def test_requests_that_follow_each_other_are_read_once_each(
    under: Under, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[int] = []
    read = under.socket.recvfrom_into

    def counted(buffer: memoryview) -> tuple[int, tuple[int, int]]:
        reads.append(len(buffer))
        return read(buffer)

    monkeypatch.setattr(under.socket, "recvfrom_into", counted)
    for index in range(3):
        under.ask(enumerate_request(index))
        assert under.connector.receive() is not None
    assert len(reads) == 3


def test_woken_with_nothing_there_it_returns_nothing(under: Under) -> None:
    assert under.connector.receive() is None
    assert not under.dropped


def test_an_error_that_does_not_pass_is_raised(under: Under) -> None:
    under.socket.errors = [errno.EBADF]
    with pytest.raises(OSError, match="injected"):
        under.connector.receive()


def test_a_trace_gets_each_datagram_with_its_sender() -> None:
    seen: list[tuple[int | None, int]] = []
    sock = KernelSocket()
    connector = Connector(
        lambda *_: None,
        sock,  # type: ignore[arg-type]
        lambda sender, datagram: seen.append((sender, len(datagram))),
    )
    sock.kernel.send(pack_header() + enumerate_request(1))
    connector.receive()
    connector.send(encode_status(0))
    assert seen == [(0, FRAME_SIZE), (None, FRAME_SIZE)]
    connector.close()


def test_a_message_of_another_length_is_not_sent(under: Under) -> None:
    with pytest.raises(WireError, match="7431"):
        under.connector.send(encode_status(0)[:-1])


def test_a_forged_change_is_not_handed_on(
    under: Under, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T3: also if it is the only datagram, and complete."""
    sock = under.socket

    def foreign(buffer: memoryview) -> tuple[int, tuple[int, int]]:
        return sock._daemon.recv_into(buffer), (4711, 256)

    monkeypatch.setattr(sock, "recvfrom_into", foreign)
    under.ask(encode_request(Request(1, 0, b"key", b"forged")))
    assert under.connector.receive() is None
    assert under.dropped == {FOREIGN_SENDER: 1}
    assert under.connector.stranger == 4711


@pytest.mark.parametrize("asked", [True, False])
def test_a_flood_ends_and_what_may_be_old_is_not_answered(
    under: Under, monkeypatch: pytest.MonkeyPatch, *, asked: bool
) -> None:
    """T23: with CAP_NET_ADMIN another process kept the daemon reading, deaf to SIGTERM."""
    sock = under.socket
    sent: list[bytes] = [pack_header() + enumerate_request(1)] * asked

    def endless(buffer: memoryview) -> tuple[int, tuple[int, int]]:
        if sent:
            buffer[:FRAME_SIZE] = sent.pop()
            return FRAME_SIZE, (0, 256)
        buffer[:4] = b"junk"
        return 4, (4711, 0)

    with monkeypatch.context() as patch:
        patch.setattr(sock, "recvfrom_into", endless)
        sock.kernel.send(b"makes it readable")
        assert under.connector.receive() is None
    assert under.dropped[FLOODED] == asked
    assert under.connector.stranger == 4711
    under.ask(enumerate_request(2))
    request = under.connector.receive()
    assert request is not None
    assert bytes(request) == enumerate_request(2)
