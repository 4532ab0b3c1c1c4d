# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The index of keys, and neighbours of which the file's times do not tell.

Linux before 6.13 takes st_mtime and st_ctime from a clock that ticks every 1 to 10 ms:
a neighbour's write has the last tick's time, whatever was written in the tick before.
`forge` makes a file look so.  Nobody can forge st_ctime, which newer kernels tell
finely; so here it is no part of a stamp, or a wrong index would not show.
"""

from __future__ import annotations

import os
import random
import tempfile
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from hv_kvp_daemon.pools import locked_pool, records
from hv_kvp_daemon.pools import pool as pool_module
from hv_kvp_daemon.pools.errors import PoolError
from hv_kvp_daemon.pools.file_version import version_of
from hv_kvp_daemon.pools.fileio import read_at
from hv_kvp_daemon.pools.index import KeyIndex
from hv_kvp_daemon.pools.locked_pool import LockedPool
from hv_kvp_daemon.pools.pool import PoolFile
from hv_kvp_daemon.wire.record import KEY_SIZE, RECORD_SIZE, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from hv_kvp_daemon.pools.file_version import FileVersion
    from tests.pools.conftest import Holder

    MakePool = Callable[..., PoolFile]

#: A time that is longer ago than any tick.
OLD = 1_000_000_000_000_000_000

#: Nanoseconds between two ticks of the clock that files get their times from: 100 Hz.
TICK = 10_000_000

real_utime = os.utime


class Clock:
    """The clock of these tests: it goes on only as it is told, or is looked at."""

    now = 1_800_000_000_123_456_789

    @classmethod
    def time_ns(cls) -> int:
        cls.now += 1
        return cls.now

    @classmethod
    def last_tick(cls) -> int:
        """The time that a file gets now."""
        return cls.now - cls.now % TICK

    @classmethod
    def tick(cls) -> int:
        cls.now = cls.last_tick() + TICK + 5
        return cls.last_tick()


def without_ctime(status: os.stat_result) -> FileVersion:
    return (*version_of(status)[:4], 0)


class Coarse(LockedPool):
    """A file of such a kernel."""

    __slots__ = ()

    def end_change(self, size: int) -> None:
        tick = Clock.last_tick()  # as the change that was made left it
        real_utime(self.fd, ns=(tick, tick))
        super().end_change(size)


@pytest.fixture(autouse=True, scope="module")
def coarse() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool_module, "LockedPool", Coarse)
        patch.setattr(locked_pool, "time", Clock)
        patch.setattr(locked_pool, "version_of", without_ctime)
        yield


def forge(path: str, mtime: int) -> None:
    os.utime(path, ns=(mtime, mtime))


def write(path: str, *keys: bytes) -> None:
    """Write a pool in place, each value its record's number, with an old time."""
    with open(path, "r+b" if os.path.exists(path) else "wb") as file:
        file.write(b"".join(encode(key, b"%d" % n) for n, key in enumerate(keys)))
        file.truncate()
    forge(path, OLD)


def rename(path: str, number: int, key: bytes) -> None:
    with open(path, "r+b") as file:
        file.seek(number * RECORD_SIZE)
        file.write(key.ljust(KEY_SIZE, b"\0"))


