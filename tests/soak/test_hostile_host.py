# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""A host that sends anything: 1,000,000 random and mutated messages, against a model.

The messages go to a daemon process over the loopback, as the driver would pass them on.
After each message the reply is what the model expects, and at the end so are the pool
files, the daemon's descriptors and its memory.  `test_scenarios` has the scenario in which
a host sends its messages through the kernel's driver.

``HV_KVP_SOAK_REQUESTS=20000`` sends as many, ``HV_KVP_SOAK_SEED=17`` chooses others.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable

import psutil

from hv_kvp_daemon.simhost.simulated_driver import SimulatedDriver
from tests.driver.hostile import AUTO, POOLS, Hostile, Model, replied
from tests.support.daemon import RunningDaemon
from tests.support.process import DEADLINE

REQUESTS = int(os.environ.get("HV_KVP_SOAK_REQUESTS", "1000000"))
SEED = int(os.environ.get("HV_KVP_SOAK_SEED", "1"))
# What malloc and the index of some thousand keys may add to the daemon, in bytes.
GROWTH = 4 << 20


def test_a_hostile_host_changes_pools_only_by_valid_requests(
    count: Callable[..., None], tell: Callable[[str], None]
) -> None:
    model = Model()
    hostile = Hostile(random.Random(SEED), model)
    with RunningDaemon("--no-sync") as daemon, SimulatedDriver(daemon.path, DEADLINE) as driver:
        process = psutil.Process(daemon.pid)
        memory = descriptors = 0
        for number in range(REQUESTS):
            message = hostile.message()
            expected = model.reply(message)
            found = replied(driver.exchange(message))
            if expected is not None:
                assert found == expected, f"seed {SEED}, request {number}: {message[:64]!r}"
            if number == REQUESTS // 5:
                memory, descriptors = process.memory_info().rss, process.num_fds()
        assert process.num_fds() == descriptors
        growth = process.memory_info().rss - memory
        assert growth < GROWTH
        for pool in {*range(POOLS)} - {AUTO}:
            assert daemon.records(pool) == model.pools[pool]
    count("messages of a hostile host", points=REQUESTS, broken=0)
    sizes = "/".join(str(len(records)) for records in model.pools)
    tell(f"hostile host: {growth >> 10} KiB more resident memory; records at the end {sizes}")
