# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The two address items, in network namespaces with real links."""

from __future__ import annotations

import ctypes
import errno
import functools
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import netifaces
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2 import IPRoute

import hv_kvp_daemon
from hv_kvp_daemon.guest import addresses, rtnetlink
from hv_kvp_daemon.guest.addresses import (
    AddressSource,
    MissingModuleError,
    address_source,
    cut,
)
from hv_kvp_daemon.guest.routes import default_interfaces
from hv_kvp_daemon.wire.rtnetlink import Link
from hv_kvp_daemon.wire.text import HOST_MAX_VALUE
from hv_kvp_daemon.wire.uapi import IFF_LOOPBACK
from tests.support.network import (
    IFA_F_NODAD,
    in_own_network,
    link,
    sysctl,
    wait_until_usable,
)
from tests.support.process import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 60.0

SOURCES = ("rtnetlink", "getifaddrs")


def add(ip: IPRoute, index: int, address: str, prefixlen: int = 0, **more: object) -> None:
    """Add an address; by default it is usable at once, without duplicate detection."""
    v6 = ":" in address
    flags = {"flags": IFA_F_NODAD} if v6 and "flags" not in more else {}
    ip.addr(
        "add",
        index=index,
        address=address,
        prefixlen=prefixlen or (64 if v6 else 24),
        **flags,
        **more,
    )
    if flags:
        wait_until_usable(str(more.get("local", address)))


def wait_until(condition: Callable[[], bool]) -> None:
    """Read until a condition holds: the kernel itself changes an address later."""
    wait_for("the kernel's change", condition, PATIENCE)


class Ifaddrs(ctypes.Structure):
    """struct ifaddrs up to the address (getifaddrs(3))."""


Ifaddrs._fields_ = [
    ("next", ctypes.POINTER(Ifaddrs)),
    ("name", ctypes.c_char_p),
    ("flags", ctypes.c_uint),
    ("addr", ctypes.POINTER(ctypes.c_ubyte)),
]


def walked(family: socket.AddressFamily) -> str:
    """The C daemon's values: a walk along the list that getifaddrs returns."""
    libc = ctypes.CDLL(None)
    head = ctypes.POINTER(Ifaddrs)()
    assert libc.getifaddrs(ctypes.byref(head)) == 0
    # Family (16 bits), port (16), and for IPv6 flow information (32), then the address.
    start, size = (4, 4) if family == socket.AF_INET else (8, 16)
    texts = []
    at = head
    while bool(at):
        row = at.contents
        found = int.from_bytes(row.addr[:2], sys.byteorder) if row.addr else 0
        if found == family and not row.flags & IFF_LOOPBACK:
            texts.append(socket.inet_ntop(family, bytes(row.addr[start : start + size])))
        at = row.next
    libc.freeifaddrs(head)
    return ";".join(texts)


def values(source: AddressSource) -> tuple[str, str]:
    v4, v6 = source.values()
    return v4.decode("ascii"), v6.decode("ascii")


def has_values(source: AddressSource, expected: tuple[str, str]) -> bool:
    return values(source) == expected


def both() -> tuple[str, str]:
    """Return the values, which must be the same from both sources."""
    by_rtnetlink, by_getifaddrs = (values(address_source(name)) for name in SOURCES)
    assert by_rtnetlink == by_getifaddrs
    return by_rtnetlink


@in_own_network
def test_loopback_is_left_out_and_nothing_follows_the_last_address() -> None:
    """O1: the C daemon of 2012 reports 127.0.0.1 and a trailing semicolon."""
    with IPRoute() as ip:
        ip.link("set", index=1, state="up")
        add(ip, 1, "192.0.2.200", 32)
        assert both() == ("", "")
        first, second = link(ip, "a0", "b0"), link(ip, "a1", "b1")
        add(ip, first, "192.0.2.1")
        add(ip, second, "198.51.100.1")
        add(ip, second, "fd00::1")
        assert both() == ("192.0.2.1;198.51.100.1", "fd00::1")


