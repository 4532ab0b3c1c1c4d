"""The device: whole messages, or the line is lost.

The stand-in is a FIFO or a file: what the real device answers is proven in
tests/driver.
"""

from __future__ import annotations

import os
import select
import time
from pathlib import Path

import pytest

from hv_kvp_daemon.transport.chardev import CharDevice
from hv_kvp_daemon.transport.device_line import DeviceLine
from hv_kvp_daemon.transport.errors import TransportError, TransportLostError
from hv_kvp_daemon.transport.line import LONGEST_DELAY
from hv_kvp_daemon.wire.message import MESSAGE_SIZE, encode_register, encode_status


@pytest.fixture
def device(tmp_path: Path) -> Path:
    """A FIFO that this process holds open: it gives back what is written to it."""
    path = tmp_path / "hv_kvp"
    os.mkfifo(path)
    return path


def test_a_device_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(TransportError, match="No such file"):
        CharDevice(str(tmp_path / "none"))


def test_a_message_is_written_and_read_whole(device: Path) -> None:
    opened = CharDevice(str(device))
    opened.send(encode_status(3))
    request = opened.receive()
    assert request is not None
    assert bytes(request) == encode_status(3)
    opened.send(encode_register(b"3.1"))
    assert opened.receive() is None
    assert opened.version == b"3.1"
    opened.close()


def test_a_short_read_loses_the_line(device: Path) -> None:
    opened = CharDevice(str(device))
    with open(device, "wb", buffering=0) as other:
        other.write(bytes(MESSAGE_SIZE - 1))
    with pytest.raises(TransportLostError, match="read 7431 bytes"):
        opened.receive()
    opened.close()


def test_a_refused_write_loses_the_line(tmp_path: Path) -> None:
    opened = CharDevice("/dev/full")
    with pytest.raises(TransportLostError, match="No space left"):
        opened.send(encode_status(0))
    opened.close()


def turn(line: DeviceLine) -> memoryview | None:
    with select.epoll() as epoll:
        for fd, events in line.watched:
            epoll.register(fd, events)
        for fd, events in epoll.poll(5):
            request = line.on_event(fd, events)
            if request is not None:
                return request
    return None


def test_the_line_opens_the_device_when_it_appears(tmp_path: Path) -> None:
    path = tmp_path / "hv_kvp"
    said: list[str] = []
    line = DeviceLine(said.append, str(path))
    line.start()
    assert line.deadline is not None
    assert f"waiting for {path}" in line.state()
    os.mkfifo(path)
    line.on_deadline()
    assert line.deadline is None
    # The FIFO gives the registration back; it carries no version, so it is a request.
    request = turn(line)
    assert request is not None
    assert bytes(request) == encode_register()
    line.reply(encode_register(b"3.1"))
    assert turn(line) is None
    assert line.version == b"3.1"
    assert line.state() == "serving over the char device"
    line.close()


def test_the_kernels_announcements_are_watched_only_while_the_device_is_missing(
    tmp_path: Path,
) -> None:
    """Each interface of each container is announced as well."""
    path = tmp_path / "hv_kvp"
    line = DeviceLine(lambda _: None, str(path))
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
    """To ask again whether there is more is a part of each request's cost."""
    path = tmp_path / "hv_kvp"
    os.mkfifo(path)
    line = DeviceLine(lambda _: None, str(path))
    line.start()
    ((fd, events),) = line.watched
    with select.epoll() as epoll:
        epoll.register(fd, events)
        for _ in range(2):
            assert epoll.poll(5) == [(fd, select.POLLIN)]
            assert not epoll.poll(0)
            line.reply(encode_register(b"3.1"))
    line.close()


def test_the_same_trouble_is_reported_once_and_tried_at_least_every_two_seconds(
    tmp_path: Path,
) -> None:
    said: list[str] = []
    line = DeviceLine(said.append, str(tmp_path / "none"))
    line.start()
    for _ in range(20):
        line.on_deadline()
        assert line.deadline is not None
        assert line.deadline - time.monotonic() <= LONGEST_DELAY
    assert len(said) == 1
    assert "hv_utils is not loaded" in said[0]
    line.close()


def test_a_lost_device_is_closed_and_opened_again(device: Path) -> None:
    """T10: the daemon never registered again."""
    said: list[str] = []
    line = DeviceLine(said.append, str(device))
    line.start()
    first = line.watched
    descriptors = len(os.listdir("/proc/self/fd"))
    line.on_event(line.watched[-1][0], select.POLLERR | select.POLLHUP)
    assert line.watched is not first
    assert line.deadline is not None
    line.reply(encode_status(0))
    line.on_deadline()
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert "lost (the driver has gone)" in said[-1]
    line.close()
