"""The connector: newest request only, kernel only, one datagram out."""

from __future__ import annotations

import errno
import os
import select
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hv_kvp_daemon.transport.connector import OVERRUN, SUPERSEDED, Connector
from hv_kvp_daemon.transport.conversation import Conversation
from hv_kvp_daemon.wire.connector import FRAME_SIZE, LENGTH, pack_header, unpack
from hv_kvp_daemon.wire.message import (
    Request,
    decode_reply,
    decode_request,
    encode_pair,
    encode_register,
    encode_request,
    encode_status,
)

if TYPE_CHECKING:
    from hv_kvp_daemon.transport.conversation import Ready

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
    """A socket whose other end plays the kernel: every datagram comes from port id 0."""

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


def test_a_registration_is_a_whole_message_of_zeros_behind_its_number(under: Under) -> None:
    """T5: 7468 bytes were sent of an array of 4096."""
    under.connector.register()
    message = bytes(unpack(memoryview(under.socket.kernel.recv(20000))))
    assert message == b"\x64" + bytes(7431)


def test_a_reply_that_cannot_be_sent_is_counted(under: Under) -> None:
    under.socket.errors = [errno.ENOBUFS]
    under.connector.send(encode_status(0))
    assert under.dropped == {"reply not sent": 1}


class Talk:
    """A conversation with no other descriptor: it ends when nothing more has come."""

    def __init__(self, under: Under) -> None:
        self._poll = select.poll()
        self._poll.register(under.connector.fileno(), select.POLLIN)
        self.continued = False
        self.asked: list[bytes] = []

    def conversation(self) -> Conversation:
        return Conversation(
            lambda: self._poll.poll(0), {}, lambda *_: None, self.answer, lambda *_: None, self
        )

    def answer(self, message: memoryview) -> bytes:
        self.asked.append(bytes(message))
        return encode_status(len(self.asked))


def test_what_is_no_request_is_passed_over_in_a_conversation(under: Under) -> None:
    under.socket.kernel.send((pack_header() + enumerate_request(1))[:-1])
    under.ask(enumerate_request(2))
    under.socket.errors = [errno.ENOBUFS]
    talk = Talk(under)
    assert under.connector.converse(talk.conversation()) == ([], None)
    assert talk.asked == [enumerate_request(2)]
    assert under.socket.kernel.recv(9000) == pack_header() + encode_status(1)
    assert under.dropped == {LENGTH: 1, OVERRUN: 1}


def test_only_the_newest_request_is_answered(under: Under) -> None:
    """T11, in a conversation."""
    for index in (6, 7, 8):
        under.ask(enumerate_request(index))
    talk = Talk(under)
    assert under.connector.converse(talk.conversation()) == ([], None)
    assert talk.asked == [enumerate_request(8)]
    assert under.dropped == {SUPERSEDED: 2}


@pytest.mark.parametrize("others", [1, 2, 3])
def test_a_conversation_goes_on_after_what_was_given_up(under: Under, others: int) -> None:
    talk = Talk(under)
    for turn in range(3):
        for index in range(others):
            under.ask(enumerate_request(100 * turn + index))
        assert under.connector.converse(talk.conversation()) == ([], None)
        under.socket.kernel.send((pack_header() + enumerate_request(1))[:-1])
    assert talk.asked == [enumerate_request(100 * turn + others - 1) for turn in range(3)]
    assert under.dropped == Counter({SUPERSEDED: 3 * (others - 1), LENGTH: 2})


def test_a_stranger_who_answers_costs_one_answer(under: Under) -> None:
    """Any local user can answer in the daemon's name; the driver then asks on at once."""
    talk = Talk(under)
    conversation = talk.conversation()
    answers: list[int] = []
    asked = [0]
    under.ask(enumerate_request(0))

    def ask_and_wait() -> Ready:
        # The driver takes whatever arrives as the answer to what it asked last.
        while select.select([under.socket.kernel], [], [], 0)[0]:
            reply = decode_reply(unpack(memoryview(under.socket.kernel.recv(9000))))
            answers.append(int(reply.value) - asked[0])
            if asked[0] == 20:
                return []
            asked[0] += 1
            under.ask(enumerate_request(asked[0]))
            if asked[0] == 10:
                asked[0] += 1
                under.ask(enumerate_request(asked[0]))
        return talk.conversation().wait()

    def answer(message: memoryview) -> bytes:
        index = decode_request(message).index
        return encode_pair(b"key", b"%d" % index, index)

    conversation.wait, conversation.answer = ask_and_wait, answer
    assert under.connector.converse(conversation) == ([], None)
    assert answers == [0] * 20
    assert under.dropped == {SUPERSEDED: 1}


@pytest.mark.parametrize("is_stopped", [False, True])
def test_an_answer_to_the_registration_is_taken_whatever_else_there_is(
    under: Under, is_stopped: bool
) -> None:
    talk = Talk(under)
    talk.continued = is_stopped
    under.ask(encode_register(b"3.2"))
    under.ask(enumerate_request(5))
    assert under.connector.converse(talk.conversation()) == ([], None)
    assert under.connector.version == b"3.2"
    request = under.connector.receive()
    assert request is not None
    assert bytes(request) == enumerate_request(5)
    assert not under.dropped


def test_requests_that_follow_each_other_are_answered_without_a_second_read(
    under: Under, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[int] = []
    read = under.socket.recvfrom_into

    def counted(buffer: memoryview) -> tuple[int, tuple[int, int]]:
        reads.append(len(buffer))
        return read(buffer)

    monkeypatch.setattr(under.socket, "recvfrom_into", counted)
    talk = Talk(under)
    waits = [1, 2, 3]
    conversation = talk.conversation()

    def ask_and_wait() -> Ready:
        if waits:
            under.ask(enumerate_request(waits.pop()))
        return talk.conversation().wait()

    conversation.wait = ask_and_wait
    assert under.connector.converse(conversation) == ([], None)
    assert len(talk.asked) == 3
    assert len(reads) == 3


def test_a_reply_that_cannot_be_sent_in_a_conversation_is_counted(under: Under) -> None:
    under.ask(enumerate_request(1))
    under.socket.kernel.shutdown(socket.SHUT_RD)
    assert under.connector.converse(Talk(under).conversation()) == ([], None)
    assert under.dropped == {"reply not sent": 1}
