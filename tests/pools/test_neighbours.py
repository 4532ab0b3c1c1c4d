# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Other programs at the same file and the same time, each with the locks that it knows."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from hv_kvp_daemon.pools import records as records_module
from hv_kvp_daemon.pools.errors import LockTimeoutError
from hv_kvp_daemon.pools.fileio import read_at
from hv_kvp_daemon.pools.locking import PoolLock
from hv_kvp_daemon.pools.writer import Writer
from hv_kvp_daemon.wire.record import RECORD_SIZE, encode

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from hv_kvp_daemon.pools.pool import PoolFile
    from tests.pools.conftest import Holder

    MakePool = Callable[..., PoolFile]
    StartChild = Callable[..., subprocess.Popen[str]]

APPENDS = 250

_APPENDER = f"""
from hv_kvp_daemon.pools.pool import PoolFile
path, name = sys.argv[1:]

def record(key, value):
    return key.ljust(512, b"\\0") + value.ljust(2048, b"\\0")

def append_under(lock):
    # Two neighbours of different kinds do not see each other: only O_APPEND keeps
    # their records apart, and only both locks keep this pool's from being hit.
    def append(key, value):
        with open(path, "ab") as file:
            lock(file, fcntl.LOCK_EX)
            file.write(record(key, value))
            file.flush()
            lock(file, fcntl.LOCK_UN)
    return append

pool = PoolFile(1, path, sync=False, lock_wait=30, report=sys.exit)
append = {{
    "flock": append_under(fcntl.flock),
    "posix": append_under(fcntl.lockf),
    "library": pool.append,
}}[name.split()[0]]
print("ready", flush=True)
sys.stdin.readline()
for number in range({APPENDS}):
    append(f"{{name}} {{number}}".encode(), b"x" * 2000)
"""


def test_nothing_that_others_append_is_lost_while_this_one_sets_and_deletes(
    make_pool: MakePool, reports: list[str], start_child: StartChild
) -> None:
    """P13, P16."""
    pool = make_pool(lock_wait=30)
    pool.append(b"first", b"")
    names = [f"{kind} {i}" for kind in ("flock", "posix", "library") for i in range(2)]
    children = [start_child(_APPENDER, pool.path, name) for name in names]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    rounds = 0
    while any(child.poll() is None for child in children) or rounds < 20:
        rounds += 1
        pool.store(b"own %d" % (rounds % 5), b"%d" % rounds)
        pool.store(b"own long", b"y" * (rounds % 2000))
        pool.delete(b"own %d" % ((rounds + 2) % 5))
    assert [child.returncode for child in children] == [0] * len(children)

    others = [r for r in pool.records() if not r.key.startswith(b"own")]
    expected = {f"{name} {number}".encode() for name in names for number in range(APPENDS)}
    assert len(others) == len(expected) + 1
    assert {r.key for r in others} == expected | {b"first"}
    assert all(r.value == b"x" * 2000 for r in others[1:])
    assert os.stat(pool.path).st_size % RECORD_SIZE == 0
    # Each neighbour's own order is kept.
    for name in names:
        own = [r.key for r in others if r.key.startswith(name.encode())]
        assert own == [f"{name} {number}".encode() for number in range(APPENDS)]
    assert pool.find(b"own long") == b"y" * (rounds % 2000)
    assert reports == []


