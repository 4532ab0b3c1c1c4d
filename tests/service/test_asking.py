# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The daemon collects no facts about its guest until the host asks for them."""

from __future__ import annotations

import ctypes
import functools
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest
from pyroute2 import IPRoute

from hv_kvp_daemon.guest import fqdn
from hv_kvp_daemon.guest.fqdn import FqdnLookup
from hv_kvp_daemon.service import main as service
from hv_kvp_daemon.wire.message import Request, encode_request
from hv_kvp_daemon.wire.uapi import KVP_OP_ENUMERATE, KVP_POOL_AUTO
from tests.support.forked import ForkedDaemon
from tests.support.network import IFA_F_NODAD, in_own_network, link
from tests.support.process import Peer, RunningDaemon, wait_for

FQDN, IPV4 = 0, 2
HOST = os.uname().nodename

_CLONE_NEWUTS = 0x04000000  # linux/sched.h


def sweep(peer: Peer) -> list[str]:
    """The values of the auto pool, as a host reads them."""
    return [
        peer.ask(KVP_OP_ENUMERATE, KVP_POOL_AUTO, index=index).value.decode()
        for index in range(10)
    ]


def switches(pid: int) -> int:
    """The number of the process's voluntary context switches."""
    return psutil.Process(pid).num_ctx_switches().voluntary


def come_to_rest(pid: int) -> int:
    """Wait until the process sleeps again after its last reply, and return its `switches`.

    The kernel shows it as sleeping before it counts the switch, so that is looked at twice.
    """
    process = psutil.Process(pid)
    seen = -1

    def rests() -> bool:
        nonlocal seen
        former = seen
        seen = switches(pid) if process.status() == psutil.STATUS_SLEEPING else -1
        return seen == former >= 0

    wait_for("rest", rests)
    return seen


@in_own_network
def test_an_idle_daemon_is_not_woken_by_what_happens_to_its_guest() -> None:
    assert ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWUTS) == 0
    with (
        tempfile.TemporaryDirectory(prefix="hv-kvp-test-") as directory,
        IPRoute() as ip,
        RunningDaemon(Path(directory)) as daemon,
    ):
        peer = daemon.connect()
        assert sweep(peer)[:1] == [HOST]
        # No child of the daemon ends later: the request after its end has reaped it.
        wait_for("its end", lambda: sweep(peer) and not psutil.Process(daemon.pid).children())
        before = come_to_rest(daemon.pid)

        # Containers start and stop, each with a link, a name, addresses and routes.
        for number in range(200):
            index = link(ip, f"a{number}", f"b{number}")
            ip.addr("add", index=index, address=f"10.0.{number}.1", prefixlen=24)
            ip.addr("add", index=index, address=f"fd00::{number:x}", flags=IFA_F_NODAD)
        name = "import socket; socket.sethostname('container')"
        subprocess.run(["unshare", "--uts", sys.executable, "-c", name], check=True)
        for number in range(200):
            ip.link("del", index=socket.if_nametoindex(f"a{number}"))
        socket.sethostname("renamed")
        assert switches(daemon.pid) == before

        # The host's next request gets the current values.
        add = link(ip, "eth0", "peer0")
        ip.addr("add", index=add, address="192.0.2.1", prefixlen=24)
        values = sweep(peer)
        assert values[FQDN].startswith("renamed")
        assert values[IPV4] == "192.0.2.1"


def hang(host: bytes, family: int) -> str:
    del host, family
    signal.pause()
    return ""


def hanging_resolver() -> None:
    fqdn._address_info = hang


def hanging_resolver_and_patient_request() -> None:
    """A resolver that never answers; only a signal ends the wait for it."""
    hanging_resolver()
    patient = functools.partial(FqdnLookup, patience=1000.0)
    setattr(service, "FqdnLookup", patient)  # noqa: B010 - not exported


def test_a_resolver_that_hangs_holds_up_one_request_for_a_second() -> None:
    with ForkedDaemon(hanging_resolver) as daemon, daemon.connect() as peer:
        started = time.monotonic()
        assert sweep(peer)[FQDN] == HOST
        first = time.monotonic() - started
        assert first >= 1.0
        started = time.monotonic()
        for _ in range(20):
            assert sweep(peer)[FQDN] == HOST
        assert time.monotonic() - started < 10 * first
        assert len(psutil.Process(daemon.pid).children()) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_daemon_while_a_request_waits_for_the_resolver(number: int) -> None:
    with (
        ForkedDaemon(hanging_resolver_and_patient_request) as daemon,
        daemon.connect() as peer,
    ):
        process = psutil.Process(daemon.pid)
        peer.socket.send(encode_request(Request(KVP_OP_ENUMERATE, KVP_POOL_AUTO, index=FQDN)))
        wait_for("the look-up", process.children)
        (child,) = process.children()
        os.kill(daemon.pid, number)
        wait_for("the end", lambda: process.status() == psutil.STATUS_ZOMBIE)
        assert not child.is_running()


def test_a_signal_that_comes_while_a_request_waits_is_not_lost() -> None:
    with ForkedDaemon(hanging_resolver) as daemon, daemon.connect() as peer:
        peer.socket.send(encode_request(Request(KVP_OP_ENUMERATE, KVP_POOL_AUTO, index=FQDN)))
        wait_for("the look-up", psutil.Process(daemon.pid).children)
        os.kill(daemon.pid, signal.SIGHUP)
        peer.socket.recv(9000)
        wait_for("the signal", lambda: "SIGHUP" in daemon.logged)