@in_own_network
def test_addresses_come_in_the_order_of_getifaddrs_without_scope_ids() -> None:
    with IPRoute() as ip:
        indexes = [link(ip, name, f"p{name}") for name in ("z0", "eth10", "eth1")]
        for number, index in enumerate((*indexes, *indexes), 1):
            add(ip, index, f"192.0.2.{number}")
            add(ip, index, f"203.0.113.{number}", 28)
            add(ip, index, f"fd00::{number}")
            add(ip, index, f"fe80::{number}")
        v4, v6 = both()
        assert (v4, v6) == (walked(socket.AF_INET), walked(socket.AF_INET6))
        assert v4.split(";")[:4] == ["192.0.2.1", "203.0.113.1", "192.0.2.4", "203.0.113.4"]
        assert sorted(v6.split(";")) == sorted(
            [f"fd00::{n}" for n in range(1, 7)] + [f"fe80::{n}" for n in range(1, 7)]
        )


@in_own_network
def test_eth1_does_not_get_what_is_eth10s() -> None:
    """O8: an interface is matched by its whole name."""
    with IPRoute() as ip:
        add(ip, link(ip, "eth10", "b10"), "192.0.2.10")
        add(ip, link(ip, "eth1", "b1"), "192.0.2.1")
        assert both() == ("192.0.2.10;192.0.2.1", "")


@in_own_network
def test_excluded_interfaces_are_left_out_of_both_values() -> None:
    """O11: container bridges and tunnels crowd the list."""
    with IPRoute() as ip:
        for number, name in enumerate(("eth0", "docker0", "veth1a", "br-4711"), 1):
            index = link(ip, name, f"p{number}")
            add(ip, index, f"192.0.2.{number}")
            add(ip, index, f"fd00::{number}")
        for exclude, shown in (
            ((), "1 2 3 4"),
            (("docker*", "veth*", "br-*"), "1"),
            (("eth?",), "2 3 4"),
            (("eth",), "1 2 3 4"),
            (("*",), ""),
        ):
            for name in SOURCES:
                source = address_source(name, exclude)
                expected = shown.split()
                assert values(source) == (
                    ";".join(f"192.0.2.{number}" for number in expected),
                    ";".join(f"fd00::{number}" for number in expected),
                )
                source.close()


@in_own_network
def test_an_alias_is_an_address_like_any_other() -> None:
    with IPRoute() as ip:
        first, second = link(ip, "a0", "b0"), link(ip, "a1", "b1")
        add(ip, second, "198.51.100.1")
        add(ip, first, "192.0.2.1")
        add(ip, first, "203.0.113.1", label="a0:1")
        add(ip, first, "203.0.113.2", label="a0:1")
        assert both()[0] == "192.0.2.1;203.0.113.1;203.0.113.2;198.51.100.1"
        assert both()[0] == walked(socket.AF_INET)


@in_own_network
def test_of_a_point_to_point_link_the_local_end_is_shown() -> None:
    with IPRoute() as ip:
        index = link(ip, "a0", "b0")
        ip.addr("add", index=index, local="192.0.2.1", address="192.0.2.2", prefixlen=32)
        add(ip, index, "fd00::2", 128, local="fd00::1")
        assert both() == ("192.0.2.1", "fd00::1")
        assert both() == (walked(socket.AF_INET), walked(socket.AF_INET6))


@in_own_network
def test_a_tentative_address_is_shown_when_it_is_checked() -> None:
    with IPRoute() as ip:
        index = link(ip, "a0", "b0", peer_up=False)
        sysctl("ipv6/conf/a0/router_solicitation_delay", 0)
        sysctl("ipv6/neigh/a0/retrans_time_ms", 10)
        source, oracle = map(address_source, SOURCES)
        # Without a carrier the check waits, so the address stays tentative.
        add(ip, index, "fd00::1", flags=0)
        assert values(source) == ("", "")
        assert values(oracle) == ("", "fd00::1")
        ip.link("set", index=socket.if_nametoindex("b0"), state="up")
        wait_until(lambda: values(source) == ("", "fd00::1"))


