# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The daemon does not use a driver that has just appeared until it is ready.

The driver can be reached as soon as it has registered its device and its connector
callback, but it stores its own pointer to them only afterwards.  If a process opens the
device or sends a registration in between, the kernel dereferences a NULL pointer: the
process is killed while it holds a lock, and KVP does not work until a reboot.  The runner
fails the scenario if the kernel log has such a fault.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
from typing import final

from tests.driver import guest
from tests.driver.deadline import LESS_THAN_DRIVER, Deadline
from tests.driver.guest import Process, wait_for
from tests.driver.lab.hvhost import (
    AUTO,
    AUTO_EXTERNAL,
    AUTO_INTERNAL,
    AUTO_KEYS,
    DELETE,
    EXTERNAL,
    GET,
    GUEST,
    S_CONT,
    S_OK,
    SET,
    Host,
    value_body,
    wide,
)

APPEND = "hvlab.manual"
VARIANTS = {"netlink": {"TRANSPORT": "netlink"}, "chardev": {"TRANSPORT": "chardev"}}
SECONDS = 600
CHECK_SECONDS = 500

#: `make soak` sets 40, 100 and 100.
RELOADS = int(os.environ.get("RELOADS", "6"))
STEPS = int(os.environ.get("STEPS", "14"))
REQUESTS = int(os.environ.get("REQUESTS", "20"))
SEED = int(os.environ.get("SEED", "1"))
TRANSPORT = os.environ.get("TRANSPORT", "auto")

POOLS = (EXTERNAL, GUEST, AUTO_EXTERNAL, AUTO_INTERNAL)
# As long as a hypervisor may not run a virtual CPU; the driver sleeps twice.
STRETCHED_MS = 150
# What malloc and the index of some hundred keys may add to a process, in KiB.
GROWTH = 4096
# Appends records as cloud-init's handler does: PATH, and a name that their keys begin with.
APPENDER = """
import fcntl, sys
path, name = sys.argv[1:]
for number in range(5):
    key = f"{name}.{number}".encode()
    with open(path, "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(key.ljust(512, b"\\0") + b"an event".ljust(2048, b"\\0"))
        file.flush()
        fcntl.flock(file, fcntl.LOCK_UN)
"""


def unload() -> None:
    """Unload the driver; a daemon that has its device open must close it first."""
    guest.unbind()
    guest.unload_driver()


def is_served(daemon: Process, key: str) -> None:
    with Host(watch=daemon.must_run) as host:
        assert host.negotiate() == S_OK
        wait_for("service", lambda: host.set(EXTERNAL, key, "value") == S_OK)
        assert host.enumerate(AUTO, 9)[:2] == (S_OK, "ProcessorArchitecture")
    assert not guest.kernel_faults()


def start(transport: str = TRANSPORT) -> Process:
    return guest.daemon("-n", "--transport", transport, "--pool-dir", guest.POOL_DIR)


def check_a_driver_that_is_loaded_again_and_again_is_served_each_time() -> None:
    daemon = start()
    for number in range(RELOADS):
        guest.load_driver(slow_ms=STRETCHED_MS * (number % 2))
        is_served(daemon, f"key {number}")
        unload()
    assert daemon.stop() == 0


def check_a_driver_that_is_bound_again_is_served() -> None:
    guest.load_driver(slow_ms=STRETCHED_MS)
    daemon = guest.registered("--transport", TRANSPORT)
    for number in range(3):
        guest.unbind()
        guest.control("bind")
        is_served(daemon, f"bound {number}")
    assert daemon.stop() == 0
    unload()


def check_a_daemon_that_starts_while_the_driver_is_loaded_waits_for_it() -> None:
    loading = Process(["modprobe", "hvlab", f"slow_ms={STRETCHED_MS}"])
    wait_for("the device", lambda: os.path.exists(guest.DEVICE))
    daemon = start()
    assert loading.wait() == 0
    is_served(daemon, "early")
    assert daemon.stop() == 0
    unload()


