# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""What an image brought along is removed, once, and nothing else."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from hv_kvp_daemon.pools.directory import PoolDirectory, pool_path
from hv_kvp_daemon.pools.stale import boot_time, clear_stale
from hv_kvp_daemon.wire.record import encode
from hv_kvp_daemon.wire.uapi import HV_S_CONT, HV_S_OK, KVP_OP_ENUMERATE
from tests.support.process import RunningDaemon

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.pools.conftest import Holder

BOOT = 1_700_000_000


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    (tmp_path / "sys/kernel/random").mkdir(parents=True)
    (tmp_path / "stat").write_text(f"cpu  1 2 3\nctxt 5\nbtime {BOOT}\nprocesses 7\n")
    (tmp_path / "sys/kernel/random/boot_id").write_text("this boot\n")
    return tmp_path


@pytest.fixture
def pools(public: str, reports: list[str]) -> Iterator[PoolDirectory]:
    """Two records in each pool, a second older than the boot."""
    for number in range(5):
        path = pool_path(public, number)
        with open(path, "wb") as file:
            file.write(encode(b"a", b"1") + encode(b"b", b"2"))
        os.utime(path, (BOOT - 1, BOOT - 1))
    pools = PoolDirectory(public, report=reports.append, sync=False, lock_wait=0.05)
    pools.open_all()
    yield pools
    pools.close()


def test_a_recovery_at_the_start_does_not_make_a_pool_new(
    pools: PoolDirectory, proc: Path, reports: list[str]
) -> None:
    """Defect C5: what cuts off an unfinished append gives the file a new time."""
    with open(pools[0].path, "ab") as file:
        file.write(bytes(2560))
    os.utime(pools[0].path, (BOOT - 1, BOOT - 1))
    clear_stale(pools, reports.append, proc=str(proc))
    assert pools.counts() == [0, 2, 2, 0, 2]


def test_the_hosts_pools_from_before_the_boot_are_emptied_in_place(
    pools: PoolDirectory, proc: Path, reports: list[str]
) -> None:
    inodes = [os.stat(pool.path).st_ino for pool in pools]
    clear_stale(pools, reports.append, proc=str(proc))
    assert pools.counts() == [0, 2, 2, 0, 2]
    assert os.stat(f"{pools.path}/.hv_kvp_boot").st_mode & 0o777 == 0o600
    assert [os.stat(pool.path).st_ino for pool in pools] == inodes
    assert reports == [
        f"pool {number} ({pools[number].path}): removed 2 records older than this boot"
        for number in (0, 3)
    ]


@pytest.mark.parametrize("later", [0, 1])
def test_what_was_written_since_the_boot_stays(
    pools: PoolDirectory, proc: Path, reports: list[str], later: int
) -> None:
    """Ignition writes pool 0 before the daemon runs, and the host sends that only once."""
    os.utime(pools[0].path, (BOOT + later, BOOT + later))
    clear_stale(pools, reports.append, proc=str(proc))
    assert pools.counts() == [2, 2, 2, 0, 2]


def test_it_is_done_once_in_a_boot_though_the_clock_is_set(
    pools: PoolDirectory, proc: Path, reports: list[str]
) -> None:
    clear_stale(pools, reports.append, proc=str(proc))
    pools[0].store(b"from the host", b"1")
    (proc / "stat").write_text(f"btime {2**33}\n")
    descriptors = len(os.listdir("/proc/self/fd"))
    clear_stale(pools, reports.append, proc=str(proc))
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert pools.counts() == [1, 2, 2, 0, 2]
    (proc / "sys/kernel/random/boot_id").write_text("next boot\n")
    clear_stale(pools, reports.append, proc=str(proc))
    assert pools.counts() == [0, 2, 2, 0, 2]


