# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The device is opened, registered, and reopened.

A FIFO takes the place of the device; tests/driver has tests of the real one.
"""

from __future__ import annotations

import os
import select
import time
from pathlib import Path

import pytest

from hv_kvp_daemon.transport.chardev import CharDevice
from hv_kvp_daemon.transport.device_link import DeviceLink
from hv_kvp_daemon.transport.driver import SETTLE
from hv_kvp_daemon.transport.link import LONGEST_DELAY
from hv_kvp_daemon.wire.message import MESSAGE_SIZE, encode_register, encode_status


@pytest.fixture
def device(tmp_path: Path) -> Path:
    """A FIFO that returns what is written to it."""
    path = tmp_path / "hv_kvp"
    os.mkfifo(path)
    return path


def turn(line: DeviceLink) -> memoryview | None:
    with select.epoll() as epoll:
        for fd, events in line.watched:
            epoll.register(fd, events)
        for fd, events in epoll.poll(5):
            request = line.on_event(fd, events)
            if request is not None:
                return request
    return None


def test_the_link_opens_the_device_when_it_appears(tmp_path: Path) -> None:
    path = tmp_path / "hv_kvp"
    said: list[str] = []
    line = DeviceLink(said.append, str(path))
    line.start()
    assert line.deadline is not None
    assert f"waiting for {path}" in line.state()
    os.mkfifo(path)
    line.on_deadline()
    assert line.deadline is None
    # The FIFO returns the registration; it has no version, so it counts as a request.
    request = turn(line)
    assert request is not None
    assert bytes(request) == encode_register()
    line.send(encode_register(b"3.1"))
    assert turn(line) is None
    assert line.version == b"3.1"
    assert line.state() == "serving over the char device"
    line.close()


@pytest.mark.usefixtures("no_garbage")
def test_the_kernels_announcements_are_watched_only_while_the_device_is_missing(
    tmp_path: Path,
) -> None:
    """Each interface of each container is announced, too."""
    path = tmp_path / "hv_kvp"
    line = DeviceLink(lambda _: None, str(path))
    line.start()
    descriptors = len(os.listdir("/proc/self/fd"))
    assert len(line.watched) == 1
    os.mkfifo(path)
    line.on_deadline()
    ((fd, _),) = line.watched
    assert os.path.samefile(f"/proc/self/fd/{fd}", path)
    # The device in place of the socket.
    assert len(os.listdir("/proc/self/fd")) == descriptors
    line.on_event(fd, select.POLLHUP)
    assert len(line.watched) == 1
    assert line.watched[0] != (fd, CharDevice.EVENTS)
    line.close()


def test_the_device_wakes_its_watcher_once_for_each_message(tmp_path: Path) -> None:
    """A second poll for each message would add to the cost of each request."""
    path = tmp_path / "hv_kvp"
    os.mkfifo(path)
    line = DeviceLink(lambda _: None, str(path))
    line.start()
    ((fd, events),) = line.watched
    with select.epoll() as epoll:
        epoll.register(fd, events)
        for _ in range(2):
            assert epoll.poll(5) == [(fd, select.POLLIN)]
            assert not epoll.poll(0)
            line.send(encode_register(b"3.1"))
    line.close()


def test_the_same_trouble_is_reported_once_and_tried_at_least_every_two_seconds(
    tmp_path: Path,
) -> None:
    said: list[str] = []
    line = DeviceLink(said.append, str(tmp_path / "none"))
    line.start()
    for _ in range(20):
        line.on_deadline()
        assert line.deadline is not None
        assert line.deadline - time.monotonic() <= LONGEST_DELAY
    assert len(said) == 1
    assert "hv_utils is not loaded" in said[0]
    line.close()


@pytest.mark.usefixtures("no_garbage")
def test_a_lost_device_is_closed_and_opened_again(device: Path) -> None:
    """T10: the daemon never registered again."""
    said: list[str] = []
    line = DeviceLink(said.append, str(device))
    line.start()
    first = line.watched
    descriptors = len(os.listdir("/proc/self/fd"))
    line.on_event(line.watched[-1][0], select.POLLERR | select.POLLHUP)
    assert line.watched is not first
    assert line.deadline is not None
    line.send(encode_status(0))
    line.on_deadline()
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert "lost (the driver has gone)" in said[-1]
    line.close()


class FakeDriver:
    """A driver whose presence and readiness a test sets."""

    def __init__(self, *delays: float | None) -> None:
        self.delays = list(delays)
        self.announced = 0

    def delay(self) -> float | None:
        return self.delays.pop(0) if len(self.delays) > 1 else self.delays[0]

    def appeared(self) -> None:
        self.announced += 1


@pytest.mark.parametrize("delays", [(SETTLE, 0.0), (None, SETTLE, 0.0)])
def test_a_driver_that_is_not_ready_is_not_used(
    device: Path, monkeypatch: pytest.MonkeyPatch, delays: tuple[float | None, ...]
) -> None:
    """Also one that has appeared between the check of its node and the open."""
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    link = DeviceLink(lambda _: None, str(device), FakeDriver(*delays))  # type: ignore[arg-type]
    link.start()
    assert link.state() == "waiting until the driver is ready"
    assert link.deadline is not None
    assert link.deadline == now + SETTLE
    assert link.message_ready is None
    link.on_deadline()
    assert link.state() == "registering"
    assert link.deadline is None
    link.close()


def test_a_device_that_is_announced_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "hv_kvp"
    driver = FakeDriver(0.0)
    link = DeviceLink(lambda _: None, str(path), driver)  # type: ignore[arg-type]
    link.start()
    os.mkfifo(path)
    assert link._uevents is not None
    monkeypatch.setattr(link._uevents, "read", lambda: "add")
    assert link.on_event(link._uevents.fileno(), select.POLLIN) is None
    assert driver.announced == 1
    assert link.state() == "registering"
    link.close()


def test_a_newer_request_is_read_only_if_there_is_one(device: Path) -> None:
    link = DeviceLink(lambda _: None, str(device))
    assert link.newer() is None
    link.start()
    request = link.newer()
    assert request is not None
    assert bytes(request) == encode_register()
    assert link.newer() is None
    link.close()


def test_a_short_message_loses_the_device(device: Path) -> None:
    said: list[str] = []
    link = DeviceLink(said.append, str(device))
    link.start()
    assert link.receive() is not None
    before = link.watched
    with open(device, "wb", buffering=0) as other:
        other.write(bytes(MESSAGE_SIZE - 1))
    assert link.receive() is None
    assert link.watched is not before
    assert "read 7431 bytes" in said[-1]
    assert link.receive() is None
    link.close()


def test_a_late_reply_is_reported_once_and_the_device_stays_open(
    device: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    link = DeviceLink(said.append, str(device))
    link.start()
    before = link.watched
    assert link._device is not None
    monkeypatch.setattr(link._device, "send", lambda _: False)
    for _ in range(2):
        link.send(encode_status(0))
    assert [line for line in said if "was dropped" in line] == [
        "a reply was dropped: the driver has given up the request"
    ]
    assert link.watched is before
    link.close()


def test_a_reply_that_cannot_be_written_loses_the_device(tmp_path: Path) -> None:
    path = tmp_path / "hv_kvp"
    os.symlink("/dev/full", path)
    said: list[str] = []
    link = DeviceLink(said.append, str(path))
    link.start()
    assert "No space left" in said[-1]
    assert link.deadline is not None
    link.close()


def test_a_device_that_is_forbidden_is_named(tmp_path: Path) -> None:
    path = tmp_path / "directory"
    path.mkdir()
    said: list[str] = []
    link = DeviceLink(said.append, str(path))
    link.start()
    assert said == [f"cannot open {path}: Is a directory"]
    link.close()
