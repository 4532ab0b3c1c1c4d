# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""SET_IP_INFO by the resident daemon, in a network namespace with a fake networkd."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pyroute2 import IPRoute

from hv_kvp_daemon.netconfig import injection_child, target, verify
from hv_kvp_daemon.netconfig.injection_record import Injection, Record, load
from hv_kvp_daemon.netconfig.settings import Settings
from hv_kvp_daemon.wire.ipinfo import IpInfo, decode_ip, encode_ip_request
from hv_kvp_daemon.wire.message import decode_reply
from hv_kvp_daemon.wire.uapi import (
    HV_E_FAIL,
    HV_ERROR_NOT_SUPPORTED,
    HV_GUID_NOTFOUND,
    HV_INVALIDARG,
    HV_S_OK,
    KVP_OP_SET_IP_INFO,
)
from tests.support.forked import ForkedDaemon
from tests.support.network import in_own_network
from tests.support.process import Peer, wait_for

from .injected import ADAPTER, BASE, GUID, OURS, adapter, addresses, fake_networkd, static
from .network import Machine, veth

MAC = "02:15:5d:00:00:01"
BOTH = IpInfo(
    ADAPTER, 3, 0, b"10.0.0.5;2001:db8::5", b"255.255.255.0;/64", b"10.0.0.1", b"10.0.0.53"
)


@contextmanager
def guest(
    prepare: Callable[[Path], object] = lambda _: None, backend: str = "auto"
) -> Iterator[tuple[ForkedDaemon, Machine]]:
    """A guest whose eth0 is managed by networkd, and its daemon, without a unit."""

    def start() -> None:
        fake_networkd(daemon.root)
        target.PATIENCE = 0.2
        verify.SHORT = 0.2
        machine.running("systemd-networkd")
        adapter(machine)
        machine.write(BASE, "[Match]\nName=eth0\n[Network]\nAddress=192.0.2.1/24\n")
        prepare(daemon.root)

    daemon = ForkedDaemon(start, options=("--ip-backend", backend))
    machine = Machine(daemon.root)
    with IPRoute() as ip:
        veth(ip, "eth0", MAC, "192.0.2.1/24")
        with daemon:
            yield daemon, machine


def ask(peer: Peer, info: IpInfo) -> int:
    return peer.exchange(encode_ip_request(info, KVP_OP_SET_IP_INFO)).status


def file(machine: Machine) -> Path:
    return machine.root / OURS.lstrip("/")


def written(path: Path) -> tuple[int, int, int, int]:
    """What changes when a file is written again; reading it changes its atime alone."""
    status = path.stat()
    return status.st_ino, status.st_mode, status.st_size, status.st_mtime_ns


@in_own_network
def test_a_request_is_carried_out_and_get_answers_what_was_set() -> None:
    with guest() as (daemon, _), daemon.connect() as peer:
        assert ask(peer, BOTH) == HV_S_OK
        assert addresses() == ["10.0.0.5/24", "2001:db8::5/64"]
        peer.socket.send(encode_ip_request(IpInfo(MAC.encode())))
        reply = peer.socket.recv(9000)
        assert decode_reply(reply).status == HV_S_OK
        info = decode_ip(reply)
        assert info.ip_addr == BOTH.ip_addr
        assert (info.sub_net, info.gate_way) == (BOTH.sub_net, BOTH.gate_way)
        assert "\nSET_IP_INFO: eth0: set by networkd: 10.0.0.5/24" in daemon.logged


@in_own_network
def test_the_same_request_again_changes_nothing() -> None:
    with guest() as (daemon, machine), daemon.connect() as peer:
        assert ask(peer, BOTH) == HV_S_OK
        state = machine.root / f"var/lib/hv-kvp-daemon/ip/{GUID}.json"
        before = [written(path) for path in (file(machine), state)]
        assert ask(peer, BOTH) == HV_S_OK
        assert [written(path) for path in (file(machine), state)] == before
        # Only the first one was done.
        assert daemon.logged.count("set by networkd") == 1