def check_auto_waits_for_the_device_when_it_changes_over() -> None:
    """In another network namespace, so that netlink cannot serve."""
    daemon = Process(
        [
            *("unshare", "--net", "hv-kvp-daemon", "-n", "--transport", "auto"),
            *("--pool-dir", guest.POOL_DIR),
        ]
    )
    guest.load_driver(slow_ms=STRETCHED_MS)
    is_served(daemon, "auto")
    assert daemon.stop() == 0


@final
class Life:
    """The driver, the daemon, a host, another writer, and what can happen to the first two."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        shutil.rmtree(guest.POOL_DIR, ignore_errors=True)
        guest.load_driver(slow_ms=STRETCHED_MS)
        self.daemon = start()
        self.host = Host()
        #: How many packets the hosts before this one have sent.
        self.requests = 0
        #: The keys of each pool that were sent, in order, and those of them with an answer.
        self.sent: dict[int, list[str]] = {pool: [] for pool in POOLS}
        self.acknowledged: set[str] = set()
        self._under_way: dict[int, str] = {}
        #: The pairs of each pool that changed with the host waiting for each answer.
        self._changed: dict[int, dict[str, str]] = {pool: {} for pool in POOLS}
        #: The keys that the other writer has appended.
        self.events: list[str] = []
        self._address = ""
        self._usage: dict[int, tuple[int, int]] = {}
        self.is_served()

    def post(self) -> None:
        """Send a SET and do not wait for its answer."""
        pool = self._chance.choice(POOLS)
        keys = self.sent[pool]
        key = f"key {pool}.{len(keys)}"
        keys.append(key)
        body = value_body(wide(key), wide(value_of(key)))
        self._under_way[self.host.post(SET, pool, body)] = key

    def change_address(self, number: int) -> None:
        before, self._address = self._address, f"198.51.100.{number % 250 + 1}"
        guest.run("ip", "address", "add", f"{self._address}/32", "dev", "eth0")
        if before:
            guest.run("ip", "address", "delete", f"{before}/32", "dev", "eth0")

    def is_served(self, appender: Process | None = None) -> None:
        """Wait until the host is served, at most 20 s, and compare what it is told."""
        deadline = Deadline(20, LESS_THAN_DRIVER)
        assert self.host.negotiate() == S_OK
        # After a suspension the driver takes the reply to a request from before for that to
        # the next one.  So a single right answer is no service yet.
        wait_for("service", lambda: [key for key, _ in self.host.items(AUTO)] == AUTO_KEYS)
        assert not deadline.passed(), deadline
        self._see_answers()
        for _ in range(REQUESTS):
            self._change_and_wait()
        if appender:
            assert appender.wait() == 0, appender.stderr
        for pool in POOLS:
            self._compare(pool)
        wait_for("its address", lambda: self.host.enumerate(AUTO, 2)[2] == self._addresses())
        self._compare_usage()
        assert not guest.kernel_faults()

    def _see_answers(self) -> None:
        for answer in self.host.stray:
            key = self._under_way.pop(answer.transaction, "")
            if key and answer.status == S_OK:
                self.acknowledged.add(key)
        self.host.stray.clear()
        self._under_way.clear()

    def _change_and_wait(self) -> None:
        """Let the host set, delete or get one of a few keys, each of which has one outcome."""
        pool, key = self._chance.choice(POOLS), f"changed {self._chance.randrange(13)}"
        pairs = self._changed[pool]
        kind = self._chance.choice((SET, DELETE, GET))
        if kind == SET:
            pairs[key] = f"{self._chance.randrange(1000)} " * self._chance.randrange(200)
            assert self.host.set(pool, key, pairs[key]) == S_OK
        elif kind == DELETE:
            known = pairs.pop(key, None) is not None
            assert self.host.delete(pool, key) == (S_OK if known else S_CONT)
        elif key in pairs:
            assert self.host.get(pool, key) == (S_OK, pairs[key])
        else:
            assert self.host.get(pool, key)[0] == S_CONT

    def _compare(self, pool: int) -> None:
        """Compare what the host is told of a pool with what it and the other writer wrote."""
        found = list(self.host.items(pool))
        posted = [pair for pair in found if pair[0].startswith("key ")]
        there = {key for key, _ in posted}
        keys = self.sent[pool]
        assert posted == [(key, value_of(key)) for key in keys if key in there]
        assert self.acknowledged & {*keys} <= there, self.acknowledged & {*keys} - there
        changed = [pair for pair in found if pair[0].startswith("changed ")]
        assert sorted(changed) == sorted(self._changed[pool].items())
        events = [pair for pair in found if pair[0].startswith("event ")]
        assert events == [(key, "an event") for key in self.events if pool == GUEST]
        assert len(found) == len(posted) + len(changed) + len(events)

    def _addresses(self) -> str:
        return ";".join(["192.0.2.10", *filter(None, [self._address])])

    def _compare_usage(self) -> None:
        """Compare descriptors with those of the first daemon, memory with that at its start."""
        pid = self.daemon.pid
        # One that takes longer than a request waits has a pipe until the next request.
        wait_for("the end of the look-up of the name", self._looks_nothing_up)
        descriptors, memory = guest.usage(pid)
        self._usage.setdefault(pid, (descriptors, memory))
        assert descriptors == next(iter(self._usage.values()))[0], guest.open_files(pid)
        assert memory - self._usage[pid][1] < GROWTH, self._usage[pid]

    def _looks_nothing_up(self) -> bool:
        return self.host.enumerate(AUTO, 0)[0] == S_OK and not guest.pids("hv_kvp_fqdn")

    # What can happen.

    def suspend_and_resume(self) -> None:
        guest.control("suspend")
        guest.control("resume")

    def unbind_and_bind(self) -> None:
        guest.unbind()
        guest.control("bind")

    def reload(self) -> None:
        self.requests += self.host.sent
        self.host.close()  # whose open device keeps the module
        self._under_way.clear()
        unload()
        guest.load_driver(slow_ms=self._chance.choice((0, STRETCHED_MS)))
        self.host = Host()

    def kill(self) -> None:
        self.daemon.stop(signal.SIGKILL)
        self.daemon = start()

    def terminate(self) -> None:
        assert self.daemon.stop() == 0
        self.daemon = start()

    def stop_and_continue(self) -> None:
        self.daemon.freeze()
        self.post()
        self.daemon.send(signal.SIGCONT)


def value_of(key: str) -> str:
    return f"value of {key} " * 40


def check_a_life_of_driver_and_daemon_loses_no_acknowledged_change() -> None:
    """Steps in random order, each with requests under way.

    Another program appends to the guest's pool, and the addresses change, at the same time.
    """
    chance = random.Random(SEED)
    life = Life(chance)
    for number in range(STEPS):
        step = chance.choice(
            (
                *(life.suspend_and_resume, life.unbind_and_bind, life.reload),
                *(life.kill, life.terminate, life.stop_and_continue),
            )
        )
        print(f"seed {SEED}, step {number}: {step.__name__}", flush=True)
        name = f"event {number}"
        appender = Process(["python3", "-IS", "-c", APPENDER, guest.pool(GUEST), name])
        life.events += [f"{name}.{event}" for event in range(5)]
        life.change_address(number)
        for _ in range(chance.randrange(1, 4)):
            life.post()
        step()
        life.is_served(appender)
    sent = sum(map(len, life.sent.values()))
    requests = life.requests + life.host.sent
    print(
        f"{STEPS} steps, {requests} requests, {len(life.events)} records appended, "
        f"{sent} keys sent while it lasted, {len(life.acknowledged)} of them acknowledged",
        flush=True,
    )
    life.host.close()
    assert life.daemon.stop() == 0
    unload()
