# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""More than a day of a guest in a quarter of an hour, everything at once, against a model.

A host that asks for all items and walks a pool once a minute makes 89,280 requests a day
(docs/fleet.md).  Here it makes 1,000,000, random and damaged ones among them, while the
daemon is killed, ended and reloaded, another program appends events as cloud-init does, a
process holds each kind of lock for moments, and the guest's addresses and interfaces change.
Nothing that was acknowledged is lost, and descriptors and memory are level.

``HV_KVP_SOAK_REQUESTS=20000`` sends as many, ``HV_KVP_SOAK_SEED=17`` chooses others.
"""

from __future__ import annotations

import copy
import ctypes
import os
import random
import signal
import subprocess
import threading
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING

import psutil
from pyroute2 import IPRoute

from hv_kvp_daemon.pools.directory import pool_path
from hv_kvp_daemon.pools.pool import PoolFile
from hv_kvp_daemon.simhost.errors import NoDaemonError
from hv_kvp_daemon.simhost.simulated_driver import SimulatedDriver
from hv_kvp_daemon.wire.ipinfo import IpInfo, decode_ip, encode_ip_request
from hv_kvp_daemon.wire.message import Request, encode_request
from hv_kvp_daemon.wire.uapi import KVP_OP_ENUMERATE
from tests.driver.hostile import AUTO, ENUMERATE, POOLS, Hostile, Model, replied
from tests.netconfig.network import add, veth
from tests.pools.conftest import start
from tests.support.daemon import RunningDaemon
from tests.support.network import sysctl
from tests.support.process import DEADLINE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REQUESTS = int(os.environ.get("HV_KVP_SOAK_REQUESTS", "1000000"))
SEED = int(os.environ.get("HV_KVP_SOAK_SEED", "1"))
#: The last of the requests, between which the daemon is not started anew.
QUIET = REQUESTS // 5
#: Requests between two kills, ends or reloads, two events, and two changes of the network.
BETWEEN_KILLS, BETWEEN_EVENTS, BETWEEN_CHANGES = 4000, 500, 1000
#: What malloc and the index of some thousand keys may add to the daemon, in bytes.
GROWTH = 4 << 20

GUEST = 1
MAC = "02:15:5d:00:00:01"
IPV4 = 2  # the index of NetworkAddressIPv4 in the auto pool
_CLONE_NEWNET = 0x40000000

#: Appends a record for each line that it reads, as cloud-init does, and answers each.
_APPENDER = """
for number, _ in enumerate(sys.stdin):
    with open(sys.argv[1], "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        key = b"CLOUD_INIT|%d" % number
        file.write(key.ljust(512, b"\\0") + (b"%d" % number * 99).ljust(2048, b"\\0"))
    print(number, flush=True)
"""

#: Takes one kind of lock after the other, ten times a second, for up to 20 ms.
_LOCKER = """
import random, select
random.seed(int(sys.argv[2]))
held = 0
while not select.select([sys.stdin], [], [], 0.1)[0]:
    kinds = random.choice([[kind] for kind in LOCKS] + [["flock", "posix shared"]])
    files = [opened(sys.argv[1], kind) for kind in kinds]
    try:
        for kind, file in zip(kinds, files):
            LOCKS[kind](file)
        held += 1
        select.select([], [], [], random.random() / 50)
    except BlockingIOError:
        pass
    for file in files:
        os.close(file)
print(held)
"""


@contextmanager
def own_network() -> Iterator[None]:
    """Put this thread, and what it starts, into a new network namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/self/ns/net") as before:
        assert libc.unshare(_CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
        try:
            # Without addresses that the kernel adds itself, at an unknown time.
            sysctl("ipv6/conf/default/addr_gen_mode", 1)
            yield
        finally:
            assert libc.setns(before.fileno(), _CLONE_NEWNET) == 0


class Guest:
    """The guest around the daemon: other programs, and a network that changes."""

    def __init__(self, stack: ExitStack, pool: str, chance: random.Random) -> None:
        self._chance = chance
        self._ip = stack.enter_context(IPRoute())
        self._index = veth(self._ip, "eth0", MAC)
        self._addresses: list[str] = []
        self.events = self.changes = 0
        self._appender = self._start(stack, _APPENDER, pool)
        self.locker = self._start(stack, _LOCKER, pool, str(SEED))

    @staticmethod
    def _start(stack: ExitStack, script: str, *arguments: str) -> subprocess.Popen[str]:
        process = stack.enter_context(start(script, *arguments))
        stack.callback(process.kill)
        return process

    def append(self) -> None:
        """Have an event appended; it may be some time until it is."""
        assert self._appender.stdin is not None
        print(file=self._appender.stdin, flush=True)
        self.events += 1

    def finish(self) -> int:
        """Wait for all events, and return how often a lock was held."""
        written, _ = self._appender.communicate()
        assert written.split() == [str(number) for number in range(self.events)]
        return int(self.locker.communicate("end\n")[0])

    def change_network(self) -> None:
        self.changes += 1
        kind = self._chance.randrange(3)
        if kind == 0:
            veth(self._ip, "veth7", "02:00:00:00:00:07", "10.7.0.1/24")
            self._ip.link("del", ifname="veth7")
        elif kind == 1 and self._addresses:
            gone = self._addresses.pop(self._chance.randrange(len(self._addresses)))
            self._ip.addr("del", index=self._index, address=gone, prefixlen=24)
        elif len(self._addresses) < 9:
            # Of a subnet of its own: no other address goes with it.
            self._addresses.append(f"10.{self.changes >> 8 & 255}.{self.changes & 255}.1")
            add(self._ip, self._index, f"{self._addresses[-1]}/24")

    def check(self, driver: SimulatedDriver) -> None:
        """What the host is told of the network is what it is now."""
        expected = ";".join(self._addresses)
        asked = encode_request(Request(KVP_OP_ENUMERATE, AUTO, index=IPV4))
        assert replied(driver.exchange(asked))[2].decode() == expected
        info = decode_ip(driver.exchange(encode_ip_request(IpInfo(MAC.encode()))))
        assert info.ip_addr.decode() == expected


class Day:
    """The host, and the daemon's lives."""

    def __init__(self, daemon: RunningDaemon, chance: random.Random) -> None:
        self._chance = chance
        self.model = Model()
        self._hostile = Hostile(chance, self.model)
        self.daemon = daemon
        self.driver = SimulatedDriver(daemon.path, DEADLINE)
        self.kills = self.undone = self.ends = 0
        #: Of what a kill had left in the pools.
        self.reports: list[str] = []

    def close(self) -> None:
        self.driver.close()

    def request(self) -> None:
        """Send a request; its reply is the model's."""
        message = self._hostile.message()
        before = copy.copy(self.model.pools[message[1]]) if message[1] < POOLS else []
        expected = self.model.reply(message)
        try:
            found = replied(self.driver.exchange(message))
        except NoDaemonError:
            self._settle(message[1], before)
            raise
        # The events of another program are among the records of this pool.
        if expected is not None and message[:2] != bytes((ENUMERATE, GUEST)):
            assert found == expected, f"seed {SEED}: {message[:64]!r}"

    def _settle(self, pool: int, before: list[tuple[bytes, bytes]]) -> None:
        """Look whether the request under which the daemon was killed was carried out."""
        if pool < POOLS and (found := self.records(pool)) != self.model.pools[pool]:
            assert found == before, f"seed {SEED}: neither before nor after, pool {pool}"
            self.model.pools[pool] = before
            self.undone += 1

    def records(self, pool: int, *, events: bool = False) -> list[tuple[bytes, bytes]]:
        """The records of a pool that are the host's, or those that are events."""
        path = pool_path(self.daemon.pool_dir, pool)
        with closing(PoolFile(pool, path, report=self.reports.append, sync=False)) as file:
            found = [(record.key, record.value) for record in file.records()]
        return [pair for pair in found if pair[0].startswith(b"CLOUD_INIT|") is events]

    def interrupt(self) -> None:
        """Kill, end or reload the daemon."""
        kind = self._chance.randrange(6)
        if kind == 0:
            os.kill(self.daemon.pid, signal.SIGHUP)
            return
        if kind == 1:
            assert self.daemon.stop() == 0
            self.ends += 1
        else:
            self._kill()
        self.driver.close()
        self.daemon.start()
        self.driver = SimulatedDriver(self.daemon.path, DEADLINE)

    def _kill(self) -> None:
        after = self._chance.random() * 0.005
        timer = threading.Timer(after, os.kill, (self.daemon.pid, signal.SIGKILL))
        timer.start()
        try:
            while True:
                self.request()
        except NoDaemonError:
            self.kills += 1
        timer.join()
        self.daemon.kill()

    def check(self) -> None:
        assert all("was put in order" in report for report in self.reports), self.reports
        for pool in {*range(POOLS)} - {AUTO}:
            assert self.records(pool) == self.model.pools[pool]


def test_a_day_with_everything_at_once_loses_nothing(
    count: Callable[..., None], tell: Callable[[str], None]
) -> None:
    chance = random.Random(SEED)
    with ExitStack() as stack:
        stack.enter_context(own_network())
        daemon = stack.enter_context(RunningDaemon("--no-sync"))
        day = Day(daemon, chance)
        stack.callback(day.close)
        guest = Guest(stack, f"{daemon.pool_dir}/.kvp_pool_{GUEST}", chance)
        usage = (0, 0)
        for number in range(REQUESTS):
            day.request()
            if number % BETWEEN_EVENTS == 0:
                guest.append()
            if number % BETWEEN_CHANGES == 0:
                guest.change_network()
                guest.check(day.driver)
            if number < REQUESTS - QUIET and chance.random() < 1 / BETWEEN_KILLS:
                day.interrupt()
            if number == REQUESTS - QUIET * 4 // 5:
                usage = _usage(daemon)
        held = guest.finish()
        descriptors, memory = _usage(daemon)
        # A look-up of the guest's name may be under way at one of the two moments.
        assert abs(descriptors - usage[0]) <= 1
        growth = memory - usage[1]
        assert growth < GROWTH
        day.check()
        events = day.records(GUEST, events=True)
        assert [key for key, _ in events] == [
            b"CLOUD_INIT|%d" % number for number in range(guest.events)
        ]
        assert all(value == key[11:] * 99 for key, value in events)
    count("requests of a day", points=REQUESTS, broken=0)
    tell(
        f"a day: {day.kills} kills, of which {day.undone} left the request undone and"
        f" {len(day.reports)} half done, {day.ends} ends; {guest.events} events, {held} locks,"
        f" {guest.changes} changes of the network; {growth >> 10} KiB more resident memory in"
        f" the last {QUIET * 4 // 5} requests"
    )


def _usage(daemon: RunningDaemon) -> tuple[int, int]:
    """The daemon's descriptors and its resident memory."""
    process = psutil.Process(daemon.pid)
    return process.num_fds(), process.memory_info().rss