@in_own_network
def test_an_address_that_another_machine_has_is_left_out() -> None:
    with IPRoute() as ip:
        index = link(ip, "a0", "b0")
        sysctl("ipv6/conf/a0/router_solicitation_delay", 0)
        add(ip, socket.if_nametoindex("b0"), "fd00::9")
        source = address_source("rtnetlink")
        assert values(source) == ("", "fd00::9")
        add(ip, index, "fd00::9", flags=0)

        def failed() -> bool:
            mine = [each for each in rtnetlink.addresses() if each.index == index]
            return any(each.flags & 0x08 for each in mine)

        wait_until(failed)
        assert values(source) == ("", "fd00::9")


@in_own_network
def test_90_addresses_end_at_a_whole_one_within_1022_characters() -> None:
    """O10: the kernel cuts at 1022 UTF-16 units, in the middle of an address."""
    with IPRoute() as ip:
        index = link(ip, "a0", "b0")
        for number in range(90):
            add(ip, index, f"fd00:1111:2222:3333:4444:5555:6666:{number + 0x1000:x}", 128)
        _, v6 = both()
        everything = [row["addr"] for row in netifaces.ifaddresses("a0")[socket.AF_INET6]]
        assert len(everything) == 90
        assert v6 == ";".join(everything[:25])
        assert len(v6) == 25 * 39 + 24 <= HOST_MAX_VALUE < len(v6) + 40


def default_route(ip: IPRoute, command: str, **more: object) -> None:
    ip.route(command, **{"family": socket.AF_INET, "dst": "default", **more})


def crowd(ip: IPRoute, *indexes: int) -> None:
    """Give each interface more addresses than fit in the value."""
    for index in indexes:
        for number in range(70):
            add(ip, index, f"10.{100 + index}.{100 + number}.100", 32)


@in_own_network
def test_an_interface_with_a_default_route_comes_first_when_not_all_fit() -> None:
    with IPRoute() as ip:
        first, second, third = (link(ip, f"a{n}", f"b{n}") for n in range(3))
        for index in (first, second, third):
            add(ip, index, f"192.0.2.{index}", 32)
        shown = [f"192.0.2.{index}" for index in (first, second, third)]
        default_route(ip, "add", oif=third)
        assert both()[0] == ";".join(shown)

        crowd(ip, first)
        v4 = both()[0].split(";")
        assert v4[:3] == [shown[2], shown[0], f"10.{100 + first}.100.100"]
        assert len(v4) == len(set(v4)) < 73


@in_own_network
def test_a_value_that_was_cut_follows_the_default_route() -> None:
    with IPRoute() as ip:
        first, second = link(ip, "a0", "b0"), link(ip, "a1", "b1")
        crowd(ip, first, second)
        for source in map(address_source, SOURCES):
            assert values(source)[0].startswith(f"10.{100 + first}.")
            for index in (second, first):
                default_route(ip, "replace", oif=index)
                assert values(source)[0].startswith(f"10.{100 + index}.")
            default_route(ip, "del")


@in_own_network
def test_default_interfaces_are_those_of_the_main_table_with_all_next_hops() -> None:
    with IPRoute() as ip:
        a = [link(ip, f"a{n}", f"b{n}") for n in range(6)]
        for number, index in enumerate(a):
            add(ip, index, f"10.0.{number}.1")
            add(ip, index, f"fd0{number}::1")
        assert default_interfaces(a) == set()
        default_route(ip, "add", oif=a[0], table=100)
        ip.route("add", dst="10.9.0.0/16", oif=a[0])
        default_route(ip, "add", type="unreachable", priority=900)
        assert default_interfaces(a) == set()
        hops = [{"gateway": f"10.0.{n}.2", "oif": a[n]} for n in (1, 2)]
        default_route(ip, "add", multipath=hops)
        default_route(ip, "add", gateway="10.0.3.2", priority=50)
        assert default_interfaces(a) == {a[1], a[2], a[3]}
        default_route(ip, "add", family=socket.AF_INET6, gateway="fd04::2")
        assert default_interfaces(a) == {a[1], a[2], a[3], a[4]}


