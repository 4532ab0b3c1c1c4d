# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The serving loop: replies to requests, and stops, delays and signals in between."""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from hv_kvp_daemon.service.server import AWAY, Server
from hv_kvp_daemon.wire.message import MESSAGE_SIZE, Request, encode_request, encode_status
from hv_kvp_daemon.wire.uapi import (
    HV_E_FAIL,
    HV_UTIL_TIMEOUT,
    KVP_OP_DELETE,
    KVP_OP_GET,
    KVP_OP_SET,
)

SET = encode_request(Request(KVP_OP_SET, 0, b"key", b"value"))
DELETE = encode_request(Request(KVP_OP_DELETE, 0, b"key"))
GET = encode_request(Request(KVP_OP_GET, 0, b"key"))
DONE = encode_status(42)
REFUSED = encode_status(HV_E_FAIL)


class FakeLink:
    """A link whose other end, `driver`, belongs to the test."""

    def __init__(self) -> None:
        self.driver, self._socket = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.version = b"3.1"
        self.serving = True
        self.deadline: float | None = None
        self.watched: tuple[tuple[int, int], ...] = ((self._socket.fileno(), select.POLLIN),)
        self.message_ready: list[tuple[int, int]] | None = list(self.watched)
        self.lost = 0

    def receive(self) -> memoryview | None:
        message = self._socket.recv(MESSAGE_SIZE)
        if not message:
            self.lose()
            return None
        return memoryview(message)

    def newer(self) -> memoryview | None:
        return self.receive() if select.select([self._socket], [], [], 0)[0] else None

    def send(self, reply: bytes) -> None:
        self._socket.send(reply)

    def lose(self) -> None:
        self.lost += 1
        self.serving = False
        self.watched = ()
        self.message_ready = None

    def replies(self) -> list[bytes]:
        found = []
        while self.driver.fileno() >= 0 and select.select([self.driver], [], [], 0)[0]:
            found.append(self.driver.recv(MESSAGE_SIZE))
        return found

    def close(self) -> None:
        self.driver.close()
        self._socket.close()


class FakeSelector:
    def __init__(self) -> None:
        self.link = FakeLink()
        self.started = 0
        self.considered = 0
        self.deadlines = 0
        self.events: list[tuple[int, int]] = []
        #: What a call of `on_event` or `on_deadline` does besides returning a request.
        self.action: Callable[[], object] = lambda: None

    def start(self) -> None:
        self.started += 1

    def consider(self) -> None:
        self.considered += 1

    def on_event(self, fd: int, events: int) -> memoryview | None:
        """A message is received where the descriptor is the link's last."""
        self.events.append((fd, events))
        self.action()
        is_message = bool(self.link.watched) and fd == self.link.watched[-1][0]
        return self.link.receive() if is_message else None

    def on_deadline(self) -> memoryview | None:
        self.deadlines += 1
        self.link.deadline = None
        self.action()
        return None


class FakeSignals:
    """Signals that a test sends by `send`; the last one ends the server."""

    def __init__(self) -> None:
        self.stopping = False
        self.stops = 0
        self._read, self._write = os.pipe2(os.O_NONBLOCK)

    def fileno(self) -> int:
        return self._read

    def read(self) -> set[int]:
        return set(os.read(self._read, 64))

    def send(self, number: int) -> None:
        if number == 18:  # SIGCONT
            self.stops += 1
        elif number == 15:
            self.stopping = True
        os.write(self._write, bytes([number]))

    def close(self) -> None:
        os.close(self._read)
        os.close(self._write)


class FakeAutoPool:
    driver_version = b""
    reloads = 0

    def reload(self) -> None:
        self.reloads += 1

    def close(self) -> None:
        pass


class FakePublisher:
    """Records the calls for the service manager and the status page, in order."""

    def __init__(self, log: FakeLog) -> None:
        self.events: list[str] = []
        self.page = self
        self.busy = [0.0]
        self.report = log.warning

    def served(self, operation: int, now: float, reply: bytes) -> None:
        self.events.append(f"served {operation}")

    def look(self) -> None:
        self.events.append("look")

    def ready(self) -> None:
        self.events.append("ready")

    def reloading(self) -> None:
        self.events.append("reloading")

    def stopping(self) -> None:
        self.events.append("stopping")


