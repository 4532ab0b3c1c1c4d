# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The netlink link registers, recognizes the answer, and notices when netlink is lost.

The connector is a fake that simulates the driver.  The device is a FIFO, whose opens
inotify reports like those of the real device.
"""

from __future__ import annotations

import errno
import os
import select
import time
from pathlib import Path

import pytest

from hv_kvp_daemon.transport import netlink_link, uevent
from hv_kvp_daemon.transport.connector import SUPERSEDED
from hv_kvp_daemon.transport.driver import SETTLE
from hv_kvp_daemon.transport.errors import TransportError
from hv_kvp_daemon.transport.link import LONGEST_DELAY
from hv_kvp_daemon.transport.netlink_link import LOOK_INTERVAL, PATIENCE, NetlinkLink

REQUEST = memoryview(b"a request")

#: The driver's answer to a registration of the old protocol.
OLD_ANSWER = b"operation 4"


class FakeConnector:
    """Counts registrations; ``arrives`` has the requests and versions for `receive`."""

    name = "netlink"
    port_id = 4711

    def __init__(self) -> None:
        self.version = b""
        self.stranger = 0
        self.registering = True
        self.preempted = False
        self.registrations = 0
        self.arrives: list[memoryview | bytes] = []
        self.dropped: list[tuple[str, str]] = []
        self.sent: list[bytes] = []
        self.error: TransportError | None = None
        self._pipe = os.pipe()

    def fileno(self) -> int:
        return self._pipe[0]

    def register(self) -> None:
        if self.error is not None:
            raise self.error
        self.registrations += 1

    def receive(self) -> memoryview | None:
        request = None
        while self.arrives:
            came = self.arrives.pop(0)
            if came == OLD_ANSWER:
                self.preempted = True
            elif isinstance(came, bytes):
                self.version = came
            else:
                request = came
                break
        return request

    newer = receive

    def drop(self, reason: str, detail: str) -> None:
        self.dropped.append((reason, detail))

    def send(self, reply: bytes) -> None:
        self.sent.append(reply)

    def close(self) -> None:
        for fd in self._pipe:
            os.close(fd)


class ResetByAnother:
    """A device at whose close another process registers at once."""

    def __init__(self, connector: FakeConnector) -> None:
        self._connector = connector

    def close(self) -> None:
        self._connector.arrives = [OLD_ANSWER]


class FakeDriver:
    """A driver that is ready after some time."""

    def __init__(self, delay: float | None = 0.0) -> None:
        self.wanted = delay
        self.announced = 0

    def delay(self) -> float | None:
        return self.wanted

    def appeared(self) -> None:
        self.announced += 1


class Setup:
    """A link, its fakes, and its device."""

    def __init__(self, path: Path, *, insist: bool = True, device: bool = True) -> None:
        self.device = path / "hv_kvp"
        if device:
            os.mkfifo(self.device)
        self.connector = FakeConnector()
        self.driver = FakeDriver()
        self.said: list[str] = []
        self.link = NetlinkLink(
            self.said.append,
            self.connector,  # type: ignore[arg-type]
            insist=insist,
            path=str(self.device),
            driver=self.driver,  # type: ignore[arg-type]
        )

    def turn(self) -> memoryview | None:
        """Handle all descriptors that are ready."""
        poll = select.poll()
        for fd, events in self.link.watched:
            poll.register(fd, events)
        request = None
        for fd, events in poll.poll(0):
            request = self.link.on_event(fd, events) or request
        return request

    def open_device(self) -> None:
        os.close(os.open(self.device, os.O_RDWR))

    def announce(self, action: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let the kernel announce that the device has appeared or disappeared."""
        assert self.link._uevents is not None
        monkeypatch.setattr(self.link._uevents, "read", lambda: action, raising=False)
        self.link.on_event(self.link._uevents.fileno(), select.POLLIN)

    def registered(self) -> None:
        self.link.start()
        self.connector.arrives = [b"3.1"]
        assert self.link.receive() is None


