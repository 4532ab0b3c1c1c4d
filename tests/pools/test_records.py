# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Records that are read without the locks: what is known of a file, and what ends that."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from hv_kvp_daemon.wire.record import RECORD_SIZE, Record, encode
from tests.support.settled import wait_until_settled

if TYPE_CHECKING:
    from collections.abc import Callable

    from hv_kvp_daemon.pools.pool import PoolFile

RECORDS = [Record(b"key %d" % number, b"value %d" % number) for number in range(3)]


def write(path: str, *records: Record) -> None:
    """As another program does that makes the file."""
    with open(path, "wb") as file:
        file.write(b"".join(encode(record.key, record.value) for record in records))
    wait_until_settled(path)


@pytest.fixture
def known(pool: PoolFile) -> PoolFile:
    """A pool that was read under its locks, so that they are not needed any more."""
    write(pool.path, *RECORDS)
    assert pool.read_unlocked(0) is None
    assert pool.records() == RECORDS
    assert pool.read_unlocked(1) == encode(b"key 1", b"value 1")
    return pool


def set_value(path: str) -> None:
    with open(path, "r+b") as file:
        file.seek(RECORD_SIZE)
        file.write(encode(b"key 1", b"another"))


def append(path: str) -> None:
    with open(path, "ab") as file:
        file.write(encode(b"key 3", b""))


def replace(path: str) -> None:
    write(f"{path}.new", Record(b"new", b"1"), Record(b"new", b"2"))
    os.replace(f"{path}.new", path)


def exchange_directory(path: str) -> None:
    directory = os.path.dirname(path)
    os.rename(directory, f"{directory}.old")
    os.mkdir(directory)
    write(path, Record(b"new", b"1"), Record(b"new", b"2"))


NEIGHBOURS: list[tuple[Callable[[str], object], Record | None]] = [
    (set_value, Record(b"key 1", b"another")),
    (append, RECORDS[1]),
    (lambda path: os.truncate(path, RECORD_SIZE), None),
    (lambda path: os.truncate(path, 0), None),
    (os.unlink, None),
    (lambda path: os.rename(path, f"{path}.old"), None),
    (replace, Record(b"new", b"2")),
    (exchange_directory, Record(b"new", b"2")),
]


@pytest.mark.parametrize(("neighbour", "record"), NEIGHBOURS)
def test_what_others_do_to_the_file_is_seen_by_the_next_read(
    known: PoolFile, neighbour: Callable[[str], object], record: Record | None
) -> None:
    neighbour(known.path)
    assert known.read_unlocked(1) is None
    assert known.read(1) == record


def test_what_others_do_to_the_file_is_seen_while_it_is_read(
    known: PoolFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the bytes were read, and before the file was found unchanged."""

    pread = os.pread

    def read_and_meanwhile(fd: int, length: int, offset: int) -> bytes:
        data = pread(fd, length, offset)
        set_value(known.path)
        return data

    monkeypatch.setattr(os, "pread", read_and_meanwhile)
    assert known.read_unlocked(1) is None
    monkeypatch.undo()
    assert known.read(1) == Record(b"key 1", b"another")


def test_behind_the_last_record_there_is_none(known: PoolFile) -> None:
    assert known.read_unlocked(3) == b""
    with open(known.path, "ab") as file:
        file.write(b"odd bytes")
    wait_until_settled(known.path)
    assert known.records() == RECORDS
    assert known.read_unlocked(3) == b"odd bytes"
    assert known.read(3) is None


def test_a_file_that_was_closed_is_not_known(known: PoolFile) -> None:
    known.close()
    assert known.read_unlocked(1) is None
    assert known.read(1) == RECORDS[1]
