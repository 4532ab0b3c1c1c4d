# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The full name: which requests start a look-up, which wait for it, and their answers."""

from __future__ import annotations

import errno
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import hv_kvp_daemon
from hv_kvp_daemon.guest import fqdn
from hv_kvp_daemon.guest.child import wait_readable
from hv_kvp_daemon.guest.fqdn import MAX_NAME, FqdnLookup
from tests.support.namespaces import mount_namespace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.usefixtures("no_child_and_no_descriptor_is_left")

HOST = os.uname().nodename.encode()
SOURCES = str(Path(hv_kvp_daemon.__file__).parents[1])
PATIENCE = 60.0

#: The guest's addresses, and others.
FIRST, SECOND, THIRD = ((b"192.0.2.%d" % number, b"2001:db8::1") for number in (1, 2, 3))


def known(host: bytes) -> bytes:
    return host + b".example.org"


def unknown(_: bytes) -> bytes:
    raise OSError(errno.ENOENT, "unknown name")


def hang(_: bytes) -> bytes:
    signal.pause()
    return b"woken"


class Guest:
    """A look-up for which a test sets the work of the child, and records the waits.

    ``waits`` has the waits of requests, in seconds.  A request that should not wait for the
    resolver has none; `settle` waits for the end of the child.
    """

    def __init__(self) -> None:
        self.resolve: Callable[[bytes], bytes] = known
        self.lookups = 0
        self.waits: list[float] = []
        self.waiting = True
        self.reports: list[str] = []
        self.addresses = FIRST
        self.lookup = FqdnLookup(self._wait, self.reports.append, self._resolve)

    def _resolve(self, host: bytes) -> bytes:
        return self.resolve(host)

    def _wait(self, fd: int, seconds: float) -> bool:
        self.waits.append(seconds)
        return self.waiting and wait_readable(fd, PATIENCE)

    def ask(self) -> bytes:
        return self.lookup.name(self.addresses)

    @property
    def child(self) -> int:
        return self.lookup._pid

    def settle(self) -> None:
        """Wait until the child has answered or ended."""
        assert wait_readable(self.lookup._fd, PATIENCE)


class Clock:
    """time.monotonic() for a test that cannot wait for hours."""

    def __init__(self) -> None:
        # Whole seconds: (now + 30.0) - now may be less than 30.0 otherwise.
        self.now = float(int(time.monotonic()))

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def guest() -> Iterator[Guest]:
    guest = Guest()
    yield guest
    guest.lookup.close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(fqdn, "time", clock)
    return clock