class Announcements:
    """A uevent socket without events of its own."""

    def __init__(self) -> None:
        self._pipe = os.pipe()

    def fileno(self) -> int:
        return self._pipe[0]

    def read(self) -> str:
        return ""

    def close(self) -> None:
        for fd in self._pipe:
            os.close(fd)


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No other member of the group, and no uevents of this machine."""
    monkeypatch.setattr(netlink_link, "group_members", lambda _: {4711})
    monkeypatch.setattr(
        netlink_link, "port_holders", lambda port: [(7, "listener")] if port == 1 else []
    )
    monkeypatch.setattr(netlink_link, "open_uevents", lambda _: Announcements())


@pytest.fixture
def setup(tmp_path: Path) -> object:
    setup = Setup(tmp_path)
    yield setup
    setup.link.close()


def test_it_registers_and_takes_the_version(setup: Setup) -> None:
    setup.link.start()
    assert setup.connector.registrations == 1
    assert setup.link.state() == "registering over netlink"
    assert not setup.link.serving
    setup.connector.arrives = [b"3.1"]
    assert setup.link.receive() is None
    assert setup.link.version == b"3.1"
    assert setup.link.deadline is None
    assert setup.link.state() == "serving over netlink"
    assert setup.said == ["registered over netlink, driver version 3.1"]


def test_it_registers_again_with_growing_delays_until_it_is_answered(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    setup.link.start()
    delays = []
    for count in range(2, 12):
        assert setup.link.deadline is not None
        delays.append(setup.link.deadline - now)
        assert setup.link.on_deadline() is None
        assert setup.connector.registrations == count
    assert delays[:3] == sorted(delays[:3])
    assert delays[0] < 0.1
    assert max(delays) <= LONGEST_DELAY


def test_a_request_in_the_queue_is_served_and_no_registration_answers_it(setup: Setup) -> None:
    """A restarted daemon gets no answer to its registration, but does get requests."""
    setup.link.start()
    setup.connector.arrives = [REQUEST]
    assert setup.link.on_deadline() is REQUEST
    assert setup.connector.registrations == 1
    assert setup.link.serving
    assert setup.link.deadline is None
    assert setup.link.version == b""


def test_requests_from_before_the_reset_of_the_driver_are_dropped(setup: Setup) -> None:
    setup.connector.arrives = [REQUEST, REQUEST]
    setup.link.start()
    assert [reason for reason, _ in setup.connector.dropped] == [SUPERSEDED] * 2
    assert not setup.link.serving


def test_no_kernel_in_this_namespace_is_an_error(setup: Setup) -> None:
    setup.connector.error = TransportError("connection refused")
    with pytest.raises(TransportError, match="refused"):
        setup.link.start()


@pytest.mark.parametrize("insist", [True, False])
def test_another_member_of_the_group_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, insist: bool
) -> None:
    monkeypatch.setattr(netlink_link, "group_members", lambda _: {4711, 1})
    setup = Setup(tmp_path, insist=insist)
    setup.link.start()
    assert "has another member: " in setup.link.obstacle
    assert setup.link.obstacle.endswith("has another member: listener (pid 7)")
    # After a reset the driver would send its requests to both.
    assert setup.connector.registrations == int(insist)
    assert not setup.connector.dropped
    setup.link.close()


def test_of_many_members_of_the_group_two_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T24: a user who joined with 1,000 sockets held up the host for 40 s a minute."""
    searched: list[int] = []

    def search(port: int) -> list[tuple[int, str]]:
        searched.append(port)
        return [(port, "listener")]

    monkeypatch.setattr(netlink_link, "group_members", lambda _: {4711, *range(1, 1001)})
    monkeypatch.setattr(netlink_link, "port_holders", search)
    setup = Setup(tmp_path, insist=False)
    setup.link.start()
    assert setup.link.obstacle.endswith(
        "another member: listener (pid 1), listener (pid 2), and 998 more"
    )
    assert searched == [1, 2]
    setup.link.close()


