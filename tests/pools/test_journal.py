# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The journal as a file: where it is, who may read it, and what if it cannot be used."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import signal
import stat
from binascii import crc32
from typing import TYPE_CHECKING

import pytest

from hv_kvp_daemon.pools import journal as journal_module
from hv_kvp_daemon.pools import journal_file
from hv_kvp_daemon.pools.change import MOVE, SECTOR, TOMBSTONE, Change, move, replace
from hv_kvp_daemon.pools.config import PoolConfig
from hv_kvp_daemon.pools.errors import PoolError
from hv_kvp_daemon.pools.journal import BACKWARD, FORWARD, MOST_MOVED, SWEEP, Journal
from hv_kvp_daemon.pools.opening import open_directory_of
from hv_kvp_daemon.wire.record import RECORD_SIZE, Record, encode
from tests.pools.conftest import NOBODY

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from hv_kvp_daemon.pools.pool import PoolFile

    MakePool = Callable[..., PoolFile]

OLD, NEW = encode(b"k", b"1" * 2000), encode(b"k", b"2" * 2000)


# The start of an entry: state, longest, seal; kind, offset, hole, before, after, boot.
HEAD = 8 + 8 + 8 + 4 + 8 + 8 + 4 + 4 + 4


def open_journal(directory: str, *, sync: bool) -> Journal:
    return Journal(PoolConfig(1, f"{directory}/.kvp_pool_1", report=print, sync=sync))


@pytest.fixture
def journal(public: str) -> Journal:
    return open_journal(public, sync=True)


def pending(journal: Journal) -> Change | None:
    """The change of an entry that is FORWARD."""
    entry = journal.pending()
    assert entry is not None
    assert entry.state == (FORWARD if entry.change else SWEEP)
    return entry.change


@pytest.mark.parametrize(
    "change",
    [
        replace(RECORD_SIZE, OLD, NEW),
        replace(2**40, OLD, NEW),
        move(0, OLD * 3, 0),
        move(RECORD_SIZE, OLD * 4, RECORD_SIZE),
    ],
    ids=["replace", "far", "delete", "hole"],
)
def test_what_was_written_down_is_pending_until_it_is_cleared(
    journal: Journal, change: Change
) -> None:
    assert journal.pending() is None
    for _ in range(2):
        journal.write(change)
        found = pending(journal)
        assert found is not None
        assert (found.kind, found.offset, found.hole, found.kept, found.old, found.new) == (
            *(change.kind, change.offset, change.hole, change.kept, change.old, change.new),
        )
        for state in (BACKWARD, FORWARD):
            journal.mark(state)
            entry = journal.pending()
            assert entry is not None
            assert entry.change is not None
            assert (entry.state, entry.change.new) == (state, change.new)
        journal.mark(SWEEP)
        assert pending(journal) is None
        journal.clear()
        assert journal.pending() is None
    journal.close()


