# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The auto pool of Debian's C daemon and of this one, as the guest changes.

The guest goes through a series of states, once with the C daemon and once with each
address source of this one.  The ten keys must be equal in each state, except for the
differences in `known`.  The C daemon reads addresses at each request and everything else
at its start.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Callable, Iterator
from typing import TypeAlias

from tests.driver import guest
from tests.driver.guest import Process, wait_for
from tests.driver.lab.hvhost import AUTO, AUTO_KEYS, S_OK, Host

SECONDS = 240

FQDN, _, IPV4, IPV6 = AUTO_KEYS[:4]
NAME = "kvp-guest.example.com"
SOURCES = ("rtnetlink", "getifaddrs")
HOST_MAX_VALUE = 1022
TENTATIVE = "2001:db8:3::1"
# Each is longer than 11 characters: together they do not fit.
MANY = [f"198.18.{100 + n // 100}.{100 + n % 100}" for n in range(90)]

Values: TypeAlias = dict[str, str]


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def two_interfaces() -> None:
    ip("link", "add", "dummy1", "address", "00:15:5d:00:00:02", "type", "dummy")
    ip("link", "set", "dummy1", "up")
    ip("addr", "add", "198.51.100.7/24", "dev", "dummy1")
    ip("addr", "add", "2001:db8:1::7/64", "dev", "dummy1", "nodad")


def aliases_and_a_peer() -> None:
    ip("addr", "add", "198.51.100.8/24", "dev", "dummy1", "label", "dummy1:1")
    ip("addr", "add", "203.0.113.1", "peer", "203.0.113.2/32", "dev", "eth0")
    ip("addr", "add", "192.0.2.11/24", "dev", "eth0")


def addresses_on_the_loopback() -> None:
    """O1: not addresses of the guest; both daemons leave them out."""
    ip("addr", "add", "198.51.100.99/32", "dev", "lo")
    ip("addr", "add", "2001:db8:2::99/128", "dev", "lo")


def an_interface_that_is_down() -> None:
    ip("link", "set", "dummy1", "down")


def an_address_that_is_tentative() -> None:
    """Without a carrier, duplicate address detection does not end."""
    ip("link", "add", "veth0", "type", "veth", "peer", "name", "veth1")
    ip("link", "set", "veth0", "up")
    ip("addr", "add", f"{TENTATIVE}/64", "dev", "veth0")


def more_than_fit() -> None:
    lines = "".join(f"addr add {address}/15 dev eth0\n" for address in MANY)
    subprocess.run(["ip", "-batch", "-"], input=lines, text=True, check=True)


def none_but_the_loopbacks() -> None:
    for name in ("dummy1", "veth0"):
        ip("link", "del", name)
    ip("addr", "flush", "dev", "eth0", "scope", "global")


STATES: list[Callable[[], None]] = [
    two_interfaces,
    aliases_and_a_peer,
    addresses_on_the_loopback,
    an_interface_that_is_down,
    an_address_that_is_tentative,
    more_than_fit,
    none_but_the_loopbacks,
]


def addresses_as_at_boot() -> None:
    ip("addr", "del", "198.51.100.99/32", "dev", "lo")
    ip("addr", "del", "2001:db8:2::99/128", "dev", "lo")
    ip("addr", "add", "192.0.2.10/24", "dev", "eth0")
    ip("addr", "add", "2001:db8::10/64", "dev", "eth0", "nodad")
    ip("route", "add", "default", "via", "192.0.2.1", "dev", "eth0")


def known(state: Callable[[], None], source: str, theirs: Values) -> Values:
    """The intended values of this daemon where the C daemon gives ``theirs``."""
    ours = dict(theirs)
    shown = theirs[IPV6].split(";")
    assert (TENTATIVE in shown) == (state in (an_address_that_is_tentative, more_than_fit))
    if source == "rtnetlink":
        # Nobody can reach the guest by such an address.  getifaddrs does not tell which.
        ours[IPV6] = ";".join(text for text in shown if text != TENTATIVE)
    if state is more_than_fit:
        # O10: what the kernel cuts off the C daemon's text begins within an address.
        assert len(theirs[IPV4]) == HOST_MAX_VALUE
        ours[IPV4] = theirs[IPV4][: theirs[IPV4].rindex(";")]
    return ours