def test_a_driver_that_is_not_ready_is_not_used_until_it_is(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    setup.driver.wanted = SETTLE
    setup.link.start()
    assert setup.connector.registrations == 0
    assert setup.link.state() == "waiting until the driver is ready"
    assert setup.link.deadline is not None
    assert setup.link.deadline == now + SETTLE
    setup.driver.wanted = 0.0
    setup.link.on_deadline()
    assert setup.connector.registrations == 1


def test_a_driver_that_was_reloaded_between_two_registrations_is_waited_for(
    setup: Setup,
) -> None:
    setup.link.start()
    setup.driver.wanted = SETTLE
    setup.link.on_deadline()
    assert setup.connector.registrations == 1


def test_a_driver_that_appears_while_it_is_looked_for_is_waited_for(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T18: missing at the first look, and there when the device was opened."""
    delays = [None, SETTLE, SETTLE]
    monkeypatch.setattr(setup.driver, "delay", lambda: delays.pop(0))
    setup.link.start()
    assert setup.connector.registrations == 0
    assert setup.link.state() == "waiting until the driver is ready"
    assert setup.link.deadline is not None


def test_a_missing_driver_is_waited_for_without_waking_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = Setup(tmp_path, device=False)
    setup.driver.wanted = None
    setup.link.start()
    assert "the driver hv_utils is not loaded" in setup.said[0]
    now = time.monotonic() + PATIENCE + 1
    monkeypatch.setattr(time, "monotonic", lambda: now)
    registrations = setup.connector.registrations
    setup.link.on_deadline()
    assert setup.link.unanswered
    assert setup.link.deadline is None
    assert setup.link.state() == "waiting for the driver"
    assert setup.connector.registrations == registrations
    # Until the kernel announces it.
    os.mkfifo(setup.device)
    setup.driver.wanted = 0.0
    setup.announce(uevent.ADD, monkeypatch)
    assert setup.driver.announced == 1
    assert setup.connector.registrations == registrations + 1
    setup.link.close()


def test_a_driver_that_is_removed_is_no_longer_served(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup.registered()
    setup.announce(uevent.REMOVE, monkeypatch)
    assert not setup.link.serving
    assert setup.link.version == b""
    assert setup.link.state() == "waiting for the driver"
    setup.announce(uevent.ADD, monkeypatch)
    setup.connector.arrives = [b"3.2"]
    setup.link.receive()
    assert setup.link.version == b"3.2"


def test_a_device_that_another_holds_is_named_and_tried_again(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(path: str) -> None:
        raise TransportError(f"{path}: busy") from OSError(errno.EBUSY, "busy")

    monkeypatch.setattr(netlink_link, "CharDevice", busy)
    setup.link.start()
    assert "is held by another process" in setup.link.obstacle
    assert setup.link.state() == "waiting for the device to be released"
    setup.link.on_deadline()
    assert len(setup.said) == 1, "the same is said once"
    monkeypatch.undo()
    monkeypatch.setattr(netlink_link, "group_members", lambda _: {4711})
    setup.link.on_deadline()
    assert setup.link.obstacle == ""
    assert setup.link.state() == "registering over netlink"


def test_a_device_that_cannot_be_opened_does_not_keep_it_from_registering(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As another user, or in a sandbox without the device."""

    def refused(path: str) -> None:
        raise TransportError(f"{path}: Permission denied") from OSError(errno.EACCES, "no")

    monkeypatch.setattr(netlink_link, "CharDevice", refused)
    setup.link.start()
    assert "the driver's version may stay unknown" in setup.said[0]
    assert setup.connector.registrations == 1


def test_an_open_of_the_device_ends_netlink_and_it_registers_again(setup: Setup) -> None:
    """T19."""
    setup.registered()
    setup.open_device()
    assert setup.turn() is None
    assert not setup.link.serving
    assert "was opened by a process that closed it again" in setup.said[-1]
    assert setup.link.deadline is not None
    assert setup.link.deadline <= time.monotonic()
    registrations = setup.connector.registrations
    setup.link.on_deadline()
    assert setup.connector.registrations == registrations + 1
    setup.connector.arrives = [b"3.1"]
    setup.link.receive()
    assert setup.link.serving
    # Its own open, with which it reset the driver, is not reported.
    assert setup.turn() is None
    assert setup.link.serving
    assert setup.said[-1] == "registered over netlink, driver version 3.1"


def test_under_auto_an_open_of_the_device_is_an_obstacle(tmp_path: Path) -> None:
    setup = Setup(tmp_path, insist=False)
    setup.registered()
    setup.open_device()
    setup.turn()
    assert "was opened by" in setup.link.obstacle
    # The selector reports it when it changes over to the device.
    assert "opened" not in setup.said[-1]
    setup.link.close()


@pytest.mark.parametrize("insist", [True, False])
def test_a_device_node_that_goes_with_its_driver_is_no_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, insist: bool
) -> None:
    """T19: the node is removed before the kernel announces the end of the driver."""
    setup = Setup(tmp_path, insist=insist)
    setup.registered()
    setup.device.unlink()
    assert setup.turn() is None
    assert not setup.link.obstacle
    setup.announce(uevent.REMOVE, monkeypatch)
    assert not setup.link.serving
    assert "opened" not in "".join(setup.said)
    # The new driver's registration is reported, although the text is the same.
    os.mkfifo(setup.device)
    setup.announce(uevent.ADD, monkeypatch)
    setup.registered()
    assert setup.said.count("registered over netlink, driver version 3.1") == 2
    setup.link.close()


def test_without_uevents_the_end_of_the_device_node_is_that_of_the_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(netlink_link, "open_uevents", lambda report: None)
    setup = Setup(tmp_path)
    setup.registered()
    setup.device.unlink()
    assert setup.turn() is None
    assert not setup.link.serving
    assert "does not exist" in setup.said[-1]
    setup.link.close()


def test_a_device_that_cannot_be_watched_is_reported(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hv_kvp_daemon.transport import inotify

    def full(path: str, mask: int) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), path)

    monkeypatch.setattr(inotify, "Inotify", full)
    setup.link.start()
    assert "cannot watch" in setup.said[0]
    assert setup.connector.registrations == 1