def test_an_entry_says_whether_this_boot_wrote_it(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a kill there is a beginning of the change, of a power cut any of its sectors."""
    journal.write(replace(RECORD_SIZE, OLD, NEW))
    for _ in range(2):
        entry = journal.pending()
        assert entry is not None
        assert entry.same_boot
        journal.close()
    for number in (7, 0):
        monkeypatch.setattr(journal_module, "boot", lambda number=number: number)
        entry = journal.pending()
        assert entry is not None
        assert entry.change is not None
        assert not entry.same_boot
        journal.close()


def test_an_entry_that_is_half_written_has_no_change(journal: Journal) -> None:
    journal.write(replace(0, OLD, NEW))
    with open(journal.path, "rb") as file:
        whole = file.read(HEAD + 2 * RECORD_SIZE)
    for size in (8, 15, 16, HEAD - 1, HEAD, HEAD + 1, 4096, len(whole) - 1):
        with open(journal.path, "r+b") as file:
            file.write(whole[:size])
            file.truncate()
        assert pending(journal) is None
    for size in (0, 7):
        os.truncate(journal.path, size)
        assert journal.pending() is None
    journal.close()


def test_an_entry_that_is_read_in_parts_is_found(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.write(replace(0, OLD, NEW))
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, size, at: real(fd, min(size, 3), at))
    assert pending(journal) is not None
    journal.close()


@pytest.mark.parametrize(
    ("at", "number", "size"),
    [
        (0, 2**63, 8),  # the state
        (24, 9, 4),  # the kind
        (28, 2**63, 8),  # the offset
        (36, 2**64 - 1, 8),  # the hole
        (44, 2**32 - 1, 4),  # the bytes before
        (48, 2**32 - 1, 4),  # the bytes after
    ],
)
@pytest.mark.parametrize("sealed", [True, False])
def test_a_journal_with_what_no_entry_has_is_set_aside_and_the_pool_served(
    make_pool: MakePool,
    reports: list[str],
    at: int,
    number: int,
    size: int,
    *,
    sealed: bool,
) -> None:
    """P29: the daemon ended at each request, until the file was removed."""
    pool = make_pool()
    pool.append(b"k", b"1")
    path = f"{os.path.dirname(pool.path)}/.hv_kvp_journal_1"
    write_entry(path, at, number.to_bytes(size, "little"), sealed=sealed)
    with open(path, "rb") as file:
        bytes_of_it = file.read(HEAD)
    os.truncate(path, 2**40)
    another = make_pool()
    assert another.records() == [Record(b"k", b"1")]
    assert len(reports) == 1
    assert f"and was renamed to {path}.damaged" in reports[0]
    with open(f"{path}.damaged", "rb") as file:
        assert file.read(HEAD) == bytes_of_it
    # The process that has the file open uses the new one, too.
    another.store(b"k", b"2" * 2000)
    pool.store(b"k", b"3" * 2000)
    pool.delete(b"k")
    assert os.stat(path).st_size < 2**20
    with open(path, "rb") as file:
        assert not any(file.read())
    with open(f"{path}.damaged", "rb") as file:
        assert file.read(HEAD) == bytes_of_it
    assert another.records() == []
    assert len(reports) == 1


_UNENDING = b"x" * RECORD_SIZE


@pytest.mark.parametrize(
    "change",
    [
        replace(0, _UNENDING, _UNENDING, 1),
        replace(0, b"", _UNENDING, 1),
        Change(MOVE, 0, _UNENDING, (b"",)),
        Change(MOVE, 0, _UNENDING + b"x", (b"",)),
    ],
)
def test_a_sealed_entry_that_this_project_never_writes_ends_nothing(
    make_pool: MakePool, public: str, change: Change
) -> None:
    """P29: the owner of a pool can seal any entry, and root's programs read his journal."""
    pool = make_pool()
    pool.append(b"k", b"1")
    with open(pool.path, "ab") as file:
        file.write(TOMBSTONE.ljust(RECORD_SIZE, b"\0") + encode(b"l", b"2"))
    journal = open_journal(public, sync=True)
    journal.write(change)
    journal.close()
    assert pool.find(b"k") == b"1"
    assert pool.find(b"l") == b"2"


@pytest.mark.parametrize("size", [None, 2**40])
def test_a_length_that_no_entry_has_is_no_reason_to_set_it_aside(
    make_pool: MakePool, public: str, size: int | None
) -> None:
    """It says how much there is to overwrite, and is not sealed."""
    journal = open_journal(public, sync=True)
    pool = make_pool()
    pool.append(b"k", b"1")
    write_entry(journal.path, 8, b"\xff" * 8, sealed=False)
    if size:
        os.truncate(journal.path, size)
    assert make_pool().records() == [Record(b"k", b"1")]
    assert journal.pending() is None
    assert os.stat(journal.path).st_size < 2**20
    with open(journal.path, "rb") as file:
        assert not any(file.read())
    assert not os.path.exists(f"{journal.path}.damaged")
    journal.close()


def test_a_damaged_journal_that_was_removed_is_not_set_aside(make_pool: MakePool) -> None:
    """P29: by the administrator, while another program had the lock."""
    pool = make_pool()
    pool.append(b"k", b"1")
    path = f"{os.path.dirname(pool.path)}/.hv_kvp_journal_1"
    write_entry(path, 0, b"damaged!", sealed=False)
    neighbour = os.open(pool.path, os.O_RDWR)
    fcntl.flock(neighbour, fcntl.LOCK_SH)
    fcntl.lockf(neighbour, fcntl.LOCK_SH)
    another = make_pool(lock_wait=0.01)
    assert another.count() == 1
    os.close(neighbour)
    os.unlink(path)
    os.truncate(pool.path, 2 * RECORD_SIZE)
    another.store(b"k", b"2")
    assert another.records() == [Record(b"k", b"2")]


def write_entry(path: str, at: int, data: bytes, *, sealed: bool) -> None:
    """Write an entry, with other bytes in one place and a seal that is good or not."""
    journal = open_journal(os.path.dirname(path), sync=True)
    journal.write(move(0, OLD + NEW, 0))
    journal.close()
    with open(path, "r+b") as file:
        entry = bytearray(file.read(HEAD + 2 * RECORD_SIZE))
        entry[at : at + len(data)] = data
        if sealed:
            entry[16:24] = crc32(entry[24:]).to_bytes(8, "little")
        file.seek(0)
        file.write(entry)


def test_without_syncing_an_entry_is_good_when_all_of_it_was_written_in_this_boot(
    public: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = open_journal(public, sync=False)
    entries = []
    for change in (move(0, NEW * 20, 0), replace(RECORD_SIZE, OLD * 15, NEW * 15)):
        journal.write(change)
        with open(journal.path, "rb") as file:
            entries.append(file.read())
    former, latter = entries
    end = HEAD + 30 * RECORD_SIZE + 8
    assert former[HEAD + 20 * RECORD_SIZE + 8 : end] == bytes(10 * RECORD_SIZE)
    # A kill ends a write between two pages.
    for size in (*range(4096, end, 4096), end):
        with open(journal.path, "r+b") as file:
            file.write(latter[:size] + former[size:])
        found = pending(journal)
        assert found is None if size < end else found is not None
    journal.close()
    monkeypatch.setattr(journal_module, "boot", lambda: 7)
    assert pending(journal) is None
    journal.close()


def test_without_a_boot_id_an_entry_has_its_checksum_whether_synced_or_not(
    public: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No /proc: a kill could not be told from a power cut."""
    monkeypatch.setattr(journal_module, "boot", lambda: 0)
    journal = open_journal(public, sync=False)
    journal.write(replace(RECORD_SIZE, OLD, NEW))
    entry = journal.pending()
    assert entry is not None
    assert entry.change is not None
    assert (entry.change.old, entry.same_boot) == (OLD, False)
    journal.close()


# What it held does not stay.


@pytest.mark.parametrize("restart", [False, True])
def test_what_an_entry_held_is_overwritten_when_it_is_cleared(
    public: str, restart: bool
) -> None:
    journal = open_journal(public, sync=True)
    # The second entry is shorter than the first, which it replaces.
    journal.write(move(0, OLD * 20, 0))
    journal.write(move(0, OLD * 2, 0))
    if restart:
        journal.close()
        journal = open_journal(public, sync=True)
        assert pending(journal) is not None
    journal.clear()
    with open(journal.path, "rb") as file:
        assert not file.read().strip(b"\0")
    journal.close()


def test_an_entry_that_is_longer_than_the_room_leaves_nothing_either(journal: Journal) -> None:
    journal.write(move(0, OLD, 0))
    size = os.stat(journal.path).st_size
    journal.write(move(0, OLD * 200, 0))
    assert os.stat(journal.path).st_size > size
    journal.clear()
    assert os.stat(journal.path).st_size == size
    with open(journal.path, "rb") as file:
        assert not file.read().strip(b"\0")
    journal.close()


@pytest.mark.parametrize("count", [MOST_MOVED + 1, 200])
def test_an_entry_of_a_process_that_was_killed_leaves_nothing_either(
    public: str, count: int
) -> None:
    """As long as the room, and longer."""
    killed = open_journal(public, sync=True)
    room = HEAD + (MOST_MOVED + 1) * RECORD_SIZE + 8
    killed.write(move(0, OLD * count, 0))
    killed.close()
    another = open_journal(public, sync=True)
    assert pending(another) is not None
    another.clear()
    with open(another.path, "rb") as file:
        assert not file.read().strip(b"\0")
    assert os.stat(another.path).st_size == room
    another.close()


def test_without_proc_there_is_no_boot_id(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(journal_module, "open", missing, raising=False)
    assert journal_module.boot() == 0


def test_a_kill_while_it_is_overwritten_leaves_the_rest_to_the_next_clear(
    public: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = open_journal(public, sync=True)
    journal.write(move(0, OLD * 20, 0))

    def write_a_page(fd: int, pieces: list[bytes], offset: int) -> int:
        os.pwrite(fd, b"".join(pieces)[: 4096 - offset % 4096], offset)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "pwritev", write_a_page)
    with pytest.raises(KeyboardInterrupt):
        journal.clear()
    monkeypatch.undo()
    journal.close()
    another = open_journal(public, sync=True)
    assert pending(another) is None
    another.clear()
    with open(another.path, "rb") as file:
        assert not file.read().strip(b"\0")
    another.close()


@pytest.mark.parametrize("sync", [True, False])
@pytest.mark.parametrize("last", [b"3" * 2000, b"", None])
@pytest.mark.parametrize("count", [0, 3, 200])
def test_no_file_of_the_directory_has_an_old_value(
    make_pool: MakePool, public: str, count: int, last: bytes | None, sync: bool
) -> None:
    secret = b"a token that was secret"
    pool = make_pool(sync=sync)
    for number in range(count // 2):
        pool.append(b"before %d" % number, b"v" * 1500)
    pool.store(b"k", b"1" * 2000)
    for number in range(count // 2):
        pool.append(b"after %d" % number, b"v" * 1500)
    pool.store(b"k", secret * 80)
    if count:
        # The record moves, and stands in the journal, before its own turn comes.
        assert pool.delete(b"before 0")
    assert b"".join(contents(public)).count(secret) == 80
    if last is None:
        assert pool.delete(b"k")
    else:
        pool.store(b"k", last)
    assert secret not in b"".join(contents(public))
    pool.store(b"k", secret)
    pool.delete(b"after 0")
    pool.clear()
    assert secret not in b"".join(contents(public))


def contents(directory: str) -> list[bytes]:
    found = []
    for name in os.listdir(directory):
        with open(f"{directory}/{name}", "rb") as file:
            found.append(file.read())
    return found


def test_an_entry_that_another_process_has_cleared_is_clear(
    public: str,
) -> None:
    journal = open_journal(public, sync=False)
    journal.write(replace(0, OLD, NEW))
    assert not journal.is_clear
    another = open_journal(public, sync=False)
    assert pending(another) is not None
    another.clear()
    assert journal.pending() is None
    assert journal.is_clear
    for each in (journal, another):
        each.close()


# The file, and what if it cannot be used.


def test_it_is_not_listed_as_a_pool_and_read_by_root_alone(
    make_pool: MakePool, public: str
) -> None:
    pool = make_pool()
    pool.store(b"k", b"1" * 2000)
    pool.store(b"k", b"2" * 2000)
    (name,) = set(os.listdir(public)) - {".kvp_pool_1"}
    assert not name.startswith(".kvp_pool_")
    status = os.stat(f"{public}/{name}")
    assert stat.S_IMODE(status.st_mode) == 0o600
    # Room for the largest change that a pool without duplicates needs.
    assert status.st_size >= 129 * RECORD_SIZE
    assert status.st_blocks * 512 >= status.st_size


def test_with_room_in_the_journal_a_full_disk_does_not_keep_from_changing_and_deleting(
    make_pool: MakePool, limit_file_size: Callable[[int], object], public: str
) -> None:
    pool = make_pool(sync=True)
    for number in range(200):
        pool.append(b"%d" % number, b"v" * 2000)
    before = {name: os.stat(f"{public}/{name}").st_blocks for name in os.listdir(public)}
    pool.store(b"7", b"w" * 2000)
    assert pool.delete(b"0")
    after = {name: os.stat(f"{public}/{name}").st_blocks for name in os.listdir(public)}
    assert all(after[name] <= before[name] for name in after)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO])
def test_without_a_journal_nothing_is_done_that_could_be_torn(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch, public: str, number: int
) -> None:
    pool = make_pool()
    pool.append(b"k", b"1" * 2000)
    with open(pool.path, "rb") as file:
        before = file.read()
    real = os.open

    def refuse(path: str, flags: int, mode: int = 0o777, dir_fd: int | None = None) -> int:
        if "journal" in path and flags & os.O_CREAT:
            raise OSError(number, os.strerror(number))
        return real(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", refuse)
    requests: list[Callable[[], object]] = [
        lambda: pool.store(b"k", b"2" * 2000),
        lambda: pool.store(b"n", b"2"),
    ]
    os.unlink(f"{public}/.hv_kvp_journal_1")
    for request in requests:
        with pytest.raises(PoolError, match=f"its journal .*{os.strerror(number)}") as caught:
            request()
        assert (caught.value.pool, caught.value.path) == (1, pool.path)
    with open(pool.path, "rb") as file:
        assert file.read() == before
    assert pool.find(b"k") == b"1" * 2000
    monkeypatch.undo()
    pool.store(b"k", b"2" * 2000)
    assert pool.find(b"k") == b"2" * 2000


def test_a_journal_that_cannot_be_cleared_does_not_fail_what_was_done(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch, reports: list[str]
) -> None:
    pool = make_pool()
    pool.append(b"k", b"1" * 1000)
    real = os.pwrite

    def refuse(fd: int, data: bytes, offset: int) -> int:
        if not any(data):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(fd, data, offset)

    monkeypatch.setattr(os, "pwrite", refuse)
    pool.store(b"k", b"2" * 1000)
    assert len(reports) == 1
    assert "its journal" in reports[0]
    monkeypatch.undo()
    assert pool.find(b"k") == b"2" * 1000
    # In one sector, so without the journal; what the journal has would look torn by it.
    partly = b"2" * SECTOR + b"1" * (1000 - SECTOR)
    pool.store(b"k", partly)
    assert make_pool().find(b"k") == partly
    pool.store(b"k", b"3" * 1000)
    assert len(reports) == 1


def test_a_short_set_makes_no_call_for_the_journal(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch, public: str
) -> None:
    pool = make_pool()
    pool.append(b"k", b"1")
    os.unlink(f"{public}/.hv_kvp_journal_1")
    pool.store(b"k", b"2")
    real = os.lstat
    looked_at: list[str] = []

    def lstat(path: str) -> os.stat_result:
        looked_at.append(path)
        return real(path)

    monkeypatch.setattr(os, "lstat", lstat)
    for value in (b"3", b"4"):
        pool.store(b"k", value)
    assert looked_at == [pool.path] * 2


def test_after_a_change_of_ours_nothing_is_looked_for(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = make_pool()
    pool.append(b"k", b"1")

    def look(_: Journal) -> None:
        raise AssertionError

    monkeypatch.setattr(Journal, "pending", look)
    pool.store(b"k", b"2")
    pool.store(b"l", b"3")
    assert pool.delete(b"k")
    assert pool.records() == [Record(b"l", b"3")]


def test_a_disk_too_full_for_the_journal_leaves_no_journal(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch, public: str
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    pool = make_pool()
    pool.open()
    monkeypatch.setattr(os, "posix_fallocate", full)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(PoolError, match="No space left"):
        pool.append(b"l", b"1")
    assert len(os.listdir("/proc/self/fd")) == before
    assert os.listdir(public) == [".kvp_pool_1"]
    assert pool.count() == 0


def test_a_file_system_that_reserves_nothing_will_do(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(os, "posix_fallocate", unknown)
    pool = make_pool()
    pool.append(b"k", b"1")
    pool.append(b"l", b"1")
    assert pool.count() == 2


def test_a_journal_that_was_removed_is_made_again(make_pool: MakePool, public: str) -> None:
    pool = make_pool()
    descriptors = set()
    for _ in range(2):
        pool.store(b"k", b"1" * 2000)
        pool.store(b"k", b"2" * 2000)
        descriptors.add(len(os.listdir("/proc/self/fd")))
        os.unlink(f"{public}/.hv_kvp_journal_1")
    assert len(descriptors) == 1


def test_something_else_in_its_place_is_not_written(make_pool: MakePool, public: str) -> None:
    pool = make_pool()
    pool.append(b"k", b"1" * 2000)
    os.unlink(f"{public}/.hv_kvp_journal_1")
    os.symlink("/etc/passwd", f"{public}/.hv_kvp_journal_1")
    with pytest.raises(PoolError, match="is a symbolic link"):
        pool.store(b"k", b"2" * 2000)
    assert pool.find(b"k") == b"1" * 2000


def test_a_directory_that_is_exchanged_gets_no_journal(
    pool: PoolFile, public: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S2: root's command wrote its journal into any directory, over that of other pools."""
    other = Journal(PoolConfig(1, f"{tmp_path}/.kvp_pool_1", report=print))
    other.write(replace(0, OLD, NEW))
    other.close()
    with open(other.path, "rb") as file:
        before = file.read()
    pool.store(b"k", b"1" * 2000)
    pool.close()
    pool.open()

    def exchange_and_open(path: str, fd: int) -> int:
        os.rename(public, f"{public}.aside")
        os.symlink(tmp_path, public)
        try:
            return open_directory_of(path, fd)
        finally:
            os.unlink(public)
            os.rename(f"{public}.aside", public)

    monkeypatch.setattr(journal_file, "open_directory_of", exchange_and_open)
    descriptors = len(os.listdir("/proc/self/fd"))
    with pytest.raises(PoolError, match=r"its journal .*: it was replaced meanwhile"):
        pool.store(b"k", b"2" * 2000)
    assert len(os.listdir("/proc/self/fd")) == descriptors
    monkeypatch.undo()
    with open(other.path, "rb") as file:
        assert file.read() == before
    pool.store(b"k", b"2" * 2000)
    assert pool.find(b"k") == b"2" * 2000


def test_the_journal_of_a_directory_that_is_exchanged_is_left_behind(
    make_pool: MakePool, public: str
) -> None:
    pool = make_pool()
    pool.store(b"k", b"1" * 2000)
    pool.store(b"k", b"2" * 2000)
    os.rename(public, f"{public}.aside")
    os.mkdir(public)
    try:
        pool.store(b"k", b"3" * 2000)
        pool.store(b"k", b"4" * 2000)
        assert sorted(os.listdir(public)) == [".hv_kvp_journal_1", ".kvp_pool_1"]
    finally:
        shutil.rmtree(f"{public}.aside")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of others")
@pytest.mark.parametrize("of_pool", [True, False])
def test_a_journal_of_another_user_is_not_believed_unless_the_pool_is_his(
    pool: PoolFile, public: str, *, of_pool: bool
) -> None:
    """S2: in /tmp, say, he could have anything written into root's pool."""
    pool.store(b"k", b"1" * 2000)
    pool.close()
    journal = open_journal(public, sync=False)
    journal.write(replace(0, encode(b"k", b"1" * 2000), encode(b"k", b"x" * 2000)))
    journal.close()
    os.chown(journal.path, NOBODY, NOBODY)
    if of_pool:
        os.chown(pool.path, NOBODY, NOBODY)
        pool.store(b"k", b"2" * 2000)
    else:
        with pytest.raises(PoolError, match=rf"belongs to user {NOBODY}, who could change"):
            pool.store(b"k", b"2" * 2000)
        assert pool.find(b"k") == b"1" * 2000


# A writer dies beside another that runs on.

_DIES_WITHIN = """
import signal
from hv_kvp_daemon.pools.pool import PoolFile
from hv_kvp_daemon.pools import writer
path, key = sys.argv[1:]

def half(fd, data, offset):
    os.pwrite(fd, data[: 4096 - offset % 4096], offset)
    os.kill(os.getpid(), signal.SIGKILL)

pool = PoolFile(1, path, sync=False, report=print)
pool.count()
writer.write_at = half
pool.store(key.encode(), b"2" * 2047)
"""


@pytest.fixture
def torn(make_pool: MakePool, start_child: Callable[..., subprocess.Popen[str]]) -> PoolFile:
    """A pool that was open all the time in which another process died within a change."""
    pool = make_pool()
    for key in (b"a", b"b", b"c"):
        pool.append(key, b"1" * 2047)
    assert pool.find(b"b") == b"1" * 2047
    child = start_child(_DIES_WITHIN, pool.path, "b")
    child.communicate()
    assert child.returncode == -signal.SIGKILL
    with open(pool.path, "rb") as file:
        assert b"21" in file.read()
    return pool


@pytest.mark.parametrize("request_name", ["find", "store", "read"])
def test_what_another_process_left_half_done_is_in_order_at_the_next_request(
    torn: PoolFile, reports: list[str], request_name: str
) -> None:
    requests: dict[str, Callable[[], object]] = {
        "find": lambda: torn.find(b"a"),
        "store": lambda: torn.store(b"a", b"3"),
        "read": lambda: torn.read(0),
    }
    requests[request_name]()
    with open(torn.path, "rb") as file:
        assert b"21" not in file.read()
    assert torn.find(b"b") == b"2" * 2047
    assert reports == [
        f"pool 1 ({torn.path}): a change that had been interrupted was put in order"
    ]


def test_where_it_cannot_be_put_in_order_readers_are_served_and_told_once(
    torn: PoolFile, reports: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.pwrite

    def refuse(*_: object) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "pwrite", refuse)
    for _ in range(3):
        assert torn.find(b"a") == b"1" * 2047
    with pytest.raises(PoolError, match="Read-only"):
        torn.store(b"a", b"3")
    assert len(reports) == 1
    assert "cannot be put in order: Read-only file system" in reports[0]
    monkeypatch.setattr(os, "pwrite", real)
    assert torn.find(b"b") == b"2" * 2047
    assert len(reports) == 2