@pytest.mark.parametrize("name", ["store new", "store old", "append", "delete"])
def test_one_hold_of_the_locks_covers_reading_and_writing(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """P13."""
    pool = make_pool()
    pool.append(b"old", b"1")
    events: list[str] = []

    def record(event: str, target: object, attribute: str) -> None:
        real = getattr(target, attribute)

        def recorded(*arguments: object, **options: object) -> object:
            if events[-1:] != [event]:
                events.append(event)
            return real(*arguments, **options)

        monkeypatch.setattr(target, attribute, recorded)

    record("lock", PoolLock, "acquire")
    record("read", records_module, "read_at")
    for change in ("replace", "append", "remove"):
        record("write", Writer, change)
    record("unlock", PoolLock, "release")
    changes: dict[str, Callable[[], object]] = {
        "store new": lambda: pool.store(b"new", b"2"),
        "store old": lambda: pool.store(b"old", b"2"),
        "append": lambda: pool.append(b"new", b"2"),
        "delete": lambda: pool.delete(b"old"),
    }
    changes[name]()
    read = [] if name == "append" else ["read"]
    assert events == ["lock", *read, "write", "unlock"]


def test_a_close_of_the_same_file_elsewhere_in_the_process_keeps_the_hold(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch, free_locks: Callable[[str], set[str]]
) -> None:
    """P14."""
    pool = make_pool(sync=True)
    seen = []

    def close_another(_: int) -> None:
        os.close(os.open(pool.path, os.O_RDONLY))
        seen.append(free_locks(pool.path))

    monkeypatch.setattr(os, "fdatasync", close_another)
    pool.store(b"a", b"1")
    # Once for the value, once for the key; readers are let in while the disk is waited for.
    assert seen == [{"flock shared"}] * 2


def test_a_reader_holds_up_no_request_that_reads(
    make_pool: MakePool, hold: Callable[..., Holder]
) -> None:
    """P15."""
    pauses: list[float] = []
    pool = make_pool(pause=pauses.append)
    pool.append(b"a", b"1")
    hold(pool.path, "flock shared+posix shared", nobody=True)
    assert pool.read(0) is not None
    assert pool.find(b"a") == b"1"
    assert pool.count() == len(pool.records()) == 1
    assert pauses == []


def test_a_stuck_reader_does_not_keep_the_host_from_setting(
    pool: PoolFile, reports: list[str], hold: Callable[..., Holder]
) -> None:
    """P15."""
    pool.append(b"a", b"1")
    holder = hold(pool.path, "posix shared", nobody=True)
    pool.store(b"a", b"2")
    assert pool.find(b"a") == b"2"
    assert pool.delete(b"a")
    assert len(reports) == 1
    assert f"POSIX READ by pid {holder.pid}" in reports[0]


def test_with_both_locks_kept_from_it_a_pool_is_not_touched(
    pool: PoolFile, hold: Callable[..., Holder]
) -> None:
    """P15."""
    pool.append(b"a", b"1")
    holder = hold(pool.path, "flock+posix")
    requests: list[Callable[[], object]] = [
        lambda: pool.store(b"a", b"2"),
        lambda: pool.find(b"a"),
    ]
    for request in requests:
        with pytest.raises(LockTimeoutError) as caught:
            request()
        assert (caught.value.pool, caught.value.path) == (1, pool.path)
    holder.end()
    assert pool.find(b"a") == b"1"


def test_a_stuck_holder_does_not_hold_up_the_opening(
    make_pool: MakePool, public: str, hold: Callable[..., Holder]
) -> None:
    pauses: list[float] = []
    with open(f"{public}/.kvp_pool_1", "wb"):
        pass
    hold(f"{public}/.kvp_pool_1", "flock+posix")
    make_pool(pause=pauses.append).open()
    assert pauses == []


@pytest.mark.parametrize("left", [0, 100, RECORD_SIZE, RECORD_SIZE + 1])
def test_a_file_that_is_cut_without_a_lock_meanwhile_is_read_as_far_as_it_goes(
    pool: PoolFile, monkeypatch: pytest.MonkeyPatch, left: int
) -> None:
    """cloud-init truncates a stale pool so."""
    with open(pool.path, "wb") as file:
        file.write(encode(b"a", b"1") + encode(b"b", b"2"))
    assert pool.count() == 2

    def cut_and_read(fd: int, length: int, offset: int) -> bytes:
        os.truncate(pool.path, left)
        return read_at(fd, length, offset)

    monkeypatch.setattr(records_module, "read_at", cut_and_read)
    requests: list[Callable[[], object]] = [
        lambda: [record.key for record in pool.records()] == [b"a"][: left // RECORD_SIZE],
        lambda: pool.read(1) is None,
        lambda: pool.find(b"b") is None,
        lambda: not pool.delete(b"b"),
    ]
    for request in requests:
        with open(pool.path, "wb") as file:
            file.write(encode(b"a", b"1") + encode(b"b", b"2"))
        assert request()
