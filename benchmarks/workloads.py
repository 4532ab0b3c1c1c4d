"""What the host asks: batches of requests, and the state of the pool before each.

In: how many records, and a source of chance.  Out: requests with the statuses
that they must come back with; a figure of requests that failed is worth nothing.

Every workload uses one pool of the host's.  Both daemons find it as another
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

# A file's times have the kernel's tick (4 ms here, 10 at most).  A daemon that
# keeps what it read asks how old the file is; 20 ms is the issue's own bound.
_SETTLED = 0.03

# Between two requests of a paced workload.
_PAUSE = 0.002

Asked = tuple[Request, int]
Batch = Callable[[random.Random], list[Asked]]


@dataclass(frozen=True)
class Workload:
    """One row of the table.

    ``batch`` makes the requests of one batch; what is timed is a whole batch.
    ``changes``: the pool is laid out anew before each batch.  ``appends``:
    another program appends a record before each request, untimed.  ``get``: the
    C daemon cannot do it.  ``pause``: seconds between two requests, as a host
    leaves them; the processor's caches then hold other things (here: the
    benchmark's own, and whatever else runs).
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
    """How much of everything: the VM is slower, and a smoke test needs little."""

    auto: int
    paced: int
    sweeps: int
    enumerate: dict[int, int]
    walks: dict[int, int]
    changes: dict[int, tuple[int, int]]
    appends: dict[int, int]


NATIVE = Sizes(
    auto=2000,
    paced=200,
    sweeps=100,
    enumerate={50: 1000, 500: 500, 2000: 250, 10000: 80},
    walks={50: 10, 500: 2, 2000: 1, 10000: 1},
    changes={50: (10, 20), 500: (20, 5), 2000: (20, 3), 10000: (40, 1)},
    appends={50: 100, 2000: 50},
)
VM = Sizes(
    auto=200,
    paced=50,
    sweeps=10,
    enumerate={50: 100, 500: 50, 2000: 20},
    walks={50: 2},
    changes={50: (10, 3), 2000: (8, 1)},
    appends={50: 20, 2000: 8},
)
QUICK = Sizes(
    auto=300,
    paced=30,
    sweeps=20,
    enumerate={50: 100, 500: 50, 2000: 30},
    walks={50: 1},
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
    """Make a pool of so many records, in place, and let its times grow old.

    One record after the other, as everybody does who writes pools.  What one write(2)
    made of 25 MB has folios of up to 2 MiB, and each small write to one that is clean
    then costs ext4 40 us (Linux 6.18), whoever writes.
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
    """What is asked before a batch, untimed: a daemon's own copy or index of the pool is made.

    Ours makes the index at the second look-up of a key in a file that nobody else changed.
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


def _sweeps(number: int) -> Batch:
    keys = [
        (Request(KVP_OP_ENUMERATE, KVP_POOL_AUTO, index=n), HV_S_OK) for n in range(AUTO_KEYS)
    ]
    end = (Request(KVP_OP_ENUMERATE, KVP_POOL_AUTO, index=AUTO_KEYS), HV_S_CONT)
    return lambda _: [*keys, end] * number


def _enumerate(index: int, status: int = HV_S_OK) -> Asked:
    return Request(KVP_OP_ENUMERATE, POOL, index=index), status


def _random_enumerate(count: int, number: int) -> Batch:
    return lambda chance: [_enumerate(chance.randrange(count)) for _ in range(number)]


def _walks(count: int, number: int) -> Batch:
    walk = [*map(_enumerate, range(count)), _enumerate(count, HV_S_CONT)]
    return lambda _: walk * number


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
