# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Faults that must neither end the daemon nor lose a change that was acknowledged."""

from __future__ import annotations

import fcntl
import functools
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time

from tests.driver import guest
from tests.driver.deadline import LESS_THAN_DRIVER, Deadline
from tests.driver.guest import Process, pool, wait_for
from tests.driver.lab.hvhost import (
    AUTO,
    E_FAIL,
    ENUMERATE,
    EXTERNAL,
    GUEST,
    S_CONT,
    S_OK,
    SET,
    Host,
    value_body,
    wide,
)
from tests.driver.variant import fresh, start

VARIANTS = {"netlink": {"TRANSPORT": "netlink"}, "chardev": {"TRANSPORT": "chardev"}}
SECONDS = 420
CHECK_SECONDS = 120

STALL = 35.0
NETLINK = os.environ.get("TRANSPORT") == "netlink"


def index(number: int) -> bytes:
    return struct.pack("<I", number)


def served(host: Host) -> bool:
    return host.enumerate(AUTO, 9)[:2] == (S_OK, "ProcessorArchitecture")


def check_an_expired_request_is_not_applied_and_answers_no_other() -> None:
    """T10, T11: after 35 s of silence the host got key 7 for index 8."""
    daemon, host = fresh()
    for number in range(10):
        assert host.set(GUEST, f"key {number}", f"value {number}") == S_OK
    with open(pool(EXTERNAL), "rb") as file:
        before = file.read()

    # One request waits until the driver gives it up; a second one is queued after it.
    daemon.freeze()
    expired = host.post(SET, EXTERNAL, value_body(wide("late"), wide("never")))
    assert host.receive(expired)[0] == E_FAIL
    newer = host.post(ENUMERATE, GUEST, index(8))
    daemon.send(signal.SIGCONT)
    status, body = host.receive(newer)
    if status == S_OK:
        assert "key 8".encode("utf-16-le") in body[: 20 + 512]
    deadline = Deadline(10, LESS_THAN_DRIVER)
    wait_for("service", functools.partial(served, host))
    assert not deadline.passed(), deadline
    with open(pool(EXTERNAL), "rb") as file:
        assert file.read() == before
    assert [host.enumerate(GUEST, n)[1] for n in range(10)] == [f"key {n}" for n in range(10)]
    host.close()
    assert daemon.stop() == 0


def check_a_stall_of_35_seconds_is_followed_by_service() -> None:
    daemon, host = fresh()
    daemon.freeze()
    # The only request in the queue expires there.
    expired = host.post(SET, EXTERNAL, value_body(wide("late"), wide("never")))
    stalled = time.monotonic()
    assert host.receive(expired)[0] == E_FAIL
    wait_for("35 s", lambda: time.monotonic() - stalled >= STALL, 40)
    daemon.send(signal.SIGCONT)
    deadline = Deadline(10, LESS_THAN_DRIVER)
    wait_for("service", functools.partial(served, host))
    assert not deadline.passed(), deadline
    assert host.get(EXTERNAL, "late")[0] == S_CONT
    host.close()
    assert daemon.stop() == 0


def check_a_driver_that_is_unbound_and_bound_is_served_again() -> None:
    """T10: the daemon never registered again."""
    daemon, host = fresh()
    for _ in range(3):
        if NETLINK:
            host.close()
            guest.unload_driver()
            guest.load_driver()
            host = Host(watch=daemon.must_run)
        else:
            guest.unbind()
            guest.control("bind")
        deadline = Deadline(10, LESS_THAN_DRIVER)
        assert host.negotiate() == S_OK
        wait_for("service", functools.partial(served, host))
        assert not deadline.passed(), deadline
        assert host.enumerate(AUTO, 1)[2] == "3.1"
    host.close()
    assert daemon.stop() == 0


def check_a_hibernation_is_survived() -> None:
    daemon, host = fresh()
    guest.control("suspend")
    guest.control("resume")
    assert host.negotiate() == S_OK
    wait_for("service", functools.partial(served, host))
    host.close()
    assert daemon.stop() == 0


def check_foreign_messages_end_nothing_and_change_nothing() -> None:
    """T1, T2, T3: process events and messages of other processes were carried out."""
    daemon, host = fresh()
    assert host.set(GUEST, "kept", "value") == S_OK
    if NETLINK:
        port = _port_of(daemon)
        foreign = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 11)
        foreign.bind((0, 0))
        body = bytes([2, 1, 0, 0]) + struct.pack("<I", 5) + b"kept\0"
        for size in (0, 1, 15, 16, 35, 36, 40, 76, 7467, 7468, 7469, 16384):
            frame = struct.pack("=IHHIIIIIIHH", size, 3, 0, 0, 0, 9, 1, 0, 0, 7432, 0)
            data = (frame + body).ljust(16384, b"\0")[:size]
            if data:
                foreign.sendto(data, (port, 0))
                foreign.sendto(data, (0, 1 << 8))
        foreign.close()
        # Process events are sent to group 1 of the same protocol once a listener asks for
        # them.
        events = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 11)
        events.bind((0, 1))
        events.send(struct.pack("=IHHIIIIIIHHI", 40, 3, 0, 0, 0, 1, 1, 0, 0, 4, 0, 1))
        for _ in range(5):
            subprocess.run(["true"], check=True)
        assert events.recv(4096)
        events.close()
    assert host.get(GUEST, "kept") == (S_OK, "value")
    assert list(host.items(GUEST)) == [("kept", "value")]
    host.close()
    assert daemon.stop() == 0