@pytest.fixture
def read_records(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes of the pool each read of it asked for."""
    lengths: list[int] = []
    pread = os.pread

    def counted(fd: int, length: int, offset: int) -> bytes:
        if length % RECORD_SIZE == 0:  # the journal is read in other pieces
            lengths.append(length)
        return pread(fd, length, offset)

    monkeypatch.setattr(os, "pread", counted)
    return lengths


@pytest.fixture
def indexed(pool: PoolFile, read_records: list[int]) -> PoolFile:
    """A pool of a, b, c that has its index."""
    write(pool.path, b"a", b"b", b"c")
    for _ in range(2):
        assert pool.find(b"b") == b"1"
    read_records.clear()
    return pool


def test_the_second_look_up_makes_the_index_and_later_ones_read_one_record(
    pool: PoolFile, read_records: list[int]
) -> None:
    write(pool.path, *(b"%d" % n for n in range(300)))
    for key in (b"200", b"299", b"300", b"250", b"no", b"251"):
        assert pool.find(key) == (key if key.isdigit() and int(key) < 300 else None)
        if key == b"300":
            read_records.clear()
    assert read_records == [RECORD_SIZE] * 2


def test_a_hole_is_not_read_to_make_the_index(pool: PoolFile, read_records: list[int]) -> None:
    """P20: truncate(1) makes one of a terabyte, and reading that takes hours."""
    write(pool.path, b"a")
    os.truncate(pool.path, 100_000 * RECORD_SIZE)
    with open(pool.path, "ab") as file:
        file.write(encode(b"last", b"1"))
    forge(pool.path, OLD)
    for _ in range(3):
        assert pool.find(b"last") == b"1"
    assert sum(read_records) < 1000 * RECORD_SIZE
    pool.store(b"last", b"2")
    assert pool.records()[-1].value == b"2"


def test_an_index_is_dropped_when_another_program_writes_without_a_lock_during_a_look_up(
    indexed: PoolFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_and_read(fd: int, length: int, offset: int) -> bytes:
        monkeypatch.setattr(records, "read_at", read_at)
        rename(indexed.path, 0, b"b")
        rename(indexed.path, 1, b"new")
        return read_at(fd, length, offset)

    monkeypatch.setattr(records, "read_at", write_and_read)
    indexed.store(b"b", b"set")
    assert [record.key for record in indexed.records()] == [b"b", b"new", b"c"]
    assert indexed.find(b"b") == b"set"
    assert indexed.find(b"new") == b"1"


def test_own_changes_keep_the_index(indexed: PoolFile, read_records: list[int]) -> None:
    indexed.store(b"d", b"new")
    indexed.store(b"b", b"other")
    indexed.append(b"e", b"appended")
    indexed.append(b"b", b"second")
    indexed.delete(b"a")
    assert [indexed.find(key) for key in (b"a", b"b", b"c", b"d", b"e")] == [
        *(None, b"other", b"2", b"new", b"appended"),
    ]
    assert set(read_records) == {RECORD_SIZE}
    # Of a key that stands there twice, both go.
    assert indexed.delete(b"b")
    assert indexed.find(b"b") is None
    assert [record.key for record in indexed.records()] == [b"c", b"d", b"e"]


def test_a_value_that_a_neighbour_wrote_is_read(indexed: PoolFile) -> None:
    with open(indexed.path, "r+b") as file:
        file.write(encode(b"a", b"theirs"))
    forge(indexed.path, OLD)
    assert indexed.find(b"a") == b"theirs"


def test_a_record_that_is_another_by_now_is_not_taken_for_the_one_asked_for(
    indexed: PoolFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if all times were as before: what a network file system may say."""
    version = indexed._file.version
    monkeypatch.setattr(locked_pool, "version_of", lambda _: version)
    write(indexed.path, b"b", b"a", b"c")
    assert indexed.find(b"b") == b"0"
    assert indexed.find(b"a") == b"1"


@pytest.mark.parametrize("ours", ["find", "store"])
def test_a_young_file_is_searched_each_time(
    pool: PoolFile, read_records: list[int], ours: str
) -> None:
    """Another write in this tick would not show."""
    write(pool.path, b"a", b"b")
    tick = Clock.tick()
    for key in (b"c", b"d", b"e", b"f"):
        # The neighbour's write, and the clock has not ticked since the last one's.
        rename(pool.path, 1, key)
        forge(pool.path, tick)
        Clock.now += TICK // 5
        if ours == "find":
            assert pool.find(key) == b"1"
        else:
            pool.store(key, b"1")
    assert pool.count() == 2


def test_times_without_a_fraction_may_be_those_of_a_file_system_of_whole_seconds(
    pool: PoolFile,
) -> None:
    write(pool.path, b"a", b"b")
    second = Clock.now // 1_000_000_000 * 1_000_000_000 + 2_000_000_000
    Clock.now = second + 5
    for key in (b"c", b"d", b"e", b"f"):
        rename(pool.path, 1, key)
        forge(pool.path, second)
        Clock.now += 300_000_000
        for _ in range(2):
            assert pool.find(key) == b"1"
            record = pool.read(1)
            assert record is not None
            assert record.key == key


def test_a_neighbours_write_in_the_tick_of_ours_is_seen(indexed: PoolFile) -> None:
    for key in (b"d", b"e", b"f"):
        tick = Clock.tick()
        indexed.store(b"a", b"ours")
        assert indexed.find(key) is None
        rename(indexed.path, 2, key)
        forge(indexed.path, tick)
        assert indexed.find(key) == b"2"


def test_a_neighbour_who_sets_the_time_back_is_seen_within_a_tick(
    pool: PoolFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As ``rsync --inplace -t`` does; the ctime, which nobody can set, is that of the tick."""

    def coarse_ctime(status: os.stat_result) -> FileVersion:
        return (*version_of(status)[:4], Clock.last_tick())

    monkeypatch.setattr(locked_pool, "version_of", coarse_ctime)
    write(pool.path, b"a", b"b")
    for _ in range(3):
        assert pool.find(b"c") is None
    rename(pool.path, 1, b"c")
    forge(pool.path, OLD)
    assert pool.find(b"c") == b"1"


def test_first_of_two_records_removed_and_another_appended(indexed: PoolFile) -> None:
    indexed.append(b"b", b"second")
    assert indexed.find(b"b") == b"1"
    tick = Clock.tick()
    write(indexed.path, b"a", b"c", b"b", b"x")
    forge(indexed.path, tick)
    assert indexed.find(b"b") == b"2"


def test_an_earlier_record_that_gets_the_key_is_the_first(indexed: PoolFile) -> None:
    tick = Clock.tick()
    indexed.store(b"c", b"ours")
    rename(indexed.path, 0, b"c")
    forge(indexed.path, tick)
    assert indexed.find(b"c") == b"0"


def test_a_file_cut_and_grown_to_its_length(indexed: PoolFile) -> None:
    tick = Clock.tick()
    indexed.store(b"c", b"ours")
    write(indexed.path, b"x", b"c", b"a")
    forge(indexed.path, tick)
    assert [indexed.find(key) for key in (b"a", b"b", b"c", b"x")] == [b"2", None, b"1", b"0"]


def test_what_a_neighbour_appended_goes_with_the_others_of_its_key(pool: PoolFile) -> None:
    """Far behind: the records of one block are looked through in any case."""
    keys = [b"%d" % number for number in range(300)]
    write(pool.path, *keys)
    for _ in range(2):
        assert pool.find(b"1") == b"1"
    with open(pool.path, "ab") as file:
        file.write(encode(b"1", b"theirs"))
    assert pool.delete(b"1")
    assert [record.key for record in pool.records()] == [keys[0], *keys[2:]]


def test_a_change_under_one_lock_leaves_no_index(
    indexed: PoolFile, hold: Callable[..., Holder], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has the other lock may write beside us: here just before the file's mark."""
    hold(indexed.path, "posix")
    with monkeypatch.context() as patch:
        real = Coarse.end_change

        def end_change(file: Coarse, size: int) -> None:
            rename(indexed.path, 0, b"x")
            real(file, size)

        patch.setattr(Coarse, "end_change", end_change)
        indexed.store(b"b", b"ours")
    assert indexed.find(b"x") == b"0"
    assert indexed.find(b"b") == b"ours"


def test_a_change_that_fails_leaves_no_index(
    indexed: PoolFile,
    limit_file_size: Callable[[int], AbstractContextManager[None]],
    read_records: list[int],
) -> None:
    with limit_file_size(3 * RECORD_SIZE), pytest.raises(PoolError):
        indexed.store(b"d", b"new")
    assert indexed.find(b"d") is None
    assert indexed.find(b"c") == b"2"
    assert max(read_records) == 3 * RECORD_SIZE


def test_who_may_not_set_the_time_is_served_all_the_same(
    indexed: PoolFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.utime

    def refuse(path: int | str, **times: Any) -> None:
        # The present time may be set by every writer, another by the owner only.
        if path == indexed._file.fd and times:
            raise PermissionError
        real(path, **times)

    with monkeypatch.context() as patch:
        patch.setattr(os, "utime", refuse)
        indexed.store(b"d", b"new")
        assert indexed.find(b"d") == b"new"
        assert indexed.delete(b"a")
    tick = Clock.tick()
    rename(indexed.path, 0, b"x")
    forge(indexed.path, tick)
    assert indexed.find(b"x") == b"1"


def test_two_keys_of_one_hash_are_told_apart(
    pool: PoolFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hv_kvp_daemon.pools.index.hash", len, raising=False)
    write(pool.path, b"a", b"b", b"cc", b"b")
    for key, value in ((b"b", b"1"), (b"a", b"0"), (b"cc", b"2"), (b"d", None)) * 3:
        assert pool.find(key) == value
    pool.store(b"d", b"new")
    assert pool.find(b"a") == b"0"
    assert pool.delete(b"b")
    assert [record.key for record in pool.records()] == [b"a", b"cc", b"d"]


def test_keys_that_nobody_can_ask_for_take_places_and_nothing_else() -> None:
    index = KeyIndex()
    nameless, endless = bytes(RECORD_SIZE), b"k" * RECORD_SIZE
    index.build([(0, nameless + encode(b"a", b"")), (2, endless + encode(b"b", b""))])
    assert [index.find(key) for key in (b"a", b"b", b"", b"k" * KEY_SIZE)] == [1, 3, None, None]
    index.remove(b"a")
    assert (index.find(b"a"), index.find(b"b")) == (None, 2)


class Ticks(RuleBasedStateMachine):
    """A pool and neighbours whose writes have the time of a clock that stands or ticks."""

    keys = st.sampled_from([b"a", b"b", b"c", b"d"])

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.path = os.path.join(self.directory.name, ".kvp_pool_1")
        self.pool = PoolFile(1, self.path, report=print, sync=False)
        self.model: list[tuple[bytes, bytes]] = []
        self.written = 0
        Clock.tick()
        write(self.path)

    def teardown(self) -> None:
        self.pool.close()
        self.directory.cleanup()

    def value(self) -> bytes:
        self.written += 1
        return b"%d" % self.written

    def places(self, key: bytes) -> list[int]:
        return [at for at, (other, _) in enumerate(self.model) if other == key]

    def theirs(self, pairs: list[tuple[bytes, bytes]], *, old: bool = False) -> None:
        """Write what a neighbour leaves, in place, with the time of the last tick."""
        self.model = pairs
        with open(self.path, "r+b") as file:
            file.write(b"".join(encode(*pair) for pair in pairs))
            file.truncate()
        forge(self.path, OLD + self.written if old else Clock.last_tick())

    @rule(milliseconds=st.sampled_from([1, 9, 10, 30]))
    def clock_runs(self, milliseconds: int) -> None:
        Clock.now += milliseconds * 1_000_000

    @rule(key=keys)
    def find(self, key: bytes) -> None:
        places = self.places(key)
        assert self.pool.find(key) == (self.model[places[0]][1] if places else None)

    @rule(number=st.integers(0, 4))
    def read(self, number: int) -> None:
        pairs = [*self.model, *([None] * 5)]
        found = self.pool.read(number)
        assert (found and (found.key, found.value)) == pairs[number]

    @rule(key=keys)
    def find_twice(self, key: bytes) -> None:
        self.find(key)
        self.find(key)

    @rule(key=keys)
    def store(self, key: bytes) -> None:
        value = self.value()
        self.pool.store(key, value)
        places = self.places(key)
        if places:
            self.model[places[0]] = (key, value)
            self.model = [pair for at, pair in enumerate(self.model) if at not in places[1:]]
        else:
            self.model.append((key, value))

    @rule(key=keys)
    def append(self, key: bytes) -> None:
        self.model.append((key, self.value()))
        self.pool.append(*self.model[-1])

    @rule(key=keys)
    def delete(self, key: bytes) -> None:
        assert self.pool.delete(key) == len(self.places(key))
        self.model = [pair for pair in self.model if pair[0] != key]

    @rule(key=keys, old=st.booleans())
    def neighbour_appends(self, key: bytes, old: bool) -> None:
        self.theirs([*self.model, (key, self.value())], old=old)

    @precondition(lambda self: self.model)
    @rule(key=keys, data=st.data())
    def neighbour_renames(self, key: bytes, data: st.DataObject) -> None:
        number = data.draw(st.integers(0, len(self.model) - 1))
        pairs = list(self.model)
        pairs[number] = (key, pairs[number][1])
        self.theirs(pairs)

    @precondition(lambda self: self.model)
    @rule(key=keys, data=st.data())
    def neighbour_removes_and_appends(self, key: bytes, data: st.DataObject) -> None:
        number = data.draw(st.integers(0, len(self.model) - 1))
        pairs = self.model[:number] + self.model[number + 1 :]
        self.theirs([*pairs, (key, self.value())])

    @rule(order=st.randoms(use_true_random=False))
    def neighbour_shuffles(self, order: random.Random) -> None:
        pairs = list(self.model)
        order.shuffle(pairs)
        self.theirs(pairs)

    @rule()
    def neighbour_empties(self) -> None:
        self.theirs([])

    @rule()
    def file_grows_old(self) -> None:
        self.written += 1
        forge(self.path, OLD + self.written)


TestTicks = Ticks.TestCase
TestTicks.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)