def in_namespaces(script: str, *arguments: str, setup: str = "") -> list[str]:
    """Run a script as root of new mount and UTS namespaces; return its output lines."""
    shell = ("sh", "-ec", f'{setup}\nexec "$@"', "sh")
    done = subprocess.run(
        [*mount_namespace("--uts"), *shell, sys.executable, "-c", script, *arguments],
        env={**os.environ, "PYTHONPATH": SOURCES},
        check=True,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    return done.stdout.splitlines()


# -- the answer to a request


def test_no_child_is_made_before_the_name_is_asked_for(guest: Guest) -> None:
    assert guest.child == -1
    guest.lookup.refresh()
    assert guest.child == -1
    assert not guest.lookup.known


def test_the_request_that_starts_the_look_up_gets_its_answer(guest: Guest) -> None:
    assert guest.ask() == HOST + b".example.org"
    assert guest.lookup.known
    assert guest.waits == [fqdn.PATIENCE] == [1.0]


def test_a_known_name_is_not_looked_up_again(guest: Guest, clock: Clock) -> None:
    name = guest.ask()
    clock.now += 1_000_000
    guest.resolve = unknown
    assert guest.ask() is name
    assert guest.waits == [1.0]


def test_a_request_does_not_wait_longer_than_its_patience(guest: Guest) -> None:
    """O2: a resolver that hangs holds up one request, and for a second at most."""
    lookup = FqdnLookup(wait_readable, guest.reports.append, hang, patience=0.2)
    began = time.monotonic()
    assert lookup.name(FIRST) == HOST
    assert 0.2 <= time.monotonic() - began < PATIENCE
    lookup.close()


def test_while_the_resolver_hangs_requests_do_not_wait_again(guest: Guest) -> None:
    guest.resolve = hang
    guest.waiting = False
    assert [guest.ask() for _ in range(5)] == [HOST] * 5
    child = guest.child
    guest.addresses = SECOND
    assert [guest.ask() for _ in range(5)] == [HOST] * 5
    assert guest.waits == [1.0]
    assert guest.child == child != -1


def test_a_late_answer_is_served_to_the_next_request(guest: Guest, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    guest.resolve = lambda _: gate.read_bytes()
    guest.waiting = False
    assert guest.ask() == HOST
    gate.write_bytes(b"late.example.org")
    guest.settle()
    assert guest.ask() == b"late.example.org"
    assert guest.child == -1
    assert guest.waits == [1.0]


@pytest.mark.parametrize(
    "name", [b"localhost", b"192.0.2.1", b"b\xc3\xbcro.example", b"n" * 511]
)
def test_the_resolvers_answer_is_taken_unchanged(guest: Guest, name: bytes) -> None:
    guest.resolve = lambda _: name
    assert guest.ask() == name


def fail(error: BaseException) -> Callable[[bytes], bytes]:
    def resolve(_: bytes) -> bytes:
        raise error

    return resolve


def end_by(number: int) -> Callable[[bytes], bytes]:
    def resolve(_: bytes) -> bytes:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.kill(os.getpid(), number)
        return b"survived"

    return resolve


def leave(_: bytes) -> bytes:
    os._exit(3)


FAILURES = {
    "not found": fail(socket.gaierror(socket.EAI_NONAME, "Name or service not known")),
    "no memory": fail(MemoryError()),
    "exit": fail(SystemExit(0)),
    "interrupt": fail(KeyboardInterrupt()),
    "not UTF-8": lambda _: b"\xff\xfe",
    "half a character": lambda _: b"caf\xc3",
    "empty": lambda _: b"",
    "NUL": lambda _: b"vm\0.example.org",
    "newline": lambda _: b"vm.example.org\n",
    "escape": lambda _: b"\x1b[31mvm",
    "C1 control": lambda _: b"vm\xc2\x9b",
    "one too long": lambda _: b"n" * (MAX_NAME + 1),
    "huge": lambda _: b"n" * (1 << 24),
    "no bytes": lambda _: "text",
    "killed": end_by(signal.SIGKILL),
    "terminated": end_by(signal.SIGTERM),
    "crashed": end_by(signal.SIGSEGV),
    "left": leave,
}


@pytest.mark.parametrize("kind", FAILURES)
def test_a_failure_gives_the_host_name_and_no_error_text(guest: Guest, kind: str) -> None:
    """O3, O4."""
    guest.resolve = FAILURES[kind]  # type: ignore[assignment]  # "no bytes" is the point
    assert guest.ask() == HOST
    assert not guest.lookup.known
    assert guest.child == -1


def test_after_a_later_failure_the_host_name_is_served_again(guest: Guest) -> None:
    assert guest.ask() == HOST + b".example.org"
    guest.resolve = unknown
    guest.lookup.refresh()
    assert guest.ask() == HOST
    assert not guest.lookup.known


# -- which requests start another look-up


def test_a_failed_look_up_is_repeated_after_an_interval(guest: Guest, clock: Clock) -> None:
    guest.resolve = unknown
    assert guest.ask() == HOST
    guest.resolve = known
    clock.now += fqdn.RETRY_INTERVAL - 0.001
    assert guest.ask() == HOST
    assert len(guest.waits) == 1
    clock.now += 0.001
    assert guest.ask() == HOST + b".example.org"
    assert len(guest.waits) == 2


@pytest.mark.parametrize("resolve", [known, unknown])
def test_changed_addresses_have_the_name_looked_up_again(
    guest: Guest, clock: Clock, resolve: Callable[[bytes], bytes]
) -> None:
    guest.resolve = resolve
    guest.ask()
    guest.resolve = lambda _: b"moved.example.org"
    guest.addresses = SECOND
    clock.now += fqdn.LOOKUP_INTERVAL
    assert guest.ask() == b"moved.example.org"
    assert guest.ask() == b"moved.example.org"
    assert len(guest.waits) == 2


def test_addresses_that_keep_changing_start_a_look_up_for_each_interval(
    guest: Guest, clock: Clock
) -> None:
    guest.ask()
    for second in range(10 * int(fqdn.LOOKUP_INTERVAL)):
        clock.now += 1
        guest.addresses = (SECOND, THIRD)[second % 2]
        guest.ask()
    assert len(guest.waits) == 11


def test_addresses_that_change_back_within_the_interval_are_no_reason(
    guest: Guest, clock: Clock
) -> None:
    guest.ask()
    guest.addresses = SECOND
    guest.ask()
    guest.addresses = FIRST
    clock.now += 1_000_000
    guest.ask()
    assert len(guest.waits) == 1


def test_the_earlier_answer_is_served_until_the_new_one_arrives(
    guest: Guest, clock: Clock
) -> None:
    assert guest.ask() == HOST + b".example.org"
    guest.resolve = hang
    guest.waiting = False
    guest.addresses = SECOND
    clock.now += fqdn.LOOKUP_INTERVAL
    assert guest.ask() == HOST + b".example.org"
    assert guest.child != -1


def test_addresses_that_change_during_a_look_up_are_noticed_after_it(
    guest: Guest, clock: Clock, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    guest.resolve = lambda _: gate.read_bytes()
    guest.waiting = False
    guest.ask()
    guest.addresses = SECOND
    assert guest.ask() == HOST
    gate.write_bytes(b"first.example")
    guest.settle()
    clock.now += fqdn.LOOKUP_INTERVAL
    guest.resolve = lambda _: b"second.example"
    guest.waiting = True
    assert guest.ask() == b"second.example"
    assert len(guest.waits) == 2


def test_refresh_has_the_name_looked_up_whatever_is_known_or_under_way(guest: Guest) -> None:
    assert guest.ask() == HOST + b".example.org"
    guest.resolve = hang
    guest.waiting = False
    guest.lookup.refresh()
    assert guest.ask() == HOST + b".example.org"
    hanging = guest.child
    guest.resolve = lambda _: b"refreshed.example"
    guest.waiting = True
    guest.lookup.refresh()
    with pytest.raises(ProcessLookupError):
        os.kill(hanging, 0)
    assert guest.ask() == b"refreshed.example"


RENAMED = """
import os, signal, socket
from hv_kvp_daemon.guest.child import wait_readable
from hv_kvp_daemon.guest.fqdn import FqdnLookup

waits = []

def wait(fd, seconds):
    waits.append(seconds)
    return not hanging and wait_readable(fd, 10)

def resolve(host):
    return signal.pause() if hanging else host + b".example.org"

def show():
    print(lookup.name((b"", b"")).decode(), len(waits), lookup._pid >= 0)

lookup = FqdnLookup(wait, print, resolve)
hanging = False
socket.sethostname("localhost")
show()
socket.sethostname("named-by-cloud-init")
show()
socket.sethostname("named-by-cloud-init")
show()
hanging = True
socket.sethostname("hangs")
show()
show()
child = lookup._pid
hanging = False
socket.sethostname("answers")
show()
try:
    os.kill(child, 0)
except ProcessLookupError:
    print("one child at a time")
lookup.close()
"""


def test_a_changed_host_name_holds_at_once_and_starts_its_own_look_up() -> None:
    assert in_namespaces(RENAMED) == [
        "localhost.example.org 1 False",
        "named-by-cloud-init.example.org 2 False",
        "named-by-cloud-init.example.org 2 False",
        "hangs 3 True",
        "hangs 3 True",
        "answers.example.org 4 False",
        "one child at a time",
    ]


# -- a child that does not end


def test_a_look_up_that_takes_too_long_is_given_up_by_a_request(
    guest: Guest, clock: Clock
) -> None:
    guest.resolve = hang
    guest.waiting = False
    guest.ask()
    hanging = guest.child
    clock.now += fqdn.LOOKUP_TIMEOUT - 0.001
    guest.ask()
    assert guest.child == hanging
    clock.now += 0.001
    guest.resolve = known
    guest.waiting = True
    # Its time is over and so is the interval after a failure.
    assert guest.ask() == HOST + b".example.org"
    with pytest.raises(ProcessLookupError):
        os.kill(hanging, 0)
    assert len(guest.waits) == 2


def test_an_answer_after_the_time_limit_counts_if_it_is_there(
    guest: Guest, clock: Clock
) -> None:
    guest.waiting = False
    guest.ask()
    guest.settle()
    clock.now += 1_000_000
    assert guest.ask() == HOST + b".example.org"


def test_a_child_that_was_killed_is_a_failure(guest: Guest) -> None:
    guest.resolve = hang
    guest.waiting = False
    guest.ask()
    os.kill(guest.child, signal.SIGKILL)
    guest.settle()
    assert guest.ask() == HOST
    assert guest.child == -1
    assert len(guest.waits) == 1


def test_closing_ends_the_look_up(guest: Guest) -> None:
    guest.resolve = hang
    guest.waiting = False
    guest.ask()
    hanging = guest.child
    guest.lookup.close()
    with pytest.raises(ProcessLookupError):
        os.kill(hanging, 0)
    guest.lookup.close()


def test_the_answer_of_a_stopped_child_is_taken_without_waiting_for_it(guest: Guest) -> None:
    guest.waiting = False
    guest.ask()
    guest.settle()
    # If it is not gone by now, it will not go by itself.
    os.kill(guest.child, signal.SIGSTOP)
    assert guest.ask() == HOST + b".example.org"


# -- the child


def test_a_child_does_not_have_the_daemons_name(guest: Guest) -> None:
    """Test suites and agents count the processes called hv_kvp_daemon."""
    guest.resolve = lambda _: Path("/proc/self/comm").read_bytes().rstrip()
    assert guest.ask() == b"hv_kvp_fqdn"
    assert Path("/proc/self/comm").read_text() != "hv_kvp_fqdn\n"


def test_the_child_has_no_descriptor_of_the_daemon(guest: Guest) -> None:
    def descriptors(_: bytes) -> bytes:
        links = {int(fd): f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")}
        # What listdir itself had open is gone.
        kinds = [
            f"{fd}={os.readlink(link).partition(':')[0]}"
            for fd, link in sorted(links.items())
            if os.path.lexists(link)
        ]
        return ",".join(kinds).encode()

    kept = [os.dup2(1, number, inheritable=True) for number in (50, 51, 300)]
    guest.resolve = descriptors
    name = guest.ask()
    for number in kept:
        os.close(number)
    assert name == b"0=/dev/null,1=/dev/null,2=/dev/null,3=pipe"


def test_what_the_daemon_closes_is_closed_while_the_child_hangs(guest: Guest) -> None:
    """The child must not hold a lock or the driver's device, too."""
    read_end, write_end = os.pipe()
    guest.resolve = hang
    guest.waiting = False
    guest.ask()
    os.close(write_end)
    assert wait_readable(read_end, PATIENCE)
    assert os.read(read_end, 1) == b""
    os.close(read_end)
    assert guest.ask() == HOST
    assert guest.child != -1


def test_the_child_answers_where_the_daemon_has_no_standard_streams() -> None:
    script = """
import os
os.closerange(1, 3)
os.dup2(0, 9)
os.close(0)
from hv_kvp_daemon.guest.child import wait_readable
from hv_kvp_daemon.guest.fqdn import FqdnLookup
lookup = FqdnLookup(wait_readable, print, lambda host: b"vm.example.org", patience=10)
os.write(9, lookup.name((b"", b"")))
"""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        subprocess.run(
            [sys.executable, "-c", script],
            stdin=theirs.fileno(),
            env={**os.environ, "PYTHONPATH": SOURCES},
            check=True,
            timeout=PATIENCE,
        )
        theirs.close()
        assert ours.recv(100) == b"vm.example.org"


def test_a_signal_ends_the_child_and_reaches_no_handler_of_the_daemon(
    guest: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.dup2
    daemon = os.getpid()

    def signalled(fd: int, fd2: int, inheritable: bool = True) -> int:
        if os.getpid() != daemon:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(fd, fd2, inheritable)

    # The first thing that the child does, with the daemon's handlers in place.
    monkeypatch.setattr(os, "dup2", signalled)
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    taken: list[int] = []
    before_handler = signal.signal(signal.SIGTERM, lambda number, _: taken.append(number))
    before_wakeup = signal.set_wakeup_fd(theirs.fileno())
    try:
        guest.resolve = hang
        assert guest.ask() == HOST
        assert guest.child == -1
        with pytest.raises(BlockingIOError):
            ours.recv(1)
    finally:
        signal.set_wakeup_fd(before_wakeup)
        signal.signal(signal.SIGTERM, before_handler)
        ours.close()
        theirs.close()
    assert taken == []


def test_the_child_has_default_actions_and_no_blocked_signal(guest: Guest) -> None:
    def state(_: bytes) -> bytes:
        defaults = all(
            signal.getsignal(number) in (signal.SIG_DFL, None)
            for number in signal.valid_signals()
        )
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        return f"{defaults} {len(blocked)}".encode()

    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    try:
        guest.resolve = state
        assert guest.ask() == b"True 0"
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before | {signal.SIGUSR1}
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def test_the_child_runs_nothing_of_the_daemons_exit(tmp_path: Path) -> None:
    script = """
import atexit, sys
from hv_kvp_daemon.guest.child import wait_readable
from hv_kvp_daemon.guest.fqdn import FqdnLookup

@atexit.register
def note():
    with open(sys.argv[1], "a") as file:
        file.write("exit\\n")

lookup = FqdnLookup(wait_readable, print, lambda host: sys.exit(0), patience=10)
lookup.name((b"", b""))
assert lookup._pid == -1
"""
    notes = tmp_path / "notes"
    subprocess.run(
        [sys.executable, "-c", script, str(notes)],
        env={**os.environ, "PYTHONPATH": SOURCES},
        check=True,
        timeout=PATIENCE,
    )
    assert notes.read_text() == "exit\n"


def test_a_daemon_that_ignores_sigchld_gets_its_answers(guest: Guest) -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert guest.ask() == HOST + b".example.org"
        guest.resolve = hang
        guest.waiting = False
        guest.lookup.refresh()
        guest.ask()
        guest.lookup.close()
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_a_child_that_hangs_does_not_outlive_a_killed_daemon() -> None:
    script = """
import os, signal
from hv_kvp_daemon.guest import fqdn
from hv_kvp_daemon.guest.fqdn import FqdnLookup
hang = lambda host: signal.pause()
fqdn.LOOKUP_TIMEOUT = 0.0
lookup = FqdnLookup(lambda fd, seconds: False, print, hang)
lookup.name((b"", b""))
print(lookup._pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": SOURCES},
        stdout=subprocess.PIPE,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    try:
        orphan = os.pidfd_open(int(done.stdout))
    except ProcessLookupError:
        return
    try:
        assert wait_readable(orphan, PATIENCE)
    finally:
        os.close(orphan)


# -- failing system calls


def test_without_a_free_descriptor_the_host_name_is_served(guest: Guest) -> None:
    assert guest.ask() == HOST + b".example.org"
    guest.lookup.refresh()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        assert guest.ask() == HOST
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    (report,) = guest.reports
    assert report.startswith("the host name is used, the full name cannot be looked up: ")
    assert report.endswith("[Errno 24] Too many open files")
    guest.lookup.refresh()
    assert guest.ask() == HOST + b".example.org"


def test_without_a_process_the_host_name_is_served(
    guest: Guest, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fork() -> int:
        raise BlockingIOError(errno.EAGAIN, "no process")

    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    with monkeypatch.context() as patch:
        patch.setattr(os, "fork", fork)
        assert [guest.ask() for _ in range(5)] == [HOST] * 5
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == mask
    assert guest.reports == [
        "the host name is used, the full name cannot be looked up: [Errno 11] no process"
    ]
    assert guest.waits == []
    # As after any other failure.
    clock.now += fqdn.RETRY_INTERVAL
    assert guest.ask() == HOST + b".example.org"


# -- the system's resolver

REAL_LOOKUP = """
import socket, sys
from hv_kvp_daemon.guest.child import wait_readable
from hv_kvp_daemon.guest.fqdn import FqdnLookup
socket.sethostname(sys.argv[1])
lookup = FqdnLookup(wait_readable, print, patience=10)
print(lookup.name((b"", b"")).decode(), lookup.known)
"""


def resolver(hosts: str) -> str:
    """Shell lines after which the resolver has these hosts only."""
    return f"""
mount -t tmpfs none /mnt
printf 'hosts: files\\n' > /mnt/nsswitch.conf
printf '{hosts}' > /mnt/hosts
mount --bind /mnt/nsswitch.conf /etc/nsswitch.conf
mount --bind /mnt/hosts /etc/hosts
"""


@pytest.mark.parametrize(
    ("hosts", "name", "expected"),
    [
        ("192.0.2.7 vm.example.org vm\\n", "vm", "vm.example.org True"),
        ("2001:db8::7 vm.example.org vm\\n", "vm", "vm.example.org True"),
        (
            "2001:db8::7 vm.six.example vm\\n192.0.2.7 vm.four.example vm\\n",
            "vm",
            "vm.four.example True",
        ),
        ("127.0.0.1 localhost vm\\n", "vm", "vm False"),
        ("127.0.0.1 localhost.localdomain localhost vm\\n", "vm", "vm False"),
        ("127.0.0.1 localhost vm.example.org\\n", "vm.example.org", "vm.example.org False"),
        ("192.0.2.7 vm2.example.org vm\\n", "vm", "vm False"),
        (
            "127.0.0.1 localhost vm\\n2001:db8::7 vm.example.org vm\\n",
            "vm",
            "vm.example.org True",
        ),
        ("127.0.1.1 vm vm.example.org\\n", "vm.example.org", "vm.example.org True"),
        ("127.0.1.1 VM.example.org vm\\n", "vm", "VM.example.org True"),
        ("127.0.0.1 localhost\\n", "localhost", "localhost True"),
        ("127.0.0.1 localhost\\n", "vm", "vm False"),
        ("192.0.2.7 b\\303\\274ro.example b\\303\\274ro\\n", "büro", "büro.example True"),
        ("192.0.2.7 vm.example.org vm\\n", "vm\x7f", "vm False"),
    ],
    ids=[
        "IPv4",
        "IPv6 only",
        "IPv4 first",
        "localhost",
        "localhost.localdomain",
        "localhost of a full name",
        "another host",
        "localhost over IPv4 alone",
        "the host name is fuller",
        "another case",
        "a host called localhost",
        "unknown",
        "not ASCII",
        "control",
    ],
)
def test_the_canonical_name_is_that_of_getaddrinfo(
    hosts: str, name: str, expected: str
) -> None:
    """O2: a guest with IPv6 alone has a full name.  O3: no text of an error.

    O14: a name with another first label belongs to another host.
    """
    assert in_namespaces(REAL_LOOKUP, name, setup=resolver(hosts)) == [expected]


def test_the_resolver_is_not_asked_in_the_daemon(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def address_info(host: bytes, family: int) -> str:
        calls.append(family)
        return host.decode() + ".example.org"

    monkeypatch.setattr(fqdn, "_address_info", address_info)
    lookup = FqdnLookup(wait_readable, print, patience=PATIENCE)
    assert lookup.name(FIRST) == HOST + b".example.org"
    assert calls == []


def test_an_unset_host_name_and_one_of_control_characters_are_empty_text() -> None:
    script = """
import socket
from hv_kvp_daemon.guest.child import wait_readable
from hv_kvp_daemon.guest.fqdn import FqdnLookup
for raw in (b"", b"\\x01\\n\\x7f", b"a\\x1bb", b"caf\\xc3", b"b\\xc3\\xbcro"):
    socket.sethostname(raw)
    lookup = FqdnLookup(wait_readable, print, lambda host: b"")
    print(ascii(lookup.name((b"", b"")).decode()))
"""
    assert in_namespaces(script) == ["''", "''", "'ab'", "'caf\\ufffd'", "'b\\xfcro'"]
