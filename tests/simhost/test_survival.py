# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""A daemon survives a kill, and peers that disconnect or send malformed messages."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from hv_kvp_daemon.simhost.errors import NoDaemonError
from hv_kvp_daemon.wire.message import MESSAGE_SIZE, encode_register
from hv_kvp_daemon.wire.uapi import (
    HV_S_OK,
    KVP_OP_ENUMERATE,
    KVP_OP_SET,
    KVP_POOL_AUTO,
    KVP_POOL_EXTERNAL,
    REG_U32,
)

if TYPE_CHECKING:
    from tests.support.daemon import RunningDaemon

EXTERNAL, AUTO = KVP_POOL_EXTERNAL, KVP_POOL_AUTO


def test_a_kill_loses_no_record(daemon: RunningDaemon) -> None:
    with daemon.host() as host:
        for number in range(20):
            host.set(EXTERNAL, f"key {number}", number, REG_U32)
    daemon.kill()
    daemon.start()
    with daemon.host() as host:
        assert list(host.items(EXTERNAL)) == [(f"key {n}", str(n)) for n in range(20)]
        assert host.get(AUTO, "IntegrationServicesVersion") == (HV_S_OK, "3.1")


def test_a_host_whose_daemon_was_killed_gets_an_error(daemon: RunningDaemon) -> None:
    with daemon.host() as host:
        daemon.kill()
        with pytest.raises(NoDaemonError):
            host.get(EXTERNAL, "key")


def test_one_host_after_the_other_is_served(daemon: RunningDaemon) -> None:
    for number in range(20):
        with daemon.host() as host:
            assert host.set(EXTERNAL, "key", number, REG_U32) == HV_S_OK
    assert daemon.stop() == 0


@pytest.mark.parametrize("size", [1, 4, MESSAGE_SIZE - 1, MESSAGE_SIZE + 1, 2 * MESSAGE_SIZE])
def test_a_message_of_another_size_costs_the_connection_only(
    daemon: RunningDaemon, size: int
) -> None:
    with daemon.host() as host:
        assert host.set(EXTERNAL, "key", "value") == HV_S_OK
    with connected(daemon) as peer:
        peer.send(bytes([KVP_OP_SET]) * size)
        assert peer.recv(MESSAGE_SIZE) == b""
    with daemon.host() as host:
        assert list(host.items(EXTERNAL)) == [("key", "value")]
    assert daemon.stop() == 0


def test_a_host_that_disconnects_before_the_reply_does_no_harm(daemon: RunningDaemon) -> None:
    request = bytes([KVP_OP_ENUMERATE, AUTO, 0, 0]).ljust(MESSAGE_SIZE, b"\0")
    for _ in range(10):
        with connected(daemon) as peer:
            peer.send(request)
    with daemon.host() as host:
        assert len(list(host.items(AUTO))) == 10
    assert daemon.stop() == 0


def connected(daemon: RunningDaemon) -> socket.socket:
    """A plain socket after the handshake."""
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    peer.settimeout(60)
    peer.connect(daemon.path)
    assert peer.recv(2 * MESSAGE_SIZE) == encode_register()
    peer.send(encode_register(b"3.1"))
    return peer
