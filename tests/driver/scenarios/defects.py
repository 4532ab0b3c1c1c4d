# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Faults in the environment of a daemon, over both transports.

In each check the daemon serves a host while something is wrong with its descriptors, its
files, its clock, its signals, or on the sockets that it shares.  No fault may end it or
change a pool.  `trouble` has the faults on the driver's side.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import os
import shutil
import signal
import socket
import stat
import struct
import subprocess
import time
from collections.abc import Callable, Iterator

from tests.driver import guest
from tests.driver.deadline import LESS_THAN_DRIVER, Deadline, slowness
from tests.driver.guest import Process, contents, pool, wait_for
from tests.driver.lab.hvhost import (
    AUTO,
    AUTO_EXTERNAL,
    AUTO_INTERNAL,
    E_FAIL,
    EXTERNAL,
    GUEST,
    S_CONT,
    S_OK,
    SET,
    Host,
    value_body,
    wide,
)

SECONDS = 420
CHECK_SECONDS = 150

TRANSPORTS = ("netlink", "chardev")
NOBODY = 65534
LOCK = "/run/hv-kvp-daemon/lock"
OUTPUT = "/tmp/hvlab/"  # where `guest.Process` puts what a program says
CLOCK_NANOSLEEP = 230  # the lab is x86_64
MINUTE = 60.0

CONNECTOR, KVP_GROUP, PROC_GROUP = 11, 9, 1
FRAME_BYTES = 7468
# The longest message of the connector's own protocol, and what a reader of 7468
# bytes cannot tell from a shorter one.
LENGTHS = [*range(7601), 16384]


def command(transport: str) -> list[str]:
    return ["hv-kvp-daemon", "-n", "--transport", transport, "--pool-dir", guest.POOL_DIR]


def start(argv: list[str]) -> Process:
    """Start a daemon and wait until it is registered."""
    daemon = Process(argv)
    serves(daemon)
    return daemon


def serves(daemon: Process) -> None:
    """Wait until a daemon serves; without its log, only a host can observe that."""
    with Host(timeout=10, watch=daemon.must_run) as host:
        assert host.negotiate() == S_OK
        wait_for("service", functools.partial(has_version, host))


def has_version(host: Host) -> bool:
    return host.enumerate(AUTO, 1)[2] == "3.1"


def fresh(transport: str) -> Process:
    shutil.rmtree(guest.POOL_DIR, ignore_errors=True)
    return start(command(transport))


def assert_works(daemon: Process) -> None:
    """Make every kind of request, successful and failing; the pools stay as they were."""
    before = contents()
    with Host(timeout=10, watch=daemon.must_run) as host:
        assert host.negotiate() == S_OK
        assert host.set(EXTERNAL, "key", "välue") == S_OK
        assert host.get(EXTERNAL, "key") == (S_OK, "välue")
        assert ("key", "välue") in list(host.items(EXTERNAL))
        assert ("key", "välue") in guest.records(pool(EXTERNAL))
        assert host.delete(EXTERNAL, "key") == S_OK
        assert len(list(host.items(AUTO))) == 10
    assert contents() == before


def ends(daemon: Process) -> None:
    deadline = Deadline(2)
    assert daemon.stop() == 0, daemon.stderr
    assert not deadline.passed(), deadline
    assert "Traceback" not in daemon.stderr, daemon.stderr


# Sockets that others can write to.


def check_foreign_messages_of_every_length_are_dropped() -> None:
    """T1, T2, T3: each would delete a key if the daemon took it for a driver's message."""
    daemon = fresh("netlink")
    with Host(watch=daemon.must_run) as host:
        assert host.negotiate() == S_OK
        assert host.set(GUEST, "kept", "value") == S_OK
        before = contents()
        port = port_of_the_member()
        with connector_socket() as foreign:
            for size in LENGTHS:
                data = forged_delete(b"kept", size)
                for address in ((port, 0), (0, 1 << KVP_GROUP - 1)):
                    # The kernel refuses an empty message.
                    allowed = errno.ENODATA if size == 0 else 0
                    assert send_error(foreign, data, address) == allowed
                if size % 8 == 0:
                    # The daemon has read all messages when it has answered.
                    assert host.enumerate(GUEST, 0) == (S_OK, "kept", "value")
        assert in_child(send_as_nobody, port) == 0
        assert host.enumerate(GUEST, 0) == (S_OK, "kept", "value")
    assert contents() == before
    assert "dropped: not sent by the kernel" in daemon.stderr
    assert_works(daemon)
    ends(daemon)