def test_a_pool_that_cannot_be_emptied_is_told_and_the_other_one_is_emptied(
    pools: PoolDirectory, proc: Path, reports: list[str], hold: Callable[..., Holder]
) -> None:
    hold(pools[0].path, "flock+posix")
    clear_stale(pools, reports.append, proc=str(proc))
    assert pools.counts() == [2, 2, 2, 0, 2]
    clear_stale(pools, reports.append, proc=str(proc))
    assert len([report for report in reports if "not cleared" in report]) == 1
    assert any("not cleared of stale records: pool 0" in report for report in reports)


@pytest.mark.parametrize("kind", ["hard link", "link"])
def test_the_mark_of_the_boot_is_written_to_no_other_file(
    pools: PoolDirectory, proc: Path, reports: list[str], tmp_path: Path, kind: str
) -> None:
    """S2: root's daemon, with the pools in a directory of another user."""
    other = tmp_path / "other"
    other.write_text("stays")
    for name in (".hv_kvp_boot", ".hv_kvp_boot.new"):
        if kind == "link":
            os.symlink(other, f"{pools.path}/{name}")
        else:
            os.link(other, f"{pools.path}/{name}")
    clear_stale(pools, reports.append, proc=str(proc))
    assert other.read_text() == "stays"
    if kind == "link":
        assert "is a symbolic link, not a regular file" in reports[-1]
    else:
        assert pools.counts() == [0, 2, 2, 0, 2]
        assert min(os.listdir(pools.path)) == ".hv_kvp_boot"


def test_a_fifo_in_place_of_the_mark_is_not_waited_for(
    pools: PoolDirectory, proc: Path, reports: list[str]
) -> None:
    os.mkfifo(f"{pools.path}/.hv_kvp_boot")
    clear_stale(pools, reports.append, proc=str(proc))
    assert pools.counts() == [2] * 5
    assert "is a FIFO, not a regular file" in reports[-1]


def test_a_mark_that_is_read_in_parts_is_found(
    pools: PoolDirectory,
    proc: Path,
    reports: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clear_stale(pools, reports.append, proc=str(proc))
    pools[0].store(b"from the host", b"1")
    os.utime(pools[0].path, (BOOT - 1, BOOT - 1))
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, size, at: real(fd, min(size, 3), at))
    clear_stale(pools, reports.append, proc=str(proc))
    assert pools.counts() == [1, 2, 2, 0, 2]


def test_a_missing_pool_stays_missing(
    pools: PoolDirectory, proc: Path, reports: list[str]
) -> None:
    os.unlink(pools[0].path)
    clear_stale(pools, reports.append, proc=str(proc))
    assert not os.path.exists(pools[0].path)


def test_without_the_time_of_the_boot_nothing_is_removed(
    pools: PoolDirectory, proc: Path, reports: list[str]
) -> None:
    (proc / "stat").write_text("cpu 1 2 3\n")
    clear_stale(pools, reports.append, proc=str(proc))
    assert pools.counts() == [2] * 5
    assert [report for report in reports if "has no btime" in report] == reports[-1:]


def test_the_daemon_does_it_where_it_is_told_to_and_before_it_serves(tmp_path: Path) -> None:
    (tmp_path / "pools").mkdir()
    path = tmp_path / "pools" / ".kvp_pool_0"
    for options, count in (([], 1), (["--clear-stale"], 0)):
        path.write_bytes(encode(b"a", b"1"))
        os.utime(path, (0, 0))
        with RunningDaemon(tmp_path, *options) as daemon:
            peer = daemon.connect()
            found = peer.ask(KVP_OP_ENUMERATE, 0, index=0).status
            assert found == (HV_S_OK if count else HV_S_CONT)
            assert ("1 records older than this boot" in daemon.stderr) == (not count)
            assert daemon.stop() == 0


def test_this_machine_tells_when_it_was_booted() -> None:
    with open("/proc/uptime", encoding="ascii") as file:
        up = float(file.read().split()[0])
    assert abs(time.time() - up - boot_time("/proc/stat") / 1e9) < 5
