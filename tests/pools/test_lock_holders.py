# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Who holds a lock on a pool file, whatever the kind of the lock."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from hv_kvp_daemon.pools import lock_holders
from hv_kvp_daemon.pools.lock_holders import describe, held_locks
from tests.pools.conftest import PRELUDE

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.pools.conftest import Holder

    Hold = Callable[..., Holder]

FCNTL = {"POSIX", "OFDLCK"}


@pytest.mark.parametrize(
    ("kind", "lock"),
    [
        ("flock shared", ("FLOCK", "READ")),
        ("posix", ("POSIX", "WRITE")),
        ("ofd shared", ("OFDLCK", "READ")),
        ("ofd", ("OFDLCK", "WRITE")),
    ],
)
def test_the_holder_of_each_kind_of_lock_is_found(
    path: str, fd: int, hold: Hold, kind: str, lock: tuple[str, str]
) -> None:
    """D7: /proc/locks has -1 for the holder of an OFD lock, and nobody was named."""
    holder = hold(path, kind)
    assert held_locks(fd) == [(*lock, [holder.pid])]
    text = describe(fd, {lock[0]})
    assert re.fullmatch(
        rf"held as {' '.join(lock)} by pid {holder.pid} '.*'; see: hv-kvp doctor", text
    )
    holder.end()
    assert held_locks(fd) == []
    assert describe(fd, {lock[0]}) == "its holder is gone, or not shown by the kernel"


def test_a_child_that_shares_the_open_file_is_named_as_well(path: str, fd: int) -> None:
    code = PRELUDE + (
        "fd = opened(sys.argv[1], 'ofd'); ofd(fd, fcntl.F_WRLCK)\n"
        "child = os.fork()\n"
        "if child: print(os.getpid(), child, flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        pids = sorted(map(int, parent.stdout.readline().split()))
        ((kind, mode, found),) = held_locks(fd)
        assert (kind, mode, sorted(found)) == ("OFDLCK", "WRITE", pids)
        assert all(f"pid {pid} '" in describe(fd, FCNTL) for pid in pids)
        assert parent.stdin is not None
        parent.stdin.close()


def test_a_holder_that_ends_while_it_is_looked_up_is_named_by_its_pid(
    fd: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = 1 << 30  # above the greatest pid
    monkeypatch.setattr(lock_holders, "held_locks", lambda _: [("FLOCK", "WRITE", [gone])])
    assert describe(fd, {"FLOCK"}) == f"held as FLOCK WRITE by pid {gone}; see: hv-kvp doctor"


def test_the_search_among_processes_ends_after_its_time(
    path: str, fd: int, hold: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any user may have thousands of processes, and the host waits meanwhile."""
    now = [0.0]

    def take_long(*_: str) -> set[str]:
        now[0] += 1.0
        return set()

    hold(path, "ofd")
    monkeypatch.setattr("time.process_time", lambda: now[0])
    monkeypatch.setattr(lock_holders, "_ofd_modes", take_long)
    assert "by a process that is not visible here; see: hv-kvp doctor" in describe(fd, FCNTL)
    assert now == [1.0]


def test_the_search_among_descriptors_ends_after_its_time(
    path: str, fd: int, hold: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P15: 3,000 descriptors of an inotify instance with 5,000 watches took 94 s."""
    now = [0.0]
    real_open = open

    def take_long(file: str, *rest: Any, **options: Any) -> Any:
        now[0] += bool(re.match(r"/proc/\d+/fdinfo/", file))
        return real_open(file, *rest, **options)

    hold(path, "ofd")
    with monkeypatch.context() as patch:
        patch.setattr("time.process_time", lambda: now[0])
        patch.setattr("builtins.open", take_long)
        describe(fd, FCNTL)
    assert now == [1.0]


@pytest.mark.parametrize("line", ["lock:", "lock: 1", "lock:\t1: OFDLCK ADVISORY WRITE -1"])
def test_a_line_that_a_program_has_put_into_its_fdinfo_is_no_lock(
    fd: int, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    """S4: the name of a DMA buffer stands there as its owner wrote it, with newlines."""
    monkeypatch.setattr(lock_holders, "_rows", lambda *_: [("OFDLCK", "WRITE", -1)])
    monkeypatch.setattr(lock_holders, "_lock_lines", lambda _: [line])
    assert "by a process that is not visible here" in describe(fd, FCNTL)


def test_the_search_among_locks_ends_after_its_time(
    path: str, fd: int, hold: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P15: with 200,000 locks any user held up the host for three minutes."""
    hold(path, "posix")
    monkeypatch.setattr(lock_holders, "_MOST_SECONDS", -1.0)
    assert describe(fd, FCNTL) == (
        "its holder was not found in time among all locks of this machine"
    )


def test_a_descriptor_that_is_closed_has_no_holder(path: str) -> None:
    fd = os.open(path, os.O_RDONLY)
    os.close(fd)
    assert describe(fd, FCNTL) == "its holder cannot be told from /proc"
