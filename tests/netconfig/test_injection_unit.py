# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The unit that carries out requests: what it takes from its socket, and when it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyroute2 import IPRoute

from hv_kvp_daemon.netconfig import injection_unit, target, verify
from hv_kvp_daemon.netconfig.injection import SOCKET
from hv_kvp_daemon.netconfig.injection_record import Injection, Record, load
from hv_kvp_daemon.netconfig.injection_request import Request, from_packet
from hv_kvp_daemon.netconfig.settings import AUTOMATIC, RequestError, Settings, to_document
from hv_kvp_daemon.wire.ipinfo import IpInfo, encode_ip_request
from hv_kvp_daemon.wire.uapi import HV_E_FAIL, HV_INVALIDARG, HV_S_OK, KVP_OP_SET_IP_INFO
from tests.support.forked import ForkedDaemon
from tests.support.network import in_own_network
from tests.support.process import wait_for

from .injected import ADAPTER, GUID, Unit, addresses, by_networkd, fake_networkd, static
from .network import Machine

V4 = Settings(static("10.0.0.5/24", "10.0.0.1", "10.0.0.53"), None)
BOTH = Settings(V4.ipv4, static("2001:db8::5/64", "fe80::1"))


def prepared(root: Path, *, carrier: bool = True) -> Machine:
    """A guest whose eth0 is managed by networkd."""
    machine = Machine(root)
    theirs = "[Match]\nName=eth0\n[Network]\nAddress=192.0.2.1/24\n"
    by_networkd(machine, theirs, carrier=carrier)
    fake_networkd(machine.root)
    target.PATIENCE = verify.SHORT = 0.2
    return machine


@contextmanager
def unit(*, carrier: bool = True) -> Iterator[tuple[Machine, Unit]]:
    with tempfile.TemporaryDirectory(prefix="hv-kvp-test-") as directory:
        machine = prepared(Path(directory), carrier=carrier)
        with Unit(machine.root) as running:
            yield machine, running


def connected(machine: Machine) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    made.connect(os.fspath(machine.root / SOCKET.lstrip("/")))
    return made


def ask(machine: Machine, packet: bytes) -> str:
    """Send a packet and return all that comes back."""
    with connected(machine) as connection:
        connection.send(packet)
        parts = []
        while part := connection.recv(9000):
            parts.append(part)
    return b"".join(parts).decode()


@in_own_network
def test_the_daemon_has_requests_carried_out_there() -> None:
    """The daemon's own sandbox lets it write neither the manager's files nor the record."""
    daemon = ForkedDaemon(options=("--ip-backend", "auto"))
    machine = prepared(daemon.root)
    info = IpInfo(ADAPTER, 1, 0, b"10.0.0.5", b"255.255.255.0")
    with Unit(daemon.root), daemon, daemon.connect() as peer:
        assert peer.exchange(encode_ip_request(info, KVP_OP_SET_IP_INFO)).status == HV_S_OK
        assert addresses() == ["10.0.0.5/24"]
        assert "\nSET_IP_INFO: eth0: set by networkd: 10.0.0.5/24\n" in daemon.logged
        info = IpInfo(ADAPTER, 1, 0, b"10.0.0.5", b"255.0.255.0")
        status = peer.exchange(encode_ip_request(info, KVP_OP_SET_IP_INFO)).status
        assert status == HV_INVALIDARG
        assert "'255.0.255.0' is not an IPv4 mask" in daemon.logged
    assert load(str(machine.root), GUID).pending is None


@in_own_network
def test_a_unit_that_ends_in_the_middle_is_a_failure_for_the_host() -> None:
    daemon = ForkedDaemon(options=("--ip-backend", "auto"))
    prepared(daemon.root)
    info = IpInfo(ADAPTER, 1, 1)
    with (
        Unit(daemon.root, lambda: setattr(injection_unit, "_take", lambda *_: os._exit(1))),
        daemon,
        daemon.connect() as peer,
    ):
        assert peer.exchange(encode_ip_request(info, KVP_OP_SET_IP_INFO)).status == HV_E_FAIL


@pytest.mark.parametrize(
    "wanted", [V4, BOTH, Settings(AUTOMATIC, BOTH.ipv6), Settings(None, AUTOMATIC)]
)
def test_a_packet_is_the_request_that_it_was_made_of(wanted: Settings) -> None:
    request = Request(GUID, "networkd", wanted)
    assert from_packet(request.packet()) == request


def changed(**members: object) -> bytes:
    document = to_document(V4)
    ipv4 = {**document["ipv4"], **members}  # type: ignore[dict-item]
    document = {**document, "ipv4": ipv4}
    return json.dumps({"guid": GUID, "backend": "auto", "settings": document}).encode()


