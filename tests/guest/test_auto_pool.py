# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The ten items of the auto pool, and the requests for them."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hv_kvp_daemon
from hv_kvp_daemon.guest.addresses import AddressSource
from hv_kvp_daemon.guest.auto_pool import AutoPool
from hv_kvp_daemon.guest.child import wait_readable
from hv_kvp_daemon.guest.fqdn import FqdnLookup
from hv_kvp_daemon.wire.uapi import KVP_AUTO_KEYS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.usefixtures("no_child_and_no_descriptor_is_left")

HOST = os.uname().nodename.encode()
SOURCES = str(Path(hv_kvp_daemon.__file__).parents[1])
PATIENCE = 60.0

FQDN, IPV4, IPV6 = 0, 2, 3
UNCHANGING = (1, 4, 5, 6, 7, 8, 9)


class Addresses(AddressSource):
    """Addresses that a test sets; it counts how often they are read."""

    def __init__(self) -> None:
        self.now = (b"192.0.2.10", b"2001:db8::10")
        self.error: OSError | None = None
        self.asked = 0
        self.invalidated = 0
        super().__init__(dict)

    def values(self) -> tuple[bytes, bytes]:
        self.asked += 1
        if self.error:
            raise self.error
        return self.now

    def invalidate(self) -> None:
        self.invalidated += 1


class Guest:
    """An `AutoPool`, its parts, and its reports."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.lookups = 0
        self.reports: list[str] = []
        self.addresses = Addresses()
        self.auto = AutoPool(
            self.addresses,
            FqdnLookup(self._wait, self.reports.append, lambda host: host + b".example.org"),
            report=self.reports.append,
            root=str(root),
        )

    def _wait(self, fd: int, seconds: float) -> bool:
        del seconds
        self.lookups += 1
        return wait_readable(fd, PATIENCE)

    def value(self, index: int) -> bytes:
        item = self.auto.item(index)
        assert item is not None
        return item[1]

    def write_release(self, text: str) -> None:
        (self.root / "etc").mkdir(exist_ok=True)
        (self.root / "etc/os-release").write_text(text)


@pytest.fixture
def new_guest(tmp_path: Path) -> Iterator[Callable[[], Guest]]:
    guests: list[Guest] = []

    def new() -> Guest:
        guests.append(Guest(tmp_path))
        return guests[-1]

    yield new
    for guest in guests:
        guest.auto.close()


@pytest.fixture
def guest(new_guest: Callable[[], Guest]) -> Guest:
    return new_guest()


# -- the ten items


def test_the_ten_items_come_in_the_hosts_order(guest: Guest) -> None:
    """O2: the full name.  O5: the build is the full release.  O13: no minor version."""
    guest.write_release('NAME="Debian GNU/Linux"\nVERSION_ID="12"\n')
    guest.auto.reload()
    uname = os.uname()
    assert [guest.auto.item(index) for index in range(10)] == [
        (b"FullyQualifiedDomainName", HOST + b".example.org"),
        (b"IntegrationServicesVersion", b"Unknown version"),
        (b"NetworkAddressIPv4", b"192.0.2.10"),
        (b"NetworkAddressIPv6", b"2001:db8::10"),
        (b"OSBuildNumber", uname.release.encode()),
        (b"OSName", b"Debian GNU/Linux"),
        (b"OSMajorVersion", b"12"),
        (b"OSMinorVersion", b""),
        (b"OSVersion", uname.release.split("-")[0].encode()),
        (b"ProcessorArchitecture", uname.machine.encode()),
    ]


@pytest.mark.parametrize(
    ("release", "version"),
    [
        ("6.1.0-56-cloud-amd64", b"6.1.0"),
        ("6.1.0", b"6.1.0"),
        ("-rc1", b""),
        ("5.15.0-1057-azure-x-", b"5.15.0"),
    ],
)
def test_the_version_ends_before_the_first_dash(
    release: str,
    version: bytes,
    new_guest: Callable[[], Guest],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    uname = os.uname()
    named = os.uname_result((uname.sysname, uname.nodename, release, "#1", "aarch64"))
    monkeypatch.setattr(os, "uname", lambda: named)
    guest = new_guest()
    assert guest.auto.find(b"OSBuildNumber") == release.encode()
    assert guest.auto.find(b"OSVersion") == version
    assert guest.auto.find(b"ProcessorArchitecture") == b"aarch64"


@pytest.mark.parametrize("index", [10, 11, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, -1])
def test_there_is_no_item_past_the_end(index: int, guest: Guest) -> None:
    """T14: an index of 2^31 and more is past the end, too."""
    assert guest.auto.item(index) is None


def test_find_takes_a_name_in_its_exact_spelling(guest: Guest) -> None:
    for index, key in enumerate(KVP_AUTO_KEYS):
        assert guest.auto.item(index) == (key, guest.auto.find(key))
        assert guest.auto.find(key.lower()) is None
        assert guest.auto.find(key[:-1]) is None
        assert guest.auto.find(key + b"\0") is None
    assert guest.auto.find(b"") is None


def test_the_drivers_version_is_unknown_until_it_has_answered(guest: Guest) -> None:
    assert guest.auto.driver_version == b"Unknown version"
    guest.auto.driver_version = b"3.1"
    assert guest.auto.driver_version == b"3.1"
    assert guest.auto.find(b"IntegrationServicesVersion") == b"3.1"


def test_an_item_is_the_same_object_while_its_value_is_the_same(guest: Guest) -> None:
    items = [guest.auto.item(index) for index in range(10)]
    guest.addresses.now = (b"192.0.2.10", b"2001:db8::11")
    guest.auto.driver_version = guest.auto.driver_version
    guest.auto.reload()
    for index, item in enumerate(items):
        assert (guest.auto.item(index) is item) == (index != IPV6)


# -- values that are collected at a request


def test_only_the_name_and_the_addresses_are_asked_for(guest: Guest) -> None:
    for index in UNCHANGING:
        guest.value(index)
    assert (guest.addresses.asked, guest.lookups) == (0, 0)
    for index in (FQDN, IPV4, IPV6):
        guest.value(index)
    assert (guest.addresses.asked, guest.lookups) == (3, 1)


def test_addresses_are_current(guest: Guest) -> None:
    assert guest.value(IPV4) == b"192.0.2.10"
    guest.addresses.now = (b"192.0.2.11", b"")
    assert guest.value(IPV4) == b"192.0.2.11"
    assert guest.value(IPV6) == b""


def test_changed_addresses_have_the_name_looked_up_again(
    guest: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hv_kvp_daemon.guest.fqdn.LOOKUP_INTERVAL", 0.0)
    guest.value(FQDN)
    guest.value(FQDN)
    assert guest.lookups == 1
    guest.addresses.now = (b"192.0.2.10", b"2001:db8::11")
    guest.value(FQDN)
    guest.value(FQDN)
    assert guest.lookups == 2


def test_addresses_that_cannot_be_read_are_empty_at_first(guest: Guest) -> None:
    """O9: the text of an error goes to the log, not to the host."""
    guest.addresses.error = OSError(errno.ENOBUFS, "No buffer space available")
    assert guest.auto.find(b"NetworkAddressIPv4") == b""
    assert guest.auto.item(IPV6) == (b"NetworkAddressIPv6", b"")
    assert guest.value(FQDN) == HOST + b".example.org"
    assert guest.reports == [
        "the addresses keep their last values: [Errno 105] No buffer space available"
    ]


def test_the_last_known_addresses_are_served_until_they_can_be_read_again(guest: Guest) -> None:
    assert guest.value(IPV4) == b"192.0.2.10"

    guest.addresses.error = OSError(errno.EPERM, "denied")
    for _ in range(3):
        assert guest.value(IPV4) == b"192.0.2.10"
    # Also the one that was not requested while it could be read.
    assert guest.value(IPV6) == b"2001:db8::10"
    assert len(guest.reports) == 1

    guest.addresses.error = OSError(errno.EIO, "broken")
    guest.value(IPV4)
    assert len(guest.reports) == 2

    guest.addresses.error = None
    guest.addresses.now = (b"192.0.2.12", b"")
    assert guest.value(IPV4) == b"192.0.2.12"

    guest.addresses.error = OSError(errno.EIO, "broken")
    guest.value(IPV4)
    assert len(guest.reports) == 3


def test_a_process_that_cannot_be_made_is_reported(
    guest: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fork() -> int:
        raise BlockingIOError(errno.EAGAIN, "no process")

    guest.value(FQDN)
    guest.auto.reload()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fork", fork)
        assert guest.value(FQDN) == HOST
    assert guest.reports == [
        "the host name is used, the full name cannot be looked up: [Errno 11] no process"
    ]
    guest.auto.reload()
    assert guest.value(FQDN) == HOST + b".example.org"


def test_reload_reads_everything_again(guest: Guest) -> None:
    guest.value(FQDN)
    assert guest.auto.find(b"OSName") == os.uname().sysname.encode()
    guest.write_release("NAME=New\nVERSION_ID=2\n")
    guest.auto.reload()
    assert (guest.auto.find(b"OSName"), guest.auto.find(b"OSMajorVersion")) == (b"New", b"2")
    assert guest.addresses.invalidated == 1
    # The look-up is left to the next request.
    assert guest.lookups == 1
    assert guest.value(FQDN) == HOST + b".example.org"
    assert guest.lookups == 2


# -- any sequence of events and requests


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root for all examples of a property."""
    return tmp_path_factory.mktemp("release")


