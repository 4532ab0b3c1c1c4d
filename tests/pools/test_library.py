# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""``from hv_kvp_daemon import Pool``: a mapping, what it raises, what it costs others."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import MutableMapping
from typing import TYPE_CHECKING

import pytest

import hv_kvp_daemon
from hv_kvp_daemon import (
    FIELD_MAX_KEY,
    FIELD_MAX_VALUE,
    HOST_SAFE_KEY,
    HOST_SAFE_VALUE,
    LockTimeoutError,
    Pool,
    PoolError,
    PoolFieldError,
    PoolId,
    PoolWarning,
    Record,
)
from hv_kvp_daemon.wire.record import encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.pools.conftest import Holder


@pytest.fixture
def pool(public: str) -> Iterator[Pool]:
    with Pool("guest", directory=public, sync=False, lock_wait=0.05) as pool:
        yield pool


def put(pool: Pool, *records: bytes) -> None:
    with open(pool.path, "ab") as file:
        file.write(b"".join(records))


@pytest.mark.parametrize("name", [PoolId.GUEST, 1, "1", "guest"])
def test_a_pool_is_named_by_number_and_by_name(public: str, name: PoolId | int | str) -> None:
    with Pool(name, directory=public) as pool:
        assert pool.id is PoolId.GUEST
        assert pool.path == f"{public}/.kvp_pool_1"
    with pytest.raises(ValueError, match="no pool 'nothing'"):
        Pool("nothing", directory=public)


def test_it_is_a_mutable_mapping(pool: Pool) -> None:
    assert isinstance(pool, MutableMapping)
    assert len(pool) == 0
    pool["b"] = "1"
    pool["a"] = "schlüssel 🔑"
    pool.update({"c": "3", "b": "2"})
    assert list(pool) == list(pool.keys()) == ["b", "a", "c"]
    assert list(pool.items()) == [("b", "2"), ("a", "schlüssel 🔑"), ("c", "3")]
    assert list(pool.values()) == ["2", "schlüssel 🔑", "3"]
    assert "a" in pool
    assert "z" not in pool
    number: object = 7
    assert number not in pool.keys() | {"a"}
    assert not pool.__contains__(number)
    assert pool.get("z", "none") == "none"
    assert pool.pop("a") == "schlüssel 🔑"
    assert pool == {"b": "2", "c": "3"}
    del pool["b"]
    for missing in ("b", "", "k" * 512):
        with pytest.raises(KeyError):
            pool[missing]
        with pytest.raises(KeyError):
            del pool[missing]
        assert missing not in pool
    pool.clear()
    assert dict(pool) == {}
    assert pool.records() == []


def test_of_duplicates_the_first_counts_and_all_are_told(pool: Pool) -> None:
    pool["a"] = "1"
    pool.append("a", "2")
    pool.append("b", "3")
    assert pool["a"] == "1"
    assert len(pool) == 2
    assert pool.records() == [Record("a", "1"), Record("a", "2"), Record("b", "3")]
    pool["a"] = "4"
    assert [record.value for record in pool.records()] == ["4", "3"]
    del pool["a"]
    assert pool.records() == [Record("b", "3")]


def test_bytes_that_are_no_text_are_written_back_as_they_were(pool: Pool) -> None:
    put(pool, encode(b"caf\xe9", b"\xff\xfe"))
    ((key, value),) = pool.items()
    assert value.encode("utf-8", "surrogateescape") == b"\xff\xfe"
    pool[key] = value + "!"
    with open(pool.path, "rb") as file:
        assert file.read() == encode(b"caf\xe9", b"\xff\xfe!")


def test_records_that_cannot_be_asked_for_are_told_and_no_keys(pool: Pool) -> None:
    put(pool, bytes(2560), b"k" * 512 + b"v" * 2048, encode(b"a", b"1"))
    assert list(pool) == ["a"]
    assert [len(record.key) for record in pool.records()] == [0, 512, 1]


@pytest.mark.parametrize(
    ("key", "value", "field", "actual", "allowed"),
    [
        ("", "", "key", 0, FIELD_MAX_KEY),
        ("ä" * 256, "", "key", 512, FIELD_MAX_KEY),
        ("a", "v" * 2048, "value", 2048, FIELD_MAX_VALUE),
        ("a", "v\0", "value", 2, 1),
    ],
)
def test_what_does_not_fit_says_how_much_there_is_and_how_much_may_be(
    pool: Pool, key: str, value: str, field: str, actual: int, allowed: int
) -> None:
    changes: list[Callable[[], object]] = [
        lambda: pool.__setitem__(key, value),
        lambda: pool.append(key, value),
    ]
    for change in changes:
        with pytest.raises(PoolFieldError) as caught:
            change()
        error = caught.value
        assert isinstance(error, ValueError)
        assert (error.pool, error.path, error.field) == (1, pool.path, field)
        assert (error.actual, error.allowed) == (actual, allowed)
        assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert pool.records() == []


def test_the_limits_are_those_of_the_field_and_of_the_host(pool: Pool) -> None:
    assert (FIELD_MAX_KEY, FIELD_MAX_VALUE) == (511, 2047)
    assert (HOST_SAFE_KEY, HOST_SAFE_VALUE) == (254, 1022)
    pool["k" * FIELD_MAX_KEY] = "v" * FIELD_MAX_VALUE
    assert pool["k" * FIELD_MAX_KEY] == "v" * FIELD_MAX_VALUE


def test_a_pool_for_reading_makes_and_changes_nothing(public: str) -> None:
    with Pool("guest", directory=public, writable=False) as pool:
        assert dict(pool) == {}
        with pytest.raises(PoolError, match="reading only"):
            pool["a"] = "1"


def test_conditions_are_warnings_or_go_to_who_asks_for_them(public: str, pool: Pool) -> None:
    put(pool, b"part")
    with pytest.warns(PoolWarning, match="4 bytes after record 0"):
        assert len(pool) == 0
    told: list[str] = []
    with Pool(1, directory=public, report=told.append) as other:
        assert len(other) == 0
    assert len(told) == 1


def test_a_stuck_holder_of_both_locks_is_an_error_that_says_who(
    pool: Pool, hold: Callable[..., Holder]
) -> None:
    pool["a"] = "1"
    holder = hold(pool.path, "flock+posix")
    with pytest.raises(LockTimeoutError) as caught:
        pool["a"] = "2"
    assert str(holder.pid) in caught.value.holders
    assert caught.value.pool == 1


def test_the_auto_pool_cannot_be_changed(public: str) -> None:
    """C8."""
    with Pool("auto", directory=public) as pool:
        for change in (
            lambda: pool.__setitem__("a", "b"),
            lambda: pool.update(a="b"),
            lambda: pool.setdefault("a", "b"),
            lambda: pool.append("a", "b"),
            lambda: pool.__delitem__("a"),
            pool.clear,
        ):
            with pytest.raises(PoolError, match="made for each request of the host") as caught:
                change()
            assert (caught.value.pool, caught.value.path) == (2, pool.path)
        assert dict(pool) == {}
        assert not os.path.exists(pool.path)


def test_every_public_name_is_there_and_no_other() -> None:
    for name in hv_kvp_daemon.__all__:
        assert getattr(hv_kvp_daemon, name) is not None
        assert name in dir(hv_kvp_daemon)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        hv_kvp_daemon.Nothing  # noqa: B018


def test_who_imports_the_package_does_not_pay_for_the_library() -> None:
    code = "import sys, hv_kvp_daemon; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "hv_kvp_daemon.pools" not in done.stdout