def check_the_ten_keys_are_equal_as_addresses_come_and_go() -> None:
    """O1, O8, O10, O11; with --addresses getifaddrs byte for byte the C daemon's."""
    with serving(guest.c_daemon()) as host:
        theirs = [values(host) for _ in through_states()]
    for source in SOURCES:
        with serving(guest.registered("--addresses", source)) as host:
            wait_for("the full name", lambda: host.enumerate(AUTO, 0)[2] == NAME)
            for state, their in zip(through_states(), theirs, strict=True):
                expected = known(state, source, their)
                ours = values(host)
                assert ours == expected, f"{state.__name__}\n{source} {ours}\nC {expected}"


def through_states() -> Iterator[Callable[[], None]]:
    """Bring the guest into each state, and at the end back to the first."""
    for state in STATES:
        state()
        yield state
    addresses_as_at_boot()


def check_a_new_host_name_is_followed_where_the_c_daemon_keeps_the_old() -> None:
    """O2: the C daemon looks the name up once, at its start."""
    with serving(guest.c_daemon()) as host:
        assert values(host)[FQDN] == NAME
        with host_name("renamed", "renamed.example.net"):
            assert values(host)[FQDN] == NAME
    with serving(guest.registered("--addresses", "rtnetlink")) as host:
        wait_for("the full name", lambda: values(host)[FQDN] == NAME)
        with host_name("renamed", "renamed.example.net"):
            wait_for("the new name", lambda: values(host)[FQDN] == "renamed.example.net")
            ours = values(host)
        wait_for("the old name", lambda: values(host)[FQDN] == NAME)
    with host_name("renamed", "renamed.example.net"), serving(guest.c_daemon()) as host:
        assert values(host) == ours


def check_the_host_name_is_served_where_the_c_daemon_gives_an_error_text() -> None:
    """O3."""
    with host_name("nowhere", ""):
        with serving(guest.c_daemon()) as host:
            theirs = values(host)
            assert theirs[FQDN].startswith("getaddrinfo failed")
        with serving(guest.registered("--addresses", "rtnetlink")) as host:
            assert values(host) == {**theirs, FQDN: "nowhere"}


@contextlib.contextmanager
def serving(daemon: Process) -> Iterator[Host]:
    """A host that this daemon serves; the daemon ends with it."""
    with Host(timeout=20, watch=daemon.must_run) as host:
        assert host.negotiate() == S_OK
        # The driver negotiates for a netlink daemon that has ended, too.
        wait_for("service", lambda: host.enumerate(AUTO, 0)[0] == S_OK)
        yield host
    daemon.must_run()
    daemon.stop()


def values(host: Host) -> Values:
    """The ten keys in their order, by enumeration."""
    found = dict(host.items(AUTO))
    assert list(found) == AUTO_KEYS, found
    return found


@contextlib.contextmanager
def host_name(short: str, full: str) -> Iterator[None]:
    """Set another host name; one without a full name is unknown to the resolver."""
    with open("/etc/hosts", encoding="utf-8") as file:
        hosts = file.read()
    with open("/etc/nsswitch.conf", encoding="utf-8") as file:
        switch = file.read()
    before = socket.gethostname()
    try:
        write("/etc/nsswitch.conf", "hosts: files\n")
        write("/etc/hosts", f"{hosts}127.0.2.1 {full} {short}\n" if full else hosts)
        socket.sethostname(short)
        yield
    finally:
        write("/etc/hosts", hosts)
        write("/etc/nsswitch.conf", switch)
        socket.sethostname(before)


def write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