class FakeLog:
    level = 0

    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, text: str) -> None:
        self.lines.append(text)

    warning = info


class Setup:
    """A server with fakes around it.

    ``script`` is a list of functions.  One is called before each wait; after the last, a
    signal ends the server.  ``during`` is called while a request is handled.
    """

    def __init__(self) -> None:
        self.selector = FakeSelector()
        self.signals = FakeSignals()
        self.auto_pool = FakeAutoPool()
        self.log = FakeLog()
        self.publisher = FakePublisher(self.log)
        self.handled: list[bytes] = []
        self.during: Callable[[], object] = lambda: None
        self.server = Server(
            {},  # type: ignore[arg-type]
            self.auto_pool,  # type: ignore[arg-type]
            self.selector,  # type: ignore[arg-type]
            self,  # type: ignore[arg-type]
            self.publisher,  # type: ignore[arg-type]
            self.signals,  # type: ignore[arg-type]
            self.log,  # type: ignore[arg-type]
        )
        self._epoll = self.server._epoll
        self.waits: list[float | None] = []

    @property
    def link(self) -> FakeLink:
        return self.selector.link

    def handle(self, message: memoryview) -> bytes:
        self.handled.append(bytes(message))
        self.during()
        return DONE

    def run(self, *script: Callable[[], object]) -> list[bytes]:
        """Serve until the script is over, and return the replies that the driver got."""
        steps = list(script)
        waits = self.waits = []
        self.signals.stopping = False
        epoll = self._epoll

        class Scripted:
            """The server's epoll, which calls a step of the script before each wait."""

            register, unregister, close = epoll.register, epoll.unregister, epoll.close

            @staticmethod
            def poll(timeout: float | None, most: int) -> list[tuple[int, int]]:
                waits.append(timeout)
                while steps:
                    steps.pop(0)()
                    if timeout is not None or epoll.poll(0, most):
                        break
                else:
                    if timeout is None and not epoll.poll(0, most):
                        signals.send(15)
                return epoll.poll(30 if timeout is None else timeout, most)

        signals = self.signals
        self.server._epoll = Scripted  # type: ignore[assignment]
        started = []
        self.server.run(lambda: started.append(1))
        assert started == [1]
        return self.link.replies()

    def ask(self, *messages: bytes) -> Callable[[], None]:
        def send() -> None:
            for message in messages:
                self.link.driver.send(message)

        return send


@pytest.fixture
def setup() -> Iterator[Setup]:
    setup = Setup()
    yield setup
    setup.server.close()
    setup.signals.close()


