# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Reads and writes that the kernel does in part are completed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from hv_kvp_daemon.pools.fileio import read_at, read_into, write_at, write_pieces

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def fd(public: str) -> Iterator[int]:
    fd = os.open(f"{public}/file", os.O_RDWR | os.O_CREAT)
    yield fd
    os.close(fd)


def test_short_reads_and_writes_are_continued(fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """P11."""
    pwrite, pread = os.pwrite, os.pread
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: pwrite(fd, data[:3], at))
    monkeypatch.setattr(os, "pread", lambda fd, size, at: pread(fd, min(size, 4), at))
    pwritev, preadv = os.pwritev, os.preadv
    monkeypatch.setattr(
        os, "pwritev", lambda fd, pieces, at: pwritev(fd, [pieces[0], pieces[1][:2]], at)
    )
    monkeypatch.setattr(os, "preadv", lambda fd, buffers, at: preadv(fd, [buffers[0][:5]], at))
    write_at(fd, b"XXX3456789", 2)
    write_pieces(fd, [b"0", b"12"], 2)
    assert read_at(fd, 20, 0) == b"\0\0" + b"0123456789"
    write_pieces(fd, [b"01", b"", memoryview(b"23456789")], 2)
    assert read_at(fd, 20, 0) == b"\0\0" + b"0123456789"
    buffer = memoryview(bytearray(20))
    assert read_into(fd, buffer, 0) == 12
    assert bytes(buffer) == b"\0\0" + b"0123456789" + bytes(8)
    assert read_into(fd, buffer[:7], 3) == 7
    assert bytes(buffer[:7]) == b"1234567"
    assert read_at(fd, 5, 3) == b"12345"
    assert read_at(fd, 5, 50) == b""


def test_a_read_in_thousands_of_parts_is_completed(
    fd: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.pread
    data = os.urandom(5000)
    os.pwrite(fd, data, 0)
    monkeypatch.setattr(os, "pread", lambda fd, size, at: real(fd, min(size, 1), at))
    assert read_at(fd, 10_000, 0) == data
