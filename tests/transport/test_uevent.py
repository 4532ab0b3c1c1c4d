# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Uevents of the KVP device are recognized, all others ignored."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hv_kvp_daemon.transport import uevent
from hv_kvp_daemon.transport.uevent import ADD, DEVPATH, REMOVE, Uevents, attach_filter, parse

PATH = b"/devices/virtual/misc/vmbus!hv_kvp"


def event(action: bytes, path: bytes = PATH, *fields: bytes) -> bytes:
    return b"\0".join(
        [action + b"@" + path, b"ACTION=" + action, b"DEVPATH=" + path, *fields, b""]
    )


def test_the_device_appears_and_disappears() -> None:
    assert parse(event(b"add")) == ADD
    assert parse(event(b"remove")) == REMOVE


def test_other_devices_and_actions_are_ignored() -> None:
    assert parse(event(b"change")) == ""
    assert parse(event(b"add", b"/devices/virtual/misc/vmbus!hv_vss")) == ""


def test_an_event_that_udevadm_triggers_is_ignored() -> None:
    assert parse(event(b"add", PATH, b"SYNTH_UUID=0")) == ""


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_ignored(noise: bytes) -> None:
    assert parse(noise) == ""


def test_a_socket_without_events_reads_empty() -> None:
    uevents = Uevents()
    try:
        assert uevents.read() == ""
    finally:
        uevents.close()


class Queue:
    """A socket with datagrams and the port ids of their senders, or errors."""

    def __init__(self, *entries: tuple[bytes, int] | int) -> None:
        self._entries = list(entries)

    def recvfrom_into(self, buffer: bytearray) -> tuple[int, tuple[int, int]]:
        if not self._entries:
            raise BlockingIOError
        entry = self._entries.pop(0)
        if isinstance(entry, int):
            raise OSError(entry, os.strerror(entry))
        data, sender = entry
        buffer[: len(data)] = data
        return len(data), (sender, 1)


def read_queue(*entries: tuple[bytes, int] | int) -> str:
    uevents = Uevents()
    uevents.close()
    uevents._socket = Queue(*entries)  # type: ignore[assignment]
    return uevents.read()


@pytest.mark.parametrize(
    ("entries", "action"),
    [
        ([(event(b"remove"), 0)], REMOVE),
        ([(event(b"remove"), 0), (event(b"add"), 0)], ADD),
        ([(event(b"add"), 0), (event(b"remove"), 0)], REMOVE),
        ([(event(b"add"), 0), (event(b"change"), 0)], ADD),
        ([(event(b"add"), 4711)], ""),  # a process, not the kernel
        ([(event(b"add"), 0), (event(b"remove"), 4711)], ADD),
        ([errno.ENOBUFS], ADD),  # events were lost
        ([(event(b"remove"), 0), errno.ENOBUFS], ADD),
        ([errno.ENOBUFS, (event(b"remove"), 0)], REMOVE),
        ([errno.EINTR], ADD),
    ],
)
def test_the_last_event_of_the_kernel_counts(
    entries: list[tuple[bytes, int] | int], action: str
) -> None:
    assert read_queue(*entries) == action


def test_a_flood_of_other_senders_ends() -> None:
    """T23."""

    class Endless(Queue):
        def recvfrom_into(self, buffer: bytearray) -> tuple[int, tuple[int, int]]:
            buffer[:4] = b"junk"
            return 4, (4711, 1)

    uevents = Uevents()
    uevents.close()
    uevents._socket = Endless()  # type: ignore[assignment]
    assert uevents.read() == ""


def test_an_error_of_the_socket_is_not_an_event() -> None:
    with pytest.raises(OSError, match="Bad file descriptor"):
        read_queue(errno.EBADF)


@pytest.mark.usefixtures("no_garbage")
def test_a_socket_that_cannot_have_its_filter_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_: object) -> None:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(uevent, "attach_filter", refuse)
    with pytest.raises(OSError, match="allocate memory"):
        Uevents()
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.fixture
def filtered() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A pair of sockets, the second with the filter."""
    sender, receiver = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    receiver.setblocking(False)
    attach_filter(receiver)
    with sender, receiver:
        yield sender, receiver


@pytest.mark.parametrize("action", [b"add", b"remove"])
def test_the_kernel_passes_events_of_the_device(
    filtered: tuple[socket.socket, socket.socket], action: bytes
) -> None:
    sender, receiver = filtered
    sender.send(event(action))
    assert receiver.recv(300) == event(action)


@pytest.mark.parametrize(
    "other",
    [
        event(b"add", b"/devices/virtual/net/veth0"),
        event(b"remove", b"/devices/virtual/net/veth0/queues/rx-0"),
        event(b"add", b"/d"),
        b"x",
        event(b"add", DEVPATH.replace(b"vmbus", b"hpets")),
    ],
)
def test_the_kernel_drops_other_events(
    filtered: tuple[socket.socket, socket.socket], other: bytes
) -> None:
    """Each interface of each container is announced, and must not wake the daemon."""
    sender, receiver = filtered
    try:
        sender.send(other)
    except PermissionError:
        return  # AF_UNIX reports to the sender that the filter has dropped it
    with pytest.raises(BlockingIOError):
        receiver.recv(300)
