"""The resident daemon with a reply that waits for a program.

The real daemon in a child, in a network namespace of its own; only the root
directory in which it looks for scripts is a test's.
"""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from pyroute2 import IPRoute

from hv_kvp_daemon.guest.addresses import RtnetlinkAddresses
from hv_kvp_daemon.guest.intrinsic import Intrinsic
from hv_kvp_daemon.netconfig import scripts
from hv_kvp_daemon.pools.directory import PoolDirectory
from hv_kvp_daemon.service import log as logs
from hv_kvp_daemon.service.daemon import Daemon
from hv_kvp_daemon.service.dispatch import Dispatch
from hv_kvp_daemon.service.ipinfo import IpInfoService
from hv_kvp_daemon.service.notify import Notifier
from hv_kvp_daemon.service.publish import Publisher
from hv_kvp_daemon.service.signals import Signals
from hv_kvp_daemon.service.status_page import StatusPage
from hv_kvp_daemon.transport.choose import Chooser
from hv_kvp_daemon.wire.ipinfo import IpInfo, decode_ip, encode_ip_request
from hv_kvp_daemon.wire.message import Request, decode_reply, encode_request
from hv_kvp_daemon.wire.uapi import (
    HV_E_FAIL,
    HV_ERROR_NOT_SUPPORTED,
    HV_S_OK,
    KVP_OP_ENUMERATE,
    KVP_OP_SET_IP_INFO,
)
from tests.support.network import in_own_network
from tests.support.process import Peer, connect, wait_for

from .network import veth, write

MAC = "02:15:5d:00:00:01"
SCRIPT = "/usr/libexec/hypervkvpd/hv_get_dns_info"


class Guest:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.path = str(root / "host")
        self.log = root / "log"
        write(root, "/etc/resolv.conf", "nameserver 192.0.2.9\n")

    def script(self, text: str) -> None:
        write(self.root, SCRIPT, f"#!/bin/sh\necho $$ >>{self.root}/pids\n{text}\n", 0o755)

    def script_pid(self) -> int:
        pids = self.root / "pids"
        wait_for("the script", lambda: pids.exists() and pids.read_text().endswith("\n"))
        return int(pids.read_text().split()[-1])

    def logged(self) -> str:
        return self.log.read_text()

    def serve(self) -> None:
        with self.log.open("a") as file:

            def note(_level: int, text: str) -> None:
                file.write(text + "\n")
                file.flush()

            log = logs.Log(note, logs.INFO)
            pools = PoolDirectory(str(self.root / "pools"), sync=False, report=log.warning)
            pools.open_all()
            intrinsic = Intrinsic(RtnetlinkAddresses(), problem=log.warning)
            chooser = Chooser(f"loopback:{self.path}", log.notice, log.dropped)
            page = StatusPage(
                f"{self.path}.status",
                pool_dir=pools.path,
                addresses="rtnetlink",
                report=log.warning,
            )
            publisher = Publisher(chooser, Notifier(), page, pools.path, log.limited)
            dispatch = Dispatch(pools, intrinsic, publisher.problem)
            dispatch.ip_info = IpInfoService(publisher.problem, str(self.root))
            signals = Signals()
            daemon = Daemon(
                pools, intrinsic, chooser, dispatch, publisher, signals, log, trace=True
            )
            daemon.run(lambda: None)
            daemon.close()


@contextmanager
def served(seconds: float = 9.0) -> Iterator[tuple[Guest, Peer, int]]:
    """A guest with one link, a host that is connected, and the daemon's process id.

    A script may take so many seconds: by default more than any needs on a busy machine.
    """
    scripts.SECONDS = seconds
    with IPRoute() as ip, tempfile.TemporaryDirectory(prefix="hv-kvp-test-") as directory:
        veth(ip, "eth0", MAC, "192.0.2.1/24")
        guest = Guest(Path(directory))
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                guest.serve()
                status = 0
            finally:
                os._exit(status)
        try:
            # The name is there before anybody listens.
            with closing(connect(guest.path)) as peer:
                yield guest, peer, pid
        finally:
            os.kill(pid, signal.SIGTERM)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, guest.logged()


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
    with served() as (guest, peer, _):
        info = ask(peer)
        assert (info.ip_addr, info.sub_net) == (b"192.0.2.1", b"255.255.255.0")
        assert info.dns_addr == b"192.0.2.9"
        assert info.adapter_id == MAC.encode()
        peer.socket.send(request(mac="02:00:00:00:00:99"))
        assert decode_reply(peer.socket.recv(9000)).status == HV_E_FAIL
        peer.socket.send(request(KVP_OP_SET_IP_INFO))
        assert decode_reply(peer.socket.recv(9000)).status == HV_ERROR_NOT_SUPPORTED
        assert "GET_IP_INFO" in guest.logged()


@in_own_network
def test_the_loop_goes_on_while_a_script_runs() -> None:
    with served() as (guest, peer, pid):
        guest.script(
            f"kill -HUP {pid}; until grep -q SIGHUP {guest.log}; do :; done; echo 192.0.2.7"
        )
        assert ask(peer).dns_addr == b"192.0.2.7"
        assert "SIGHUP" in guest.logged()


@in_own_network
def test_a_newer_request_ends_the_inquiry_for_an_older_one() -> None:
    """T11: there is no transaction id; an old reply would answer the newer request."""
    with served() as (guest, peer, _):
        guest.script("sleep 1000")
        peer.socket.send(request())
        script = guest.script_pid()
        peer.socket.send(encode_request(Request(KVP_OP_ENUMERATE, 2, index=9)))
        assert decode_reply(peer.socket.recv(9000)).key == b"ProcessorArchitecture"
        wait_for("its end", lambda: gone(script))
        assert "the driver has asked anew" in guest.logged()
        guest.script("echo 192.0.2.7")
        assert ask(peer).dns_addr == b"192.0.2.7"


@in_own_network
def test_a_script_that_is_too_slow_delays_the_reply_by_its_limit() -> None:
    with served(0.3) as (guest, peer, _):
        guest.script("sleep 1000")
        started = time.monotonic()
        assert ask(peer).dns_addr == b"192.0.2.9"
        assert 0.3 <= time.monotonic() - started < 2
        assert "no answer within 0.3 s" in guest.logged()
        wait_for("its end", lambda: gone(guest.script_pid()))


@in_own_network
def test_a_lost_line_ends_the_inquiry() -> None:
    with served() as (guest, peer, _):
        guest.script("sleep 1000")
        peer.socket.send(request())
        script = guest.script_pid()
        peer.close()
        wait_for("its end", lambda: gone(script))
        guest.script("echo 192.0.2.7")
        again = Peer(guest.path)
        assert ask(again).dns_addr == b"192.0.2.7"
        again.close()


@in_own_network
def test_a_signal_ends_the_daemon_while_a_script_runs() -> None:
    with served() as (guest, peer, pid):
        guest.script("sleep 1000")
        peer.socket.send(request())
        script = guest.script_pid()
        os.kill(pid, signal.SIGTERM)
        wait_for("its end", lambda: gone(script))
