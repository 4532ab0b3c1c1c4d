# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Changes that fail: what was there before stays, and the next request is served."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from hv_kvp_daemon.pools.errors import PoolError
from hv_kvp_daemon.wire.record import RECORD_SIZE, encode

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from hv_kvp_daemon.pools.pool import PoolFile

    MakePool = Callable[..., PoolFile]
    LimitFileSize = Callable[[int], AbstractContextManager[None]]
    Fail = Callable[..., list[int]]

BEFORE = encode(b"a", b"1") + encode(b"b", b"2" * 2000) + encode(b"c", b"3")

CHANGES: dict[str, Callable[[PoolFile], object]] = {
    "append": lambda pool: pool.append(b"n", b"new"),
    "add": lambda pool: pool.store(b"n", b"new"),
    "modify": lambda pool: pool.store(b"b", b"new"),
    "delete": lambda pool: pool.delete(b"a"),
    "delete last": lambda pool: pool.delete(b"c"),
}


def content(pool: PoolFile) -> bytes:
    with open(pool.path, "rb") as file:
        return file.read()


@pytest.fixture(params=[0, 7])
def filled(request: pytest.FixtureRequest, make_pool: MakePool) -> PoolFile:
    """Three records, and in a second run a part of another behind them."""
    pool = make_pool(sync=True)
    for _ in range(2):  # the second needs a journal, which is there from now on
        pool.append(b"n", b"")
    pool.close()
    with open(pool.path, "wb") as file:
        file.write(BEFORE + b"x" * request.param)
    return pool


