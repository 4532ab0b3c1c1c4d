# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""GET_IP_INFO by the resident daemon, whose reply has to wait for a program.

In a network namespace of its own; only the root directory in which the daemon looks for
scripts is a test's.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pyroute2 import IPRoute

from hv_kvp_daemon.netconfig import scripts
from hv_kvp_daemon.wire.ipinfo import IpInfo, decode_ip, encode_ip_request
from hv_kvp_daemon.wire.message import Request, decode_reply, encode_request
from hv_kvp_daemon.wire.uapi import (
    HV_E_FAIL,
    HV_ERROR_NOT_SUPPORTED,
    HV_S_OK,
    KVP_OP_ENUMERATE,
    KVP_OP_SET_IP_INFO,
)
from tests.support.forked import ForkedDaemon
from tests.support.network import in_own_network
from tests.support.process import DEADLINE, Peer, wait_for

from .network import veth, write

MAC = "02:15:5d:00:00:01"
SCRIPT = "/usr/libexec/hypervkvpd/hv_get_dns_info"


@contextmanager
def served(seconds: float = DEADLINE) -> Iterator[ForkedDaemon]:
    """A guest with one link, and its daemon.

    A script may take so many seconds: by default more than any needs on a busy machine.
    """
    scripts.SECONDS = seconds
    with IPRoute() as ip:
        veth(ip, "eth0", MAC, "192.0.2.1/24")
        with ForkedDaemon() as daemon:
            write(daemon.root, "/etc/resolv.conf", "nameserver 192.0.2.9\n")
            yield daemon


def install(daemon: ForkedDaemon, text: str) -> None:
    """Install a script that notes its process id."""
    write(daemon.root, SCRIPT, f"#!/bin/sh\necho $$ >>{daemon.root}/pids\n{text}\n", 0o755)


def install_slow(daemon: ForkedDaemon) -> Path:
    """Install one that ends when a file is there, whose path is returned.

    It takes more than a second: after that the daemon looks for a newer request.
    """
    go = daemon.root / "go"
    install(daemon, f"sleep 1.1; until [ -e {go} ]; do sleep 0.02; done; echo 192.0.2.7")
    return go


def script_pid(daemon: ForkedDaemon) -> int:
    pids = daemon.root / "pids"
    wait_for("the script", lambda: pids.exists() and pids.read_text().endswith("\n"))
    return int(pids.read_text().split()[-1])


def request(operation: int = 4, mac: str = MAC) -> bytes:
    return encode_ip_request(IpInfo(mac.encode()), operation)


def ask(peer: Peer) -> IpInfo:
    peer.socket.send(request())
    reply = peer.socket.recv(9000)
    assert decode_reply(reply).status == HV_S_OK
    return decode_ip(reply)


def gone(pid: int) -> bool:
    return not os.path.exists(f"/proc/{pid}")


@in_own_network
def test_a_plain_guest_is_answered_at_once() -> None:
    with served() as daemon, daemon.connect() as peer:
        info = ask(peer)
        assert (info.ip_addr, info.sub_net) == (b"192.0.2.1", b"255.255.255.0")
        assert info.dns_addr == b"192.0.2.9"
        assert info.adapter_id == MAC.encode()
        peer.socket.send(request(mac="02:00:00:00:00:99"))
        assert decode_reply(peer.socket.recv(9000)).status == HV_E_FAIL
        peer.socket.send(request(KVP_OP_SET_IP_INFO))
        assert decode_reply(peer.socket.recv(9000)).status == HV_ERROR_NOT_SUPPORTED


@in_own_network
def test_a_script_is_waited_for() -> None:
    with served() as daemon, daemon.connect() as peer:
        install(daemon, "echo 192.0.2.7")
        assert ask(peer).dns_addr == b"192.0.2.7"


@in_own_network
def test_a_signal_that_comes_while_a_script_runs_is_not_lost() -> None:
    with served() as daemon, daemon.connect() as peer:
        install(daemon, f"kill -HUP {daemon.pid}; sleep 0.2; echo 192.0.2.7")
        assert ask(peer).dns_addr == b"192.0.2.7"
        wait_for("the signal", lambda: "SIGHUP" in daemon.logged)


@in_own_network
def test_an_old_reply_does_not_answer_a_newer_request() -> None:
    """T11: there is no transaction id; an old reply would answer the newer request."""
    with served() as daemon, daemon.connect() as peer:
        go = install_slow(daemon)
        peer.socket.send(request())
        script_pid(daemon)
        peer.socket.send(encode_request(Request(KVP_OP_ENUMERATE, 2, index=9)))
        go.touch()
        assert decode_reply(peer.socket.recv(9000)).key == b"ProcessorArchitecture"
        assert "the driver has sent a newer request" in daemon.logged
        install(daemon, "echo 192.0.2.8")
        assert ask(peer).dns_addr == b"192.0.2.8"


@in_own_network
def test_a_script_that_is_too_slow_delays_the_reply_by_its_limit() -> None:
    with served(0.3) as daemon, daemon.connect() as peer:
        install(daemon, "sleep 1000")
        started = time.monotonic()
        assert ask(peer).dns_addr == b"192.0.2.9"
        assert time.monotonic() - started >= 0.3
        assert "no answer within 0.3 s" in daemon.logged
        # On a busy machine it has been killed before it could note its process id.
        assert not (daemon.root / "pids").exists() or gone(script_pid(daemon))


@in_own_network
def test_a_host_that_has_gone_meanwhile_is_served_again() -> None:
    with served() as daemon:
        with daemon.connect() as peer:
            go = install_slow(daemon)
            peer.socket.send(request())
            script = script_pid(daemon)
        install(daemon, "echo 192.0.2.8")
        go.touch()
        with daemon.connect() as again:
            assert ask(again).dns_addr == b"192.0.2.8"
        assert gone(script)


@in_own_network
def test_a_signal_ends_the_daemon_while_a_script_runs() -> None:
    with served() as daemon, daemon.connect() as peer:
        install(daemon, "sleep 1000")
        peer.socket.send(request())
        script = script_pid(daemon)
        started = time.monotonic()
        os.kill(daemon.pid, signal.SIGTERM)
        wait_for("its end", lambda: gone(script))
        assert daemon.stop() == 0
        # The script alone would take that long.
        assert time.monotonic() - started < DEADLINE
