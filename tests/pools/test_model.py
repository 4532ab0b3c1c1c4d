# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Random requests, and a random neighbour, against a list of records."""

from __future__ import annotations

import os
import tempfile

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hv_kvp_daemon.pools.pool import PoolFile
from hv_kvp_daemon.wire.record import RECORD_SIZE, Record, encode

KEYS = st.sampled_from([b"a", b"ab", b"abc", b"\xc3\xa4", b"k" * 511])
VALUES = st.binary(max_size=12).map(lambda raw: raw.replace(b"\0", b"0")) | st.just(b"v" * 2047)
RUBBISH = st.sampled_from([b"\0", b"\xaa", b"a"])


def dirty(key: bytes, value: bytes, rubbish: bytes) -> bytes:
    return (key + b"\0").ljust(512, rubbish) + (value + b"\0").ljust(2048, rubbish)


class Pools(RuleBasedStateMachine):
    """The file's records as bytes, and what a reader sees of each."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.path = os.path.join(self.directory.name, ".kvp_pool_1")
        self.reports: list[str] = []
        self.pool = PoolFile(1, self.path, report=self.reports.append, sync=False)
        self.raw: list[bytes] = []
        self.tail = b""

    def teardown(self) -> None:
        self.pool.close()
        self.directory.cleanup()

    def where(self, key: bytes) -> list[int]:
        return [i for i, raw in enumerate(self.raw) if raw[:512].split(b"\0")[0] == key]

    @rule(key=KEYS, value=VALUES)
    def store(self, key: bytes, value: bytes) -> None:
        self.pool.store(key, value)
        found = self.where(key)
        if found:
            self.raw[found[0]] = self.raw[found[0]][:512] + encode(key, value)[512:]
            self.raw = [raw for i, raw in enumerate(self.raw) if i not in found[1:]]
        else:
            self.raw.append(encode(key, value))
        self.tail = b""

    @rule(key=KEYS, value=VALUES)
    def append(self, key: bytes, value: bytes) -> None:
        self.pool.append(key, value)
        self.raw.append(encode(key, value))
        self.tail = b""

    @rule(key=KEYS)
    def delete(self, key: bytes) -> None:
        found = self.where(key)
        assert self.pool.delete(key) == len(found)
        if found:
            self.raw = [raw for i, raw in enumerate(self.raw) if i not in found]
            self.tail = b""

    @rule(key=KEYS)
    def find(self, key: bytes) -> None:
        found = self.where(key)
        value = self.raw[found[0]][512:].split(b"\0")[0] if found else None
        assert self.pool.find(key) == value

    @rule(index=st.integers(0, 12) | st.integers(0, 2**32 - 1))
    def read(self, index: int) -> None:
        record = self.pool.read(index)
        if index >= len(self.raw):
            assert record is None
        else:
            raw = self.raw[index]
            assert record == Record(raw[:512].split(b"\0")[0], raw[512:].split(b"\0")[0])

    @precondition(lambda self: not self.tail)
    @rule(key=KEYS | st.just(b""), value=VALUES, rubbish=RUBBISH)
    def neighbour_appends(self, key: bytes, value: bytes, rubbish: bytes) -> None:
        record = dirty(key, value[:2040], rubbish)
        with open(self.path, "ab") as file:
            file.write(record)
        if any(record[:512]):
            self.raw.append(record)
        else:
            # An append that its writer did not finish looks so.
            assert self.pool.count() == len(self.raw)

    @precondition(lambda self: not self.tail)
    @rule(size=st.integers(1, RECORD_SIZE - 1))
    def neighbour_crashes(self, size: int) -> None:
        self.tail = encode(b"a", b"torn")[:size]
        with open(self.path, "ab") as file:
            file.write(self.tail)

    @rule()
    def neighbour_removes(self) -> None:
        if os.path.exists(self.path):
            os.unlink(self.path)
        self.raw, self.tail = [], b""

    @rule(key=KEYS, value=VALUES)
    def neighbour_replaces(self, key: bytes, value: bytes) -> None:
        self.raw, self.tail = [encode(key, value)], b""
        with open(f"{self.path}.new", "wb") as file:
            file.write(self.raw[0])
        os.rename(f"{self.path}.new", self.path)

    @rule()
    def restart(self) -> None:
        self.pool.close()
        self.pool = PoolFile(1, self.path, report=self.reports.append, sync=False)

    @invariant()
    def file_is_as_the_model(self) -> None:
        data = b""
        if os.path.exists(self.path):
            with open(self.path, "rb") as file:
                data = file.read()
        assert data == b"".join(self.raw) + self.tail
        assert self.pool.count() == len(self.raw)


TestPools = Pools.TestCase
TestPools.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