@pytest.mark.parametrize(
    "packet",
    [
        b"\xff",
        b"7",
        b"[" * 60000,
        b"{}",
        Request("../../etc/passwd", "auto", V4).packet(),
        Request(GUID, "sh", V4).packet(),
        Request(GUID, "none", V4).packet(),
        changed(automatic="no"),
        changed(automatic=True),
        changed(addresses=[]),
        changed(addresses=["10.0.0.5"]),
        changed(addresses=["10.0.0.5/0"]),
        changed(addresses=["10.0.0.5/33"]),
        changed(addresses=["10.0.0.5/024"]),
        changed(addresses=["10.0.0.0/24"]),
        changed(addresses=["127.0.0.1/8"]),
        changed(addresses=["2001:db8::5/64"]),
        changed(addresses=[167772165]),
        changed(addresses=["10.0.0.5/24", "10.0.0.5/24"]),
        changed(gateways=["10.0.0.5"]),
        changed(gateways=["10.0.0.1\n[Exec]"]),
        changed(dns=["fe80::1%$(reboot)"]),
        changed(dns=["10.0.0.53 "]),
        changed(dns="10"),
    ],
)
def test_anything_else_is_refused(packet: bytes) -> None:
    """Python's ipaddress takes any text as the scope of an IPv6 address, and numbers."""
    with pytest.raises(RequestError):
        from_packet(packet)


@settings(max_examples=30)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_no_value_in_a_packet_is_a_fault(value: object) -> None:
    for name in ("automatic", "addresses", "gateways", "dns"):
        try:
            request = from_packet(changed(**{name: value}))
        except RequestError:
            continue
        assert from_packet(request.packet()) == request


@in_own_network
def test_requests_are_answered_in_order_and_rubbish_ends_nothing() -> None:
    with unit() as (machine, _), connected(machine) as first, connected(machine) as second:
        first.send(Request(GUID, "auto", V4).packet())
        second.send(Request(GUID, "auto", Settings(static("10.0.0.7/24"), None)).packet())
        for connection in first, second:
            assert connection.recv(9000).startswith(b"eth0: set by networkd: 10.0.0.")
        assert addresses() == ["10.0.0.7/24"]
        assert f"status {HV_INVALIDARG}\n" in ask(machine, b"rubbish")
        assert f"status {HV_S_OK}\n" in ask(machine, Request(GUID, "auto", V4).packet())
        assert addresses() == ["10.0.0.5/24"]


@in_own_network
def test_a_request_whose_sender_has_gone_is_left_out() -> None:
    """The host had its failure, and may have sent something else meanwhile."""
    with unit() as (machine, running):
        # It is stopped, or it might take the packet while the other end is still open.
        os.kill(running.pid, signal.SIGSTOP)
        os.waitpid(running.pid, os.WUNTRACED)
        with connected(machine):
            pass
        with connected(machine) as connection:
            connection.send(Request(GUID, "auto", V4).packet())
        os.kill(running.pid, signal.SIGCONT)
        ask(machine, b"rubbish")
        assert addresses() == ["192.0.2.1/24"]
        assert running.logged == ""


@in_own_network
def test_what_a_crash_has_left_is_carried_out_first() -> None:
    with tempfile.TemporaryDirectory(prefix="hv-kvp-test-") as directory:
        machine = prepared(Path(directory))
        record = Record(GUID)
        record.pending = Injection(V4, "eth0", "networkd", 1)
        record.save(directory)
        with Unit(machine.root) as running:
            wait_for("the log", lambda: running.logged)
            assert running.logged == f"note: eth0: {V4}, not completed before: holds\n"
            assert addresses() == ["10.0.0.5/24"]
            assert load(directory, GUID).pending is None


def peer_up() -> None:
    with IPRoute() as ip:
        ip.link("set", index=ip.link_lookup(ifname="peer0")[0], state="up")


@in_own_network
def test_stored_settings_are_looked_at_when_the_carrier_comes() -> None:
    with unit(carrier=False) as (machine, running):
        assert "(no carrier)" in ask(machine, Request(GUID, "auto", V4).packet())
        assert load(directory := str(machine.root), GUID).current.state == "stored"  # type: ignore[union-attr]
        peer_up()
        wait_for("the log", lambda: running.logged)
        assert running.logged == f"note: eth0: {V4}, stored before: holds\n"
        assert load(directory, GUID).current.state == "holds"  # type: ignore[union-attr]


@in_own_network
def test_stored_settings_that_do_not_come_are_reported() -> None:
    injection_unit.PATIENCE = 0.0
    with unit(carrier=False) as (machine, running):
        assert f"status {HV_S_OK}" in ask(machine, Request(GUID, "auto", V4).packet())
        with IPRoute() as ip:
            ip.flush_addr(index=ip.link_lookup(ifname="eth0")[0])
        peer_up()
        wait_for("the log", lambda: running.logged)
        assert "stored before: missing (10.0.0.5/24 is missing)" in running.logged
        assert running.logged.startswith("report: ")


@in_own_network
def test_it_ends_when_nothing_is_left_to_do() -> None:
    with tempfile.TemporaryDirectory(prefix="hv-kvp-test-") as directory:
        path = f"{directory}/socket"
        injection_unit.IDLE = 0.0
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(path)
            listener.listen()
            injection_unit.serve(listener, print, print, directory)
