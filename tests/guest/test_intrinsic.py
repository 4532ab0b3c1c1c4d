from __future__ import annotations

import errno
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import hv_kvp_daemon
from hv_kvp_daemon.guest.fqdn import FqdnLookup, HostnameWatch, host_name
from hv_kvp_daemon.guest.intrinsic import KEYS, Intrinsic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.usefixtures("no_child_and_no_descriptor_is_left")

HOST = host_name().encode()
SOURCES = str(Path(hv_kvp_daemon.__file__).parents[1])
PATIENCE = 60.0
NEVER = 3600.0


class Addresses:
    """An address source whose events are written by the test."""

    def __init__(self) -> None:
        self.v4 = b"192.0.2.10"
        self.v6 = b"2001:db8::10"
        self.error: OSError | None = None
        self.drain_error: OSError | None = None
        self.matters = True
        self.reads = 0
        self.invalidated = 0
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def event(self) -> None:
        os.write(self._write, b"x")

    def ipv4(self) -> bytes:
        self.reads += 1
        if self.error:
            raise self.error
        return self.v4

    def ipv6(self) -> bytes:
        if self.error:
            raise self.error
        return self.v6

    def drain(self) -> bool:
        os.read(self._read, 4096)
        if self.drain_error:
            raise self.drain_error
        return self.matters

    def fileno(self) -> int:
        return self._read

    def invalidate(self) -> None:
        self.invalidated += 1

    def close(self) -> None:
        os.close(self._read)
        os.close(self._write)


class CountedLookup(FqdnLookup):
    """Counts the processes that it starts."""

    __slots__ = ("starts",)

    def __init__(self, resolve: Callable[[bytes], bytes], timeout: float = 30.0) -> None:
        super().__init__(resolve, timeout)
        self.starts = 0

    def start(self) -> bool:
        self.starts += 1
        return super().start()


def known(host: bytes) -> bytes:
    return host + b".example.org"


def unknown(_: bytes) -> bytes:
    raise OSError(errno.ENOENT, "unknown name")


def hang(_: bytes) -> bytes:
    signal.pause()
    return b""