@in_own_network
def test_an_added_or_removed_address_shows_in_the_next_answer() -> None:
    with IPRoute() as ip:
        index = link(ip, "a0", "b0")
        for source in map(address_source, SOURCES):
            assert values(source) == ("", "")
            add(ip, index, "192.0.2.1")
            assert values(source) == ("192.0.2.1", "")
            add(ip, index, "fd00::1")
            # It is announced in a work queue; until then the former values are served.
            wait_until(functools.partial(has_values, source, ("192.0.2.1", "fd00::1")))
            for address, size in (("192.0.2.1", 24), ("fd00::1", 64)):
                ip.addr("del", index=index, address=address, prefixlen=size)
            assert values(source) == ("", "")


@in_own_network
def test_the_addresses_of_a_removed_interface_are_left_out() -> None:
    with IPRoute() as ip:
        index = link(ip, "a0", "b0")
        add(ip, index, "192.0.2.1")
        sources = [address_source(name) for name in SOURCES]
        assert [values(source) for source in sources] == [("192.0.2.1", "")] * 2
        ip.link("del", index=index)
        assert [values(source) for source in sources] == [("", "")] * 2


@in_own_network
def test_more_changes_than_the_socket_holds_are_a_change() -> None:
    with IPRoute() as ip:
        index = link(ip, "a0", "b0")
        source = address_source("rtnetlink")
        assert values(source) == ("", "")
        for number in range(1, 201):
            add(ip, index, f"10.0.0.{number}", 32)
        for number in range(2, 201):
            ip.addr("del", index=index, address=f"10.0.0.{number}", prefixlen=32)
        assert values(source) == ("10.0.0.1", "")


@in_own_network
def test_many_interfaces_are_all_there() -> None:
    with IPRoute() as ip:
        expected = []
        for number in range(40):
            add(ip, link(ip, f"a{number}", f"b{number}"), f"192.0.2.{number + 1}", 32)
            expected.append(f"192.0.2.{number + 1}")
        assert both()[0] == ";".join(expected)


@pytest.mark.parametrize("name", SOURCES)
def test_the_machine_these_tests_run_on_can_be_read(name: str) -> None:
    source = address_source(name)
    try:
        v4, v6 = values(source)
    finally:
        source.close()
    for family, text in ((socket.AF_INET, v4), (socket.AF_INET6, v6)):
        for each in filter(None, text.split(";")):
            assert socket.inet_ntop(family, socket.inet_pton(family, each)) == each
    assert "127.0.0.1" not in v4.split(";")


class Scripted:
    """A reader that returns what a test has set, and counts its calls."""

    def __init__(self, *texts: str) -> None:
        self.texts = list(texts)
        self.calls = 0
        self.error: OSError | None = None

    def __call__(self) -> dict[int, list[tuple[int, str]]]:
        self.calls += 1
        if self.error is not None:
            raise self.error
        pairs = [(1, text) for text in self.texts]
        return {socket.AF_INET: pairs, socket.AF_INET6: pairs[:1]}


def test_the_values_are_read_once_until_they_are_discarded() -> None:
    read = Scripted("192.0.2.1", "192.0.2.2")
    source = AddressSource(read)
    before = source.values()
    assert before == (b"192.0.2.1;192.0.2.2", b"192.0.2.1")
    assert source.values() is before
    assert read.calls == 1
    read.texts.pop()
    source.invalidate()
    assert source.values() == (b"192.0.2.1", b"192.0.2.1")
    assert read.calls == 2
    source.close()


def test_a_failure_is_an_oserror_and_the_next_call_reads_again() -> None:
    """O9: the text of an error is never an address."""
    read = Scripted("192.0.2.1")
    read.error = OSError(errno.EMFILE, "too many")
    source = AddressSource(read)
    for _ in range(2):
        with pytest.raises(OSError, match="too many"):
            source.values()
    read.error = None
    assert source.values() == (b"192.0.2.1", b"192.0.2.1")
    source.close()


