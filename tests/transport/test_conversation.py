"""A device that answers request after request: what it does itself, and what it hands on."""

from __future__ import annotations

import os
import select
import socket
import struct
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from hv_kvp_daemon.transport.chardev import CharDevice
from hv_kvp_daemon.transport.connector import Connector
from hv_kvp_daemon.transport.conversation import AWAY, Conversation
from hv_kvp_daemon.transport.device_line import DeviceLine
from hv_kvp_daemon.transport.errors import TransportLostError
from hv_kvp_daemon.transport.line import Line
from hv_kvp_daemon.wire.connector import FRAME_SIZE, pack_header
from hv_kvp_daemon.wire.message import (
    MESSAGE_SIZE,
    Request,
    encode_pair,
    encode_register,
    encode_request,
    encode_status,
)
from hv_kvp_daemon.wire.uapi import HV_E_FAIL, KVP_OP_ENUMERATE, KVP_OP_SET

if TYPE_CHECKING:
    from typing import TypeAlias

    from hv_kvp_daemon.transport.conversation import Ready

    Partner: TypeAlias = "CharDevice | Connector | Plain"

SWEPT = [encode_request(Request(KVP_OP_ENUMERATE, 2, index=n)) for n in range(3)]
PREPARED = {
    struct.unpack_from("=Q", request)[0]: encode_pair(b"key %d" % n, b"value", n)
    for n, request in enumerate(SWEPT)
}
GLANCED = encode_request(Request(KVP_OP_ENUMERATE, 1, index=7))
GLANCED_REPLY = encode_pair(b"a key", b"and its value", 7)
SET = encode_request(Request(KVP_OP_SET, 0, b"key", b"value"))


class Driver:
    """The driver's end, and what the device's side is given to converse."""

    def __init__(self) -> None:
        self.end, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.end.settimeout(30)
        self.theirs = theirs
        self.other, self.waker = os.pipe()
        self.poll = select.poll()
        self.continued = False
        self.asked: list[bytes] = []
        self.reply: bytes | None = encode_status(HV_E_FAIL)
        self.told: list[int] = []
        self.before_wait: list[bytes] = []

    def conversation(self, fd: int) -> Conversation:
        for watched in (fd, self.other):
            self.poll.register(watched, select.POLLIN)

        def answer(message: memoryview) -> bytes | None:
            self.asked.append(bytes(message))
            return self.reply

        def took(number: int, when: float) -> None:
            assert when <= time.monotonic()
            self.told.append(number)

        return Conversation(self.wait, PREPARED, self.glance, answer, took, self)

    def glance(self, message: memoryview) -> bytes | None:
        return GLANCED_REPLY if bytes(message) == GLANCED else None

    def wait(self) -> Ready:
        """Send the next request, or, when there is none, make another descriptor ready."""
        if self.before_wait:
            self.end.send(self.before_wait.pop(0))
        else:
            os.write(self.waker, b"x")
        return self.poll.poll(30_000)

    def replies(self) -> list[bytes]:
        found = []
        while select.select([self.end], [], [], 0)[0]:
            # Over netlink behind the frame's header.
            found.append(self.end.recv(FRAME_SIZE)[-MESSAGE_SIZE:])
        return found


@pytest.fixture
def driver() -> Iterator[Driver]:
    driver = Driver()
    yield driver
    driver.end.close()
    driver.theirs.close()
    os.close(driver.other)
    os.close(driver.waker)


class Plain(DeviceLine):
    """A device that does no more by itself than any other line."""

    converse = Line.converse

    def fileno(self) -> int:
        return self.watched[-1][0]


