# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Measurements of a running daemon: its CPU time, its memory, its context switches.

Counters are read only while the daemon sleeps, so that what it does after a reply counts
with the request that caused it.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from benchmarks.workloads import (
    AUTO_KEYS,
    POOL,
    Asked,
    Workload,
    append,
    key,
    lay_out,
    value,
    warm_up,
)
from hv_kvp_daemon.wire.message import Request
from hv_kvp_daemon.wire.uapi import (
    HV_S_OK,
    KVP_OP_ENUMERATE,
    KVP_OP_SET,
    KVP_POOL_AUTO,
    KVP_POOL_EXTERNAL,
)

#: What a figure of memory was taken after; {:,} is its number of records or requests.
AT_IDLE = "memory at idle"
AFTER_REQUESTS = "memory after {:,} requests"
WITH_RECORDS = "memory with {:,} records"

#: Seconds without a request.
IDLING = "{:,} s of idling"

_SLEEPS_WITHIN = 30.0


@dataclass(frozen=True)
class Figure:
    """One measurement of one round.

    ``measure`` is ``cpu`` or ``wall`` (microseconds per request), ``rss`` or
    ``private`` (KiB), ``switches`` (a number) or ``start`` (milliseconds).
    ``records`` is the size of the pool, or the number that ``workload`` names.
    """

    place: str
    daemon: str
    workload: str
    records: int
    measure: str
    value: float


class Host(Protocol):
    """The other end: natively a socket, in the VM the driver's channel."""

    def packet(self, request: Request) -> bytes:
        """The bytes that are sent for a request."""

    def ask(self, packet: bytes) -> int:
        """Send a packet, wait for its reply, and return the reply's status."""


class Daemon(Protocol):
    """A daemon that serves: ``name`` as in the table, ``pools`` its directory."""

    name: str
    pid: int
    pools: str
    host: Host
    has_get: bool


def measure(
    place: str, daemon: Daemon, workload: Workload, chance: random.Random
) -> list[Figure]:
    """Run a workload once; CPU and wall time per request."""
    path = os.path.join(daemon.pools, f".kvp_pool_{POOL}")
    cpu = wall = requests = 0
    for number in range(workload.batches):
        if workload.records and (number == 0 or workload.changes):
            lay_out(path, workload.records)
        ask_all(daemon.host, packets(daemon.host, warm_up(workload.records)))
        asked = packets(daemon.host, workload.batch(chance))
        requests += len(asked)
        # One by one where something untimed happens between two requests.
        apart = workload.appends or workload.pause
        for packet in [[one] for one in asked] if apart else [asked]:
            if workload.appends:
                append(path, chance.randrange(10**8))
            if workload.pause:
                time.sleep(workload.pause)
            more_cpu, more_wall = timed(daemon, packet)
            cpu += more_cpu
            wall += more_wall
    return [
        Figure(place, daemon.name, workload.name, workload.records, kind, ns / requests / 1000)
        for kind, ns in (("cpu", cpu), ("wall", wall))
    ]


Packet = tuple[bytes, int]


def packets(host: Host, asked: Iterable[Asked]) -> list[Packet]:
    return [(host.packet(request), status) for request, status in asked]


def ask_all(host: Host, asked: Iterable[Packet]) -> None:
    """Send packets one after the other.

    :raises RuntimeError: a reply has not the status that belongs to its packet.
    """
    for packet, expected in asked:
        status = host.ask(packet)
        if status != expected:
            raise RuntimeError(f"status 0x{status:08x}, not 0x{expected:08x}: {packet[:40]!r}")


def timed(daemon: Daemon, asked: list[Packet]) -> tuple[int, int]:
    """Nanoseconds that a batch takes: of the daemon's CPU, and of wall time at the host."""
    before = cpu_time(daemon.pid)
    started = time.perf_counter_ns()
    ask_all(daemon.host, asked)
    wall = time.perf_counter_ns() - started
    return cpu_time(daemon.pid) - before, wall


def cpu_time(pid: int) -> int:
    """The CPU time of a process in ns, read from /proc/PID/schedstat once it sleeps."""
    wait_asleep(pid)
    with open(f"/proc/{pid}/schedstat", encoding="ascii") as file:
        return int(file.read().split()[0])


def wait_asleep(pid: int) -> None:
    """Wait until a process sleeps.

    :raises RuntimeError: it does not within 30 s.
    """
    deadline = time.monotonic() + _SLEEPS_WITHIN
    while _state(pid) != "S":
        if time.monotonic() >= deadline:
            raise RuntimeError(f"pid {pid} is in state {_state(pid)} for {_SLEEPS_WITHIN} s")
        os.sched_yield()


def wait_childless(pid: int) -> None:
    """Wait until the child that looks up the guest's full name has ended."""
    deadline = time.monotonic() + _SLEEPS_WITHIN
    while _children(pid):
        if time.monotonic() >= deadline:
            raise RuntimeError(f"pid {pid} still has children: {_children(pid)}")
        time.sleep(0.02)
    wait_asleep(pid)


def _children(pid: int) -> str:
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return file.read()


def _state(pid: int) -> str:
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        return file.read().rpartition(")")[2].split()[0]


def memory(pid: int) -> tuple[int, int]:
    """Resident and private KiB from /proc/PID/smaps_rollup, which counts page by page.

    VmRSS is kept per CPU and summed only now and then, so it may be some pages off.
    """
    sizes = {}
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        for line in list(file)[1:]:
            name, size, _ = line.split(maxsplit=2)
            sizes[name] = int(size)
    return sizes["Rss:"], sizes["Private_Clean:"] + sizes["Private_Dirty:"]


def memory_figures(place: str, name: str, pid: int, when: str, number: int = 0) -> list[Figure]:
    """Resident and private size as figures."""
    wait_asleep(pid)
    return [
        Figure(place, name, when, number, kind, size)
        for kind, size in zip(("rss", "private"), memory(pid), strict=True)
    ]


def many_requests(host: Host, number: int) -> None:
    """Send ``number`` requests of all kinds, before memory is measured again."""
    mixture = [
        *(Request(KVP_OP_ENUMERATE, KVP_POOL_AUTO, index=n) for n in range(AUTO_KEYS)),
        *(Request(KVP_OP_ENUMERATE, KVP_POOL_EXTERNAL, index=n) for n in range(8)),
        *(Request(KVP_OP_SET, KVP_POOL_EXTERNAL, key(n), value(n)) for n in range(2)),
    ]
    asked = packets(host, [(request, HV_S_OK) for request in mixture])
    for _ in range(number // len(mixture)):
        ask_all(host, asked)


def switches(pid: int) -> int:
    """The number of context switches of a process so far, voluntary or not."""
    with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
        return sum(int(line.split()[1]) for line in file if "ctxt_switches" in line)


def idle_figures(place: str, daemons: Iterable[tuple[str, int]], seconds: int) -> list[Figure]:
    """Context switches of processes that get no request for so many seconds."""
    before = [(name, pid, switches(pid)) for name, pid in daemons]
    time.sleep(seconds)
    return [
        Figure(place, name, IDLING, seconds, "switches", switches(pid) - old)
        for name, pid, old in before
    ]