EVENTS = ["reload", "addresses", "break", "recover", "version"]
asked = st.lists(st.sampled_from([1, IPV4, IPV6, 5]), max_size=3)


@given(st.lists(st.tuples(st.sampled_from(EVENTS), asked), min_size=1, max_size=12))
@settings(deadline=None, max_examples=60)
def test_each_request_gets_what_holds_at_that_time(
    release: Path, events: list[tuple[str, list[int]]]
) -> None:
    guest = Guest(release)
    try:
        guest.write_release("NAME=none\n")
        guest.auto.reload()
        expected = {1: guest.auto.driver_version, IPV4: b"", IPV6: b"", 5: b"none"}
        for number, (event, indexes) in enumerate(events):
            text = b"%d" % number
            if event == "reload":
                guest.write_release(f"NAME={number}\n")
                guest.auto.reload()
                expected[5] = text
            elif event == "addresses":
                guest.addresses.now = (text, text + b"6")
            elif event == "version":
                guest.auto.driver_version = expected[1] = text
            else:
                broken = OSError(errno.EIO, "broken")
                guest.addresses.error = broken if event == "break" else None
            for index in indexes:
                if index in (IPV4, IPV6) and guest.addresses.error is None:
                    expected[IPV4], expected[IPV6] = guest.addresses.now
                assert guest.value(index) == expected[index]
    finally:
        guest.auto.close()


LEAN = """
import sys
import hv_kvp_daemon.guest.addresses
import hv_kvp_daemon.guest.auto_pool
import hv_kvp_daemon.guest.fqdn
heavy = {"typing", "dataclasses", "logging", "asyncio", "re", "json", "subprocess", "pathlib"}
print(*sorted(heavy & sys.modules.keys()))
"""


def test_the_auto_pool_needs_no_heavy_module() -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.append({SOURCES!r})\n{LEAN}"],
        check=True,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.stdout.split() == []