class Netlink:
    """The socket of a connector to which the driver's end plays the kernel."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end.dup()

    def recvfrom_into(self, buffer: memoryview) -> tuple[int, tuple[int, int]]:
        message = self._end.recv(MESSAGE_SIZE, socket.MSG_DONTWAIT)
        datagram = pack_header() + message
        buffer[: len(datagram)] = datagram
        return len(datagram), (0, 1 << 8)

    def fileno(self) -> int:
        return self._end.fileno()

    def close(self) -> None:
        self._end.close()


@pytest.fixture
def connector(driver: Driver) -> Iterator[Connector]:
    connector = Connector(lambda *_: None, Netlink(driver.theirs))  # type: ignore[arg-type]
    yield connector
    connector.close()


@pytest.fixture
def device(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> Iterator[CharDevice]:
    monkeypatch.setattr(os, "open", lambda *_: os.dup(driver.theirs.fileno()))
    opened = CharDevice()
    monkeypatch.undo()
    yield opened
    opened.close()


@pytest.fixture(params=["device", "connector", "plain"])
def partner(
    driver: Driver, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Partner]:
    """All that there are: the device's own, the connector's, and that of other lines."""
    if request.param != "plain":
        yield request.getfixturevalue(request.param)
        return
    monkeypatch.setattr(os, "open", lambda *_: os.dup(driver.theirs.fileno()))
    line = Plain(lambda _: None)
    line.start()
    monkeypatch.undo()
    assert driver.replies() == [encode_register()]
    driver.end.send(encode_register(b"3.1"))
    assert line.on_event(line.fileno(), select.POLLIN) is None
    yield line
    line.close()


def test_quick_replies_are_sent_and_counted_until_another_descriptor_is_ready(
    driver: Driver, partner: Partner
) -> None:
    driver.before_wait = [*SWEPT, GLANCED, SWEPT[0]]
    assert partner.converse(driver.conversation(partner.fileno())) == (
        [(driver.other, 1)],
        None,
    )
    first, *others = PREPARED.values()
    assert driver.replies() == [first, *others, GLANCED_REPLY, first]
    assert driver.told == [1, 4]
    assert not driver.asked


def test_what_is_not_prepared_is_asked_and_the_answer_sent(
    driver: Driver, partner: Partner
) -> None:
    driver.before_wait = [SET, SWEPT[1]]
    ready, request = partner.converse(driver.conversation(partner.fileno()))
    assert (ready, request) == ([(driver.other, 1)], None)
    assert driver.asked == [SET]
    assert driver.replies() == [driver.reply, list(PREPARED.values())[1]]


def test_it_ends_where_the_answer_comes_later(driver: Driver, partner: Partner) -> None:
    driver.before_wait = [SET, SWEPT[0]]
    driver.reply = None
    assert partner.converse(driver.conversation(partner.fileno())) == ([], None)
    assert driver.asked == [SET]
    assert driver.before_wait == [SWEPT[0]]
    assert not driver.replies()
    assert not driver.told


@pytest.mark.parametrize("message", [SET, GLANCED, SWEPT[0]])
def test_after_a_stop_the_request_is_handed_on_unanswered(
    driver: Driver, partner: Partner, message: bytes
) -> None:
    driver.before_wait = [message]
    driver.continued = True
    ready, request = partner.converse(driver.conversation(partner.fileno()))
    assert not ready
    assert request is not None
    assert bytes(request) == message
    assert not driver.asked
    assert not driver.replies()


@pytest.mark.parametrize("message", [SET, GLANCED])
def test_what_was_read_long_after_it_came_is_handed_on(
    driver: Driver,
    partner: Partner,
    message: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Kept from running between the wake-up and the read, or by a slow disk after it."""
    driver.before_wait = [message]
    times = iter((100.0, 100.0 + AWAY))
    conversation = driver.conversation(partner.fileno())
    monkeypatch.setattr(time, "monotonic", lambda: next(times))
    _, request = partner.converse(conversation)
    assert request is not None
    assert bytes(request) == message
    assert not driver.asked
    assert not driver.replies()


def test_an_answer_to_the_registration_is_no_request(driver: Driver, partner: Partner) -> None:
    driver.before_wait = [encode_register(b"3.2")]
    assert partner.converse(driver.conversation(partner.fileno())) == ([], None)
    assert partner.version == b"3.2"


def test_a_part_of_a_message_loses_the_line_and_what_was_sent_is_counted(
    driver: Driver, device: CharDevice
) -> None:
    driver.before_wait = [SWEPT[0], SET[:100]]
    with pytest.raises(TransportLostError, match="read 100 bytes"):
        device.converse(driver.conversation(device.fileno()))
    assert driver.told == [1]


def test_a_refused_reply_loses_the_line(driver: Driver, device: CharDevice) -> None:
    conversation = driver.conversation(device.fileno())
    wait = conversation.wait

    def wait_and_hang_up() -> Ready:
        ready = wait()
        driver.end.close()
        return ready

    conversation.wait = wait_and_hang_up
    driver.before_wait = [SWEPT[0]]
    with pytest.raises(TransportLostError, match="write: Broken pipe"):
        device.converse(conversation)


@pytest.mark.parametrize("kind", [DeviceLine, Plain])
def test_a_line_without_a_device_only_waits(driver: Driver, kind: type[DeviceLine]) -> None:
    line = kind(lambda _: None, "/nonexistent/hv_kvp")
    line.start()
    conversation = Conversation(
        lambda: [(7, 1)], {}, lambda *_: None, lambda _: None, lambda *_: None, driver
    )
    assert line.converse(conversation) == ([(7, 1)], None)
    line.close()


@pytest.mark.parametrize("kind", [DeviceLine, Plain])
def test_a_conversation_ends_when_its_line_is_lost(
    driver: Driver, kind: type[DeviceLine], monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    line = kind(said.append)
    monkeypatch.setattr(os, "open", lambda *_: os.dup(driver.theirs.fileno()))
    line.start()
    monkeypatch.undo()
    driver.end.send(encode_register(b"3.1"))
    line.on_event(line.watched[-1][0], select.POLLIN)
    before = line.watched
    driver.before_wait = [SET[:100]]
    assert line.converse(driver.conversation(before[-1][0])) == ([], None)
    assert line.watched is not before
    assert "read 100 bytes" in said[-1]
    line.close()