def forged_delete(key: bytes, size: int) -> bytes:
    """The first ``size`` bytes of a driver's message, padded with zeros if it is shorter."""
    headers = struct.pack("=IHHIIIIIIHH", FRAME_BYTES, 3, 0, 0, 0, 9, 1, 0, 0, 7432, 0)
    message = struct.pack("=BBxxI", 2, GUEST, len(key) + 1) + key
    return (headers + message).ljust(size, b"\0")[:size]


def send_as_nobody(port: int) -> None:
    """An ordinary user can send to the kernel only, which ignores what it does not expect."""
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    with connector_socket() as foreign:
        for size in LENGTHS[1:]:
            data = forged_delete(b"kept", size)
            assert send_error(foreign, data, (0, 0)) == 0
            for address in ((port, 0), (0, 1 << KVP_GROUP - 1)):
                assert send_error(foreign, data, address) == errno.EPERM


def send_error(sender: socket.socket, data: bytes, address: tuple[int, int]) -> int:
    """Send a whole datagram; return errno, or 0 if the kernel took it."""
    try:
        return 0 if sender.sendto(data, address) == len(data) else -1
    except OSError as error:
        return error.errno or -1


def check_process_events_under_load_are_not_for_the_daemon() -> None:
    """T1: another listener makes the kernel report each fork and exec to group 1."""
    daemon = fresh("netlink")
    before = daemon.stderr
    with connector_socket(groups=1 << PROC_GROUP - 1) as events:
        # struct cn_msg for {1, 1} with PROC_CN_MCAST_LISTEN.
        events.send(struct.pack("=IHHIIIIIIHHI", 40, 3, 0, 0, 0, 1, 1, 0, 0, 4, 0, 1))
        load = Process(["sh", "-c", "while :; do /bin/true; done"])
        with Host(watch=daemon.must_run) as host:
            assert host.negotiate() == S_OK
            for number in range(150):
                key, value = f"key {number % 7}", f"value {number}"
                assert host.set(GUEST, key, value) == S_OK
                assert host.get(GUEST, key) == (S_OK, value)
            assert len(list(host.items(GUEST))) == 7
        assert events.recv(4096)
        load.stop(signal.SIGKILL)
    assert daemon.stderr == before
    ends(daemon)


def connector_socket(groups: int = 0) -> socket.socket:
    opened = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, CONNECTOR)
    opened.bind((0, groups))
    return opened


def port_of_the_member() -> int:
    with open("/proc/net/netlink", encoding="ascii") as table:
        rows = [line.split() for line in table]
    (port,) = [int(row[2]) for row in rows if row[1] == "11" and row[3] == "00000100"]
    return port


def in_child(function: Callable[[int], None], argument: int) -> int:
    """Run a function in a child, which may drop privileges; return its exit status."""
    child = os.fork()
    if child == 0:
        signal.alarm(CHECK_SECONDS)
        try:
            function(argument)
        except BaseException as error:  # noqa: BLE001 - a child must not run on
            os.write(2, f"in the child: {error!r}\n".encode())
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


# Locks.


def check_locks_that_any_user_holds_for_a_minute() -> None:
    """P15, P16: every user may read these pools, and so lock them."""
    daemon = fresh("auto")
    with Host(watch=daemon.must_run) as host:
        assert host.negotiate() == S_OK
        numbers = (EXTERNAL, GUEST, AUTO_EXTERNAL)
        for number in (*numbers, AUTO_INTERNAL):
            assert host.set(number, "key", "before") == S_OK
        with (
            held(pool(EXTERNAL), fcntl.flock, fcntl.LOCK_EX),
            held(pool(GUEST), fcntl.lockf, fcntl.LOCK_SH),
            held(pool(AUTO_EXTERNAL), fcntl.flock, fcntl.LOCK_EX),
            held(pool(AUTO_EXTERNAL), fcntl.lockf, fcntl.LOCK_SH),
        ):
            began = time.monotonic()
            asked = 0
            while time.monotonic() - began < MINUTE:
                for number in numbers:
                    deadline = Deadline(8, LESS_THAN_DRIVER)
                    # With one of the two locks the daemon continues; without it does not write.
                    status = E_FAIL if number == AUTO_EXTERNAL else S_OK
                    assert host.set(number, "key", f"value {asked}") == status
                    assert not deadline.passed(), deadline
                    assert host.get(number, "key")[0] == S_OK
                    # Requests for other pools do not wait.
                    assert host.set(AUTO_INTERNAL, "key", f"value {asked}") == S_OK
                asked += 1
            # Only the first request of each pool has waited.
            assert asked > 30 / slowness()
        for number in numbers:
            assert host.set(number, "key", "after") == S_OK
            assert guest.records(pool(number)) == [("key", "after")]
    ends(daemon)


