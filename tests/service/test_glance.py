"""Replies that are made without the locks: always what the file has."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from hv_kvp_daemon.pools.directory import PoolDirectory, pool_path
from hv_kvp_daemon.service.glance import Glance
from hv_kvp_daemon.wire.message import Request, decode_reply, encode_request
from hv_kvp_daemon.wire.record import RECORD_SIZE, encode
from hv_kvp_daemon.wire.uapi import (
    HV_S_CONT,
    KVP_OP_DELETE,
    KVP_OP_ENUMERATE,
    KVP_OP_GET,
    KVP_OP_SET,
    KVP_POOL_AUTO,
    KVP_POOL_EXTERNAL,
    KVP_POOL_GUEST,
)
from tests.support.settled import wait_until_settled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Pools:
    """The five pools, and who writes to them beside the daemon."""

    def __init__(self, directory: Path) -> None:
        self.pools = PoolDirectory(str(directory), report=lambda _: None, sync=False)
        self.glance = Glance(self.pools).reply

    def write(self, pool: int, *records: bytes) -> None:
        with open(pool_path(self.pools.path, pool), "wb") as file:
            file.write(b"".join(records))
        wait_until_settled(file.name)

    def known(self, pool: int, *records: bytes) -> None:
        """Write, and read once under the locks."""
        self.write(pool, *records)
        self.pools[pool].count()

    def ask(self, pool: int, index: int) -> tuple[bytes, bytes] | int | None:
        message = encode_request(Request(KVP_OP_ENUMERATE, pool, index=index))
        reply = self.glance(message)
        if reply is None:
            return None
        found = decode_reply(reply)
        return found.status or (found.key, found.value)


@pytest.fixture
def pools(tmp_path: Path) -> Iterator[Pools]:
    pools = Pools(tmp_path)
    yield pools
    pools.pools.close()


def numbered(count: int, text: bytes = b"") -> list[bytes]:
    return [encode(b"key %d" % n, b"value %d" % n + text) for n in range(count)]


@pytest.mark.parametrize("times", [1, 3])
def test_a_record_is_told_and_behind_the_last_one_the_end(pools: Pools, times: int) -> None:
    pools.known(KVP_POOL_GUEST, *numbered(100))
    for _ in range(times):
        for index in range(100):
            told = (b"key %d" % index, b"value %d" % index)
            assert pools.ask(KVP_POOL_GUEST, index) == told
        for index in (100, 2**32 - 1):
            assert pools.ask(KVP_POOL_GUEST, index) == HV_S_CONT


def test_a_file_that_was_not_read_yet_is_left_to_others(pools: Pools) -> None:
    pools.write(KVP_POOL_GUEST, *numbered(1))
    assert pools.ask(KVP_POOL_GUEST, 0) is None


@pytest.mark.parametrize(
    "record",
    [
        encode("clé".encode(), b"value"),
        encode(b"key", "naïve".encode()),
        encode(b"k" * 255, b"longer than a host takes"),
        encode(b"key", b"v" * 1023),
        encode(b"key", b"value")[:-1] + b"x",
        b"key\0x".ljust(RECORD_SIZE, b"\0"),
        b"\0x".ljust(RECORD_SIZE, b"\0"),
        b"x" * RECORD_SIZE,
        b"a part of a record",
        encode(b"key", b"a part of a record")[:600],
    ],
)
def test_what_must_be_looked_at_twice_is_left_to_others(pools: Pools, record: bytes) -> None:
    pools.known(KVP_POOL_GUEST, *numbered(1), record)
    assert pools.ask(KVP_POOL_GUEST, 0) == (b"key 0", b"value 0")
    assert pools.ask(KVP_POOL_GUEST, 1) is None


def test_the_longest_that_a_host_takes_is_told(pools: Pools) -> None:
    pools.known(KVP_POOL_GUEST, encode(b"k" * 254, b"v" * 1022), encode(b"k", b""))
    assert pools.ask(KVP_POOL_GUEST, 0) == (b"k" * 254, b"v" * 1022)
    assert pools.ask(KVP_POOL_GUEST, 1) == (b"k", b"")


def test_pools_are_told_apart(pools: Pools) -> None:
    for pool in (KVP_POOL_EXTERNAL, KVP_POOL_GUEST):
        pools.known(pool, *numbered(3, b" of pool %d" % pool))
    for _ in range(2):
        for pool in (KVP_POOL_EXTERNAL, KVP_POOL_GUEST):
            assert pools.ask(pool, 2) == (b"key 2", b"value 2 of pool %d" % pool)


def test_it_is_for_enumerate_and_for_pools_that_are_files(pools: Pools) -> None:
    pools.known(KVP_POOL_AUTO, *numbered(1))
    for pool in (KVP_POOL_AUTO, 5, 255):
        assert pools.ask(pool, 0) is None
    pools.known(KVP_POOL_GUEST, *numbered(1))
    for operation in (KVP_OP_GET, KVP_OP_SET, KVP_OP_DELETE, 77):
        request = Request(operation, KVP_POOL_GUEST, b"key 0", b"value")
        assert pools.glance(encode_request(request)) is None


def write_again(pools: Pools, path: str) -> None:
    with open(path, "r+b") as file:
        file.write(encode(b"key 0", b"theirs"))


CHANGES: dict[str, Callable[[Pools, str], object]] = {
    "set by a neighbour": write_again,
    "appended by a neighbour": lambda pools, path: pools.write(
        KVP_POOL_GUEST, *numbered(4, b"!")
    ),
    "removed": lambda pools, path: os.unlink(path),
    "cut": lambda pools, path: os.truncate(path, 0),
}


@pytest.mark.parametrize("change", CHANGES)
def test_nothing_is_told_of_a_file_that_has_changed(pools: Pools, change: str) -> None:
    pools.known(KVP_POOL_GUEST, *numbered(3))
    for _ in range(2):
        assert pools.ask(KVP_POOL_GUEST, 0) == (b"key 0", b"value 0")
    CHANGES[change](pools, pools.pools[KVP_POOL_GUEST].path)
    assert pools.ask(KVP_POOL_GUEST, 0) is None


def test_after_our_own_change_the_new_records_are_told(pools: Pools) -> None:
    pools.known(KVP_POOL_GUEST, *numbered(3))
    for index in range(3):
        assert pools.ask(KVP_POOL_GUEST, index) == (b"key %d" % index, b"value %d" % index)
    pool = pools.pools[KVP_POOL_GUEST]
    pool.store(b"key 0", b"new")
    assert pools.ask(KVP_POOL_GUEST, 0) == (b"key 0", b"new")
    pool.delete(b"key 1")
    assert pools.ask(KVP_POOL_GUEST, 1) == (b"key 2", b"value 2")
    assert pools.ask(KVP_POOL_GUEST, 2) == HV_S_CONT
