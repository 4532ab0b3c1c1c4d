# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""What a pool's requests do to the bytes of its file."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from hv_kvp_daemon.pools import pool as pool_module
from hv_kvp_daemon.pools.errors import LockTimeoutError, PoolFieldError
from hv_kvp_daemon.pools.fileio import read_at
from hv_kvp_daemon.wire.record import RECORD_SIZE, Record, encode

if TYPE_CHECKING:
    from hv_kvp_daemon.pools.pool import PoolFile
    from tests.pools.conftest import Holder


def dirty(key: bytes, value: bytes) -> bytes:
    """A record as kvp_client writes it: rubbish behind the NULs."""
    return (key + b"\0").ljust(512, b"\xaa") + (value + b"\0").ljust(2048, b"\xbb")


def put(pool: PoolFile, *records: bytes) -> None:
    with open(pool.path, "ab") as file:
        file.write(b"".join(records))


def content(pool: PoolFile) -> bytes:
    with open(pool.path, "rb") as file:
        return file.read()


def test_a_record_that_was_set_is_read_found_and_counted(pool: PoolFile) -> None:
    pool.store(b"a", b"1")
    pool.store("schlüssel".encode(), "größe 💾".encode())
    assert pool.count() == 2
    assert pool.read(1) == Record("schlüssel".encode(), "größe 💾".encode())
    assert pool.find(b"a") == b"1"
    assert pool.records() == [pool.read(0), pool.read(1)]
    assert content(pool) == encode(b"a", b"1") + encode(
        "schlüssel".encode(), "größe 💾".encode()
    )


def test_a_missing_file_is_an_empty_pool_and_only_new_records_make_it(pool: PoolFile) -> None:
    assert pool.count() == 0
    assert pool.records() == []
    assert pool.read(0) is None
    assert pool.find(b"a") is None
    assert not pool.delete(b"a")
    assert pool.clear() == 0
    assert not os.path.exists(pool.path)
    pool.append(b"a", b"1")
    os.unlink(pool.path)
    assert pool.count() == 0