def check_a_wait_for_a_lock_does_not_hold_up_the_end() -> None:
    """P15: a service manager would kill it, and the host would wait 30 s."""
    for transport in TRANSPORTS:
        daemon = fresh(transport)
        with (
            Host() as host,
            held(pool(GUEST), fcntl.flock, fcntl.LOCK_EX),
            held(pool(GUEST), fcntl.lockf, fcntl.LOCK_SH),
        ):
            assert host.negotiate() == S_OK
            host.post(SET, GUEST, value_body(wide("key"), wide("value")))
            wait_for(
                "the wait for a lock", functools.partial(waits_in, daemon, CLOCK_NANOSLEEP)
            )
            ends(daemon)


@contextlib.contextmanager
def held(path: str, function: Callable[[int, int], object], kind: int) -> Iterator[None]:
    """Another user's process that holds a lock of one kind, on a read-only descriptor."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.setresuid(NOBODY, NOBODY, NOBODY)
        function(os.open(path, os.O_RDONLY), kind)
        os.write(write, b"1")
        signal.alarm(CHECK_SECONDS)
        signal.pause()
        os._exit(1)
    os.close(write)
    try:
        assert os.read(read, 1) == b"1"
        yield
    finally:
        os.close(read)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def waits_in(daemon: Process, call: int) -> bool:
    """Whether it waits in a system call, by its number."""
    with open(f"/proc/{daemon.pid}/syscall", encoding="ascii") as file:
        return file.read().split()[0] == str(call)


# Files.


def check_what_is_no_pool_at_the_start_keeps_the_others_served() -> None:
    """P22: a directory, a FIFO, a symbolic link and a socket, replaced one by one."""
    for transport in TRANSPORTS:
        shutil.rmtree(guest.POOL_DIR, ignore_errors=True)
        os.makedirs(guest.POOL_DIR)
        os.mkdir(pool(EXTERNAL))
        os.mkfifo(pool(GUEST))
        os.symlink("/etc/passwd", pool(AUTO))
        os.mknod(pool(AUTO_EXTERNAL), stat.S_IFSOCK | 0o644)
        with open("/etc/passwd", "rb") as file:
            before = file.read()
        daemon = start(command(transport))
        with Host(watch=daemon.must_run) as host:
            assert host.negotiate() == S_OK
            for number in (EXTERNAL, GUEST, AUTO_EXTERNAL):
                assert host.enumerate(number, 0)[0] == E_FAIL
                assert host.set(number, "key", "value") == E_FAIL
                assert host.delete(number, "key") == E_FAIL
                assert host.get(number, "key")[0] == E_FAIL
            assert host.set(AUTO_INTERNAL, "key", "value") == S_OK
            os.rmdir(pool(EXTERNAL))
            for number in (GUEST, AUTO, AUTO_EXTERNAL):
                os.unlink(pool(number))
            for number in (EXTERNAL, GUEST, AUTO_EXTERNAL):
                assert host.enumerate(number, 0)[0] == S_CONT
                assert host.set(number, "key", "value") == S_OK
                assert guest.records(pool(number)) == [("key", "value")]
        ends(daemon)
        with open("/etc/passwd", "rb") as file:
            assert file.read() == before


def check_without_any_pool_it_says_so_and_ends() -> None:
    shutil.rmtree(guest.POOL_DIR, ignore_errors=True)
    with open(guest.POOL_DIR, "w", encoding="ascii"):
        daemon = Process(command("auto"))
    assert daemon.wait() == 1
    (line,) = [text for text in daemon.stderr.splitlines() if "error" in text]
    assert guest.POOL_DIR in line
    os.unlink(guest.POOL_DIR)


def check_a_read_only_directory_is_served_for_reading() -> None:
    """P22: the disk may become read-only while the daemon runs, or be so at its start."""
    for transport in TRANSPORTS:
        daemon = fresh(transport)
        with Host(watch=daemon.must_run) as host:
            assert host.negotiate() == S_OK
            assert host.set(EXTERNAL, "key", "value") == S_OK
        ends(daemon)
        mount = ["mount", "--bind", guest.POOL_DIR, guest.POOL_DIR]
        subprocess.run(mount, check=True)
        remount = ["mount", "-o", "remount,bind,ro", guest.POOL_DIR]
        try:
            subprocess.run(remount, check=True)
            daemon = start(command(transport))
            with Host(watch=daemon.must_run) as host:
                assert host.negotiate() == S_OK
                assert host.get(EXTERNAL, "key") == (S_OK, "value")
                assert host.set(EXTERNAL, "key", "other") == E_FAIL
                assert host.delete(EXTERNAL, "key") == E_FAIL
                assert list(host.items(EXTERNAL)) == [("key", "value")]
                subprocess.run(["mount", "-o", "remount,bind,rw", guest.POOL_DIR], check=True)
                assert host.set(EXTERNAL, "key", "other") == S_OK
            ends(daemon)
        finally:
            subprocess.run(["umount", guest.POOL_DIR], check=True)


# The environment in which a process is started.


def check_it_serves_with_twenty_descriptors() -> None:
    for transport in TRANSPORTS:
        shutil.rmtree(guest.POOL_DIR, ignore_errors=True)
        daemon = start(["sh", "-c", 'ulimit -n 20; exec "$@"', "sh", *command(transport)])
        for _ in range(20):
            daemon.send(signal.SIGHUP)
        assert_works(daemon)
        ends(daemon)


def check_closed_standard_descriptors_are_not_reused() -> None:
    """Output to descriptor 2 must not reach the lock, a pipe or a pool."""
    for transport in TRANSPORTS:
        for closed in ("2>&-", "<&- 2>&-", "<&- >&- 2>&-"):
            shutil.rmtree(guest.POOL_DIR, ignore_errors=True)
            daemon = start(["sh", "-c", f'exec "$@" {closed}', "sh", *command(transport)])
            for standard in (0, 1, 2):
                target = os.readlink(f"/proc/{daemon.pid}/fd/{standard}")
                assert target.startswith(("/dev/null", OUTPUT)), target
            for _ in range(5):
                daemon.send(signal.SIGHUP)
            assert_works(daemon)
            with open(LOCK, encoding="ascii") as lock:
                assert lock.read() == f"{daemon.pid}\n"
            ends(daemon)


def check_it_detaches_with_closed_standard_descriptors() -> None:
    shutil.rmtree(guest.POOL_DIR, ignore_errors=True)
    argv = ["hv-kvp-daemon", "--pool-dir", guest.POOL_DIR]
    parent = Process(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *argv])
    assert parent.wait() == 0
    (pid,) = guest.pids()
    with Host() as host:
        assert host.negotiate() == S_OK
        wait_for("service", functools.partial(has_version, host))
        assert host.set(EXTERNAL, "key", "value") == S_OK
    assert guest.records(pool(EXTERNAL)) == [("key", "value")]
    # The lock is still held: a second one is refused.
    second = Process(command("chardev"))
    assert second.wait() == 1
    assert f"pid {pid}" in second.stderr
    os.kill(pid, signal.SIGTERM)
    wait_for("its end", lambda: not guest.pids())


def check_a_log_without_a_reader_does_no_harm() -> None:
    """SIGPIPE and EPIPE, and a log on a full disk."""
    for transport in TRANSPORTS:
        for log in ("2>/dev/full", "2>&1 | true"):
            shutil.rmtree(guest.POOL_DIR, ignore_errors=True)
            daemon = Process(["sh", "-c", f'"$@" -d {log}', "sh", *command(transport)])
            with Host() as host:
                wait_for("a daemon", guest.pids)
                assert host.negotiate() == S_OK
                wait_for("service", functools.partial(has_version, host))
                assert host.set(EXTERNAL, "key", "value") == S_OK
                assert host.get(EXTERNAL, "key") == (S_OK, "value")
            (pid,) = guest.pids()
            os.kill(pid, signal.SIGTERM)
            assert daemon.wait() == 0


def check_its_working_directory_may_be_gone() -> None:
    for transport in TRANSPORTS:
        shutil.rmtree(guest.POOL_DIR, ignore_errors=True)
        script = 'cd "$(mktemp -d)" && rmdir "$PWD" && exec "$@"'
        daemon = start(["sh", "-c", script, "sh", *command(transport)])
        assert_works(daemon)
        ends(daemon)


def check_it_serves_without_proc() -> None:
    """In a container or with hidepid, /proc does not show other processes."""
    for transport in ("auto", *TRANSPORTS):
        for script in ("umount -l /proc", "mount -o remount,hidepid=invisible /proc"):
            shutil.rmtree(guest.POOL_DIR, ignore_errors=True)
            argv = ["sh", "-c", f'{script}; exec "$@"', "sh", *command(transport)]
            daemon = start(["unshare", "--mount", *argv])
            assert_works(daemon)
            ends(daemon)
    subprocess.run(["mount", "-o", "remount,hidepid=off", "/proc"], check=True)


def check_of_many_that_are_started_at_once_one_serves() -> None:
    shutil.rmtree(guest.POOL_DIR, ignore_errors=True)
    # The first one empties the file and writes its pid; one that is refused before that reads
    # an earlier daemon's or none.
    former = guest.read_text(LOCK).strip()
    daemons = [Process(command(transport)) for transport in ("auto", *TRANSPORTS) * 2]
    wait_for("one", lambda: sum(daemon.status is None for daemon in daemons) == 1, 30)
    (left,) = [daemon for daemon in daemons if daemon.status is None]
    for daemon in daemons:
        if daemon is not left:
            assert daemon.wait() == 1
            said = [f"serves this machine (pid {pid})" for pid in (left.pid, former, "unknown")]
            assert any(text in daemon.stderr for text in said), daemon.stderr
    serves(left)
    assert_works(left)
    ends(left)


# Time and signals.


def check_a_clock_that_is_set_back_changes_nothing() -> None:
    for transport in TRANSPORTS:
        daemon = fresh(transport)
        with Host(timeout=10, watch=daemon.must_run) as host:
            assert host.negotiate() == S_OK
            for step in (-3600, 7200, -3600):
                now = time.clock_gettime(time.CLOCK_REALTIME)
                time.clock_settime(time.CLOCK_REALTIME, now + step)
                for number in range(10):
                    value = f"{step} {number}"
                    assert host.set(GUEST, "key", value) == S_OK
                    assert host.enumerate(GUEST, 0) == (S_OK, "key", value)
            now = time.clock_gettime(time.CLOCK_REALTIME)
            with held(pool(GUEST), fcntl.flock, fcntl.LOCK_EX):
                request = host.post(SET, GUEST, value_body(wide("key"), wide("locked")))
                deadline = Deadline(8, LESS_THAN_DRIVER)
                time.clock_settime(time.CLOCK_REALTIME, now - 3600)
                assert host.receive(request)[0] == S_OK
                assert not deadline.passed(), deadline
            now = time.clock_gettime(time.CLOCK_REALTIME)
            time.clock_settime(time.CLOCK_REALTIME, now + 3600)
        ends(daemon)


def check_storms_of_signals_lose_no_request() -> None:
    """T6: a signal interrupted the wait, and the daemon exited."""
    for transport in TRANSPORTS:
        daemon = fresh(transport)
        with Host(timeout=20, watch=daemon.must_run) as host:
            assert host.negotiate() == S_OK
            for number in range(100):
                request = host.post(SET, EXTERNAL, value_body(wide("key"), wide(str(number))))
                for _ in range(5):
                    daemon.send(signal.SIGHUP)
                assert host.receive(request)[0] == S_OK
                assert host.enumerate(EXTERNAL, 0) == (S_OK, "key", str(number))
            assert host.delete(EXTERNAL, "key") == S_OK
        assert_works(daemon)
        for _ in range(50):
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCONT):
                daemon.send(number)
        ends(daemon)


def check_stops_without_a_request_cost_none() -> None:
    """T10, T11: a request from before the stop may be stale, one that arrives later is not."""
    for transport in TRANSPORTS:
        daemon = fresh(transport)
        with Host(timeout=20, watch=daemon.must_run) as host:
            assert host.negotiate() == S_OK
            for number in range(20):
                daemon.freeze()
                daemon.send(signal.SIGCONT)
                # It checks once for older requests, and has done so after two answers.
                for _ in range(2):
                    assert has_version(host)
                assert host.set(EXTERNAL, "key", str(number)) == S_OK
                assert host.get(EXTERNAL, "key") == (S_OK, str(number))
        ends(daemon)


# The resolver.


def check_a_resolver_that_never_answers_holds_up_nothing() -> None:
    """O2: the C daemon looked the name up while the host waited."""
    before = socket.gethostname()
    try:
        socket.sethostname("unknown-guest")  # the lab has no name server
        for transport in TRANSPORTS:
            daemon = fresh(transport)
            with Host(timeout=10, watch=daemon.must_run) as host:
                assert host.negotiate() == S_OK
                deadline = Deadline(5, LESS_THAN_DRIVER)
                # The first of them waits for a second, once.
                for _ in range(20):
                    assert host.enumerate(AUTO, 0)[2] == "unknown-guest"
                assert not deadline.passed(), deadline
            ends(daemon)
    finally:
        socket.sethostname(before)