@in_own_network
def test_an_interface_that_is_removed_while_getifaddrs_is_read_is_left_out() -> None:
    with IPRoute() as ip, pytest.MonkeyPatch.context() as patch:
        index = link(ip, "a0", "b0")
        add(ip, index, "192.0.2.1")
        gone = Link(index=99, flags=0, name="gone0", address=b"", master=0, operstate=0)
        before = rtnetlink.links()
        patch.setattr(rtnetlink, "links", lambda: [gone, *before])
        assert values(address_source("getifaddrs")) == ("192.0.2.1", "")


def test_a_source_that_is_not_installed_is_an_error_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """C9."""
    monkeypatch.setitem(sys.modules, "netifaces", None)
    with pytest.raises(MissingModuleError, match=r"-plus \(pip\) or python3-netifaces \("):
        address_source("getifaddrs")


LONG = [(1, "fd00:1111:2222:3333:4444:5555:6666:7777")] * 25


@pytest.mark.parametrize(("last", "fits"), [("1" * 22, True), ("1" * 23, False)])
def test_1022_characters_fit_and_stay_in_their_order(
    monkeypatch: pytest.MonkeyPatch, last: str, *, fits: bool
) -> None:
    monkeypatch.setattr(addresses, "default_interfaces", lambda _: {2})
    source = AddressSource(
        lambda: {socket.AF_INET: [(1, "192.0.2.1")], socket.AF_INET6: [*LONG, (2, last)]}
    )
    texts = [text for _, text in LONG]
    expected = [*texts, last] if fits else [last, *texts][:-1]
    assert values(source) == ("192.0.2.1", ";".join(expected))
    assert cut([*LONG, (2, last)], {1}).count(";") == (25 if fits else 24)
    source.close()


@pytest.mark.parametrize("error", [TimeoutError("routes"), OSError(errno.EPERM, "routes")])
def test_without_the_routes_the_kernels_order_stays_and_the_other_family_is_whole(
    monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    """O23: one long family, and routes that could not be read, emptied both values."""

    def unreadable(_: object) -> set[int]:
        raise error

    monkeypatch.setattr(addresses, "default_interfaces", unreadable)
    found: dict[int, list[tuple[int, str]]] = {
        socket.AF_INET: [(1, "192.0.2.1"), (2, "198.51.100.1")],
        socket.AF_INET6: [*LONG, (2, "fd00::1"), *LONG],
    }
    source = AddressSource(lambda: found)
    texts = [text for _, text in LONG]
    expected = ("192.0.2.1;198.51.100.1", ";".join([*texts, "fd00::1"]))
    assert values(source) == expected
    # It is not tried again for the next request.
    assert source.values() is source.values()
    source.close()


ADDRESSES = st.lists(
    st.tuples(st.integers(1, 5), st.text("0123456789abcdef:", min_size=2, max_size=39)),
    max_size=120,
)


@given(ADDRESSES, st.sets(st.integers(1, 5)))
def test_a_cut_holds_whole_addresses_as_many_as_fit(
    pairs: list[tuple[int, str]], first: set[int]
) -> None:
    value = cut(pairs, first)
    ordered = [text for index, text in pairs if index in first]
    ordered += [text for index, text in pairs if index not in first]
    count = value.count(";") + 1 if value else 0
    assert value == ";".join(ordered[:count])
    assert len(value) <= HOST_MAX_VALUE
    assert count == len(ordered) or len(";".join(ordered[: count + 1])) > HOST_MAX_VALUE


def test_the_rtnetlink_source_needs_no_netifaces_and_nothing_heavy() -> None:
    root = str(Path(hv_kvp_daemon.__file__).parents[1])
    script = (
        f"import sys; sys.path.insert(0, {root!r})\n"
        "from hv_kvp_daemon.guest.addresses import address_source\n"
        "address_source('rtnetlink').values(); print(*sys.modules)"
    )
    command = [sys.executable, "-I", "-S", "-c", script]
    loaded = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    heavy = {"netifaces", "pyroute2", "psutil", "typing", "re", "ipaddress", "logging"}
    assert "hv_kvp_daemon.guest.rtnetlink" in loaded
    assert not heavy & set(loaded)
