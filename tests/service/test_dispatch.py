# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Requests and their replies; records that are read without the pools' locks.

A request that needs the locks gets HV_E_FAIL here while another program holds them.
"""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hv_kvp_daemon.pools.directory import PoolDirectory, pool_path
from hv_kvp_daemon.service.dispatch import Dispatch
from hv_kvp_daemon.wire.message import Request, decode_reply, encode_request
from hv_kvp_daemon.wire.record import RECORD_SIZE, encode
from hv_kvp_daemon.wire.uapi import (
    HV_E_FAIL,
    HV_ERROR_NOT_SUPPORTED,
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


class FakeAutoPool:
    """Three items; as in the real auto pool, each is the same tuple until its value changes."""

    def __init__(self) -> None:
        self.items = [(b"first", b"1"), (b"second", b"2"), (b"third", b"3")]
        self.asked = 0

    def item(self, index: int) -> tuple[bytes, bytes] | None:
        self.asked += 1
        return self.items[index] if index < len(self.items) else None

    def find(self, key: bytes) -> bytes | None:
        return dict(self.items).get(key)


class Pools:
    """The five pools, a `Dispatch`, and another program that writes to the pools."""

    def __init__(self, directory: Path) -> None:
        self.pools = PoolDirectory(
            str(directory), report=lambda _: None, sync=False, lock_wait=0.0
        )
        self.said: list[str] = []
        self.reasons: set[str] = set()
        self.auto = FakeAutoPool()
        self.dispatch = Dispatch(
            self.pools,
            self.auto,  # type: ignore[arg-type]
            self.report,
            lambda *_: False,
        )

    def report(self, text: str, reason: str) -> None:
        self.said.append(text)
        self.reasons.add(reason)

    def write(self, pool: int, *records: bytes) -> None:
        with open(pool_path(self.pools.path, pool), "wb") as file:
            file.write(b"".join(records))
        wait_until_settled(file.name)

    def known(self, pool: int, *records: bytes) -> None:
        """Write, and read once under the locks."""
        self.write(pool, *records)
        self.pools[pool].count()

    def handle(self, request: Request) -> tuple[bytes, bytes] | int:
        found = decode_reply(self.dispatch.handle(encode_request(request)))
        return found.status or (found.key, found.value)

    def ask(self, pool: int, index: int) -> tuple[bytes, bytes] | int:
        return self.handle(Request(KVP_OP_ENUMERATE, pool, index=index))

    def ask_unlocked(self, pool: int, index: int) -> tuple[bytes, bytes] | int:
        """Like `ask`, while another program holds both of the pool's locks."""
        with open(pool_path(self.pools.path, pool), "rb+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            fcntl.lockf(file, fcntl.LOCK_EX)
            return self.ask(pool, index)


@pytest.fixture
def pools(tmp_path: Path) -> Iterator[Pools]:
    pools = Pools(tmp_path)
    yield pools
    pools.pools.close()


def numbered(count: int, text: bytes = b"") -> list[bytes]:
    return [encode(b"key %d" % n, b"value %d" % n + text) for n in range(count)]


@pytest.mark.parametrize("times", [1, 3])
def test_a_record_is_read_without_the_locks_and_after_the_last_one_the_end(
    pools: Pools, times: int
) -> None:
    pools.known(KVP_POOL_GUEST, *numbered(100))
    for _ in range(times):
        for index in range(100):
            expected = (b"key %d" % index, b"value %d" % index)
            assert pools.ask_unlocked(KVP_POOL_GUEST, index) == expected
        for index in (100, 2**32 - 1):
            assert pools.ask_unlocked(KVP_POOL_GUEST, index) == HV_S_CONT


def test_a_file_that_was_not_read_yet_is_read_under_the_locks(pools: Pools) -> None:
    pools.write(KVP_POOL_GUEST, *numbered(1))
    assert pools.ask_unlocked(KVP_POOL_GUEST, 0) == HV_E_FAIL
    assert "no lock within" in pools.said[0]
    assert pools.ask(KVP_POOL_GUEST, 0) == (b"key 0", b"value 0")


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (encode("clé".encode(), b"value"), ("clé".encode(), b"value")),
        (encode(b"key", "naïve".encode()), (b"key", "naïve".encode())),
        (encode(b"k" * 255, b"value"), (b"k" * 254, b"value")),
        (encode(b"key", b"v" * 1023), (b"key", b"v" * 1022)),
        (encode(b"key", b"value")[:-1] + b"x", (b"key", b"value")),
        (b"key\0x".ljust(RECORD_SIZE, b"\0"), (b"key", b"")),
        (b"\0x".ljust(RECORD_SIZE, b"\0"), (b"", b"")),
        (b"x" * RECORD_SIZE, (b"x" * 254, b"x" * 1022)),
        (b"a part of a record", HV_S_CONT),
        (encode(b"key", b"a part of a record")[:600], HV_S_CONT),
    ],
)
def test_a_record_that_the_driver_cannot_take_unchanged_is_converted(
    pools: Pools, record: bytes, expected: tuple[bytes, bytes] | int
) -> None:
    pools.known(KVP_POOL_GUEST, *numbered(1), record)
    assert pools.ask_unlocked(KVP_POOL_GUEST, 0) == (b"key 0", b"value 0")
    assert pools.ask_unlocked(KVP_POOL_GUEST, 1) == expected


