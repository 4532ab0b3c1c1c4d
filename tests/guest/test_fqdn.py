from __future__ import annotations

import errno
import os
import resource
import select
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
from hv_kvp_daemon.guest.fqdn import MAX_NAME, FqdnLookup, HostnameWatch, host_name

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("no_child_and_no_descriptor_is_left")

HOST = host_name()
SOURCES = str(Path(hv_kvp_daemon.__file__).parents[1])
PATIENCE = 60.0


def ready(fd: int, events: int = select.POLLIN) -> bool:
    poll = select.poll()
    poll.register(fd, events)
    return bool(poll.poll(PATIENCE * 1000))


def answered(lookup: FqdnLookup) -> bool:
    """Run one look-up to its end; True: the name changed."""
    lookup.start()
    assert ready(lookup.fileno())
    changed = lookup.finish()
    assert lookup.fileno() == -1
    assert lookup.deadline is None
    return changed


def hang(_: bytes) -> bytes:
    signal.pause()
    return b"woken"


def own_name(_: bytes) -> bytes:
    return Path("/proc/self/comm").read_bytes().rstrip()


def test_a_child_does_not_bear_the_daemons_name() -> None:
    """Test suites and agents count the processes called hv_kvp_daemon."""
    lookup = FqdnLookup(own_name)
    answered(lookup)
    assert lookup.name == "hv_kvp_fqdn"
    assert Path("/proc/self/comm").read_text() != "hv_kvp_fqdn\n"


def in_namespaces(script: str, *arguments: str, setup: str = "") -> list[str]:
    """Run a script as root of new user, mount and UTS namespaces; returns its output lines."""
    unshare = ("unshare", "--user", "--map-root-user", "--mount", "--uts")
    shell = ("sh", "-ec", f'{setup}\nexec "$@"', "sh")
    done = subprocess.run(
        [*unshare, *shell, sys.executable, "-c", script, *arguments],
        env={**os.environ, "PYTHONPATH": SOURCES},
        check=True,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    return done.stdout.splitlines()


# -- the look-up


def test_the_host_name_stands_until_the_answer_is_there() -> None:
    lookup = FqdnLookup(lambda host: host + b".example.org")
    assert (lookup.name, lookup.known, lookup.fileno(), lookup.deadline) == (
        HOST,
        False,
        -1,
        None,
    )
    assert lookup.start() is False
    assert lookup.name == HOST
    assert ready(lookup.fileno())
    assert lookup.finish() is True
    assert (lookup.name, lookup.known) == (f"{HOST}.example.org", True)


def test_the_same_answer_again_is_no_change() -> None:
    lookup = FqdnLookup(lambda _: b"vm.example.org")
    assert answered(lookup) is True
    lookup.start()
    assert lookup.name == "vm.example.org"
    assert ready(lookup.fileno())
    assert lookup.finish() is False


def test_finish_before_the_answer_leaves_the_look_up_alone() -> None:
    """O2: whoever asks too early is not made to wait."""
    lookup = FqdnLookup(hang)
    lookup.start()
    began = time.monotonic()
    assert lookup.finish() is False
    assert time.monotonic() - began < 1
    assert lookup.fileno() >= 0
    lookup.close()
    assert lookup.finish() is False


@pytest.mark.parametrize(
    "name", [b"localhost", b"192.0.2.1", b"b\xc3\xbcro.example", b"n" * 511]
)
def test_what_the_resolver_says_is_taken_as_it_is(name: bytes) -> None:
    lookup = FqdnLookup(lambda _: name)
    assert answered(lookup)
    assert lookup.name == name.decode()


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
def test_a_failure_gives_the_host_name_and_no_error_text(kind: str) -> None:
    """O3, O4."""
    lookup = FqdnLookup(FAILURES[kind])  # type: ignore[arg-type]  # "no bytes" is the point
    assert answered(lookup) is False
    assert (lookup.name, lookup.known) == (HOST, False)


def test_a_failure_after_an_answer_goes_back_to_the_host_name(tmp_path: Path) -> None:
    answer = tmp_path / "answer"
    answer.write_bytes(b"vm.example.org")
    lookup = FqdnLookup(lambda _: answer.read_bytes())
    assert answered(lookup)
    answer.unlink()
    assert answered(lookup) is True
    assert (lookup.name, lookup.known) == (HOST, False)


def test_a_look_up_that_takes_too_long_is_given_up() -> None:
    lookup = FqdnLookup(hang, timeout=100.0)
    before = time.monotonic()
    lookup.start()
    assert lookup.deadline is not None
    assert before + 100 <= lookup.deadline <= time.monotonic() + 100
    assert lookup.expire() is False
    assert (lookup.name, lookup.fileno()) == (HOST, -1)
    assert lookup.expire() is False


def test_starting_again_ends_the_running_one() -> None:
    lookup = FqdnLookup(hang)
    lookup.start()
    first = lookup._pid
    lookup.start()
    assert lookup._pid != first
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)
    lookup.close()


