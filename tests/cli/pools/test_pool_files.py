# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Pool files opened for a command."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from hv_kvp_daemon.cli.command import CommandError
from hv_kvp_daemon.cli.pools import pool_files
from hv_kvp_daemon.pools.errors import PoolError
from hv_kvp_daemon.wire.record import encode

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.command import Pools


def test_a_pool_that_is_only_read_is_not_created(tmp_path: Path) -> None:
    with pool_files.OpenPool(str(tmp_path), 1) as pool:
        assert pool.records() == []
    assert pool_files.read(str(tmp_path), 1) == b""
    assert pool_files.interrupted_change(str(tmp_path), 1) == ""
    assert os.listdir(tmp_path) == []


def test_a_pool_to_write_is_created_with_its_directory(tmp_path: Path) -> None:
    with pool_files.OpenPool(f"{tmp_path}/pools", 1, write=True) as pool:
        pool.store(b"k", b"v")
    assert pool_files.read(f"{tmp_path}/pools", 1) == encode(b"k", b"v")


def test_every_byte_of_a_file_is_read(pools: Pools) -> None:
    pools.write(1, encode(b"k", b"v") + b"rest")
    assert pool_files.read(pools.path, 1) == encode(b"k", b"v") + b"rest"


def test_what_is_not_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / ".kvp_pool_1").mkdir()
    with pytest.raises(PoolError, match="is a directory"):
        pool_files.read(str(tmp_path), 1)
    with pytest.raises(PoolError, match="is a directory"):
        pool_files.interrupted_change(str(tmp_path), 1)


def test_all_pools_are_checked_before_one_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = tmp_path / ".kvp_pool_3"
    locked.write_bytes(b"")
    # Root may write everything.
    monkeypatch.setattr(os, "access", lambda path, mode: path != str(locked))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    pool_files.require_writable(str(tmp_path), [0, 1])
    with pytest.raises(CommandError, match=r"kvp_pool_3 may not be written; run it as root"):
        pool_files.require_writable(str(tmp_path), [0, 3])