class Clock:
    """A time.monotonic() that advances only when a test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)

    def advance(self, seconds: float) -> Callable[[], None]:
        def advance() -> None:
            self.now += seconds

        return advance


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def in_turn(steps: Iterator[Callable[[], object]]) -> Callable[[], object]:
    """Return a function that performs the next step at each call."""

    def step() -> object:
        return next(steps)()

    return step


def nothing() -> None:
    """A wait in which nothing happens is one with a timeout."""


def test_request_after_request_is_answered_and_counted(setup: Setup) -> None:
    assert setup.run(setup.ask(GET), setup.ask(SET), setup.ask(GET)) == [DONE] * 3
    assert setup.handled == [GET, SET, GET]
    assert [event for event in setup.publisher.events if event.startswith("served")] == [
        "served 0",
        "served 1",
        "served 0",
    ]
    assert set(setup.waits) == {None}, "an idle daemon sleeps without a timeout"


def test_whether_to_change_over_is_considered_after_anything_but_a_request(
    setup: Setup,
) -> None:
    setup.run(setup.ask(GET), setup.ask(SET))
    # At the start, with the first watched descriptors, and at the signal to end.
    assert setup.selector.considered == 3


def test_it_is_ready_after_the_attempt_to_register_and_announces_its_end(
    setup: Setup,
) -> None:
    setup.run()
    assert setup.selector.started == 1
    assert setup.publisher.events[:2] == ["look", "ready"]
    assert setup.publisher.events[-1] == "stopping"
    assert setup.auto_pool.driver_version == b"3.1"


@pytest.mark.parametrize("message", [SET, DELETE])
def test_a_change_that_arrived_while_the_process_was_stopped_is_refused(
    setup: Setup, message: bytes
) -> None:
    def stop() -> None:
        setup.link.driver.send(message)
        setup.signals.send(18)

    assert setup.run(stop) == [REFUSED]
    assert not setup.handled
    assert "refused: it may have waited longer than the 30 s" in setup.log.lines[0]


def test_a_read_that_arrived_while_the_process_was_stopped_is_answered(setup: Setup) -> None:
    def stop() -> None:
        setup.link.driver.send(GET)
        setup.signals.send(18)

    assert setup.run(stop) == [DONE]


@pytest.mark.parametrize(("looks", "expected"), [(0, REFUSED), (1, DONE)])
def test_after_a_stop_the_link_is_checked_once_without_waiting(
    setup: Setup, looks: int, expected: bytes
) -> None:
    """A message that is there has arrived during the stop; a later one has not."""

    def stop() -> None:
        setup.signals.send(18)

    assert setup.run(stop, *[nothing] * looks, setup.ask(SET)) == [expected]
    assert setup.waits[1] == 0.0


def test_the_change_after_a_request_that_met_a_stop_is_new(setup: Setup) -> None:
    def stop() -> None:
        setup.link.driver.send(GET)
        setup.signals.send(18)

    assert setup.run(stop, setup.ask(SET)) == [DONE, DONE]


def test_a_stop_between_the_check_of_the_link_and_the_next_wait_counts(setup: Setup) -> None:
    """The driver may have sent a request after the stop, however short the reply took."""
    send = setup.link.send

    def send_and_stop(reply: bytes) -> None:
        send(reply)
        setup.signals.send(18)

    setup.link.send = send_and_stop  # type: ignore[method-assign]
    assert setup.run(setup.ask(GET), setup.ask(SET)) == [DONE, REFUSED]


@pytest.mark.parametrize(("message", "expected"), [(SET, REFUSED), (GET, DONE)])
def test_a_change_is_refused_if_the_process_was_not_scheduled(
    setup: Setup, clock: Clock, message: bytes, expected: bytes
) -> None:
    receive = setup.link.receive

    def late() -> memoryview | None:
        clock.now += AWAY
        return receive()

    setup.link.receive = late  # type: ignore[method-assign]
    assert setup.run(setup.ask(message)) == [expected]


def test_a_request_that_arrived_while_the_process_was_busy_may_be_old(
    setup: Setup, clock: Clock
) -> None:
    """Busy with something else than a request; after a request no older one is left."""
    read, write = os.pipe()
    setup.link.watched = ((read, select.POLLIN), *setup.link.watched)

    def busy() -> None:
        os.read(read, 1)
        clock.now += AWAY

    setup.selector.action = busy
    assert setup.run(lambda: os.write(write, b"x"), setup.ask(SET)) == [REFUSED]
    assert setup.waits[1] == 0.0
    os.close(read)
    os.close(write)


def test_a_reply_that_took_long_answers_no_newer_request(setup: Setup, clock: Clock) -> None:
    """T11: the host got key 7 for index 8."""
    during = iter((lambda: (clock.advance(2.0)(), setup.link.driver.send(GET)), nothing))
    setup.during = in_turn(during)
    assert setup.run(setup.ask(SET)) == [DONE]
    assert setup.handled == [SET, GET]
    assert (
        "a reply was dropped: the driver has sent a newer request meanwhile" in setup.log.lines
    )


@pytest.mark.usefixtures("clock")
def test_a_quick_reply_does_not_look_for_a_newer_request(setup: Setup) -> None:
    def fail() -> memoryview | None:
        raise AssertionError("a system call more for each request")

    setup.link.newer = fail  # type: ignore[method-assign]
    assert setup.run(setup.ask(GET)) == [DONE]


def test_a_slow_reply_is_sent_if_the_driver_still_waits_for_it(
    setup: Setup, clock: Clock
) -> None:
    setup.during = clock.advance(9.0)
    assert setup.run(setup.ask(SET)) == [DONE]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(HV_UTIL_TIMEOUT + 1.0, DONE), (HV_UTIL_TIMEOUT + AWAY, REFUSED)],
)
def test_a_newer_change_is_refused_only_if_it_may_be_as_old_as_the_timeout(
    setup: Setup, clock: Clock, seconds: float, expected: bytes
) -> None:
    during = iter((lambda: (clock.advance(seconds)(), setup.link.driver.send(SET)), nothing))
    setup.during = in_turn(during)
    assert setup.run(setup.ask(GET)) == [expected]


def test_a_newer_change_after_a_stop_is_refused(setup: Setup) -> None:
    def stop() -> None:
        setup.signals.send(18)
        setup.link.driver.send(SET)

    setup.during = in_turn(iter((stop, nothing)))
    assert setup.run(setup.ask(GET)) == [REFUSED]
    assert setup.handled == [GET]


def test_a_link_that_is_lost_is_published_and_watched_no_more(setup: Setup) -> None:
    setup.run(setup.link.driver.close)
    assert setup.link.lost == 1
    assert setup.publisher.events.count("look") >= 2
    assert setup.server._watched == ()


def test_a_link_that_is_lost_while_replying_is_published(setup: Setup) -> None:
    def lose(reply: bytes) -> None:
        setup.link.lose()

    setup.link.send = lose  # type: ignore[method-assign]
    setup.run(setup.ask(GET))
    served = setup.publisher.events.index("served 0")
    assert "look" in setup.publisher.events[served:]


def test_the_deadline_of_a_link_ends_the_wait(setup: Setup, clock: Clock) -> None:
    def soon() -> None:
        setup.link.deadline = clock.now + 0.05

    # The deadline is set before a wait for it: by a request.
    setup.during = soon
    assert setup.run(setup.ask(GET), clock.advance(0.05)) == [DONE]
    assert setup.selector.deadlines == 1
    assert setup.waits == [None, pytest.approx(0.05), None]


def test_the_deadline_of_a_link_that_has_no_transport_yet_ends_the_wait(
    setup: Setup,
) -> None:
    """Nothing is ready then, and nothing that would be a message."""
    setup.link.lose()
    setup.link.deadline = time.monotonic() + 0.01
    setup.run(nothing)
    assert setup.selector.deadlines == 1


def test_other_descriptors_of_the_link_are_handed_on(setup: Setup) -> None:
    read, write = os.pipe()
    setup.link.watched = ((read, select.POLLIN), *setup.link.watched)
    setup.selector.action = lambda: os.read(read, 1)
    setup.run(lambda: os.write(write, b"x"), nothing)
    assert setup.selector.events == [(read, select.POLLIN)]
    os.close(read)
    os.close(write)


def test_events_of_a_link_that_was_replaced_are_not_handed_to_the_new_one(
    setup: Setup,
) -> None:
    """Its descriptors may have the same numbers, and a read of the device would block."""
    read, write = os.pipe()
    first = setup.link
    first.watched = ((read, select.POLLIN), *first.watched)

    def replace() -> None:
        os.read(read, 1)
        setup.selector.link = FakeLink()

    def both() -> None:
        os.write(write, b"x")
        first.driver.send(GET)

    setup.selector.action = replace
    # The first of two that are ready replaces the link; the second is not handled.
    setup.run(both)
    assert len(setup.selector.events) == 1
    first.close()
    os.close(read)
    os.close(write)


def test_a_descriptor_that_the_link_has_closed_is_no_error(setup: Setup) -> None:
    read, write = os.pipe()
    os.close(write)

    def close() -> None:
        os.close(read)
        setup.link.watched = setup.link.watched[1:]

    setup.link.watched = ((read, select.POLLIN), *setup.link.watched)
    setup.selector.action = close
    setup.run(nothing, setup.ask(GET))
    assert setup.handled == [GET]


def test_sighup_reads_the_guests_facts_again(setup: Setup) -> None:
    setup.run(lambda: setup.signals.send(1))
    assert setup.auto_pool.reloads == 1
    start = setup.publisher.events.index("reloading")
    assert setup.publisher.events[start : start + 2] == ["reloading", "ready"]