@pytest.mark.parametrize("insist", [True, False])
def test_another_sender_of_driver_messages_is_named_and_ends_netlink_under_auto(
    tmp_path: Path, *, insist: bool
) -> None:
    setup = Setup(tmp_path, insist=insist)
    setup.registered()
    setup.connector.stranger = 1
    setup.connector.arrives = [REQUEST]
    assert setup.link.receive() is (REQUEST if insist else None)
    assert setup.connector.stranger == 0
    text = setup.said[-1] if insist else setup.link.obstacle
    assert text.startswith("another process sends messages of the driver's kind: ")
    assert text.endswith("listener (pid 7)")
    said = len(setup.said)
    setup.connector.stranger = 1
    setup.link.receive()
    assert len(setup.said) == said, "the same is said once"
    setup.link.close()


@pytest.mark.parametrize("insist", [True, False])
def test_a_member_that_joins_later_is_noticed_within_a_minute_of_requests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, insist: bool
) -> None:
    """T20."""
    setup = Setup(tmp_path, insist=insist)
    setup.registered()
    setup.connector.arrives = [REQUEST]
    assert setup.link.receive() is REQUEST
    monkeypatch.setattr(netlink_link, "group_members", lambda _: {4711, 2})
    setup.connector.arrives = [REQUEST]
    assert setup.link.receive() is REQUEST, "it is not looked for with each request"
    later = time.monotonic() + LOOK_INTERVAL
    monkeypatch.setattr(time, "monotonic", lambda: later)
    setup.connector.arrives = [REQUEST]
    assert setup.link.receive() is (REQUEST if insist else None)
    text = setup.said[-1] if insist else setup.link.obstacle
    assert text.endswith("another member: port id 2, of a process not visible here")
    setup.link.close()


def test_a_registration_of_the_old_protocol_is_undone_before_anything_is_served(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T22: the driver stayed in the old mode, and told the host of each SET as a failure."""
    setup.link.start()
    setup.connector.arrives = [OLD_ANSWER, REQUEST]
    assert setup.link.receive() is None
    # The driver is in the old mode: it would ignore the status of a reply.
    assert [reason for reason, _ in setup.connector.dropped] == [SUPERSEDED]
    assert not setup.link.serving
    assert setup.link.state() == (
        "registering again, since another process has registered before"
    )
    deadline = setup.link.deadline
    assert deadline is not None
    setup.connector.arrives = [REQUEST]
    assert setup.link.receive() is None
    assert setup.link.deadline == deadline, "requests do not postpone it"
    # The other process is faster once more, between the reset and the registration.
    registrations = setup.connector.registrations
    with monkeypatch.context() as patch:
        patch.setattr(netlink_link, "CharDevice", lambda _: ResetByAnother(setup.connector))
        assert setup.link.on_deadline() is None
    assert setup.connector.registrations == registrations
    assert setup.link.on_deadline() is None
    assert setup.connector.registrations == registrations + 1
    setup.connector.arrives = [b"3.1"]
    assert setup.link.receive() is None
    assert setup.link.serving
    assert not setup.connector.registering
    assert setup.said[0].endswith("first, in the old protocol; registering again")
    assert setup.said[1:] == ["registered over netlink, driver version 3.1"]


def test_under_auto_a_registration_of_the_old_protocol_is_an_obstacle(tmp_path: Path) -> None:
    setup = Setup(tmp_path, insist=False)
    setup.link.start()
    setup.connector.arrives = [OLD_ANSWER]
    # Found at the deadline, too, it is left for the selector to see.
    assert setup.link.on_deadline() is None
    assert "in the old protocol" in setup.link.obstacle
    assert not setup.said
    setup.link.close()


def test_an_obstacle_is_over_when_the_driver_has_answered(setup: Setup) -> None:
    setup.link.start()
    setup.link.obstacle = "another process held the device"
    setup.connector.arrives = [b"3.1"]
    setup.link.receive()
    assert setup.link.obstacle == ""


def test_replies_and_newer_requests_are_the_connectors(setup: Setup) -> None:
    setup.registered()
    setup.connector.arrives = [REQUEST]
    assert setup.link.newer() is REQUEST
    setup.link.send(b"reply")
    assert setup.connector.sent == [b"reply"]


@pytest.mark.usefixtures("no_garbage")
def test_all_descriptors_are_closed(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    setup = Setup(tmp_path)
    setup.registered()
    assert len(setup.link.watched) == 3
    setup.link.close()
    assert len(os.listdir("/proc/self/fd")) == before