CHANGES: dict[str, Callable[[PoolFile], object]] = {
    "store": lambda pool: pool.store(b"a", b"2"),
    "append": lambda pool: pool.append(b"b", b"2"),
    "delete": lambda pool: pool.delete(b"a"),
    "clear": lambda pool: pool.clear(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_no_change_is_made_while_others_read(
    pool: PoolFile, hold: Callable[..., Holder], change: Callable[[PoolFile], object]
) -> None:
    pool.append(b"a", b"1")
    hold(pool.path, "flock shared+ofd shared")
    with pytest.raises(LockTimeoutError):
        change(pool)
    assert content(pool) == encode(b"a", b"1")


@pytest.mark.parametrize("index", [1, 2, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63, 2**64, -1])
def test_an_index_out_of_range_has_no_record(pool: PoolFile, index: int) -> None:
    """T14."""
    pool.append(b"a", b"1")
    assert pool.read(index) is None


@pytest.mark.parametrize("count", [0, 1, 50, 51, 64, 65, 100, 101, 128, 150, 500])
def test_every_record_is_served_however_many_there_are(pool: PoolFile, count: int) -> None:
    """P2."""
    pool.open()
    put(pool, *(encode(b"key %d" % i, b"%d" % i) for i in range(count // 2)))
    assert pool.count() == count // 2
    put(pool, *(encode(b"key %d" % i, b"%d" % i) for i in range(count // 2, count)))
    expected = [Record(b"key %d" % i, b"%d" % i) for i in range(count)]
    assert pool.records() == expected
    assert [pool.read(i) for i in range(count)] == expected
    assert [pool.find(record.key) for record in expected] == [r.value for r in expected]
    assert pool.read(count) is None


def test_a_shorter_value_leaves_nothing_of_the_longer_one(pool: PoolFile) -> None:
    """P3."""
    pool.store(b"a", b"a long value")
    pool.store(b"a", b"v")
    assert content(pool) == encode(b"a", b"v")


def test_a_modified_dirty_value_leaves_nothing_behind_and_the_key_as_it_was(
    pool: PoolFile,
) -> None:
    """P3."""
    put(pool, dirty(b"a", b"x" * 100))
    pool.store(b"a", b"v")
    assert content(pool) == dirty(b"a", b"")[:512] + encode(b"a", b"v")[512:]


def test_new_records_are_zero_filled(pool: PoolFile) -> None:
    """P4."""
    for i in range(3):
        pool.append(b"k", b"%d" % i)
    assert content(pool).count(0) == 3 * (RECORD_SIZE - 2)


def test_delete_moves_the_records_behind_it_byte_for_byte(pool: PoolFile) -> None:
    """P5."""
    full = b"k" * 512 + b"v" * 2048
    put(
        pool,
        encode(b"a", b""),
        dirty(b"b", b"\xff\xfe"),
        dirty(b"x", b""),
        full,
        dirty(b"c", b""),
    )
    assert pool.delete(b"x")
    assert content(pool) == encode(b"a", b"") + dirty(b"b", b"\xff\xfe") + full + dirty(
        b"c", b""
    )


@pytest.mark.parametrize("index", [0, 1, 2])
def test_the_first_a_middle_and_the_last_record_can_be_deleted(
    pool: PoolFile, index: int
) -> None:
    """P6."""
    keys = [b"a", b"b", b"c"]
    for key in keys:
        pool.append(key, key * 3)
    assert pool.delete(keys.pop(index))
    assert [record.key for record in pool.records()] == keys
    assert len(content(pool)) == 2 * RECORD_SIZE


def test_deleting_the_only_record_leaves_an_empty_file(pool: PoolFile) -> None:
    """P6."""
    pool.append(b"a", b"1")
    assert pool.delete(b"a")
    assert content(pool) == b""
    assert not pool.delete(b"a")


def test_keys_match_as_wholes_never_by_their_beginning(pool: PoolFile) -> None:
    """P7."""
    put(pool, encode(b"abc", b"1"), dirty(b"ab", b"2"), b"a" * 512 + bytes(2048))
    assert pool.find(b"ab") == b"2"
    assert pool.find(b"a") is None
    assert pool.find(b"a" * 511) is None
    assert not pool.delete(b"a")
    pool.store(b"a", b"3")
    assert pool.count() == 4
    assert pool.find(b"a") == b"3"


def test_keys_differ_by_case(pool: PoolFile) -> None:
    """P9."""
    pool.store(b"Key", b"1")
    assert pool.find(b"key") is None
    pool.store(b"key", b"2")
    assert pool.records() == [Record(b"Key", b"1"), Record(b"key", b"2")]


@pytest.mark.parametrize(
    ("key", "value", "actual", "allowed"),
    [(b"", b"", 0, 511), (b"k" * 512, b"", 512, 511), (b"k\0", b"", 2, 1)],
)
def test_an_unusable_key_is_refused_by_every_request_and_nothing_changes(
    pool: PoolFile, key: bytes, value: bytes, actual: int, allowed: int
) -> None:
    """P7, P8."""
    first = bytes(512) + encode(b"a", b"")[512:]  # an empty key, which P7's memcmp would find
    put(pool, first)
    for request in (
        lambda: pool.store(key, value),
        lambda: pool.append(key, value),
        lambda: pool.find(key),
        lambda: pool.delete(key),
    ):
        with pytest.raises(PoolFieldError) as caught:
            request()
        error = caught.value
        assert isinstance(error, ValueError)
        assert (error.pool, error.path, error.field) == (1, pool.path, "key")
        assert (error.actual, error.allowed) == (actual, allowed)
        assert str(error) == f"pool 1 ({pool.path}): {error.reason}"
    assert content(pool) == first


def test_a_value_that_is_too_long_is_refused_and_nothing_changes(pool: PoolFile) -> None:
    """P8."""
    pool.store(b"k" * 511, b"v" * 2047)
    for request in (pool.store, pool.append):
        with pytest.raises(PoolFieldError, match="value of 2048 bytes, 0 to 2047 allowed"):
            request(b"k" * 511, b"v" * 2048)
    assert pool.records() == [Record(b"k" * 511, b"v" * 2047)]


def test_of_duplicates_the_first_is_read_and_all_are_deleted(pool: PoolFile) -> None:
    """P10."""
    put(pool, encode(b"x", b""), encode(b"d", b"1"), dirty(b"d", b"2"), encode(b"y", b""))
    put(pool, *(encode(b"d", b"%d" % i) for i in range(3, 80)), encode(b"z", b""))
    assert pool.find(b"d") == b"1"
    assert pool.delete(b"d")
    assert [record.key for record in pool.records()] == [b"x", b"y", b"z"]
    assert pool.find(b"d") is None


@pytest.mark.parametrize("far", [0, 300])
@pytest.mark.parametrize("value", [b"1", b"new", b"n" * 2000])
def test_of_duplicates_the_first_is_set_and_the_others_are_removed(
    pool: PoolFile, value: bytes, far: int
) -> None:
    """P26."""
    between = [encode(b"other %d" % number, b"") for number in range(far)]
    put(pool, encode(b"x", b""), dirty(b"d", b"1"), dirty(b"d", b"2"), encode(b"y", b""))
    put(pool, *between, encode(b"d", b"3"), encode(b"z", b""), b"odd bytes")
    for _ in range(2):
        pool.store(b"d", value)
        first = dirty(b"d", b"1")[:512] + encode(b"d", value)[512:]
        kept = [encode(b"x", b""), first, encode(b"y", b""), *between, encode(b"z", b"")]
        assert content(pool) == b"".join(kept)
        assert pool.find(b"d") == value
        assert pool.find(b"z") == b""


def test_records_that_nobody_can_name_are_read_and_left_alone(pool: PoolFile) -> None:
    """P24: bytes are handed out as they are; `wire.text` makes them fit for the host."""
    odd = [bytes(RECORD_SIZE), b"\xff" * RECORD_SIZE, dirty(b"\xc3(", b"\xff\0x")]
    put(pool, *odd, encode(b"a", b"1"))
    pool.store(b"a", b"2")
    pool.append(b"b", b"")
    assert pool.delete(b"b")
    assert content(pool) == b"".join(odd) + encode(b"a", b"2")
    assert pool.records() == [
        Record(b"", b""),
        Record(b"\xff" * 512, b"\xff" * 2048),
        Record(b"\xc3(", b"\xff"),
        Record(b"a", b"2"),
    ]


# A part of a record at the end of the file.


@pytest.fixture
def damaged(pool: PoolFile) -> PoolFile:
    put(pool, encode(b"a", b"1"), encode(b"b", b"2"), encode(b"torn", b"")[:7])
    return pool


def test_a_partial_record_is_passed_over_kept_by_reads_and_reported_once(
    damaged: PoolFile, reports: list[str]
) -> None:
    """P12."""
    before = content(damaged)
    for _ in range(3):
        assert [record.key for record in damaged.records()] == [b"a", b"b"]
        assert damaged.count() == 2
        assert damaged.read(2) is None
        assert damaged.find(b"torn") is None
        assert not damaged.delete(b"torn")
    assert content(damaged) == before
    (report,) = reports
    assert report == (
        f"pool 1 ({damaged.path}): 7 bytes after record 2 are not a whole record;"
        " they are ignored, and the next change removes them"
    )


@pytest.mark.parametrize("change", ["append", "add", "modify", "delete", "delete last"])
def test_a_change_ends_the_file_after_a_whole_record_so_that_appenders_meet_it_there(
    damaged: PoolFile, change: str
) -> None:
    """P12."""
    changes: dict[str, Callable[[], object]] = {
        "append": lambda: damaged.append(b"c", b"3"),
        "add": lambda: damaged.store(b"c", b"3"),
        "modify": lambda: damaged.store(b"a", b"3"),
        "delete": lambda: damaged.delete(b"a"),
        "delete last": lambda: damaged.delete(b"b"),
    }
    changes[change]()
    assert len(content(damaged)) % RECORD_SIZE == 0
    put(damaged, encode(b"neighbour", b""))
    assert [record.key for record in damaged.records()] == {
        "append": [b"a", b"b", b"c", b"neighbour"],
        "add": [b"a", b"b", b"c", b"neighbour"],
        "modify": [b"a", b"b", b"neighbour"],
        "delete": [b"b", b"neighbour"],
        "delete last": [b"a", b"neighbour"],
    }[change]


@pytest.mark.parametrize("key", [b"a", b"c"])
def test_a_partial_record_that_another_program_removes_now_leaves_the_records_in_place(
    damaged: PoolFile, monkeypatch: pytest.MonkeyPatch, key: bytes
) -> None:
    """P32: cloud-init truncates without a lock; the record was added 7 bytes off."""

    def truncated(fd: int, length: int, offset: int) -> bytes:
        os.truncate(damaged.path, 2 * RECORD_SIZE)
        return read_at(fd, length, offset)

    with monkeypatch.context() as patch:
        patch.setattr(pool_module, "read_at", truncated)
        damaged.store(key, b"3")
    assert damaged.find(key) == b"3"
    assert len(content(damaged)) % RECORD_SIZE == 0


@pytest.mark.parametrize("change", ["store", "add", "append", "delete", "clear"])
def test_a_partial_record_is_reported_anew_after_a_change_has_removed_it(
    damaged: PoolFile, reports: list[str], change: str
) -> None:
    """P12."""
    changes: dict[str, Callable[[], object]] = {
        "store": lambda: damaged.store(b"a", b"3"),
        "add": lambda: damaged.store(b"c", b"3"),
        "append": lambda: damaged.append(b"a", b"3"),
        "delete": lambda: damaged.delete(b"a"),
        "clear": damaged.clear,
    }
    damaged.count()
    changes[change]()
    put(damaged, b"again")
    damaged.count()
    assert [report.split(": ")[1].split()[0] for report in reports] == ["7", "5"]


def test_a_partial_record_is_reported_anew_after_another_program_has_removed_it(
    damaged: PoolFile, reports: list[str]
) -> None:
    """P12."""
    damaged.count()
    damaged.store(b"a", b"3")
    put(damaged, b"again")
    damaged.count()
    assert [report.split(": ")[1].split()[0] for report in reports] == ["7", "5"]
    put(damaged, encode(b"x", b"")[5:])
    assert damaged.count() == 3
    os.truncate(damaged.path, 1)
    assert damaged.count() == 0
    assert len(reports) == 3