class Guest:
    """An `Intrinsic`, its parts, and a loop as the service has one."""

    def __init__(
        self, root: Path, resolve: Callable[[bytes], bytes], timeout: float, interval: float
    ) -> None:
        self.addresses = Addresses()
        self.lookup = CountedLookup(resolve, timeout)
        self.problems: list[str] = []
        self.auto = Intrinsic(
            self.addresses,
            problem=self.problems.append,
            root=str(root),
            lookup=self.lookup,
            interval=interval,
        )

    def value(self, name: bytes) -> bytes | None:
        return self.auto.find(name)

    @property
    def fqdn(self) -> bytes | None:
        return self.value(b"FullyQualifiedDomainName")

    def serve(self, until: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE
        while not until():
            poll = select.poll()
            for fd, events in self.auto.watched():
                poll.register(fd, events)
            soonest = min(end, self.auto.deadline() or end)
            for fd, _ in poll.poll(max(0, int((soonest - time.monotonic()) * 1000) + 1)):
                self.auto.on_event(fd)
            self.auto.expire()
            assert time.monotonic() < end, "nothing came of it"

    def serve_look_ups(self) -> None:
        """Serve until no look-up runs and none is due."""
        self.serve(lambda: self.lookup.fileno() < 0 and self.auto.deadline() is None)

    def serve_event(self) -> None:
        """Serve one address event, and it alone."""
        self.addresses.event()
        assert self.auto.on_event(self.addresses.fileno())
        self.auto.expire()


@pytest.fixture
def new_guest(tmp_path: Path) -> Iterator[Callable[..., Guest]]:
    guests: list[Guest] = []

    def new(
        resolve: Callable[[bytes], bytes] = known, timeout: float = 30.0, interval: float = 0.0
    ) -> Guest:
        guests.append(Guest(tmp_path, resolve, timeout, interval))
        return guests[-1]

    yield new
    for guest in guests:
        guest.auto.close()


@pytest.fixture
def guest(new_guest: Callable[..., Guest]) -> Guest:
    return new_guest()


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root for all examples of a property."""
    return tmp_path_factory.mktemp("release")


# -- the ten items


def write_release(root: Path, text: str) -> None:
    (root / "etc").mkdir(exist_ok=True)
    (root / "etc/os-release").write_text(text)


def test_the_ten_items_come_in_the_hosts_order(
    tmp_path: Path, new_guest: Callable[..., Guest]
) -> None:
    """O5: the build is the full release.  O13: no minor version with os-release."""
    write_release(tmp_path, 'NAME="Debian GNU/Linux"\nVERSION_ID="12"\n')
    guest = new_guest()
    uname = os.uname()
    assert [guest.auto.item(index) for index in range(10)] == [
        (b"FullyQualifiedDomainName", HOST),
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
    new_guest: Callable[..., Guest],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    uname = os.uname()
    named = os.uname_result((uname.sysname, uname.nodename, release, "#1", "aarch64"))
    monkeypatch.setattr(os, "uname", lambda: named)
    guest = new_guest()
    assert guest.value(b"OSBuildNumber") == release.encode()
    assert guest.value(b"OSVersion") == version
    assert guest.value(b"ProcessorArchitecture") == b"aarch64"


@pytest.mark.parametrize("index", [10, 11, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, -1])
def test_there_is_no_item_past_the_end(index: int, guest: Guest) -> None:
    """T14: an index of 2^31 and more is past the end, too."""
    assert guest.auto.item(index) is None


def test_find_takes_a_name_in_its_exact_spelling(guest: Guest) -> None:
    for index, key in enumerate(KEYS):
        assert guest.auto.item(index) == (key, guest.value(key))
        assert guest.value(key.lower()) is None
        assert guest.value(key[:-1]) is None
        assert guest.value(key + b"\0") is None
    assert guest.value(b"") is None


def test_the_drivers_version_is_unknown_until_it_is_told(guest: Guest) -> None:
    assert guest.auto.driver_version == b"Unknown version"
    before = guest.auto.generation
    guest.auto.driver_version = b"3.1"
    assert guest.auto.driver_version == b"3.1"
    assert guest.value(b"IntegrationServicesVersion") == b"3.1"
    assert guest.auto.generation > before
    before = guest.auto.generation
    guest.auto.driver_version = b"3.1"
    assert guest.auto.generation == before


# -- addresses


def test_an_address_event_makes_a_new_generation(guest: Guest) -> None:
    before = guest.auto.generation
    guest.addresses.v4 = b"192.0.2.11"
    guest.serve_event()
    assert guest.auto.generation > before
    assert guest.value(b"NetworkAddressIPv4") == b"192.0.2.11"


def test_an_event_that_does_not_matter_changes_nothing(guest: Guest) -> None:
    before = guest.auto.generation
    guest.addresses.matters = False
    guest.addresses.event()
    assert guest.auto.on_event(guest.addresses.fileno()) is False
    assert guest.auto.generation == before
    assert guest.lookup.starts == 0


def test_addresses_that_cannot_be_read_are_empty_at_first(guest: Guest) -> None:
    """O9: the text of an error goes to the log, not to the host."""
    guest.addresses.error = OSError(errno.ENOBUFS, "No buffer space available")
    assert guest.value(b"NetworkAddressIPv4") == b""
    assert guest.auto.item(3) == (b"NetworkAddressIPv6", b"")
    assert guest.problems == [
        "NetworkAddressIPv4 keeps its last value: [Errno 105] No buffer space available",
        "NetworkAddressIPv6 keeps its last value: [Errno 105] No buffer space available",
    ]


def test_the_last_known_addresses_stand_until_they_can_be_read_again(guest: Guest) -> None:
    assert guest.auto.item(2) == (b"NetworkAddressIPv4", b"192.0.2.10")
    settled = guest.auto.generation
    assert guest.auto.generation == settled

    guest.addresses.error = OSError(errno.EPERM, "denied")
    for _ in range(3):
        assert guest.auto.item(2) == (b"NetworkAddressIPv4", b"192.0.2.10")
    assert len(guest.problems) == 1
    failing = guest.auto.generation
    assert settled < failing < guest.auto.generation

    guest.addresses.error = OSError(errno.EIO, "broken")
    guest.value(b"NetworkAddressIPv4")
    assert len(guest.problems) == 2

    guest.addresses.error = None
    guest.addresses.v4 = b"192.0.2.12"
    assert guest.auto.item(2) == (b"NetworkAddressIPv4", b"192.0.2.12")
    assert guest.auto.generation == guest.auto.generation

    guest.addresses.error = OSError(errno.EIO, "broken")
    guest.value(b"NetworkAddressIPv4")
    assert len(guest.problems) == 3


def test_events_that_cannot_be_read_make_the_addresses_be_read_anew(guest: Guest) -> None:
    guest.addresses.drain_error = OSError(errno.EIO, "broken")
    guest.serve_event()
    assert guest.addresses.invalidated == 1
    assert guest.problems == ["address events are read anew: [Errno 5] broken"]


# -- the name


def test_no_process_is_made_before_start(guest: Guest) -> None:
    assert guest.fqdn == HOST
    assert guest.auto.deadline() is None
    assert guest.lookup.starts == 0


def test_the_full_name_is_there_when_the_child_has_answered(guest: Guest) -> None:
    """O2: until then requests are answered with the host name."""
    guest.auto.start()
    assert guest.fqdn == HOST
    before = guest.auto.generation
    guest.serve_look_ups()
    assert guest.fqdn == HOST + b".example.org"
    assert guest.auto.generation > before


def test_a_failed_look_up_leaves_the_host_name(new_guest: Callable[..., Guest]) -> None:
    """O3."""
    guest = new_guest(unknown)
    guest.auto.start()
    before = guest.auto.generation
    guest.serve_look_ups()
    assert guest.fqdn == HOST
    assert guest.auto.generation == before
    assert guest.problems == []


def test_a_look_up_that_hangs_ends_at_its_deadline(new_guest: Callable[..., Guest]) -> None:
    guest = new_guest(hang, timeout=0.05)
    guest.auto.start()
    assert guest.auto.expire() is False
    assert guest.lookup.fileno() >= 0
    guest.serve_look_ups()
    assert guest.fqdn == HOST
    assert guest.lookup.starts == 1


def test_other_addresses_have_the_name_looked_up_again(guest: Guest) -> None:
    guest.auto.start()
    guest.serve_look_ups()
    guest.addresses.v6 = b"2001:db8::11"
    guest.serve_event()
    guest.serve_look_ups()
    assert guest.lookup.starts == 2


def test_a_renewed_address_is_no_reason_to_ask_for_a_known_name(guest: Guest) -> None:
    guest.auto.start()
    guest.serve_look_ups()
    guest.serve_event()
    guest.serve_look_ups()
    assert guest.lookup.starts == 1


def test_any_event_has_a_failed_look_up_tried_again(new_guest: Callable[..., Guest]) -> None:
    guest = new_guest(unknown)
    guest.auto.start()
    guest.serve_look_ups()
    guest.serve_event()
    guest.serve_look_ups()
    assert guest.lookup.starts == 2


def test_a_flood_of_events_makes_one_look_up_after_the_running_one(
    new_guest: Callable[..., Guest], tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    guest = new_guest(lambda _: gate.read_bytes())
    guest.auto.start()
    for number in range(200):
        guest.addresses.v4 = b"192.0.2.%d" % number
        guest.serve_event()
    assert guest.lookup.starts == 1
    gate.write_bytes(b"first.example")
    guest.serve(lambda: guest.fqdn == b"first.example")
    assert guest.lookup.starts == 2
    gate.write_bytes(b"second.example")
    guest.serve_look_ups()
    assert guest.fqdn == b"second.example"
    assert guest.lookup.starts == 2


def test_between_two_look_ups_for_addresses_there_is_an_interval(
    new_guest: Callable[..., Guest],
) -> None:
    guest = new_guest(interval=NEVER)
    before = time.monotonic()
    guest.auto.start()
    guest.serve(lambda: guest.lookup.fileno() < 0)
    for number in range(200):
        guest.addresses.v4 = b"192.0.2.%d" % number
        guest.serve_event()
    assert guest.lookup.starts == 1
    due = guest.auto.deadline()
    assert due is not None
    assert before + NEVER <= due <= time.monotonic() + NEVER


def test_the_interval_also_holds_for_reading_addresses_that_did_not_change(
    new_guest: Callable[..., Guest],
) -> None:
    interval = 0.05
    guest = new_guest(interval=interval)
    guest.auto.start()
    guest.serve_event()
    guest.serve_look_ups()
    began, before = time.monotonic(), guest.addresses.reads
    for _ in range(500):
        guest.serve_event()
    assert guest.addresses.reads - before <= (time.monotonic() - began) / interval + 1
    guest.serve_look_ups()
    assert guest.lookup.starts == 1


def test_a_process_that_cannot_be_made_is_reported(
    new_guest: Callable[..., Guest], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fork() -> int:
        raise BlockingIOError(errno.EAGAIN, "no process")

    guest = new_guest()
    guest.auto.start()
    guest.serve_look_ups()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fork", fork)
        guest.auto.reload()
    assert guest.fqdn == HOST
    assert guest.problems == [
        "the host name stands for the full name: no look-up: [Errno 11] no process"
    ]
    guest.auto.reload()
    guest.serve_look_ups()
    assert guest.fqdn == HOST + b".example.org"


RENAMED = """
import select, socket
from hv_kvp_daemon.guest.fqdn import FqdnLookup
from hv_kvp_daemon.guest.intrinsic import Intrinsic

class NoAddresses:
    def ipv4(self): return b""
    def ipv6(self): return b""
    def fileno(self): return -1
    def close(self): pass

socket.sethostname("localhost")
lookup = FqdnLookup(lambda host: host + b".example.org")
auto = Intrinsic(NoAddresses(), problem=print, lookup=lookup)
auto.start()

def turn():
    poll = select.poll()
    for fd, events in auto.watched():
        poll.register(fd, events)
    for fd, _ in poll.poll(10_000):
        changed = auto.on_event(fd)
        print(changed, lookup.fileno() >= 0, auto.find(b"FullyQualifiedDomainName").decode())

turn()
socket.sethostname("named-by-cloud-init")
turn()
turn()
socket.sethostname("named-by-cloud-init")
turn()
auto.close()
"""


def test_a_new_host_name_holds_at_once_and_is_looked_up_without_an_interval() -> None:
    unshare = ("unshare", "--user", "--map-root-user", "--uts")
    done = subprocess.run(
        [*unshare, sys.executable, "-c", RENAMED],
        env={**os.environ, "PYTHONPATH": SOURCES},
        check=True,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.stdout.splitlines() == [
        "True False localhost.example.org",
        "True True named-by-cloud-init",
        "True False named-by-cloud-init.example.org",
        "False False named-by-cloud-init.example.org",
    ]


# -- the service's side


def test_reload_reads_everything_again(guest: Guest, tmp_path: Path) -> None:
    guest.auto.start()
    guest.serve_look_ups()
    assert guest.value(b"OSName") == os.uname().sysname.encode()
    before = guest.auto.generation
    write_release(tmp_path, "NAME=New\nVERSION_ID=2\n")
    guest.auto.reload()
    assert guest.auto.generation > before
    assert (guest.value(b"OSName"), guest.value(b"OSMajorVersion")) == (b"New", b"2")
    assert guest.addresses.invalidated == 1
    assert guest.lookup.starts == 2
    assert guest.fqdn == HOST + b".example.org"


def test_reload_is_a_new_generation_for_addresses_without_an_event(guest: Guest) -> None:
    before = guest.auto.generation
    guest.addresses.v4 = b"192.0.2.11"
    guest.auto.reload()
    assert guest.auto.generation > before


def test_only_what_is_there_is_watched(guest: Guest) -> None:
    watched = dict(guest.auto.watched())
    assert watched.pop(guest.addresses.fileno()) == select.POLLIN
    assert list(watched.values()) == [select.POLLPRI]
    guest.auto.start()
    assert dict(guest.auto.watched())[guest.lookup.fileno()] == select.POLLIN
    assert len(guest.auto.watched()) == 3
    guest.serve_look_ups()
    assert len(guest.auto.watched()) == 2


def test_without_a_file_to_watch_there_is_nothing_to_poll(tmp_path: Path) -> None:
    addresses = Addresses()
    watch = HostnameWatch(str(tmp_path / "no such file"))
    auto = Intrinsic(addresses, problem=print, root=str(tmp_path), watch=watch)
    assert auto.watched() == [(addresses.fileno(), select.POLLIN)]
    assert auto.on_event(-1) is False
    auto.close()


def test_an_event_of_what_is_no_longer_watched_is_nothing(guest: Guest) -> None:
    guest.auto.start()
    former = guest.lookup.fileno()
    guest.serve_look_ups()
    before = guest.auto.generation
    assert guest.auto.on_event(former) is False
    assert guest.auto.generation == before


def test_an_early_event_on_a_descriptor_that_was_used_again_is_nothing(
    new_guest: Callable[..., Guest],
) -> None:
    guest = new_guest(hang)
    guest.auto.start()
    former = guest.lookup.fileno()
    guest.auto.reload()
    assert guest.lookup.fileno() == former
    assert guest.auto.on_event(former) is False
    assert guest.lookup.fileno() == former


class Prepared:
    """Answers kept by generation, as the service keeps its replies."""

    def __init__(self, auto: Intrinsic) -> None:
        self._auto = auto
        self._generation = -1
        self._items: dict[int, tuple[bytes, bytes] | None] = {}

    def item(self, index: int) -> tuple[bytes, bytes] | None:
        if self._generation != self._auto.generation:
            self._items.clear()
            self._generation = self._auto.generation
        if index not in self._items:
            self._items[index] = self._auto.item(index)
        return self._items[index]


def take(step: str, guest: Guest, root: Path, number: int) -> None:
    if step == "reload":
        write_release(root, f"NAME={number}\n")
        guest.addresses.v4 = b"reload %d" % number
        guest.auto.reload()
    elif step == "event":
        guest.addresses.v4 = guest.addresses.v6 = b"%d" % number
        guest.serve_event()
    elif step == "break":
        guest.addresses.error = OSError(errno.EIO, "broken")
    elif step == "mend":
        guest.addresses.error = None
    elif step == "mend and get":
        guest.addresses.error = None
        guest.value(b"NetworkAddressIPv4")
        guest.value(b"NetworkAddressIPv6")
    elif step == "version":
        guest.auto.driver_version = b"%d" % number
    elif step == "serve":
        guest.serve_look_ups()
    else:
        raise AssertionError(step)


STEPS = ["reload", "event", "break", "mend", "mend and get", "version", "serve"]


asked = st.lists(st.integers(0, 9), max_size=3)


@given(st.lists(st.tuples(st.sampled_from(STEPS), asked), min_size=1, max_size=12))
@example([("break", []), ("event", [2]), ("mend and get", [2])])
@settings(deadline=None, max_examples=60)
def test_what_is_kept_for_a_generation_is_true_as_long_as_it_lasts(
    release: Path, steps: list[tuple[str, list[int]]]
) -> None:
    guest = Guest(release, known, 30.0, 0.0)
    try:
        prepared = Prepared(guest.auto)
        for number, (step, indexes) in enumerate(steps):
            take(step, guest, release, number)
            for index in indexes:
                assert prepared.item(index) == guest.auto.item(index)
    finally:
        guest.auto.close()


LEAN = """
import sys
import hv_kvp_daemon.guest.intrinsic
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
