# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Dumps and events of a real kernel, and malformed answers."""

from __future__ import annotations

import _socket
import contextlib
import errno
import functools
import os
import re
import select
import socket
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pyroute2 import IPRoute

from hv_kvp_daemon.guest import rtnetlink
from hv_kvp_daemon.guest.rtnetlink import ChangeNotice
from hv_kvp_daemon.wire import netlink, rtattr, uapi
from hv_kvp_daemon.wire.netlink import Dump, pack
from hv_kvp_daemon.wire.route import routes_request
from hv_kvp_daemon.wire.rtnetlink import IFADDRMSG, addresses_request, links_request
from tests.support.network import (
    IFA_F_NODAD,
    RTM_NEWLINKPROP,
    in_own_network,
    link,
    needs_rtnetlink,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENCE = 60.0


Row = tuple[str, int, int, bytes, int, int]


def link_rows() -> list[Row]:
    return [
        (each.name, each.index, each.flags, each.address, each.master, each.operstate)
        for each in rtnetlink.links()
    ]


def link_rows_of_pyroute2(ip: IPRoute) -> list[Row]:
    states = {"UNKNOWN": 0, "DOWN": 2, "LOWERLAYERDOWN": 3, "UP": 6}
    return [
        (
            each.get("ifname"),
            each["index"],
            each["flags"],
            bytes.fromhex(each.get("address").replace(":", "")),
            each.get("master") or 0,
            states[each.get("operstate")],
        )
        for each in ip.get_links()
    ]


@in_own_network
def test_links_are_those_of_another_implementation() -> None:
    with IPRoute() as ip:
        index = link(ip, "a0", "b0")
        ip.link("add", ifname="br0", kind="bridge")
        bridge = socket.if_nametoindex("br0")
        ip.link("set", index=index, master=bridge, address="02:00:00:AB:CD:EF")
        mine: list[Row] = []
        others = link_rows_of_pyroute2(ip)
        # Flags and state follow the links for a while after these commands.
        for _ in range(1000):
            mine, before, others = link_rows(), others, link_rows_of_pyroute2(ip)
            if before == others:
                break
        assert mine == others
        (port,) = (each for each in rtnetlink.links() if each.name == "a0")
        assert (port.master, port.address.hex()) == (bridge, "020000abcdef")
        assert [each.name for each in rtnetlink.links() if each.loopback] == ["lo"]


@in_own_network
def test_addresses_are_those_of_another_implementation_in_their_order() -> None:
    with IPRoute() as ip:
        ip.link("set", index=1, state="up")
        for name in ("a0", "a1"):
            index = link(ip, name, f"peer-{name}")
            ip.addr("add", index=index, address=f"192.0.2.{index}", prefixlen=24)
            ip.addr("add", index=index, address="203.0.113.1", prefixlen=30, label=f"{name}:1")
            ip.addr("add", index=index, local="10.0.0.1", address="10.0.0.2", prefixlen=32)
            ip.addr("add", index=index, address="fd00::1", prefixlen=64, flags=IFA_F_NODAD)
            ip.addr("add", index=index, address="fe80::1", prefixlen=64, scope=253)
        mine = rtnetlink.addresses()
        others = list(ip.get_addr())
        assert len(mine) == len(others) == 12
        for found, other in zip(mine, others, strict=True):
            local = other.get("local") or other.get("address")
            assert socket.inet_ntop(found.family, found.address) == local
            assert found.label == (other.get("label") or "")
            for name in ("family", "prefixlen", "scope", "index"):
                assert getattr(found, name) == other[name]
            # Duplicate detection may end between the two dumps.
            assert (found.flags ^ other.get("flags")) & ~uapi.IFA_F_TENTATIVE == 0


@in_own_network
def test_a_dump_of_many_datagrams_is_whole() -> None:
    with IPRoute() as ip:
        for number in range(60):
            link(ip, f"a{number}", f"b{number}")
        expected = {"lo"} | {f"{side}{number}" for side in "ab" for number in range(60)}
        names = [each.name for each in rtnetlink.links()]
        assert len(names) == 121
        assert set(names) == expected


@pytest.mark.parametrize(
    "make",
    [
        links_request,
        addresses_request,
        functools.partial(routes_request, uapi.AF_UNSPEC, uapi.RT_TABLE_MAIN),
        functools.partial(routes_request, uapi.AF_INET6, uapi.RT_TABLE_MAIN),
    ],
)
def test_a_kernel_that_checks_strictly_takes_each_request(
    make: Callable[[int, int], bytes],
) -> None:
    with contextlib.closing(rtnetlink._open()) as sock:
        sock.settimeout(PATIENCE)
        sock.setsockopt(uapi.SOL_NETLINK, uapi.NETLINK_GET_STRICT_CHK, 1)
        port = sock.getsockname()[0]
        dump = Dump(9, port)
        sock.sendto(make(9, port), (0, 0))
        parts = 0
        while not dump.done:
            parts += len(dump.feed(sock.recv(65536)))
        assert parts


@in_own_network
def test_links_and_addresses_are_noticed_and_routes_when_asked_for() -> None:
    with IPRoute() as ip:
        # A veth changes its state by itself for a while after it is up; lo does not.  An
        # IPv6 address is announced once more when its check has ended, at an unknown time;
        # on a link that is down no check begins.
        ip.link("set", index=1, state="up")
        ip.link("add", ifname="a1", kind="veth", peer={"ifname": "b1"})
        down = socket.if_nametoindex("a1")
        notice = ChangeNotice()
        assert not notice.has_changed()
        changes: list[Callable[[], object]] = [
            lambda: ip.link("add", ifname="a0", kind="veth", peer={"ifname": "b0"}),
            lambda: ip.addr("add", index=1, address="10.0.0.1", prefixlen=24),
            lambda: ip.addr("del", index=1, address="10.0.0.1", prefixlen=24),
            lambda: ip.addr("add", index=down, address="fd00::1", prefixlen=64),
            lambda: ip.addr("del", index=down, address="fd00::1", prefixlen=64),
            lambda: ip.link("del", index=socket.if_nametoindex("a0")),
        ]
        # The kernel sends a notification before it answers the command, so it is there.
        for change in changes:
            change()
            assert notice.has_changed()
            assert not notice.has_changed()

        for family in (socket.AF_INET, socket.AF_INET6):
            ip.route("add", family=family, dst="default", oif=1)
            assert not notice.has_changed()
        notice.watch_routes()
        notice.watch_routes()
        for family in (socket.AF_INET, socket.AF_INET6):
            for command in ("del", "add"):
                ip.route(command, family=family, dst="default", oif=1)
                assert notice.has_changed()
                assert not notice.has_changed()


@in_own_network
def test_notifications_that_were_lost_count_as_a_change() -> None:
    with IPRoute() as ip:
        notice = ChangeNotice()
        # Of lo: a link that has just come up may still announce its state.
        for number in range(1, 100):
            ip.addr("add", index=1, address=f"10.0.0.{number}", prefixlen=32)
        poll = select.poll()
        poll.register(notice._socket.fileno(), select.POLLIN)
        ((_, ready),) = poll.poll(0)
        assert ready & select.POLLERR
        assert notice.has_changed()
        assert not notice.has_changed()
        ip.addr("del", index=1, address="10.0.0.1", prefixlen=32)
        assert notice.has_changed()


@in_own_network
def test_a_full_queue_pins_a_few_kib() -> None:
    with IPRoute() as ip:
        notice = ChangeNotice()
        for number in range(50):
            link(ip, f"a{number}", f"b{number}")
        inode = os.stat(notice._socket.fileno()).st_ino
        rows = [
            line.split() for line in Path("/proc/self/net/netlink").read_text().splitlines()
        ]
        (pinned,) = (int(row[4]) for row in rows if row[-1] == str(inode))
        # What fits, and the message that no longer did.
        assert 0 < pinned < 16 * 1024


@in_own_network
def test_an_answer_that_is_not_the_kernels_is_not_taken() -> None:
    real_open = rtnetlink._open
    with (
        IPRoute() as ip,
        contextlib.closing(real_open()) as forger,
        pytest.MonkeyPatch.context() as patch,
    ):
        ip.addr("add", index=1, address="10.0.0.1", prefixlen=32)

        def open_() -> _socket.socket:
            sock = real_open()
            port = sock.getsockname()[0]
            forger.sendto(answer(forged, pid=port) + done(pid=port), (port, 0))
            return sock

        forged = rtattr.pack(uapi.IFA_LOCAL, b"\x0a\6\6\6")
        patch.setattr(rtnetlink, "_open", open_)
        assert [each.address for each in rtnetlink.addresses()] == [b"\x0a\0\0\1"]


@needs_rtnetlink(RTM_NEWLINKPROP)
@in_own_network
def test_a_link_is_found_by_either_kind_of_name() -> None:
    with IPRoute() as ip:
        index = link(ip, "eth0", "peer0")
        ip.link("property_add", index=index, altname="enP30832p0s0-of-the-second-port")
        for name in ("eth0", "enP30832p0s0-of-the-second-port"):
            found = rtnetlink.link_named(name)
            assert found is not None
            assert (found.index, found.name) == (index, "eth0")
        for name in ("eth1", "", "x" * 200):
            assert rtnetlink.link_named(name) is None


# Answers that no kernel can be made to send: a fake socket gives them.

PORT, SEQ = 4711, rtnetlink._SEQ
LOCAL = rtattr.pack(uapi.IFA_LOCAL, b"\x0a\0\0\1")


def answer(attributes: bytes = LOCAL, *, flags: int = 0, pid: int = PORT) -> bytes:
    payload = IFADDRMSG.pack(uapi.AF_INET, 24, 0, 0, 2) + attributes
    return pack(uapi.RTM_NEWADDR, uapi.NLM_F_MULTI | flags, SEQ, pid, payload)


def done(*, flags: int = 0, pid: int = PORT) -> bytes:
    return pack(uapi.NLMSG_DONE, uapi.NLM_F_MULTI | flags, SEQ, pid, bytes(4))


def refused(number: int) -> bytes:
    request = netlink.NLMSGHDR.pack(24, uapi.RTM_GETADDR, 0x301, SEQ, PORT)
    return pack(uapi.NLMSG_ERROR, 0, SEQ, PORT, struct.pack("=i", -number) + request)


class Answering:
    """Sockets that answer each request with the next row of a script."""

    def __init__(self, *script: list[bytes | OSError], sender: int = 0, flags: int = 0) -> None:
        self._script = iter(script)
        self._sender = sender
        self._flags = flags
        self._answers: Iterator[bytes | OSError] = iter(())
        self.questions = 0

    def close(self) -> None:
        self._answers = iter(())

    def getsockname(self) -> tuple[int, int]:
        return PORT, 0

    def settimeout(self, seconds: float) -> None:
        assert 0 < seconds <= rtnetlink.TIMEOUT

    def sendto(self, request: bytes, where: tuple[int, int]) -> None:
        assert request == addresses_request(SEQ, PORT)
        assert where == (0, 0)
        self.questions += 1
        self._answers = iter(next(self._script))

    def recvmsg_into(
        self, buffers: list[memoryview]
    ) -> tuple[int, list[object], int, tuple[int, int]]:
        now = next(self._answers)
        if isinstance(now, OSError):
            raise now
        buffers[0][: len(now)] = now
        return len(now), [], self._flags, (self._sender, 0)


def ask(monkeypatch: pytest.MonkeyPatch, answering: Answering) -> list[bytes]:
    monkeypatch.setattr(rtnetlink, "_open", lambda: answering)
    return [each.address for each in rtnetlink.addresses()]


@pytest.mark.parametrize(
    "bad",
    [
        [answer(flags=uapi.NLM_F_DUMP_INTR), done()],
        [answer(), done(flags=uapi.NLM_F_DUMP_INTR)],
        [answer(), pack(uapi.NLMSG_OVERRUN, 0, SEQ, PORT, b"")],
        [answer(), OSError(errno.ENOBUFS, "lost")],
    ],
    ids=["interrupted", "interrupted at its end", "overrun", "ENOBUFS"],
)
def test_an_inconsistent_answer_is_asked_for_again(
    monkeypatch: pytest.MonkeyPatch, bad: list[bytes | OSError]
) -> None:
    good: list[bytes | OSError] = [answer(), answer() + done()]
    answering = Answering(bad, bad, good)
    assert ask(monkeypatch, answering) == [b"\x0a\0\0\1"] * 2
    assert answering.questions == 3


def test_an_answer_that_never_becomes_consistent_is_an_oserror(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bad: list[bytes | OSError] = [answer() + done(flags=uapi.NLM_F_DUMP_INTR)]
    answering = Answering(*[bad] * 100)
    with pytest.raises(OSError, match="changes during each of 8 dumps") as caught:
        ask(monkeypatch, answering)
    assert caught.value.errno == errno.EAGAIN
    assert answering.questions == rtnetlink.TRIES == 8


@pytest.mark.parametrize(
    ("row", "number"),
    [
        ([refused(errno.EACCES)], errno.EACCES),
        ([OSError(errno.ENOMEM, "none left")], errno.ENOMEM),
        ([b"\xff" * 20], errno.EPROTO),
        ([answer(rtattr.pack(uapi.IFA_LOCAL, bytes(3)))], errno.EPROTO),
    ],
    ids=["refused", "out of memory", "no netlink", "malformed address"],
)
def test_an_answer_that_cannot_be_used_is_an_oserror(
    monkeypatch: pytest.MonkeyPatch, row: list[bytes | OSError], number: int
) -> None:
    with pytest.raises(OSError, match=re.escape(f"[Errno {number}]")):
        ask(monkeypatch, Answering(row))


def test_an_answer_that_was_cut_off_is_an_oserror(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OSError, match="more than 65536 bytes") as caught:
        ask(monkeypatch, Answering([answer() + done()], flags=socket.MSG_TRUNC))
    assert caught.value.errno == errno.EMSGSIZE


def test_other_messages_and_families_are_no_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    other_type = pack(uapi.RTM_DELADDR, uapi.NLM_F_MULTI, SEQ, PORT, b"?")
    family = pack(uapi.RTM_NEWADDR, uapi.NLM_F_MULTI, SEQ, PORT, IFADDRMSG.pack(7, 0, 0, 0, 2))
    assert ask(monkeypatch, Answering([other_type + family + answer() + done()])) == [
        b"\x0a\0\0\1"
    ]


def test_silence_ends_with_the_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    class Mute(socket.socket):
        def sendto(self, *_: object) -> int:
            return 0

    monkeypatch.setattr(rtnetlink, "TIMEOUT", 0.05)
    monkeypatch.setattr(
        rtnetlink, "_open", lambda: Mute(socket.AF_NETLINK, socket.SOCK_RAW, uapi.NETLINK_ROUTE)
    )
    with pytest.raises(TimeoutError):
        rtnetlink.addresses()


def test_noise_from_others_does_not_prolong_the_time_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Endless(list[bytes | OSError]):
        def __iter__(self) -> Iterator[bytes | OSError]:
            while True:
                yield answer() + done()

    monkeypatch.setattr(rtnetlink, "TIMEOUT", 0.05)
    with pytest.raises(TimeoutError, match="no end within"):
        ask(monkeypatch, Answering(Endless(), sender=99))
