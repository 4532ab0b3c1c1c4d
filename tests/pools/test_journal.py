"""The journal as a file: where it is, who may read it, and what if it cannot be used."""

from __future__ import annotations

import errno
import os
import signal
import stat
from typing import TYPE_CHECKING

import pytest

from hv_kvp_daemon.pools import journal as journal_module
from hv_kvp_daemon.pools.change import SECTOR, append, close_gap, replace
from hv_kvp_daemon.pools.errors import PoolError
from hv_kvp_daemon.pools.journal import Journal
from hv_kvp_daemon.wire.record import RECORD_SIZE, Record, encode

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from hv_kvp_daemon.pools.change import Change
    from hv_kvp_daemon.pools.pool import PoolFile

    MakePool = Callable[..., PoolFile]

OLD, NEW = encode(b"k", b"1" * 2000), encode(b"k", b"2" * 2000)


@pytest.fixture
def journal(public: str) -> Journal:
    return Journal(1, f"{public}/.kvp_pool_1", sync=True)


@pytest.mark.parametrize(
    "change",
    [
        replace(RECORD_SIZE, OLD, NEW),
        append(2**40, b"tail", NEW),
        close_gap(0, OLD * 3, 0),
        close_gap(RECORD_SIZE, OLD * 4, RECORD_SIZE),
    ],
    ids=lambda change: str(change.kind),
)
def test_what_was_written_down_is_pending_until_it_is_cleared(
    journal: Journal, change: Change
) -> None:
    assert journal.pending() is None
    for _ in range(2):
        journal.write(change)
        found = journal.pending()
        assert found is not None
        assert (found.kind, found.offset, found.gap, found.kept, found.old, found.new) == (
            *(change.kind, change.offset, change.gap, change.kept, change.old, change.new),
        )
        journal.clear()
        assert journal.pending() is None
    journal.close()


def test_a_journal_of_another_boot_may_tell_of_what_a_power_cut_left(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a kill there is a beginning of the change, of a power cut any of its sectors."""
    change = replace(RECORD_SIZE, OLD, NEW)
    beginning, other = NEW[:1024] + OLD[1024:], OLD[:1024] + NEW[1024:]
    journal.write(change)
    found = journal.pending()
    assert found is not None
    assert (found.is_torn(beginning), found.is_torn(other)) == (True, False)
    journal.close()
    for number in (7, 0):
        monkeypatch.setattr(journal_module, "boot", lambda number=number: number)
        found = journal.pending()
        assert found is not None
        assert (found.is_torn(beginning), found.is_torn(other)) == (True, True)
        journal.close()


def test_a_journal_that_is_half_written_tells_of_no_change(journal: Journal) -> None:
    journal.write(replace(0, OLD, NEW))
    with open(journal.path, "rb") as file:
        whole = file.read(56 + 2 * RECORD_SIZE)
    for size in (8, 15, 16, 55, 56, 57, 4096, len(whole) - 1):
        with open(journal.path, "r+b") as file:
            file.write(whole[:size])
            file.truncate()
        found = journal.pending()
        assert found is not None
        # Nothing but a look for what several changes leave between them.
        assert (found.old, found.new) == (b"", b"")
    for size in (0, 7):
        os.truncate(journal.path, size)
        assert journal.pending() is None
    journal.close()


def test_without_syncing_a_journal_is_good_when_all_of_it_was_written_in_this_boot(
    public: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(1, f"{public}/.kvp_pool_1", sync=False)
    entries = []
    for change in (close_gap(0, NEW * 20, 0), replace(RECORD_SIZE, OLD * 15, NEW * 15)):
        journal.write(change)
        with open(journal.path, "rb") as file:
            entries.append(file.read())
    former, latter = entries
    end = 56 + 30 * RECORD_SIZE + 8
    assert former[56 + 20 * RECORD_SIZE + 8 : end] == bytes(10 * RECORD_SIZE)
    # A kill ends a write between two pages.
    for size in (*range(4096, end, 4096), end):
        with open(journal.path, "r+b") as file:
            file.write(latter[:size] + former[size:])
        found = journal.pending()
        assert found is not None
        assert found.old == (OLD * 15 if size == end else b"")
    journal.close()
    monkeypatch.setattr(journal_module, "boot", lambda: 7)
    found = journal.pending()
    assert found is not None
    assert found.old == b""
    journal.close()


def test_without_a_boot_id_a_journal_has_its_checksum_whether_synced_or_not(
    public: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No /proc: a kill could not be told from a power cut."""
    monkeypatch.setattr(journal_module, "boot", lambda: 0)
    journal = Journal(1, f"{public}/.kvp_pool_1", sync=False)
    journal.write(replace(RECORD_SIZE, OLD, NEW))
    found = journal.pending()
    assert found is not None
    assert (found.old, found.by_kill) == (OLD, False)
    journal.close()


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
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    pool = make_pool()
    pool.append(b"k", b"1" * 2000)
    with open(pool.path, "rb") as file:
        before = file.read()
    real = os.open

    def refuse(path: str, flags: int, mode: int = 0o777) -> int:
        if "journal" in path and flags & os.O_CREAT:
            raise OSError(number, os.strerror(number))
        return real(path, flags, mode)

    monkeypatch.setattr(os, "open", refuse)
    requests: list[Callable[[], object]] = [
        lambda: pool.store(b"k", b"2" * 2000),
        lambda: pool.store(b"n", b"2"),
    ]
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
        if data == bytes(8):
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
    pool.append(b"k", b"1")
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(PoolError, match="No space left"):
        pool.append(b"l", b"1")
    assert os.listdir(public) == [".kvp_pool_1"]


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
    for _ in range(2):
        pool.store(b"k", b"1" * 2000)
        pool.store(b"k", b"2" * 2000)
        os.unlink(f"{public}/.hv_kvp_journal_1")


def test_something_else_in_its_place_is_not_written(make_pool: MakePool, public: str) -> None:
    pool = make_pool()
    pool.append(b"k", b"1" * 2000)
    os.symlink("/etc/passwd", f"{public}/.hv_kvp_journal_1")
    with pytest.raises(PoolError, match="is a symbolic link"):
        pool.store(b"k", b"2" * 2000)
    assert pool.find(b"k") == b"1" * 2000


# A writer dies beside another that runs on.

_DIES_WITHIN = """
import signal
from hv_kvp_daemon.pools.pool import PoolFile
from hv_kvp_daemon.pools import change
path, key = sys.argv[1:]

def half(fd, data, offset):
    os.pwrite(fd, data[: 4096 - offset % 4096], offset)
    os.kill(os.getpid(), signal.SIGKILL)

pool = PoolFile(1, path, sync=False, report=print)
pool.count()
change.write_at = half
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
