# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Reads that return less than the file has, as network and FUSE file systems do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.pools.crash_cases import Trial, key_of, records
from tests.pools.failing_disk import READS, Call, Disk, Short

if TYPE_CHECKING:
    from hv_kvp_daemon.pools.pool import PoolFile


@pytest.fixture
def known(public: str) -> tuple[Trial, PoolFile]:
    """A pool of 8 records that was changed and read, so that it is read without locks."""
    trial = Trial(public)
    trial.prepare(records(7))
    pool = trial.open()
    pool.append(b"last", b"1")
    assert pool.find(b"last") == b"1"
    return trial, pool


@pytest.mark.parametrize("size", [1, 511, 643, 2559])
def test_a_record_of_which_a_part_is_read_is_no_end_of_the_pool(
    known: tuple[Trial, PoolFile], size: int
) -> None:
    """ENUMERATE would end early, and a host take the rest for deleted."""
    trial, pool = known

    def once(call: Call) -> Short | None:
        is_first = call.name in READS and not disk.faults
        return Short(size) if is_first and size in call.parts else None

    keys = [*map(key_of, records(7)), b"last"]
    for index, key in enumerate(keys):
        disk = Disk(trial.directory, once)
        with disk:
            record = pool.read(index)
        assert disk.faults == 1
        assert record is not None
        assert record.key == key
    pool.close()


def test_a_key_is_found_where_each_read_is_a_short_one(known: tuple[Trial, PoolFile]) -> None:
    trial, pool = known
    half = Disk(
        trial.directory,
        lambda call: Short(len(call.parts) // 2) if len(call.parts) > 1 else None,
    )
    with half:
        for raw in records(7):
            assert pool.find(key_of(raw)) is not None
        assert len(pool.records()) == 8
    assert half.faults
    pool.close()