@pytest.fixture
def fail(monkeypatch: pytest.MonkeyPatch) -> Fail:
    """Let the nth call of an os function fail, after half its bytes if it is a write."""

    def install(function: str, number: int, nth: int = 1) -> list[int]:
        real = getattr(os, function)
        calls: list[int] = []

        def faulty(*arguments: object, **more: object) -> object:
            calls.append(len(calls) + 1)
            if len(calls) == nth:
                if function == "pwrite":
                    fd, data, offset = arguments
                    real(fd, data[: len(data) // 2], offset)  # type: ignore[index, arg-type]
                if function == "pwritev":
                    fd, pieces, offset = arguments
                    data = b"".join(pieces)  # type: ignore[arg-type]
                    os.pwrite(fd, data[: len(data) // 2], offset)  # type: ignore[arg-type]
                raise OSError(number, os.strerror(number))
            return real(*arguments, **more)

        monkeypatch.setattr(os, function, faulty)
        return calls

    return install


REFUSALS = (errno.ENOSPC, errno.EIO, errno.EROFS)
FAULTS = [
    # The journal by pwritev, and then the file: by pwritev what moves.
    *(
        ("pwritev", number, name, 1)
        for number in REFUSALS
        for name in ("modify", "delete", "delete last")
    ),
    *(("pwritev", number, "delete", 2) for number in REFUSALS),
    *(("pwrite", number, "modify", 1) for number in REFUSALS),
    # Of an append: the journal, the value, the key.
    *(
        ("pwrite", number, name, nth)
        for number in REFUSALS
        for name in ("append", "add")
        for nth in (1, 2, 3)
    ),
    *(("ftruncate", errno.EFBIG, name, 1) for name in ("append", "add")),
    *(("fdatasync", errno.EIO, name, 2) for name in CHANGES),
    ("fdatasync", errno.EIO, "delete", 3),
    *(("utime", errno.EROFS, name, 1) for name in ("modify", "delete", "delete last")),
    ("ftruncate", errno.EIO, "delete", 1),
    ("ftruncate", errno.EIO, "delete last", 1),
    *(("fdatasync", errno.EIO, name, 1) for name in CHANGES),
    *(("fsync", errno.EIO, name, 1) for name in CHANGES),
    *(("pread", errno.EIO, name, 1) for name in CHANGES if name != "append"),
    *(("preadv", errno.EIO, name, 1) for name in ("delete", "delete last")),
    *(("lstat", errno.EIO, name, 1) for name in CHANGES),
]


@pytest.mark.parametrize(("function", "number", "name", "nth"), FAULTS)
def test_a_change_that_the_kernel_refuses_leaves_the_file_as_it_was(
    filled: PoolFile,
    fail: Fail,
    monkeypatch: pytest.MonkeyPatch,
    free_locks: Callable[[str], set[str]],
    function: str,
    number: int,
    name: str,
    nth: int,
) -> None:
    """P11, P20, P22."""
    before = content(filled)
    fail(function, number, nth)
    with pytest.raises(PoolError, match=os.strerror(number)) as caught:
        CHANGES[name](filled)
    assert (caught.value.pool, caught.value.path) == (1, filled.path)
    assert isinstance(caught.value.__cause__, OSError)
    monkeypatch.undo()
    assert content(filled) == before
    assert len(free_locks(filled.path)) == 6
    # The cause is gone: so is the trouble.
    CHANGES[name](filled)
    assert content(filled) != before
    assert len(content(filled)) % RECORD_SIZE == 0


@pytest.mark.parametrize("room", [0, 1, 100, 512, 1300, 2559])
@pytest.mark.parametrize("name", ["append", "add"])
def test_a_disk_that_is_nearly_full_takes_no_part_of_a_record(
    filled: PoolFile, limit_file_size: LimitFileSize, name: str, room: int
) -> None:
    """P11: the kernel writes what fits (a short write) and refuses the rest."""
    before = content(filled)
    with limit_file_size(len(BEFORE) + room):
        with pytest.raises(PoolError, match="File too large"):
            CHANGES[name](filled)
        assert content(filled) == before
        filled.store(b"a", b"modified")
        assert filled.delete(b"c")
        CHANGES[name](filled)
    assert [record.key for record in filled.records()] == [b"a", b"b", b"n"]


@pytest.mark.parametrize("name", ["append", "add"])
def test_a_disk_without_room_for_another_page_leaves_the_file_as_it_was(
    filled: PoolFile, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """P11: nothing more can be written there, whatever is tried to take it back."""
    before = content(filled)
    real = os.pwrite

    def pwrite(fd: int, data: bytes, offset: int) -> int:
        if os.readlink(f"/proc/self/fd/{fd}") == filled.path and offset + len(data) > len(
            before
        ):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(fd, data, offset)

    monkeypatch.setattr(os, "pwrite", pwrite)
    with pytest.raises(PoolError, match=r"^[^,]*No space left[^,]*$"):
        CHANGES[name](filled)
    assert content(filled) == before
    filled.store(b"a", b"modified")
    assert filled.find(b"a") == b"modified"


def test_a_file_that_cannot_be_made_is_an_error_and_the_directory_as_before(
    make_pool: MakePool, public: str, fail: Fail, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P22."""
    pool = make_pool()
    fail("open", errno.EROFS)
    with pytest.raises(PoolError, match="Read-only file system"):
        pool.store(b"a", b"1")
    assert os.listdir(public) == []
    monkeypatch.undo()
    pool.store(b"a", b"1")
    assert pool.find(b"a") == b"1"


def test_a_file_on_a_read_only_file_system_is_read_and_written_once_it_can_be(
    filled: PoolFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P22."""
    real = os.open

    def read_only(path: str, flags: int, mode: int = 0o777, dir_fd: int | None = None) -> int:
        if flags & os.O_ACCMODE != os.O_RDONLY:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return real(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", read_only)
    filled.open()
    for _ in range(2):
        assert filled.find(b"a") == b"1"
        with pytest.raises(PoolError, match="Read-only file system"):
            filled.store(b"a", b"2")
    monkeypatch.undo()
    filled.store(b"a", b"2")
    assert filled.find(b"a") == b"2"


def test_what_cannot_be_taken_back_is_said_so(
    filled: PoolFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P11."""

    def refuse(*_: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "pwrite", refuse)
    with pytest.raises(PoolError, match=r"Input.*cannot be taken back: .*Input"):
        filled.store(b"a", b"new")


def test_an_exception_that_is_not_the_kernels_leaves_no_lock_and_no_change(
    filled: PoolFile, monkeypatch: pytest.MonkeyPatch, free_locks: Callable[[str], set[str]]
) -> None:
    """P20."""

    def run_out(_: int) -> None:
        raise MemoryError

    before = content(filled)
    monkeypatch.setattr(os, "fdatasync", run_out)
    with pytest.raises(MemoryError):
        filled.delete(b"a")
    assert len(free_locks(filled.path)) == 6
    assert content(filled) == before


def test_a_change_is_on_the_disk_before_the_request_ends_and_a_new_name_as_well(
    make_pool: MakePool, public: str, fail: Fail
) -> None:
    pool = make_pool(f"{public}/new/.kvp_pool_1", sync=True)
    data, names = fail("fdatasync", 0, nth=0), fail("fsync", 0, nth=0)
    pool.store(b"a", b"1")
    # The value, the key; the file's name, the directory's name.
    assert (len(data), len(names)) == (2, 2)
    pool.store(b"a", b"2")
    assert (len(data), len(names)) == (3, 2)
    pool.append(b"b", b"1")
    assert (len(data), len(names)) == (5, 2)
    pool.delete(b"b")  # and the journal, and its name
    assert (len(data), len(names)) == (7, 3)
    pool.delete(b"b")
    pool.records()
    assert (len(data), len(names)) == (7, 3)


def test_without_sync_nothing_is_waited_for(
    make_pool: MakePool, public: str, fail: Fail
) -> None:
    pool = make_pool(f"{public}/new/.kvp_pool_1", sync=False)
    calls = [fail("fdatasync", 0, nth=0), fail("fsync", 0, nth=0)]
    for change in CHANGES.values():
        change(pool)
    assert calls == [[], []]
