# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Workloads: batches of requests, and the state of the pool before each of them.

Each request has the status that its reply must carry, because the cost of a request that
failed says nothing.  Every workload uses the host's pool.  Both daemons find it as another
program has written it, in place, while they run.
"""

from __future__ import annotations

import fcntl
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from hv_kvp_daemon.wire.message import Request
from hv_kvp_daemon.wire.record import encode
from hv_kvp_daemon.wire.uapi import (
    HV_S_CONT,
    HV_S_OK,
    KVP_OP_DELETE,
    KVP_OP_ENUMERATE,
    KVP_OP_GET,
    KVP_OP_SET,
    KVP_POOL_AUTO,
    KVP_POOL_EXTERNAL,
)

POOL = KVP_POOL_EXTERNAL
AUTO_KEYS = 10
_OS_NAME, _IPV4 = 5, 2

# A file's times advance with the kernel's tick: 4 ms on Debian, 10 ms at most.  Within a
# tick of the last change our daemon does not trust what it has read before.
_SETTLED = 0.03

# Seconds between two requests of a paced workload, and of the host's minute.
_PAUSE, _HOST_PAUSE = 0.002, 0.01

Asked = tuple[Request, int]
Batch = Callable[[random.Random], list[Asked]]


@dataclass(frozen=True)
class Workload:
    """One row of the table.

    ``batch`` makes the requests of one batch; what is timed is a whole batch.
    ``changes``: the pool is written anew before each batch.  ``appends``: another
    program appends a record before each request, untimed.  ``get``: the C daemon
    cannot serve it.  ``pause``: seconds between two requests, as a host leaves
    them; the processor's caches then hold the benchmark's data and whatever
    else runs.
    """

    name: str
    records: int
    batch: Batch
    batches: int = 1
    changes: bool = False
    appends: bool = False
    get: bool = False
    pause: float = 0.0


@dataclass(frozen=True)
class Sizes:
    """The number of requests of each kind, and of records in the pool."""

    auto: int
    paced: int
    sweeps: int
    enumerate: dict[int, int]
    walks: dict[int, int]
    minutes: dict[int, int]
    changes: dict[int, tuple[int, int]]
    appends: dict[int, int]


NATIVE = Sizes(
    auto=2000,
    paced=200,
    sweeps=100,
    enumerate={50: 1000, 500: 500, 2000: 250, 10000: 80},
    walks={50: 10, 500: 2, 2000: 1, 10000: 1},
    minutes={50: 5},
    changes={50: (10, 20), 500: (20, 5), 2000: (20, 3), 10000: (40, 1)},
    appends={50: 100, 2000: 50},
)
VM = Sizes(
    auto=200,
    paced=50,
    sweeps=10,
    enumerate={50: 100, 500: 50, 2000: 20},
    walks={50: 2},
    minutes={50: 2},
    changes={50: (10, 3), 2000: (8, 1)},
    appends={50: 20, 2000: 8},
)
QUICK = Sizes(
    auto=300,
    paced=30,
    sweeps=20,
    enumerate={50: 100, 500: 50, 2000: 30},
    walks={50: 1},
    minutes={50: 1},
    changes={50: (10, 2), 2000: (10, 1)},
    appends={50: 10, 2000: 5},
)


def key(number: int) -> bytes:
    return b"Key.of.a.record.%05d" % number


def value(number: int) -> bytes:
    return b"a value of usual length, number %d" % number


def all_workloads(sizes: Sizes) -> list[Workload]:
    """Every workload, in the order of the table."""
    found = [
        Workload("auto key", 0, _auto(_OS_NAME, sizes.auto)),
        Workload("address key", 0, _auto(_IPV4, sizes.auto)),
        Workload("auto sweep", 0, _sweeps(sizes.sweeps)),
        Workload("auto key, paced", 0, _auto(_OS_NAME, sizes.paced), pause=_PAUSE),
    ]
    for count, number in sizes.enumerate.items():
        found.append(Workload("enumerate", count, _random_enumerate(count, number)))
    for count, number in sizes.walks.items():
        found.append(Workload("walk", count, _walks(count, number)))
    for count, number in sizes.minutes.items():
        minute = _minutes(count, number)
        found.append(Workload("a host's minute", count, minute, pause=_HOST_PAUSE))
    for count, number in sizes.enumerate.items():
        found.append(Workload("GET", count, _random_get(count, number), get=True))
    changing: list[tuple[str, Callable[[int, int], Batch]]]
    changing = [("SET new", _new), ("modify", _modify), ("DELETE", _delete)]
    for name, batch in changing:
        for count, (length, number) in sizes.changes.items():
            found.append(Workload(name, count, batch(count, length), number, changes=True))
    beside: list[tuple[str, Callable[[int, int], Batch]]]
    beside = [("enumerate", _random_enumerate), ("modify", _modify)]
    for name, batch in beside:
        for count, length in sizes.appends.items():
            requests = batch(count, length)
            found.append(
                Workload(f"{name}, appends", count, requests, changes=True, appends=True)
            )
    return found


def lay_out(path: str, count: int) -> None:
    """Write a pool of ``count`` records in place, and wait until its times have settled.

    Records are written one by one, as other writers of pools do.  After one write(2) of
    25 MB the page cache holds folios of up to 2 MiB, and each small write to a clean one
    of those costs ext4 40 us (Linux 6.18), in any program.
    """
    with open(path, "r+b", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.truncate(0)
        file.writelines(encode(key(number), value(number)) for number in range(count))
        os.fsync(file.fileno())
    time.sleep(_SETTLED)


def append(path: str, number: int) -> None:
    """Append one record as cloud-init does: under flock, at the end."""
    with open(path, "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(encode(b"appended.%08d" % number, b"by another program"))


def warm_up(count: int) -> list[Asked]:
    """Requests before a batch, untimed, after which a daemon has its copy or index of the pool.

    Our daemon builds its index at the second look-up of a key in an unchanged file.
    """
    if not count:
        return [(Request(KVP_OP_ENUMERATE, KVP_POOL_AUTO, index=0), HV_S_OK)]
    return [
        (Request(KVP_OP_ENUMERATE, POOL, index=0), HV_S_OK),
        *[(Request(KVP_OP_SET, POOL, key(0), value(0)), HV_S_OK)] * 3,
    ]


def _auto(index: int, number: int) -> Batch:
    request = Request(KVP_OP_ENUMERATE, KVP_POOL_AUTO, index=index)
    return lambda _: [(request, HV_S_OK)] * number


def _sweep() -> list[Asked]:
    keys = [
        (Request(KVP_OP_ENUMERATE, KVP_POOL_AUTO, index=n), HV_S_OK) for n in range(AUTO_KEYS)
    ]
    return [*keys, (Request(KVP_OP_ENUMERATE, KVP_POOL_AUTO, index=AUTO_KEYS), HV_S_CONT)]


def _sweeps(number: int) -> Batch:
    return lambda _: _sweep() * number


def _walk(count: int) -> list[Asked]:
    return [*map(_enumerate, range(count)), _enumerate(count, HV_S_CONT)]


def a_minute(count: int) -> list[Asked]:
    """What a host asks each minute: the auto pool, then all that is in another one."""
    return [*_sweep(), *_walk(count)]


def _minutes(count: int, number: int) -> Batch:
    return lambda _: a_minute(count) * number


def _enumerate(index: int, status: int = HV_S_OK) -> Asked:
    return Request(KVP_OP_ENUMERATE, POOL, index=index), status


def _random_enumerate(count: int, number: int) -> Batch:
    return lambda chance: [_enumerate(chance.randrange(count)) for _ in range(number)]


def _walks(count: int, number: int) -> Batch:
    return lambda _: _walk(count) * number


def _random_get(count: int, number: int) -> Batch:
    return lambda chance: [
        (Request(KVP_OP_GET, POOL, key(chance.randrange(count))), HV_S_OK)
        for _ in range(number)
    ]


def _new(count: int, length: int) -> Batch:
    return lambda _: [
        (Request(KVP_OP_SET, POOL, key(n), value(n)), HV_S_OK)
        for n in range(count, count + length)
    ]


def _modify(count: int, length: int) -> Batch:
    return lambda chance: [
        (Request(KVP_OP_SET, POOL, key(n), value(chance.randrange(count))), HV_S_OK)
        for n in (chance.randrange(count) for _ in range(length))
    ]


def _delete(count: int, length: int) -> Batch:
    return lambda chance: [
        (Request(KVP_OP_DELETE, POOL, key(n)), HV_S_OK)
        for n in chance.sample(range(count), length)
    ]
