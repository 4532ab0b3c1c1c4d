# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""What a directory of pools is on, and what keeps its files from being changed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from hv_kvp_daemon.cli.service.pool_facts import (
    gather_pools,
    lock_holders,
    mount_point,
    pool_dir_replaced,
)
from tests.support.namespaces import mount_namespace

# A read-only bind mount of a directory in its own file system, and a full tmpfs.
_LOOK = """
set -eu
cd "$1"; mkdir 'a b'; mount --bind 'a b' 'a b'; mount -o remount,bind,ro 'a b'
mkdir full; mount -t tmpfs -o size=64k none full; cat /dev/zero >full/rest 2>/dev/null || :
exec "$2" -c '
import sys; from hv_kvp_daemon.cli.service.pool_facts import gather_pools
for name in sys.argv[1:]:
    facts = gather_pools(name, 0)
    print(facts.read_only_mount, facts.space_left, sep="|")
' "$1/a b/hyperv" "$1/full" "$1"
"""


def test_a_read_only_mount_and_a_full_disk_are_found(tmp_path: Path) -> None:
    """D2, D3."""
    done = subprocess.run(
        [*mount_namespace(), "sh", "-c", _LOOK, "sh", str(tmp_path), sys.executable],
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines() == [f"{tmp_path}/a b|None", "|0", "|None"]


def test_the_mount_of_a_path_is_the_longest_above_it() -> None:
    assert mount_point("/") == "/"
    assert mount_point("/proc/1") == "/proc"
    assert mount_point("/process") == "/"


def test_a_directory_that_is_missing_has_no_trouble(tmp_path: Path) -> None:
    facts = gather_pools(f"{tmp_path}/none/pools", os.getpid())
    assert (facts.is_replaced, facts.not_pools, facts.lock_holders) == (False, {}, [])


def test_a_file_in_place_of_the_directory_is_found(tmp_path: Path) -> None:
    """D2."""
    path = tmp_path / "pools"
    path.touch()
    assert gather_pools(str(path), 0).not_pools == {str(path): f"{path} is not a directory"}


def test_what_may_not_be_seen_counts_as_in_order(tmp_path: Path) -> None:
    assert lock_holders(f"{tmp_path}/none") == []
    assert not pool_dir_replaced(2**22 + 1, str(tmp_path))