def test_the_longest_that_a_host_takes_is_read_without_the_locks(pools: Pools) -> None:
    pools.known(KVP_POOL_GUEST, encode(b"k" * 254, b"v" * 1022), encode(b"k", b""))
    assert pools.ask_unlocked(KVP_POOL_GUEST, 0) == (b"k" * 254, b"v" * 1022)
    assert pools.ask_unlocked(KVP_POOL_GUEST, 1) == (b"k", b"")


def test_each_pool_has_records_of_its_own(pools: Pools) -> None:
    for pool in (KVP_POOL_EXTERNAL, KVP_POOL_GUEST):
        pools.known(pool, *numbered(3, b" of pool %d" % pool))
    for _ in range(2):
        for pool in (KVP_POOL_EXTERNAL, KVP_POOL_GUEST):
            expected = (b"key 2", b"value 2 of pool %d" % pool)
            assert pools.ask_unlocked(pool, 2) == expected


def test_the_auto_pool_is_no_file(pools: Pools) -> None:
    pools.known(KVP_POOL_AUTO, *numbered(1))
    assert pools.ask_unlocked(KVP_POOL_AUTO, 0) == (b"first", b"1")
    assert pools.ask(KVP_POOL_AUTO, 3) == HV_S_CONT
    assert pools.handle(Request(KVP_OP_GET, KVP_POOL_AUTO, b"second")) == (b"second", b"2")
    assert pools.handle(Request(KVP_OP_GET, KVP_POOL_AUTO, b"fourth")) == HV_S_CONT


def test_an_item_whose_value_changes_has_another_reply(pools: Pools) -> None:
    for value in (b"1", b"1", b"changed", b"changed", b"1"):
        pools.auto.items[0] = (b"first", value)
        assert pools.ask(KVP_POOL_AUTO, 0) == (b"first", value)
        assert pools.ask(KVP_POOL_AUTO, 1) == (b"second", b"2")
    assert pools.auto.asked == 10, "each request asks"


@pytest.mark.parametrize("operation", [KVP_OP_SET, KVP_OP_DELETE])
@pytest.mark.parametrize("pool", [KVP_POOL_AUTO, 5, 255])
def test_a_pool_that_cannot_be_changed_is_not(pools: Pools, operation: int, pool: int) -> None:
    assert pools.handle(Request(operation, pool, b"first", b"value")) == HV_E_FAIL


@pytest.mark.parametrize("pool", [5, 255])
def test_a_pool_that_does_not_exist_is_empty(pools: Pools, pool: int) -> None:
    assert pools.ask(pool, 0) == HV_S_CONT
    assert pools.handle(Request(KVP_OP_GET, pool, b"key")) == HV_E_FAIL


def test_set_get_and_delete(pools: Pools) -> None:
    assert pools.handle(Request(KVP_OP_SET, 1, b"key", b"value")) == (b"", b"")
    assert pools.handle(Request(KVP_OP_GET, 1, b"key")) == (b"key", b"value")
    assert pools.handle(Request(KVP_OP_GET, 1, b"Key")) == HV_S_CONT
    assert pools.handle(Request(KVP_OP_DELETE, 1, b"Key")) == HV_S_CONT
    assert pools.handle(Request(KVP_OP_DELETE, 1, b"key")) == (b"", b"")
    assert pools.handle(Request(KVP_OP_GET, 1, b"key")) == HV_S_CONT


