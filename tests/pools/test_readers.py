# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Readers that come while a change waits for the disk, and what else may come with them."""

from __future__ import annotations

import fcntl
import os
import struct
import time
from typing import TYPE_CHECKING

import pytest

from hv_kvp_daemon.pools import recovery
from hv_kvp_daemon.pools.errors import LockTimeoutError
from hv_kvp_daemon.pools.fileio import read_at
from hv_kvp_daemon.wire.record import encode
from tests.pools.crash import content
from tests.pools.crash_cases import after_delete, after_set, records, set_first, whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hv_kvp_daemon.pools.pool import PoolFile
    from tests.pools.crash_cases import Records

    MakePool = Callable[..., PoolFile]

CHANGES: dict[str, tuple[Callable[[PoolFile], object], Callable[[Records], Records]]] = {
    "new": (lambda pool: pool.store(b"new", b"n"), lambda r: after_set(r, b"new", b"n")),
    "append": (
        lambda pool: pool.append(b"key 1", b"2"),
        lambda r: [*r, encode(b"key 1", b"2")],
    ),
    "modify": (lambda pool: pool.store(b"key 1", b"m"), lambda r: after_set(r, b"key 1", b"m")),
    "modify long": (
        lambda pool: pool.store(b"key 1", b"l" * 2000),
        lambda r: after_set(r, b"key 1", b"l" * 2000),
    ),
    "modify three": (
        lambda pool: pool.store(b"thrice", b"t" * 2000),
        lambda r: after_set(r, b"thrice", b"t" * 2000),
    ),
    "delete": (lambda pool: pool.delete(b"key 1"), lambda r: after_delete(r, b"key 1")),
    "delete last": (lambda pool: pool.delete(b"key 29"), lambda r: after_delete(r, b"key 29")),
}

#: Of each wait for the disk, in order: whether a reader is let in.
WAITS = {
    "new": [True, True],
    "append": [True, True],
    "modify": [True],
    "modify long": [True, True],
    "modify three": [True, False, False, False, False, False, False],
    "delete": [True, False, True],
    "delete last": [True, True],
}


