# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""A host that sends anything through the driver: random and damaged requests, against a model.

The same as ``tests/soak/test_hostile_host.py``, which has more of them and no driver.
"""

from __future__ import annotations

import os
import random
import struct

from tests.driver import guest
from tests.driver.hostile import (
    AUTO,
    ENUMERATE,
    GET,
    OK,
    POOLS,
    SET,
    Hostile,
    Model,
    passed_on,
    wide,
)
from tests.driver.variant import fresh

VARIANTS = {"netlink": {"TRANSPORT": "netlink"}, "chardev": {"TRANSPORT": "chardev"}}
SECONDS = 1000
CHECK_SECONDS = 900

#: `make soak` sets 20,000, which take three minutes of a quiet processor.
REQUESTS = int(os.environ.get("REQUESTS", "1000"))
SEED = int(os.environ.get("SEED", "1"))
# What malloc and the index of some thousand keys may add to the daemon, in KiB.
GROWTH = 4096


def check_a_hostile_host_changes_pools_only_by_valid_requests() -> None:
    daemon, host = fresh()
    chance, model = random.Random(SEED), Model()
    hostile = Hostile(chance, model, wide)
    before = 0, 0
    for number in range(REQUESTS):
        message = bytearray(hostile.message())
        if message[0] == SET:
            message[4] = chance.choice((1, 1, 1, 4, 8, message[4]))
        expected = model.reply(passed_on(bytes(message)))
        status, reply = host.kvp(message[0], message[1], bytes(message[4:]))
        if expected is not None:
            key = value = ""
            if status == OK and message[0] == ENUMERATE:
                key, value = text(reply, 12, 20), text(reply, 16, 532)
            elif status == OK and message[0] == GET:
                key, value = expected[1].decode(), text(reply, 12, 528)
            found = status, key.encode(), value.encode()
            assert found == expected, (SEED, number, bytes(message[:64]))
        if number == REQUESTS // 5:
            before = guest.usage(daemon.pid)
    descriptors, memory = guest.usage(daemon.pid)
    assert descriptors == before[0]
    assert memory - before[1] < GROWTH
    for pool in {*range(POOLS)} - {AUTO}:
        assert stored(pool) == model.pools[pool]
    sizes = "/".join(str(len(records)) for records in model.pools)
    print(f"{REQUESTS} messages, pools of {sizes} records", flush=True)
    host.close()
    assert daemon.stop() == 0


def text(reply: bytes, size_at: int, at: int) -> str:
    """A text in the driver's answer to the host, without its NUL."""
    size: int = struct.unpack_from("<I", reply, size_at)[0]
    return reply[at : at + size - 2].decode("utf-16-le")


def stored(number: int) -> list[tuple[bytes, bytes]]:
    return [(key.encode(), value.encode()) for key, value in guest.records(guest.pool(number))]