def test_closing_ends_the_look_up_and_keeps_the_name() -> None:
    lookup = FqdnLookup(lambda _: b"vm.example.org")
    assert answered(lookup)
    lookup.start()
    lookup.close()
    assert (lookup.name, lookup.fileno(), lookup.deadline) == ("vm.example.org", -1, None)
    lookup.close()


def test_the_answer_of_a_stopped_child_is_taken_without_waiting_for_it() -> None:
    lookup = FqdnLookup(lambda _: b"vm.example.org")
    lookup.start()
    assert ready(lookup.fileno())
    # If it is not gone by now, it will not go by itself.
    os.kill(lookup._pid, signal.SIGSTOP)
    assert lookup.finish() is True


# -- the child


def test_the_child_keeps_no_descriptor_of_the_daemon() -> None:
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
    lookup = FqdnLookup(descriptors)
    assert answered(lookup)
    for number in kept:
        os.close(number)
    assert lookup.name == "0=/dev/null,1=/dev/null,2=/dev/null,3=pipe"


def test_what_the_daemon_closes_is_closed_while_the_child_hangs() -> None:
    """The child is no second holder of a lock or of the driver's device."""
    read_end, write_end = os.pipe()
    lookup = FqdnLookup(hang)
    lookup.start()
    os.close(write_end)
    assert ready(read_end)
    assert os.read(read_end, 1) == b""
    os.close(read_end)
    assert lookup.fileno() >= 0
    lookup.close()


def test_the_child_answers_where_the_daemon_has_no_standard_streams() -> None:
    script = """
import os
os.closerange(1, 3)
os.dup2(0, 9)
os.close(0)
from hv_kvp_daemon.guest.fqdn import FqdnLookup
import select
lookup = FqdnLookup(lambda host: b"vm.example.org")
lookup.start()
poll = select.poll()
poll.register(lookup.fileno(), select.POLLIN)
poll.poll(10_000)
lookup.finish()
os.write(9, lookup.name.encode())
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
    monkeypatch: pytest.MonkeyPatch,
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
        lookup = FqdnLookup(hang)
        lookup.start()
        assert ready(lookup.fileno())
        assert lookup.finish() is False
        with pytest.raises(BlockingIOError):
            ours.recv(1)
    finally:
        signal.set_wakeup_fd(before_wakeup)
        signal.signal(signal.SIGTERM, before_handler)
        ours.close()
        theirs.close()
    assert taken == []


def test_the_child_has_default_actions_and_no_blocked_signal() -> None:
    def state(_: bytes) -> bytes:
        defaults = all(
            signal.getsignal(number) in (signal.SIG_DFL, None)
            for number in signal.valid_signals()
        )
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        return f"{defaults} {len(blocked)}".encode()

    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    try:
        lookup = FqdnLookup(state)
        assert answered(lookup)
        assert lookup.name == "True 0"
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before | {signal.SIGUSR1}
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def test_the_child_runs_nothing_of_the_daemons_exit(tmp_path: Path) -> None:
    script = """
import atexit, select, sys
from hv_kvp_daemon.guest.fqdn import FqdnLookup

@atexit.register
def note():
    with open(sys.argv[1], "a") as file:
        file.write("exit\\n")

lookup = FqdnLookup(lambda host: sys.exit(0))
lookup.start()
poll = select.poll()
poll.register(lookup.fileno(), select.POLLIN)
assert poll.poll(10_000)
assert not lookup.finish()
"""
    notes = tmp_path / "notes"
    subprocess.run(
        [sys.executable, "-c", script, str(notes)],
        env={**os.environ, "PYTHONPATH": SOURCES},
        check=True,
        timeout=PATIENCE,
    )
    assert notes.read_text() == "exit\n"


def test_a_daemon_that_ignores_sigchld_gets_its_answers() -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        lookup = FqdnLookup(lambda _: b"vm.example.org")
        assert answered(lookup)
        slow = FqdnLookup(hang)
        slow.start()
        slow.close()
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert lookup.name == "vm.example.org"


def test_a_child_that_hangs_does_not_outlive_a_killed_daemon() -> None:
    script = """
import os, signal
from hv_kvp_daemon.guest.fqdn import FqdnLookup
lookup = FqdnLookup(lambda host: signal.pause(), timeout=0.0)
lookup.start()
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
        assert ready(orphan)
    finally:
        os.close(orphan)


# -- what the system refuses


def test_without_a_free_descriptor_the_host_name_stands() -> None:
    lookup = FqdnLookup(lambda _: b"vm.example.org")
    assert answered(lookup)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            lookup.start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (lookup.name, lookup.fileno(), lookup.deadline) == (HOST, -1, None)
    assert answered(lookup)


