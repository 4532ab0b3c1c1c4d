# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Both locks of a pool, against other processes that hold one, both or none."""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from hv_kvp_daemon.pools import locking
from hv_kvp_daemon.pools.config import LOCK_WAIT, PoolConfig
from hv_kvp_daemon.pools.errors import LockTimeoutError
from hv_kvp_daemon.pools.locking import PoolLock
from tests.support.process import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.pools.conftest import Holder

    Hold = Callable[..., Holder]
    FreeLocks = Callable[[str], set[str]]

ALL = {"flock", "flock shared", "posix", "posix shared", "ofd", "ofd shared"}
FLOCK = {"flock", "flock shared"}
FCNTL = ALL - FLOCK
SHARED = {"flock shared", "posix shared", "ofd shared"}


class Pauses(list[float]):
    """Pauses that take no time but on the lock's clock, and what was asked of them."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.then: Callable[[], object] = lambda: None

    def __call__(self, seconds: float) -> object:
        self.append(seconds)
        self.now += seconds
        return self.then()


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> Pauses:
    pauses = Pauses()
    monkeypatch.setattr(time, "monotonic", lambda: pauses.now)
    return pauses


class EachItsRequest(PoolLock):
    """A lock whose every `acquire` is that of another request."""

    __slots__ = ()

    def acquire(self, fd: int, *, exclusive: bool) -> None:
        self.ends = 0.0
        super().acquire(fd, exclusive=exclusive)


@pytest.fixture
def lock(path: str, reports: list[str], pauses: Pauses) -> PoolLock:
    return EachItsRequest(PoolConfig(1, path, report=reports.append, pause=pauses))


# The facts that the module stands on, as this kernel has them.


def test_flock_and_fcntl_locks_do_not_see_each_other(
    path: str, fd: int, free_locks: FreeLocks
) -> None:
    """P16."""
    fcntl.flock(fd, fcntl.LOCK_EX)
    assert free_locks(path) == FCNTL
    fcntl.flock(fd, fcntl.LOCK_UN)
    fcntl.lockf(fd, fcntl.LOCK_EX)
    assert free_locks(path) == FLOCK


def test_a_posix_lock_is_lost_at_any_close_and_the_pools_locks_are_not(
    path: str, fd: int, lock: PoolLock, free_locks: FreeLocks
) -> None:
    """P14."""
    fcntl.lockf(fd, fcntl.LOCK_EX)
    os.close(os.open(path, os.O_RDONLY))
    assert free_locks(path) == ALL
    lock.acquire(fd, exclusive=True)
    os.close(os.open(path, os.O_RDONLY))
    assert free_locks(path) == set()


# What both locks keep out.


def test_an_exclusive_lock_keeps_everybody_out_until_it_is_released(
    path: str, fd: int, lock: PoolLock, reports: list[str], free_locks: FreeLocks
) -> None:
    """P16."""
    lock.acquire(fd, exclusive=True)
    assert free_locks(path) == set()
    lock.release(fd)
    assert free_locks(path) == ALL
    assert reports == []


def test_a_shared_lock_keeps_writers_out_and_readers_not(
    path: str, lock: PoolLock, free_locks: FreeLocks
) -> None:
    fd = os.open(path, os.O_RDONLY)
    lock.acquire(fd, exclusive=False)
    assert free_locks(path) == SHARED
    lock.release(fd)
    assert free_locks(path) == ALL
    os.close(fd)


def test_a_child_that_shares_the_descriptor_does_not_keep_the_locks(
    path: str, fd: int, lock: PoolLock, free_locks: FreeLocks
) -> None:
    lock.acquire(fd, exclusive=True)
    with subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"],
        stdin=subprocess.PIPE,
        pass_fds=[fd],
    ) as child:
        lock.release(fd)
        assert free_locks(path) == ALL
        child.communicate()


# The wait.


@pytest.mark.parametrize("kind", ["flock", "posix", "ofd", "posix shared", "flock shared"])
def test_the_wait_ends_as_soon_as_the_holder_has_gone(
    path: str,
    fd: int,
    lock: PoolLock,
    pauses: Pauses,
    reports: list[str],
    free_locks: FreeLocks,
    hold: Hold,
    kind: str,
) -> None:
    holder = hold(path, kind)

    def end_at_the_seventh() -> None:
        if len(pauses) == 7:
            holder.end()

    pauses.then = end_at_the_seventh
    lock.acquire(fd, exclusive=True)
    assert pauses == [0.001, 0.002, 0.004, 0.008, 0.016, 0.020, 0.020]
    assert free_locks(path) == set()
    assert reports == []


def test_nothing_is_held_during_a_pause(
    path: str, fd: int, lock: PoolLock, pauses: Pauses, free_locks: FreeLocks, hold: Hold
) -> None:
    hold(path, "posix")
    seen = []

    def look_once() -> bool:
        seen.append(free_locks(path))
        return True

    pauses.then = look_once
    with pytest.raises(LockTimeoutError):
        lock.acquire(fd, exclusive=True)
    assert seen == [FLOCK]


def test_the_wait_takes_five_seconds_and_few_attempts(
    path: str, fd: int, lock: PoolLock, pauses: Pauses, hold: Hold
) -> None:
    """P15."""
    hold(path, "flock+posix")
    with pytest.raises(LockTimeoutError) as caught:
        lock.acquire(fd, exclusive=True)
    assert LOCK_WAIT == 5.0
    assert sum(pauses) == pytest.approx(5.0)
    assert len(pauses) < 260
    assert caught.value.waited == 5.0


def test_a_pause_that_says_so_ends_the_wait_at_once(
    path: str,
    fd: int,
    lock: PoolLock,
    pauses: Pauses,
    reports: list[str],
    free_locks: FreeLocks,
    hold: Hold,
) -> None:
    hold(path, "flock")
    pauses.then = lambda: True
    for attempt in (1, 2):
        before = time.monotonic()
        with pytest.raises(LockTimeoutError, match="told to give up") as caught:
            lock.acquire(fd, exclusive=True)
        assert 0 <= caught.value.waited <= time.monotonic() - before
        assert len(pauses) == attempt  # a wait that was broken off proves nobody stuck
    assert free_locks(path) == FCNTL
    assert reports == []


# What follows a wait in vain.


@pytest.mark.parametrize(
    ("kind", "nobody", "missing", "kept", "mode"),
    [
        ("flock", True, "flock", "fcntl", "FLOCK WRITE"),
        ("flock shared", True, "flock", "fcntl", "FLOCK READ"),
        ("posix shared", True, "fcntl", "flock", "POSIX READ"),
        ("posix", False, "fcntl", "flock", "POSIX WRITE"),
        ("ofd shared", True, "fcntl", "flock", "OFDLCK READ"),
        ("ofd", False, "fcntl", "flock", "OFDLCK WRITE"),
    ],
)
def test_behind_a_stuck_holder_of_one_kind_a_writer_goes_on_with_the_other(
    path: str,
    fd: int,
    lock: PoolLock,
    pauses: Pauses,
    reports: list[str],
    free_locks: FreeLocks,
    hold: Hold,
    kind: str,
    nobody: bool,
    missing: str,
    kept: str,
    mode: str,
) -> None:
    """P15."""
    holder = hold(path, kind, nobody=nobody)
    lock.acquire(fd, exclusive=True)
    assert sum(pauses) == pytest.approx(5.0)
    assert free_locks(path) & (FLOCK if kept == "flock" else FCNTL) == set()
    lock.release(fd)
    with open(f"/proc/{holder.pid}/comm") as file:
        comm = file.read().rstrip()
    assert reports == [
        (
            f"pool 1 ({path}): no {missing} lock within 5.0 s, going on with {kept} alone:"
            f" held as {mode} by pid {holder.pid} '{comm}'; see: hv-kvp doctor"
        )
    ]

    # The next ones try once, and say nothing more.
    waited = len(pauses)
    lock.acquire(fd, exclusive=True)
    lock.release(fd)
    assert len(pauses) == waited
    assert len(reports) == 1

    # Until both come: from then on a wait is worth while again.
    holder.end()
    lock.acquire(fd, exclusive=True)
    assert free_locks(path) == set()
    lock.release(fd)
    assert reports[1:] == [f"pool 1 ({path}): both locks are free again"]
    hold(path, kind)
    lock.acquire(fd, exclusive=True)
    lock.release(fd)
    assert len(pauses) > waited
    assert len(reports) == 3


@pytest.mark.parametrize("kinds", ["flock+posix", "flock shared+ofd shared", "flock+ofd"])
def test_without_either_lock_a_writer_gives_up_and_later_ones_do_not_wait(
    path: str,
    fd: int,
    lock: PoolLock,
    pauses: Pauses,
    free_locks: FreeLocks,
    hold: Hold,
    kinds: str,
) -> None:
    """P15."""
    holder = hold(path, kinds, nobody="shared" in kinds)
    with pytest.raises(LockTimeoutError) as caught:
        lock.acquire(fd, exclusive=True)
    assert (caught.value.pool, caught.value.path, caught.value.waited) == (1, path, 5.0)
    assert re.search(rf"FLOCK (READ|WRITE) by pid {holder.pid}", caught.value.holders)
    assert re.search(r"(POSIX|OFDLCK) (READ|WRITE) by", caught.value.holders)

    waited = len(pauses)
    with pytest.raises(LockTimeoutError) as caught:
        lock.acquire(fd, exclusive=True)
    assert caught.value.waited == 0.0
    assert len(pauses) == waited

    holder.end()
    lock.acquire(fd, exclusive=True)
    assert free_locks(path) == set()
    assert len(pauses) == waited


@pytest.mark.parametrize("kind", ["flock", "ofd"])
def test_of_two_behind_a_stuck_holder_one_waits_for_the_other_when_that_one_goes(
    path: str, fd: int, lock: PoolLock, pauses: Pauses, hold: Hold, kind: str
) -> None:
    """Each would be alone with another lock, and both would write."""
    neighbour = EachItsRequest(PoolConfig(1, path, report=print, pause=pauses))
    theirs = os.open(path, os.O_RDWR)
    holder = hold(path, kind)
    for each, each_fd in ((lock, fd), (neighbour, theirs)):
        each.acquire(each_fd, exclusive=True)
        each.release(each_fd)
    neighbour.acquire(theirs, exclusive=True)
    holder.end()
    waited = len(pauses)
    pauses.then = lambda: neighbour.release(theirs)
    lock.acquire(fd, exclusive=True)
    assert len(pauses) == waited + 1
    assert lock.is_complete
    lock.release(fd)
    os.close(theirs)


def test_a_wait_that_ends_with_another_lock_missing_than_before_proves_nobody_stuck(
    path: str, fd: int, pauses: Pauses, reports: list[str], free_locks: FreeLocks, hold: Hold
) -> None:
    """The stuck holder goes just then, and one of us has the other lock alone."""
    holder = hold(path, "flock")

    class AtTheLastMoment(PoolLock):
        def _take(self, fd: int, exclusive: bool, *, one_will_do: bool = False) -> int:
            if one_will_do:
                holder.end()
                hold(path, "ofd")
            return super()._take(fd, exclusive, one_will_do=one_will_do)

    lock = AtTheLastMoment(PoolConfig(1, path, report=reports.append, pause=pauses))
    with pytest.raises(LockTimeoutError) as caught:
        lock.acquire(fd, exclusive=True)
    assert "OFDLCK WRITE" in caught.value.holders
    assert sum(pauses) == pytest.approx(LOCK_WAIT)
    assert free_locks(path) & FLOCK == FLOCK
    assert reports == []


@pytest.mark.parametrize("first", [True, False], ids=["a writer first", "a reader first"])
@pytest.mark.parametrize(
    "kinds", ["flock+posix shared", "flock shared+ofd", "flock+ofd", "flock", "ofd"]
)
def test_readers_and_writers_in_turn_wait_once_each_at_most(
    path: str, fd: int, lock: PoolLock, pauses: Pauses, hold: Hold, kinds: str, first: bool
) -> None:
    """P15: they need not miss the same locks."""
    hold(path, kinds)
    for number in range(8):
        try:
            lock.acquire(fd, exclusive=first ^ bool(number % 2))
        except LockTimeoutError:
            continue
        lock.release(fd)
    assert sum(pauses) <= 2 * LOCK_WAIT + 0.001


def test_a_readers_lock_does_not_hold_up_readers_nor_end_the_impatience_of_writers(
    path: str, fd: int, lock: PoolLock, pauses: Pauses, hold: Hold
) -> None:
    """P15."""
    hold(path, "posix shared+flock shared", nobody=True)
    lock.acquire(fd, exclusive=False)
    lock.release(fd)
    assert pauses == []
    with pytest.raises(LockTimeoutError):
        lock.acquire(fd, exclusive=True)
    waited = len(pauses)
    for _ in range(3):
        lock.acquire(fd, exclusive=False)
        lock.release(fd)
        with pytest.raises(LockTimeoutError):
            lock.acquire(fd, exclusive=True)
    assert len(pauses) == waited


def test_a_reader_behind_a_stuck_writer_goes_on_with_the_other_lock(
    path: str, fd: int, lock: PoolLock, pauses: Pauses, reports: list[str], hold: Hold
) -> None:
    holder = hold(path, "flock", nobody=True)
    lock.acquire(fd, exclusive=False)
    lock.release(fd)
    assert f"pid {holder.pid}" in reports[0]
    waited = len(pauses)
    lock.acquire(fd, exclusive=True)
    lock.release(fd)
    assert len(pauses) == waited
    assert len(reports) == 1


def test_of_many_holders_the_first_few_are_named(
    path: str, fd: int, lock: PoolLock, reports: list[str], hold: Hold
) -> None:
    hold(path, "+".join(["flock shared"] * 7))
    lock.acquire(fd, exclusive=True)
    assert reports[0].count("FLOCK READ") == 4
    assert re.search(r" and \d more; see: hv-kvp doctor$", reports[0])
    # The kernel gives out /proc/locks a page at a time, so a lock may be missed or read
    # twice while other processes take and release theirs.
    wait_for(
        "the true number",
        lambda: " and 3 more;" in locking._holders(fd, locking._FLOCK),
    )


def test_a_file_that_cannot_be_locked_is_an_error_and_leaves_no_lock(
    path: str, lock: PoolLock, free_locks: FreeLocks
) -> None:
    fd = os.open(path, os.O_RDONLY)  # enough for flock, too little for a write lock
    with pytest.raises(OSError, match="Bad file descriptor"):
        lock.acquire(fd, exclusive=True)
    assert free_locks(path) == ALL
    os.close(fd)
