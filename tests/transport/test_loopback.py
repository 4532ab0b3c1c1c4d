# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The socket in place of the driver."""

from __future__ import annotations

import os
import select
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from hv_kvp_daemon.transport.errors import TransportError
from hv_kvp_daemon.transport.loopback import Listener, LoopbackLink
from hv_kvp_daemon.wire.message import MESSAGE_SIZE, encode_register, encode_status


class Lines:
    """A link, its reports, and turns of the poll loop until a condition holds."""

    def __init__(self, path: str) -> None:
        self.said: list[str] = []
        self.line = LoopbackLink(self.said.append, path)
        self.line.start()

    def turn(self) -> memoryview | None:
        poll = select.poll()
        for fd, events in self.line.watched:
            poll.register(fd, events)
        ((fd, events),) = poll.poll(60_000)
        return self.line.on_event(fd, events)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "host")


@pytest.fixture
def lines(path: str) -> Iterator[Lines]:
    lines = Lines(path)
    yield lines
    lines.line.close()


def connected(path: str) -> socket.socket:
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    peer.settimeout(60)
    peer.connect(path)
    return peer


def test_the_daemon_registers_and_learns_the_version(lines: Lines, path: str) -> None:
    with connected(path) as peer:
        assert lines.turn() is None
        assert peer.recv(9000) == encode_register()
        peer.send(encode_register(b"3.1"))
        assert lines.turn() is None
        assert lines.line.version == b"3.1"
        peer.send(encode_status(3))
        request = lines.turn()
        assert request is not None
        assert bytes(request) == encode_status(3)
        lines.line.send(encode_status(0))
        assert peer.recv(9000) == encode_status(0)


def test_a_peer_that_hangs_up_makes_room_for_the_next(lines: Lines, path: str) -> None:
    with connected(path) as peer:
        lines.turn()
        peer.recv(9000)
    lines.turn()
    with connected(path) as peer:
        lines.turn()
        assert len(peer.recv(9000)) == MESSAGE_SIZE


@pytest.mark.parametrize("size", [1, MESSAGE_SIZE - 1, MESSAGE_SIZE + 1, 2 * MESSAGE_SIZE])
def test_a_peer_that_sends_no_whole_message_is_disconnected(
    lines: Lines, path: str, size: int
) -> None:
    with connected(path) as peer:
        lines.turn()
        peer.recv(9000)
        peer.send(bytes(size))
        assert lines.turn() is None
        assert peer.recv(9000) == b""


def test_a_reply_to_a_peer_that_has_disconnected_is_no_error(lines: Lines, path: str) -> None:
    connected(path).close()
    lines.turn()
    lines.line.send(encode_status(0))
    assert lines.line.version == b""


def test_only_the_owner_can_connect(lines: Lines, path: str) -> None:
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


def test_a_socket_left_by_a_killed_daemon_is_replaced(path: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as dead:
        dead.bind(path)
    Listener(path).close()
    assert not os.path.exists(path)


def test_a_socket_in_use_is_not_taken(lines: Lines, path: str) -> None:
    with pytest.raises(TransportError, match="in use"):
        Listener(path)


def test_a_file_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("kept")
    with pytest.raises(TransportError):
        Listener(str(path))
    assert path.read_text() == "kept"


def test_a_socket_that_is_exchanged_for_a_link_lends_its_mode_to_nothing(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S2: root made another file unreadable where a user owned the directory."""
    secret = tmp_path / "secret"
    secret.touch(0o644)
    modes = []

    class Exchanged(socket.socket):
        def bind(self, address: object) -> None:
            super().bind(address)  # type: ignore[arg-type]
            modes.append(stat.S_IMODE(os.stat(path).st_mode))
            os.unlink(path)
            os.symlink(secret, path)

    before = os.umask(0o027)
    try:
        monkeypatch.setattr(socket, "socket", Exchanged)
        Listener(path).close()
    finally:
        assert os.umask(before) == 0o027
    assert modes == [0o600]
    assert stat.S_IMODE(secret.stat().st_mode) == 0o644
