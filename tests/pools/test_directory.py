# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The five pools together."""

from __future__ import annotations

import os
import pickle
import stat
from typing import TYPE_CHECKING

import pytest

from hv_kvp_daemon.pools.directory import POOL_NAMES, PoolDirectory, parse_pool, pool_path
from hv_kvp_daemon.pools.errors import (
    LockTimeoutError,
    NotAPoolError,
    PoolError,
    PoolFieldError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def pools(public: str, reports: list[str]) -> Iterator[PoolDirectory]:
    pools = PoolDirectory(f"{public}/hyperv", sync=False, report=reports.append)
    yield pools
    pools.close()


def test_all_five_files_are_made_and_empty(pools: PoolDirectory, reports: list[str]) -> None:
    """P17, P18."""
    pools.open_all()
    assert sorted(os.listdir(pools.path)) == [f".kvp_pool_{number}" for number in range(5)]
    assert stat.S_IMODE(os.stat(pools.path).st_mode) == 0o755
    for pool in pools:
        assert stat.S_IMODE(os.stat(pool.path).st_mode) == 0o644
    assert pools.counts() == [0] * 5
    assert reports == []
    pools[1].append(b"a", b"1")
    os.unlink(pools[3].path)
    assert pools.counts() == [0, 1, 0, 0, 0]


def test_two_descriptors_a_pool_are_held_whatever_is_asked(pools: PoolDirectory) -> None:
    """P1."""
    before = len(os.listdir("/proc/self/fd"))
    pools.open_all()
    assert len(os.listdir("/proc/self/fd")) == before + 5
    for i in range(100):
        for pool in pools:
            pool.store(b"long", b"%d" % i * 600)
            pool.store(b"%d" % (i % 3), b"")
            pool.read(1)
            pool.delete(b"%d" % (i % 2))
    assert len(os.listdir("/proc/self/fd")) == before + 10
    pools.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_each_number_leads_to_its_own_file(pools: PoolDirectory) -> None:
    pools.open_all()
    for number in range(5):
        assert pools[number].number == number
        assert pools[number].path == pool_path(pools.path, number)
        for _ in range(number):
            pools[number].append(b"k", b"v")
    assert pools.counts() == [0, 1, 2, 3, 4]
    for number in (5, 77, 255, -1):
        with pytest.raises(KeyError):
            pools[number]


def test_one_bad_file_is_reported_and_the_others_are_served(
    pools: PoolDirectory, reports: list[str]
) -> None:
    """P22."""
    os.makedirs(f"{pools.path}/.kvp_pool_0")
    os.mkfifo(f"{pools.path}/.kvp_pool_3")
    pools.open_all()
    assert reports == [
        f"pool 0 ({pools.path}/.kvp_pool_0): is a directory, not a regular file",
        f"pool 3 ({pools.path}/.kvp_pool_3): is a FIFO, not a regular file",
    ]
    pools[1].store(b"a", b"1")
    assert pools.counts() == [None, 1, 0, None, 0]
    os.rmdir(f"{pools.path}/.kvp_pool_0")
    pools[0].store(b"a", b"1")
    assert pools.counts() == [1, 1, 0, None, 0]


def test_a_directory_that_cannot_be_made_is_an_error(public: str, reports: list[str]) -> None:
    with open(f"{public}/file", "w"):
        pass
    for path in (f"{public}/file", f"{public}/file/below"):
        with pytest.raises(PoolError, match="Not a directory") as caught:
            PoolDirectory(path, report=reports.append).open_all()
        assert caught.value.pool is None
        assert str(caught.value).startswith(f"pool directory ({path}): ")
        assert PoolDirectory(path, report=reports.append).counts() == [None] * 5


def test_a_directory_without_one_usable_file_is_an_error(pools: PoolDirectory) -> None:
    for number in range(5):
        os.makedirs(pool_path(pools.path, number))
    with pytest.raises(PoolError, match="none of its files can be used: is a directory"):
        pools.open_all()


def test_a_relative_path_stays_where_it_was(
    public: str, reports: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(public)
    pools = PoolDirectory("hyperv", sync=False, report=reports.append)
    monkeypatch.chdir("/")  # as a daemon does
    pools.open_all()
    pools.close()
    assert os.listdir(f"{public}/hyperv")


def test_pools_are_named_by_number_and_by_name() -> None:
    assert list(POOL_NAMES.values()) == ["external", "guest", "auto", "host", "internal"]
    for number, name in POOL_NAMES.items():
        assert parse_pool(name) == parse_pool(str(number)) == parse_pool(number) == number


@pytest.mark.parametrize(
    "text", ["", "5", "-1", "01", " 1", "1 ", "Guest", "guests", "\u0661", 5, True]
)
def test_another_name_is_refused_with_those_that_there_are(text: str | int) -> None:
    with pytest.raises(ValueError, match="0 external, 1 guest, 2 auto, 3 host, 4 internal"):
        parse_pool(text)


@pytest.mark.parametrize(
    "error",
    [
        PoolError(1, "/p", "reason"),
        PoolError(None, "/p", "reason"),
        NotAPoolError(1, "/p", "a FIFO"),
        LockTimeoutError(1, "/p", 5.0, "held"),
        PoolFieldError(1, "/p", "reason", "key", 600, 511),
    ],
)
def test_errors_go_whole_to_another_process(error: PoolError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert vars(copy) == vars(error)
    assert str(copy) == str(error)