def test_without_a_process_the_host_name_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    def fork() -> int:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    lookup = FqdnLookup(lambda _: b"vm.example.org")
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    with monkeypatch.context() as patch:
        patch.setattr(os, "fork", fork)
        with pytest.raises(BlockingIOError):
            lookup.start()
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == mask
    assert (lookup.name, lookup.fileno(), lookup.deadline) == (HOST, -1, None)
    assert answered(lookup)


# -- the system's resolver

REAL_LOOKUP = """
import select, socket, sys
from hv_kvp_daemon.guest.fqdn import FqdnLookup
socket.sethostname(sys.argv[1])
lookup = FqdnLookup()
lookup.start()
poll = select.poll()
poll.register(lookup.fileno(), select.POLLIN)
assert poll.poll(10_000)
lookup.finish()
print(lookup.name, lookup.known)
"""


def resolver(hosts: str) -> str:
    """Shell lines that let the resolver know these hosts only."""
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
            "2001:db8::7 six.example vm\\n192.0.2.7 four.example vm\\n",
            "vm",
            "four.example True",
        ),
        ("127.0.0.1 localhost vm\\n", "vm", "localhost True"),
        ("127.0.0.1 localhost\\n", "vm", "vm False"),
        ("192.0.2.7 b\\303\\274ro.example b\\303\\274ro\\n", "büro", "büro.example True"),
        ("192.0.2.7 vm.example.org vm\\n", "vm\x7f", "vm False"),
    ],
    ids=["IPv4", "IPv6 only", "IPv4 first", "localhost", "unknown", "not ASCII", "control"],
)
def test_the_canonical_name_is_that_of_getaddrinfo(
    hosts: str, name: str, expected: str
) -> None:
    """O2: a guest with IPv6 alone has a full name.  O3: no text of an error."""
    assert in_namespaces(REAL_LOOKUP, name, setup=resolver(hosts)) == [expected]


def test_the_resolver_is_not_asked_in_the_daemon(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def address_info(host: bytes, family: int) -> str:
        calls.append(family)
        return host.decode() + ".example.org"

    monkeypatch.setattr(fqdn, "_address_info", address_info)
    lookup = FqdnLookup()
    assert answered(lookup)
    assert lookup.name == f"{HOST}.example.org"
    assert calls == []


# -- the watch


WATCH = """
import os, select, socket, subprocess, sys
from hv_kvp_daemon.guest.fqdn import FqdnLookup, HostnameWatch

socket.sethostname("before")
watch = HostnameWatch()
lookup = FqdnLookup(lambda host: host + b".example.org")
poll = select.poll()
poll.register(watch.fileno(), select.POLLPRI)

def report():
    reports = poll.poll(0)
    again = poll.poll(0)
    print(len(reports), len(again), watch.changed(), watch.changed(), os.uname().nodename)

report()
socket.sethostname("after")
report()
socket.sethostname("after")
report()
socket.sethostname("one")
socket.sethostname("two")
report()
other = "import socket; socket.sethostname('container')"
subprocess.run(["unshare", "--uts", sys.executable, "-c", other], check=True)
report()
lookup.start()
poll.register(lookup.fileno(), select.POLLIN)
poll.poll(10_000)
print(lookup.finish(), lookup.name)
socket.sethostname("three")
print(lookup.start(), lookup.name)
lookup.close()
"""


def test_a_new_host_name_is_reported_once_and_replaces_the_old_ones_answer() -> None:
    assert in_namespaces(WATCH) == [
        "0 0 False False before",
        "1 0 True False after",
        "1 0 False False after",
        "1 0 True False two",
        "1 0 False False two",
        "True two.example.org",
        "True three",
    ]


def test_an_unset_host_name_and_one_of_control_characters_are_empty_text() -> None:
    script = """
import socket
from hv_kvp_daemon.guest.fqdn import host_name
for raw in (b"", b"\\x01\\n\\x7f", b"a\\x1bb", b"caf\\xc3", b"b\\xc3\\xbcro"):
    socket.sethostname(raw)
    print(ascii(host_name()))
"""
    assert in_namespaces(script) == ["''", "''", "'ab'", "'caf\\ufffd'", "'b\\xfcro'"]


def test_where_there_is_no_file_to_poll_there_is_no_descriptor(tmp_path: Path) -> None:
    watch = HostnameWatch(str(tmp_path / "no such file"))
    assert watch.fileno() == -1
    assert watch.changed() is False
    watch.close()


def test_a_file_that_is_ready_at_all_times_is_not_watched() -> None:
    # An attribute of sysfs reports until it is read.
    watch = HostnameWatch("/sys/kernel/uevent_seqnum")
    assert watch.fileno() == -1


def test_closing_the_watch_twice_closes_it_once() -> None:
    watch = HostnameWatch()
    assert watch.fileno() >= 0
    assert not os.get_inheritable(watch.fileno())
    watch.close()
    assert watch.fileno() == -1
    watch.close()
