# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""A host that sends anything: 1,000,000 random and mutated messages, against a model.

The messages go to a daemon process over the loopback, as the driver would pass them on.  The
model is what docs/protocol.md says, in some lines; it reads each message by offsets of its
own.  After each message the reply is what the model expects, and at the end so are the pool
files, the daemon's descriptors and its memory.

``HV_KVP_SOAK_REQUESTS=20000`` sends as many, ``HV_KVP_SOAK_SEED=17`` chooses others.
"""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Callable
from typing import final

import psutil

from hv_kvp_daemon.simhost.simulated_driver import SimulatedDriver
from tests.support.daemon import RunningDaemon
from tests.support.process import DEADLINE

REQUESTS = int(os.environ.get("HV_KVP_SOAK_REQUESTS", "1000000"))
SEED = int(os.environ.get("HV_KVP_SOAK_SEED", "1"))
MESSAGE = 7432
OK, NO_MORE, FAIL = 0, 0x80070103, 0x80004005
NOT_SUPPORTED = 0x80070032
GET, SET, DELETE, ENUMERATE, GET_IP, SET_IP, REGISTER = 0, 1, 2, 3, 4, 5, 100
POOLS, AUTO = 5, 2
WORDS = (
    b"a",
    b"HostName",
    b"na\xc3\xafve",
    b"\xf0\x9d\x84\x9e",
    b"\xff",
    b"\xed\xa0\x80",
    b"\t\n",
)
SIZES = (0, 1, 511, 512, 513, 2047, 2048, 2049, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
# What malloc and the index of some thousand keys may add to the daemon, in bytes.
GROWTH = 4 << 20


@final
class Model:
    """The pools, and the reply to any message: ``(status, key, value)``, or None for any."""

    def __init__(self) -> None:
        self.pools: list[list[tuple[bytes, bytes]]] = [[] for _ in range(POOLS)]

    def reply(self, message: bytes) -> tuple[int, bytes, bytes] | None:
        operation, pool = message[:2]
        if operation == ENUMERATE:
            return self._enumerate(pool, struct.unpack_from("<I", message, 4)[0])
        if operation in {GET, SET}:
            key = field(message, 8, 16, 512)
        elif operation == DELETE:
            key = field(message, 4, 8, 512)
        elif operation in {GET_IP, SET_IP}:
            return None
        else:
            return NOT_SUPPORTED, b"", b""
        value = field(message, 12, 528, 2048) if operation == SET else b""
        if not key or value is None or (operation == SET and not message[12:16].strip(b"\0")):
            return FAIL, b"", b""
        if pool >= POOLS or (pool == AUTO and operation != GET):
            return FAIL, b"", b""
        return None if pool == AUTO else self._keyed(operation, self.pools[pool], key, value)

    def _keyed(
        self, operation: int, records: list[tuple[bytes, bytes]], key: bytes, value: bytes
    ) -> tuple[int, bytes, bytes]:
        at = next((n for n, record in enumerate(records) if record[0] == key), None)
        if operation == SET:
            if at is None:
                records.append((key, value))
            else:
                records[at] = key, value
        elif at is None:
            return NO_MORE, b"", b""
        elif operation == DELETE:
            del records[at]
        else:
            return OK, seen(key, 254, 511), seen(records[at][1], 1022, 2047)
        return OK, b"", b""

    def _enumerate(self, pool: int, index: int) -> tuple[int, bytes, bytes] | None:
        if pool == AUTO and index < 10:
            return None
        if pool >= POOLS or index >= len(self.pools[pool]):
            return NO_MORE, b"", b""
        key, value = self.pools[pool][index]
        return OK, seen(key, 254, 511), seen(value, 1022, 2047)


def field(message: bytes, size_at: int, at: int, limit: int) -> bytes | None:
    """A text up to its NUL; None if it or its size exceeds the field."""
    size: int = struct.unpack_from("<I", message, size_at)[0]
    text = message[at : at + size].partition(b"\0")[0]
    return text if size <= limit and len(text) < limit else None


def seen(raw: bytes, units: int, size: int) -> bytes:
    """What a host sees of a text: valid, and cut after a whole character."""
    text = raw.decode("utf-8", "replace")
    while len(text.encode("utf-16-le")) > 2 * units or len(text.encode()) > size:
        text = text[:-1]
    return text.encode()


@final
class Hostile:
    """Makes messages: mostly such as the driver makes, and those again with damage."""

    def __init__(self, chance: random.Random, model: Model) -> None:
        self._chance = chance
        self._model = model

    def message(self) -> bytes:
        chance = self._chance
        operation = chance.choice((GET, SET, SET, DELETE, ENUMERATE, ENUMERATE, ENUMERATE))
        pool = chance.choice((0, 1, 3, 4))
        key = self._key(pool)
        message = bytearray(MESSAGE)
        message[:2] = operation, pool
        if operation == DELETE:
            message[4 : 8 + len(key)] = struct.pack("<I", len(key) + 1) + key
        elif operation == ENUMERATE:
            index = chance.randrange(len(self._model.pools[pool]) + 2)
            struct.pack_into("<I", message, 4, index)
        else:
            value = self._text(2047) if operation == SET else b""
            struct.pack_into("<II", message, 8, len(key) + 1, len(value) + (operation == SET))
            message[16 : 16 + len(key)] = key
            message[528 : 528 + len(value)] = value
        if chance.random() < 0.3:
            self._damage(message)
        if message[0] in {GET_IP, REGISTER}:
            # Rare, as an answer to the first takes time.  The driver sends the second with
            # an empty body, if a host sends it at all; with a version it is a registration's.
            message[0] = 255 if chance.random() < 0.99 else message[0]
            message[4:] = bytes(MESSAGE - 4)
        return bytes(message)

    def _key(self, pool: int) -> bytes:
        records = self._model.pools[pool]
        # Mostly known keys once there are many, so that the pools do not grow without end.
        if records and self._chance.random() < (0.5 if len(records) < 200 else 0.98):
            return self._chance.choice(records)[0]
        return self._text(511) or b"key"

    def _text(self, limit: int) -> bytes:
        chance = self._chance
        count = chance.choice((1, 1, 2, 5, chance.randrange(600)))
        text = b"".join(chance.choices(WORDS, k=count)) + b"%d" % chance.randrange(1000)
        return text[-limit:] if chance.random() < 0.1 else text[: min(limit, 40)]

    def _damage(self, message: bytearray) -> None:
        chance = self._chance
        kind = chance.randrange(5)
        if kind == 0:
            message[chance.randrange(2)] = chance.randrange(256)
        elif kind == 1:
            struct.pack_into("<I", message, chance.choice((4, 8, 12)), chance.choice(SIZES))
        elif kind == 2:
            at = chance.choice((8, 16, 528))
            message[at : at + 2100] = bytes([chance.randrange(1, 256)]) * 2100
        elif kind == 3:
            message[chance.randrange(MESSAGE)] = chance.randrange(256)
        else:
            at = chance.randrange(MESSAGE - 64)
            message[at : at + 64] = chance.randbytes(64)


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
            reply = driver.exchange(message)
            status: int = struct.unpack_from("<I", reply)[0]
            pair = reply[20:532].partition(b"\0"), reply[532:2580].partition(b"\0")
            if status == OK:
                assert pair[0][1], f"request {number}: no NUL within a key"
                assert pair[1][1], f"request {number}: no NUL within a value"
            if expected is not None:
                found = status, pair[0][0], pair[1][0]
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