@pytest.mark.parametrize("operation", [6, 77, 255])
def test_an_unsupported_operation_is_reported(pools: Pools, operation: int) -> None:
    assert pools.handle(Request(operation, 1)) == HV_ERROR_NOT_SUPPORTED
    assert pools.said == [f"operation {operation} is not supported"]


def test_an_empty_key_fails_and_is_reported(pools: Pools) -> None:
    assert pools.handle(Request(KVP_OP_SET, 1, b"", b"value")) == HV_E_FAIL
    assert pools.said == ["unusable request for pool 1: the key is empty"]


def test_a_pool_that_cannot_be_used_fails_and_is_reported(pools: Pools) -> None:
    os.mkdir(pool_path(pools.pools.path, KVP_POOL_GUEST))
    assert pools.ask(KVP_POOL_GUEST, 0) == HV_E_FAIL
    assert pools.handle(Request(KVP_OP_SET, KVP_POOL_GUEST, b"key", b"value")) == HV_E_FAIL
    assert len(pools.said) == 2


def test_a_reason_has_no_text_of_other_programs(pools: Pools) -> None:
    """D8: a holder of the locks that renames itself made a reason of each failure."""
    pools.write(0)
    with open(pool_path(pools.pools.path, 0), "r+b") as file, open(file.name, "r+b") as other:
        fcntl.flock(file, fcntl.LOCK_EX)
        fcntl.fcntl(other, fcntl.F_OFD_SETLK, struct.pack("hhqqi0q", fcntl.F_WRLCK, *[0] * 4))
        name = Path("/proc/self/comm")
        before = name.read_text()
        for new in ("first", "second"):
            name.write_text(new)
            assert pools.handle(Request(KVP_OP_SET, 0, b"key", b"value")) == HV_E_FAIL
        name.write_text(before)
    assert ["'first'" in pools.said[0], "'second'" in pools.said[1]] == [True, True]
    assert pools.reasons == {"0: LockTimeoutError None"}


def test_get_ip_info_for_a_mac_that_no_interface_has_fails(pools: Pools) -> None:
    message = bytearray(encode_request(Request(4, 0)))
    message[4 : 4 + 17] = b"02:00:00:FF:FF:FE"
    assert decode_reply(pools.dispatch.handle(bytes(message))).status == HV_E_FAIL


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
def test_a_file_that_has_changed_is_read_under_the_locks(pools: Pools, change: str) -> None:
    pools.known(KVP_POOL_GUEST, *numbered(3))
    for _ in range(2):
        assert pools.ask_unlocked(KVP_POOL_GUEST, 0) == (b"key 0", b"value 0")
    CHANGES[change](pools, pools.pools[KVP_POOL_GUEST].path)
    if change != "removed":
        assert pools.ask_unlocked(KVP_POOL_GUEST, 0) == HV_E_FAIL
    expected = {
        "set by a neighbour": (b"key 0", b"theirs"),
        "appended by a neighbour": (b"key 0", b"value 0!"),
    }
    assert pools.ask(KVP_POOL_GUEST, 0) == expected.get(change, HV_S_CONT)


def test_after_our_own_change_the_new_records_are_read_without_the_locks(pools: Pools) -> None:
    pools.known(KVP_POOL_GUEST, *numbered(3))
    for index in range(3):
        assert pools.ask_unlocked(KVP_POOL_GUEST, index) == (
            b"key %d" % index,
            b"value %d" % index,
        )
    pool = pools.pools[KVP_POOL_GUEST]
    pool.store(b"key 0", b"new")
    assert pools.ask_unlocked(KVP_POOL_GUEST, 0) == (b"key 0", b"new")
    pool.delete(b"key 1")
    assert pools.ask_unlocked(KVP_POOL_GUEST, 1) == (b"key 2", b"value 2")
    assert pools.ask_unlocked(KVP_POOL_GUEST, 2) == HV_S_CONT