@in_own_network
def test_a_family_that_is_not_named_keeps_what_the_host_has_set_before() -> None:
    with guest() as (daemon, _), daemon.connect() as peer:
        assert ask(peer, IpInfo(ADAPTER, 1, 0, b"10.0.0.5", b"255.255.255.0")) == HV_S_OK
        assert ask(peer, IpInfo(ADAPTER, 2, 1, b"2001:db8::5", b"64")) == HV_S_OK
        assert addresses() == ["10.0.0.5/24", "2001:db8::5/64"]


@in_own_network
def test_what_cannot_be_carried_out_has_its_status_and_a_reason() -> None:
    other = ADAPTER.replace(b"F86", b"F87")
    with guest() as (daemon, machine), daemon.connect() as peer:
        for info, status, reason in (
            (IpInfo(ADAPTER, 1, 0, b"$(reboot)", b"255.0.0.0"), HV_INVALIDARG, "'$(reboot)'"),
            (IpInfo(other, 1, 1), HV_GUID_NOTFOUND, "no adapter has the GUID f87"),
        ):
            assert ask(peer, info) == status
            assert reason in daemon.logged
        machine.running("NetworkManager")
        index = socket.if_nametoindex("eth0")
        lines = "[device]", "managed=true", "connection-uuid=in-another-format"
        machine.write(f"/run/NetworkManager/devices/{index}", *lines)
        info = IpInfo(ADAPTER, 1, 0, b"10.0.0.5", b"255.255.255.0")
        assert ask(peer, info) == HV_E_FAIL
        assert "nmcli connection migrate in-another-format" in daemon.logged
        assert not file(machine).exists()
        assert addresses() == ["192.0.2.1/24"]


@in_own_network
def test_without_a_backend_it_is_not_supported() -> None:
    with guest(backend="none") as (daemon, machine), daemon.connect() as peer:
        assert ask(peer, BOTH) == HV_ERROR_NOT_SUPPORTED
        assert not file(machine).exists()


@in_own_network
def test_addresses_that_do_not_come_are_a_failure() -> None:
    def refuse(root: Path) -> None:
        fake_networkd(root, lambda text: text.replace("Address=10", "#"))
        verify.PATIENCE = 0.3

    with guest(refuse) as (daemon, _), daemon.connect() as peer:
        assert ask(peer, BOTH) == HV_E_FAIL
        assert "eth0: 10.0.0.5/24 is missing; the former settings are back" in daemon.logged
        assert addresses() == ["192.0.2.1/24"]


@in_own_network
def test_sigterm_ends_the_wait() -> None:
    def hang(_: Path) -> None:
        def never(*_: object) -> bool:
            time.sleep(1000)
            return True

        setattr(injection_child, "parse", never)  # noqa: B010 - not exported

    with guest(hang) as (daemon, _), daemon.connect() as peer:
        peer.socket.send(encode_ip_request(BOTH, KVP_OP_SET_IP_INFO))
        children = Path(f"/proc/{daemon.pid}/task/{daemon.pid}/children")
        wait_for("the child", children.read_text)
        child = int(children.read_text())
        os.kill(daemon.pid, signal.SIGTERM)
        wait_for("its end", lambda: not os.path.exists(f"/proc/{child}"))


@in_own_network
def test_what_a_crash_has_left_pending_is_carried_out_at_the_start() -> None:
    def crash(root: Path) -> None:
        record = Record(GUID)
        record.pending = Injection(Settings(static("10.0.0.7/24"), None), "eth0", "networkd", 1)
        record.save(str(root))

    with guest(crash) as (daemon, machine), daemon.connect():
        assert addresses() == ["10.0.0.7/24"]
        assert load(str(machine.root), GUID).pending is None
        assert "10.0.0.7/24, not completed before: holds" in daemon.logged