class Neighbour:
    """Another program of this process: its open file has locks of its own."""

    def __init__(self, path: str) -> None:
        self.fd = os.open(path, os.O_RDWR)

    def may_flock(self, kind: int) -> bool:
        """Take it at once, or not at all."""
        try:
            fcntl.flock(self.fd, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def free(self) -> None:
        fcntl.flock(self.fd, fcntl.LOCK_UN)

    def may_write(self) -> bool:
        """Whether either kind of exclusive lock is to be had."""
        try:
            wanted = struct.pack("hhqqi0q", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            fcntl.fcntl(self.fd, fcntl.F_OFD_SETLK, wanted)
        except BlockingIOError:
            found = self.may_flock(fcntl.LOCK_EX)
            self.free()
            return found
        return True


@pytest.fixture
def pool(make_pool: MakePool) -> PoolFile:
    pool = make_pool(sync=True, lock_wait=30)
    with open(pool.path, "wb") as file:
        file.write(b"".join(records(30)))
    pool.store(b"key 9", b"9" * 2000)  # the journal and its name are on the disk now
    pool.store(b"key 9", b"%d " % 9 * (1 + 97 * 9))
    pool.store(b"key 9", b"%d " % 9 * (1 + 97 * 9))  # and no entry can come back
    return pool


@pytest.fixture
def before(pool: PoolFile) -> Records:
    return whole(content(pool.path))


@pytest.fixture
def neighbour(pool: PoolFile) -> Iterator[Neighbour]:
    made = Neighbour(pool.path)
    yield made
    os.close(made.fd)


def at_each_wait(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    monkeypatch.setattr(os, "fdatasync", lambda _: act())


def readers_let_in(neighbour: Neighbour, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """A list that grows at each wait for the disk: whether readers are let in; no writer is."""
    let_in: list[bool] = []

    def look() -> None:
        assert not neighbour.may_write()
        let_in.append(neighbour.may_flock(fcntl.LOCK_SH))
        neighbour.free()

    at_each_wait(monkeypatch, look)
    return let_in


@pytest.mark.parametrize("name", CHANGES)
def test_readers_are_let_in_and_writers_are_not_while_the_disk_is_waited_for(
    pool: PoolFile,
    before: Records,
    neighbour: Neighbour,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    """P27."""
    let_in = readers_let_in(neighbour, monkeypatch)
    change, after = CHANGES[name]
    change(pool)
    assert let_in == WAITS[name]
    assert whole(content(pool.path)) == after(before)


def test_readers_are_let_in_while_a_former_entry_is_waited_for(
    pool: PoolFile, neighbour: Neighbour, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P27, P30: a SET that has no entry, after one that had."""
    pool.store(b"key 1", b"l" * 2000)
    let_in = readers_let_in(neighbour, monkeypatch)
    pool.store(b"key 1", b"m" + b"l" * 1999)
    assert let_in == [True, True]


@pytest.mark.parametrize("may_return", [False, True], ids=["", "after an entry"])
@pytest.mark.parametrize("name", CHANGES)
def test_readers_are_kept_out_while_the_file_is_written(
    pool: PoolFile,
    neighbour: Neighbour,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    may_return: bool,
) -> None:
    """P27."""
    if may_return:
        pool.store(b"key 1", b"f" * 2000)
    written: list[str] = []
    at_each_wait(monkeypatch, lambda: None)

    def watch(call: str) -> None:
        real = getattr(os, call)

        def watched(fd: int, *arguments: object) -> object:
            if os.path.samestat(os.fstat(fd), os.fstat(neighbour.fd)):
                assert not neighbour.may_flock(fcntl.LOCK_SH)
                written.append(call)
            return real(fd, *arguments)

        monkeypatch.setattr(os, call, watched)

    for call in ("pwrite", "pwritev", "ftruncate"):
        watch(call)
    CHANGES[name][0](pool)
    assert written


@pytest.mark.parametrize("name", CHANGES)
def test_a_reader_that_is_let_in_finds_nothing_half_done(
    pool: PoolFile,
    before: Records,
    neighbour: Neighbour,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    """P27: but at the end a record without a key, of an append."""
    change, after = CHANGES[name]
    found: list[Records] = []

    def look() -> None:
        if neighbour.may_flock(fcntl.LOCK_SH):
            found.append(whole(content(pool.path)))
            neighbour.free()

    at_each_wait(monkeypatch, look)
    change(pool)
    assert found
    for seen in found:
        kept = seen[:-1] if not seen[-1][0] else seen
        assert kept in (before, after(before))


#: What other programs do in the moment in which the change has lost its locks.
OTHERS: dict[str, tuple[Callable[[PoolFile], object], Callable[[Records], Records]]] = {
    "nothing": (lambda _: None, lambda r: r),
    "reads": (lambda other: other.records(), lambda r: r),
    "appends": (
        lambda other: other.append(b"key 1", b"theirs"),
        lambda r: [*r, encode(b"key 1", b"theirs")],
    ),
    "sets": (
        lambda other: other.store(b"key 1", b"theirs" * 300),
        lambda r: set_first(r, b"key 1", b"theirs" * 300),
    ),
    "deletes": (lambda other: other.delete(b"key 0"), lambda r: after_delete(r, b"key 0")),
    "clears": (lambda other: other.clear(), lambda _: []),
}


@pytest.mark.parametrize("what", OTHERS)
@pytest.mark.parametrize("name", [name for name in CHANGES if name != "modify"])
def test_a_change_whose_locks_a_reader_has_taken_over_begins_anew_after_others(
    make_pool: MakePool,
    pool: PoolFile,
    before: Records,
    neighbour: Neighbour,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    what: str,
) -> None:
    """P27: a reader has its lock when the disk is done, and writers come right after it."""
    change, after = CHANGES[name]
    act, then = OTHERS[what]
    other = make_pool(sync=False)
    reads: list[bool] = []

    def read() -> None:
        reads.append(not reads and neighbour.may_flock(fcntl.LOCK_SH))

    def pause(_: float) -> None:
        neighbour.free()
        act(other)

    at_each_wait(monkeypatch, read)
    pool._config.pause = pause
    change(pool)
    assert reads[0]
    assert whole(content(pool.path)) == after(then(before))
    monkeypatch.undo()
    # What is known of the file is true.
    assert [encode(r.key, r.value) for r in pool.records()] == [
        encode(r.key, r.value) for r in other.records()
    ]
    assert not os.path.getsize(pool.path) % 2560


@pytest.mark.parametrize("name", ["new", "modify long", "delete"])
def test_a_reader_that_stays_is_waited_for_and_then_passed_over(
    make_pool: MakePool,
    pool: PoolFile,
    before: Records,
    neighbour: Neighbour,
    monkeypatch: pytest.MonkeyPatch,
    reports: list[str],
    name: str,
) -> None:
    """P15, P27."""
    pool.close()
    pool = make_pool(sync=True, lock_wait=0.05)
    at_each_wait(monkeypatch, lambda: neighbour.may_flock(fcntl.LOCK_SH))
    change, after = CHANGES[name]
    change(pool)
    assert whole(content(pool.path)) == after(before)
    assert "going on with fcntl alone" in reports[0]


@pytest.mark.parametrize("name", ["new", "modify long", "delete", "delete last"])
def test_a_change_that_has_lost_its_locks_and_gets_them_no_more_changes_nothing(
    pool: PoolFile,
    before: Records,
    neighbour: Neighbour,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    """P27."""
    written: list[bytes] = []

    def give_up(_: float) -> bool:
        written.append(content(pool.path))
        return True

    at_each_wait(monkeypatch, lambda: neighbour.may_flock(fcntl.LOCK_SH))
    pool._config.pause = give_up
    change, after = CHANGES[name]
    with pytest.raises(LockTimeoutError):
        change(pool)
    assert [content(pool.path)] == written
    neighbour.free()
    monkeypatch.undo()
    pool.count()
    assert whole(content(pool.path)) == before
    change(pool)
    assert whole(content(pool.path)) == after(before)


@pytest.mark.parametrize("name", ["new", "append", "modify long", "delete"])
def test_a_change_begins_anew_once_whatever_comes_in_its_waits(
    make_pool: MakePool,
    pool: PoolFile,
    neighbour: Neighbour,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    """P31: a reader at each wait, and a writer after each, would have it begin without end."""
    other = make_pool(sync=False)
    written = 0

    def pause(_: float) -> None:
        nonlocal written
        neighbour.free()
        other.store(b"other", b"%d" % written)
        written += 1
        assert written == 1

    at_each_wait(monkeypatch, lambda: neighbour.may_flock(fcntl.LOCK_SH))
    pool._config.pause = pause
    CHANGES[name][0](pool)
    assert written


@pytest.mark.parametrize("name", ["new", "modify long", "delete", "reads", "replaced"])
def test_all_waits_of_one_request_are_bounded_together(
    make_pool: MakePool,
    pool: PoolFile,
    neighbour: Neighbour,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    """P31: a lock that is free just before the end of each wait, and held again in the next."""
    pool.close()
    pool = make_pool(sync=True, lock_wait=5)
    now = since = 0.0

    def hold(kind: int) -> None:
        nonlocal since
        since = now
        neighbour.may_flock(kind)

    def pause(seconds: float) -> None:
        nonlocal now
        now += seconds
        if now - since < 4.9:
            return
        neighbour.free()
        if name == "replaced":
            os.close(neighbour.fd)
            os.unlink(pool.path)
            neighbour.fd = os.open(pool.path, os.O_RDWR | os.O_CREAT)
            hold(fcntl.LOCK_EX)

    monkeypatch.setattr(time, "monotonic", lambda: now)
    pool._config.pause = pause
    hold(fcntl.LOCK_EX)
    if name == "reads":
        # To take an interrupted append off, the exclusive lock is needed, too.
        with open(pool.path, "ab") as file:
            file.write(bytes(2560))

        def read(fd: int, length: int, offset: int) -> bytes:
            hold(fcntl.LOCK_SH)
            return read_at(fd, length, offset)

        monkeypatch.setattr(recovery, "read_at", read)
        pool.count()
    else:
        at_each_wait(monkeypatch, lambda: hold(fcntl.LOCK_SH))
        CHANGES["new" if name == "replaced" else name][0](pool)
    assert 4.9 < now < 5.1
