# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""What stands at a pool's path: made, removed, replaced, of the wrong type, not permitted."""

from __future__ import annotations

import os
import socket
import stat
import time
from typing import TYPE_CHECKING

import pytest

from hv_kvp_daemon.pools import locked_pool, opening, recovery
from hv_kvp_daemon.pools.config import PoolConfig
from hv_kvp_daemon.pools.errors import LockTimeoutError, NotAPoolError, PoolError
from hv_kvp_daemon.pools.locked_pool import LockedPool
from hv_kvp_daemon.wire.record import Record, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hv_kvp_daemon.pools.pool import PoolFile
    from tests.pools.conftest import Holder

    MakePool = Callable[..., PoolFile]


def mode(path: str) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


@pytest.fixture(params=[0o000, 0o022, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def test_a_new_file_is_0644_and_its_directories_0755_whatever_the_umask(
    umask: None, public: str, make_pool: MakePool
) -> None:
    """P17, P18."""
    make_pool(f"{public}/var/opt/hyperv/.kvp_pool_1").open()
    assert mode(f"{public}/var/opt/hyperv/.kvp_pool_1") == 0o644
    for directory in ("var", "var/opt", "var/opt/hyperv"):
        assert mode(f"{public}/{directory}") == 0o755


def test_an_existing_file_and_directory_keep_their_modes(pool: PoolFile) -> None:
    """P18."""
    directory = os.path.dirname(pool.path)
    os.chmod(directory, 0o711)
    os.close(os.open(pool.path, os.O_CREAT, 0o600))
    pool.open()
    pool.store(b"a", b"1")
    pool.store(b"a", b"2")
    pool.delete(b"a")
    assert mode(pool.path) == 0o600
    assert mode(directory) == 0o711


def test_the_file_stays_the_same_inode(pool: PoolFile) -> None:
    """P11."""
    pool.open()
    before = os.stat(pool.path).st_ino
    for key in (b"a", b"b", b"a"):
        pool.store(key, b"1")
    pool.delete(b"a")
    assert os.stat(pool.path).st_ino == before


def test_the_descriptor_is_not_inherited(pool: PoolFile, run_child: Callable[..., str]) -> None:
    """P19."""
    pool.store(b"a", b"1")
    links = (
        'print([os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")[:-1]])'
    )
    assert pool.path not in run_child(links)


def test_a_process_that_is_forked_has_locks_of_its_own(public: str) -> None:
    """C11: of 800 keys that a parent and its child set, 526 were there."""
    path = f"{public}/.kvp_pool_1"
    file = LockedPool(PoolConfig(1, path, report=print, lock_wait=0.01))
    with file.creating:
        pass
    locked, is_locked = os.pipe()
    seen, is_seen = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(is_seen)
            with file.writing:
                os.write(is_locked, b"x")
                os.read(seen, 1)
        finally:
            os._exit(0)
    os.close(is_locked)
    assert os.read(locked, 1)
    with pytest.raises(LockTimeoutError), file.writing:
        pass
    os.close(is_seen)
    os.waitpid(child, 0)
    with file.writing:
        pass
    file.close()
    os.close(locked)
    os.close(seen)


def test_thousands_of_requests_use_two_descriptors(pool: PoolFile) -> None:
    """P1."""
    for key in (b"key 0", b"key 1"):
        pool.append(key, b"")  # over the end of a page, so that there is a journal
    before = len(os.listdir("/proc/self/fd"))
    for i in range(500):
        pool.store(b"key %d" % (i % 7), b"%d" % i)
        pool.read(0)
        pool.find(b"key 3")
        pool.delete(b"key %d" % (i % 5))
        assert len(os.listdir("/proc/self/fd")) == before
    pool.close()
    assert len(os.listdir("/proc/self/fd")) == before - 2


def test_a_missing_file_is_an_empty_pool_until_something_is_set(pool: PoolFile) -> None:
    """P22."""
    for request in (pool.records, pool.count, lambda: pool.delete(b"a")):
        assert not request()
    assert pool.read(0) is None
    assert pool.find(b"a") is None
    assert not os.path.exists(pool.path)
    pool.store(b"a", b"1")
    assert pool.find(b"a") == b"1"


@pytest.mark.parametrize("request_name", ["store", "append"])
def test_a_file_that_was_removed_is_made_again(pool: PoolFile, request_name: str) -> None:
    """P22."""
    pool.store(b"old", b"1")
    os.unlink(pool.path)
    assert pool.records() == []
    getattr(pool, request_name)(b"new", b"2")
    assert pool.records() == [Record(b"new", b"2")]
    assert mode(pool.path) == 0o644


def test_a_directory_that_was_removed_is_made_again(public: str, make_pool: MakePool) -> None:
    """P22."""
    pool = make_pool(f"{public}/a/b/.kvp_pool_1")
    pool.store(b"old", b"1")
    for name in os.listdir(f"{public}/a/b"):
        os.unlink(f"{public}/a/b/{name}")
    os.removedirs(f"{public}/a/b")
    assert pool.count() == 0
    pool.store(b"new", b"2")
    assert pool.records() == [Record(b"new", b"2")]


def test_a_link_to_a_missing_directory_is_followed(public: str, make_pool: MakePool) -> None:
    os.symlink(f"{public}/opt/hyperv", f"{public}/hyperv")
    make_pool(f"{public}/hyperv/.kvp_pool_1", sync=True).store(b"a", b"1")
    assert os.path.isfile(f"{public}/opt/hyperv/.kvp_pool_1")


def test_a_file_that_was_replaced_is_used_from_then_on(pool: PoolFile) -> None:
    """P22."""
    pool.store(b"old", b"1")
    pool.store(b"older", b"1")
    before = len(os.listdir("/proc/self/fd"))
    with open(f"{pool.path}.new", "wb") as file:
        file.write(encode(b"new", b"2"))
    os.rename(f"{pool.path}.new", pool.path)
    assert pool.records() == [Record(b"new", b"2")]
    pool.store(b"more", b"3")
    with open(pool.path, "rb") as file:
        assert file.read() == encode(b"new", b"2") + encode(b"more", b"3")
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_file_that_is_replaced_while_its_lock_is_waited_for_is_not_written(
    make_pool: MakePool, hold: Callable[..., object]
) -> None:
    def replace(_: float) -> None:
        os.rename(pool.path, f"{pool.path}.old")
        with open(pool.path, "wb") as file:
            file.write(encode(b"new", b"2"))
        holder.end()  # type: ignore[attr-defined]

    pool = make_pool(pause=replace, lock_wait=60)
    pool.store(b"old", b"1")
    holder = hold(pool.path, "flock")
    pool.append(b"more", b"3")
    assert [record.key for record in pool.records()] == [b"new", b"more"]
    assert os.stat(f"{pool.path}.old").st_size == 2560


def test_a_file_that_is_removed_while_it_is_read_is_not_made_again(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the locks are taken twice, to pass over an append that was not finished."""
    pool = make_pool(writable=False)
    with open(pool.path, "wb") as file:
        file.write(encode(b"a", b"1") + bytes(2560))
    real = recovery.end_of_records

    def remove(fd: int, size: int) -> int:
        monkeypatch.setattr(locked_pool, "end_of_records", real)
        os.unlink(pool.path)
        return real(fd, size)

    monkeypatch.setattr(locked_pool, "end_of_records", remove)
    assert pool.count() == 0
    assert not os.path.exists(pool.path)


def test_a_request_waits_for_a_lock_whatever_the_one_before_has_waited(
    make_pool: MakePool, hold: Callable[..., Holder], reports: list[str]
) -> None:
    held: list[Holder] = []

    def pause(seconds: float) -> None:
        time.sleep(seconds)
        if held:
            held.pop().end()

    pool = make_pool(pause=pause, lock_wait=0.05)
    pool.store(b"k", b"1")
    stuck = hold(pool.path, "flock")
    pool.store(b"k", b"2")
    stuck.end()
    pool.store(b"k", b"3")
    assert [report.split(": ")[1].split(",")[0] for report in reports] == [
        *("no flock lock within 0.1 s", "both locks are free again")
    ]
    held.append(hold(pool.path, "flock"))
    pool.store(b"k", b"4")
    assert not held
    assert len(reports) == 2


def test_a_file_that_is_replaced_for_ever_is_an_error(
    pool: PoolFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def open_and_replace(number: int, path: str, *, write: bool) -> int:
        fd = opening.open_pool(number, path, write=write)
        os.unlink(path)
        os.close(os.open(path, os.O_CREAT))
        return fd

    pool.open()
    pool.close()
    monkeypatch.setattr(locked_pool, "open_pool", open_and_replace)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(PoolError, match="replaced 8 times"):
        pool.count()
    assert len(os.listdir("/proc/self/fd")) == before


def make_directory(path: str) -> None:
    os.mkdir(path)


def make_fifo(path: str) -> None:
    os.mkfifo(path)


def make_link(path: str) -> None:
    os.symlink(f"{path}.target", path)
    with open(f"{path}.target", "wb") as file:
        file.write(encode(b"secret", b""))


def make_socket(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)


def make_dangling_link(path: str) -> None:
    os.symlink(f"{path}.target", path)


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (make_directory, "a directory"),
        (make_fifo, "a FIFO"),
        (make_link, "a symbolic link"),
        (make_dangling_link, "a symbolic link"),
        (make_socket, "a socket"),
    ],
)
@pytest.mark.parametrize("writable", [True, False])
def test_something_else_is_refused_until_it_has_gone(
    make_pool: MakePool, make: Callable[[str], None], kind: str, writable: bool
) -> None:
    """P22."""
    pool = make_pool(writable=writable)
    make(pool.path)
    requests: list[Callable[[], object]] = [pool.open, pool.count, pool.records]
    if writable:
        requests += [lambda: pool.store(b"a", b"1"), lambda: pool.delete(b"a")]
    before = len(os.listdir("/proc/self/fd"))
    for request in requests:
        with pytest.raises(NotAPoolError, match=f"is {kind}, not a regular file") as caught:
            request()
        assert (caught.value.pool, caught.value.path) == (1, pool.path)
        assert caught.value.kind == kind
    assert len(os.listdir("/proc/self/fd")) == before
    os.rename(pool.path, f"{pool.path}.away")
    assert pool.count() == 0
    if writable:
        pool.store(b"a", b"1")
        assert pool.find(b"a") == b"1"


def test_a_device_is_refused(pool: PoolFile, make_pool: MakePool) -> None:
    """P22."""
    with pytest.raises(NotAPoolError, match="is a character device"):
        make_pool("/dev/null").store(b"a", b"1")


def test_something_else_in_the_place_of_an_open_file_is_refused(pool: PoolFile) -> None:
    """P22."""
    pool.store(b"a", b"1")
    os.rename(pool.path, f"{pool.path}.away")
    os.symlink(f"{pool.path}.away", pool.path)
    with pytest.raises(NotAPoolError, match="is a symbolic link"):
        pool.store(b"a", b"2")
    os.rename(f"{pool.path}.away", pool.path)
    assert pool.find(b"a") == b"1"


def test_a_file_exchanged_between_a_look_and_the_open_is_noticed(
    pool: PoolFile, public: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(f"{public}/fifo")
    pool.open()
    pool.close()
    look = os.lstat

    def look_and_exchange(path: str, **more: int | None) -> os.stat_result:
        status = look(path, **more)
        if path == pool.path:
            os.rename(f"{public}/fifo", path)
        return status

    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(os, "lstat", look_and_exchange)
    with pytest.raises(NotAPoolError, match="is a FIFO"):
        pool.count()
    monkeypatch.undo()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_file_that_another_process_makes_first_keeps_its_mode(
    pool: PoolFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = opening.make_directory

    def make_and_be_overtaken(path: str, *, sync: bool) -> None:
        make(path, sync=sync)
        with open(pool.path, "wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(encode(b"first", b""))

    monkeypatch.setattr(opening, "make_directory", make_and_be_overtaken)
    pool.store(b"second", b"")
    assert [record.key for record in pool.records()] == [b"first", b"second"]
    assert mode(pool.path) == 0o600


def test_something_else_above_the_file_is_an_error(public: str, make_pool: MakePool) -> None:
    """P22."""
    with open(f"{public}/a", "w"):
        pass
    for path in (f"{public}/a/.kvp_pool_1", f"{public}/a/b/.kvp_pool_1"):
        with pytest.raises(PoolError, match="Not a directory"):
            make_pool(path).store(b"a", b"1")


# Permissions, as a user who is not root has them.

_AS_NOBODY = """
import errno
from hv_kvp_daemon.pools.errors import PoolError
from hv_kvp_daemon.pools.pool import PoolFile
become_nobody()
pool = PoolFile(1, sys.argv[1], report=print, sync=False, writable=sys.argv[2] == "writable")
try:
    print([record.key for record in pool.records()], pool.find(b"a"))
except PoolError as error:
    print(error.reason)
for request in (lambda: pool.store(b"a", b"2"), lambda: pool.delete(b"a")):
    try:
        request()
    except PoolError as error:
        print(error.reason)
print(pool.count() if sys.argv[3:] else "")
"""


@pytest.mark.parametrize(
    ("writable", "reason"),
    [("writable", "Permission denied"), ("for reading", "opened for reading only")],
)
def test_who_may_not_write_reads_and_is_told_so_by_changes(
    pool: PoolFile, run_child: Callable[..., str], writable: str, reason: str
) -> None:
    """P22."""
    pool.store(b"a", b"1")
    pool.close()
    os.chmod(pool.path, 0o444)
    output = run_child(_AS_NOBODY, pool.path, writable, "count")
    assert output.splitlines() == ["[b'a'] b'1'", reason, reason, "1"]


def test_who_may_not_read_is_told_so(pool: PoolFile, run_child: Callable[..., str]) -> None:
    """P22."""
    pool.store(b"a", b"1")
    pool.close()
    os.chmod(pool.path, 0)
    output = run_child(_AS_NOBODY, pool.path, "writable")
    assert output.splitlines() == ["Permission denied"] * 3 + [""]


def test_who_may_not_make_the_file_is_told_so(
    pool: PoolFile, public: str, run_child: Callable[..., str]
) -> None:
    """P22."""
    os.chmod(public, 0o555)
    output = run_child(_AS_NOBODY, pool.path, "writable")
    assert output.splitlines() == ["[] None", "Permission denied", ""]
    os.chmod(public, 0o755)


def test_a_reader_makes_nothing(make_pool: MakePool, public: str) -> None:
    pool = make_pool(f"{public}/a/.kvp_pool_1", writable=False)
    pool.open()
    assert pool.records() == []
    with pytest.raises(PoolError, match="opened for reading only"):
        pool.store(b"a", b"1")
    assert os.listdir(public) == []