def check_pool_files_that_are_removed_or_replaced_end_nothing() -> None:
    """P22: the C daemon exits at each of these."""
    daemon, host = fresh()
    path = pool(EXTERNAL)
    assert host.set(EXTERNAL, "a", "1") == S_OK
    os.unlink(path)
    assert host.enumerate(EXTERNAL, 0)[0] == S_CONT
    assert host.set(EXTERNAL, "b", "2") == S_OK
    assert guest.records(path) == [("b", "2")]
    os.rename(path, path + ".moved")
    shutil.copy(path + ".moved", path)
    assert host.set(EXTERNAL, "c", "3") == S_OK
    assert guest.records(path) == [("b", "2"), ("c", "3")]
    assert guest.records(path + ".moved") == [("b", "2")]
    for spoil in (os.mkdir, os.mkfifo, lambda at: os.symlink("/etc/passwd", at)):
        os.unlink(path)
        spoil(path)
        assert host.enumerate(EXTERNAL, 0)[0] == E_FAIL
        assert host.set(EXTERNAL, "d", "4") == E_FAIL
        assert host.set(GUEST, "elsewhere", "fine") == S_OK
        (os.rmdir if os.path.isdir(path) and not os.path.islink(path) else os.unlink)(path)
        assert host.set(EXTERNAL, "d", "4") == S_OK
        assert guest.records(path) == [("d", "4")]
    host.close()
    assert daemon.stop() == 0


def check_a_full_disk_fails_the_request_and_keeps_the_rest() -> None:
    """P11: the pool was emptied before it was written."""
    shutil.rmtree(guest.POOL_DIR, ignore_errors=True)
    os.makedirs(guest.POOL_DIR)
    # The journal reserves 323 KiB, so that records can be changed and deleted on a full
    # disk.
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", guest.POOL_DIR], check=True
    )
    try:
        daemon = start()
        with Host(watch=daemon.must_run) as host:
            assert host.negotiate() == S_OK
            stored = 0
            while host.set(EXTERNAL, f"key {stored}", "x" * 1000) == S_OK:
                stored += 1
                assert stored < 100
            assert stored > 5
            assert len(list(host.items(EXTERNAL))) == stored
            assert host.set(EXTERNAL, "key 0", "changed in place") == S_OK
            assert host.delete(EXTERNAL, "key 1") == S_OK
            assert host.set(EXTERNAL, "fits again", "y") == S_OK
        assert daemon.stop() == 0
    finally:
        # Lazily, since after a failure the daemon still has its files open.
        subprocess.run(["umount", "-l", guest.POOL_DIR], check=True)


def check_a_lock_of_another_process_delays_by_seconds_only() -> None:
    """P15, P16: F_SETLKW waited forever."""
    daemon, host = fresh()
    assert host.set(GUEST, "key", "before") == S_OK
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, pool(GUEST)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    deadline = Deadline(8, LESS_THAN_DRIVER)
    assert host.set(GUEST, "key", "changed") == S_OK
    assert not deadline.passed(), deadline
    deadline = Deadline(2, LESS_THAN_DRIVER)
    assert host.enumerate(GUEST, 0) == (S_OK, "key", "changed")
    assert host.set(GUEST, "key", "again") == S_OK
    assert not deadline.passed(), deadline
    assert str(holder.pid) in daemon.stderr
    holder.kill()
    holder.wait()
    assert host.set(GUEST, "key", "after") == S_OK
    host.close()
    assert daemon.stop() == 0


def check_interfaces_that_come_and_go_do_not_wake_an_idle_daemon() -> None:
    """Each causes a uevent, and an address an rtnetlink event; the next request sees them."""
    daemon, host = fresh()
    addresses = host.enumerate(AUTO, 2)
    before = voluntary_switches(daemon.pid)
    commands = [f"link add v{n} type veth peer name w{n}" for n in range(200)]
    commands += ["addr add 192.0.2.200/24 dev v7", "link set v7 up", "link set w7 up"]
    commands += [f"link del v{n}" for n in range(200) if n != 7]
    subprocess.run(["ip", "-batch", "-"], input="\n".join(commands), text=True, check=True)
    socket.sethostname("another-name")
    assert voluntary_switches(daemon.pid) == before
    assert host.enumerate(AUTO, 2)[2] == addresses[2] + ";192.0.2.200"
    assert host.enumerate(AUTO, 0)[2] == "another-name"
    socket.sethostname("kvp-guest")
    subprocess.run(["ip", "link", "del", "v7"], check=True)
    assert host.enumerate(AUTO, 2) == addresses
    # A request waits a second for the look-up, which may take the emulator longer.
    wait_for("the full name", lambda: host.enumerate(AUTO, 0)[2] == "kvp-guest.example.com")
    host.close()
    assert daemon.stop() == 0


def voluntary_switches(pid: int) -> int:
    """Wait until a process sleeps, and return the number of its voluntary switches."""
    wait_for("rest", lambda: process_status(pid)["State"].startswith("S"))
    return int(process_status(pid)["voluntary_ctxt_switches"])


def process_status(pid: int) -> dict[str, str]:
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return {name: text.strip() for name, _, text in (line.partition(":") for line in file)}


HOLDER = f"""
import fcntl, os, sys, time
fd = os.open(sys.argv[1], os.O_RDONLY)
fcntl.flock(fd, {fcntl.LOCK_EX})
print("held", flush=True)
time.sleep(60)
"""


def _port_of(daemon: Process) -> int:
    """The daemon's port id: the member of group 9."""
    with open("/proc/net/netlink", encoding="ascii") as table:
        rows = [line.split() for line in table]
    (port,) = [int(row[2]) for row in rows if row[1] == "11" and row[3] == "00000100"]
    return port
