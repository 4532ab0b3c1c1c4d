# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The copy of a pool file: root makes it in a directory that somebody else may change."""

from __future__ import annotations

import errno
import json
import os
import stat
from typing import TYPE_CHECKING, Any

import pytest

from hv_kvp_daemon.cli import main as command_line
from hv_kvp_daemon.cli.pools import backup
from hv_kvp_daemon.pools.opening import open_directory_of
from hv_kvp_daemon.wire.record import encode

if TYPE_CHECKING:
    from pathlib import Path

OWNER = 65534

REPAIR = ("check", "--repair")
EXACT = ("import", "--exact", "--yes")

# A record with bytes after the end of its key, which --repair removes.
DAMAGED = b"#!/bin/sh\n\0rubbish".ljust(2560, b"\0")


class UserPools:
    """A pool in a directory of an ordinary user (where the tests run as root)."""

    def __init__(self, place: Path) -> None:
        self.directory = str(place / "pools")
        os.mkdir(self.directory)
        self.pool = f"{self.directory}/.kvp_pool_1"
        with open(self.pool, "wb") as file:
            file.write(DAMAGED)
        self._document = str(place / "document.json")
        with open(self._document, "w", encoding="ascii") as document:
            json.dump({"version": 1, "pools": {"guest": {"records": []}}}, document)
        self.owner = os.geteuid() or OWNER
        if os.geteuid() == 0:
            for path in (self.directory, self.pool):
                os.chown(path, OWNER, OWNER)

    def run(self, words: tuple[str, ...]) -> int:
        name = [self._document] if words is EXACT else []
        return command_line.main([*words, *name, "--pool-dir", self.directory])

    def copies(self) -> list[str]:
        return [name for name in os.listdir(self.directory) if name.startswith("hv-kvp-backup")]


@pytest.fixture
def user_pools(tmp_path: Path) -> UserPools:
    return UserPools(tmp_path)


@pytest.mark.parametrize("words", [REPAIR, EXACT], ids=" ".join)
def test_a_copy_has_the_permissions_of_the_pool_and_no_set_uid_bit(
    user_pools: UserPools, words: tuple[str, ...]
) -> None:
    os.chmod(user_pools.pool, 0o6750)
    assert user_pools.run(words) == 0
    (copy,) = user_pools.copies()
    status = os.stat(f"{user_pools.directory}/{copy}")
    assert stat.S_IMODE(status.st_mode) == 0o750
    assert status.st_uid == user_pools.owner


@pytest.mark.parametrize("words", [REPAIR, EXACT], ids=" ".join)
def test_a_pool_that_is_exchanged_for_a_link_gives_the_copy_nothing(
    user_pools: UserPools,
    words: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"")
    program.chmod(0o4755)
    real_open = os.open

    def exchange() -> None:
        if not os.path.islink(user_pools.pool):
            os.rename(user_pools.pool, f"{user_pools.directory}/aside")
            os.symlink(program, user_pools.pool)

    def open_(path: Any, flags: int, *rest: Any, **more: Any) -> int:
        """The last moment at which the copy's mode can be found out is past."""
        if os.path.basename(path).startswith("hv-kvp-backup"):
            exchange()
        return real_open(path, flags, *rest, **more)

    def open_directory(path: str, fd: int) -> int:
        """The first moment at which the pool's path is asked for the copy's mode."""
        exchange()
        return open_directory_of(path, fd)

    monkeypatch.setattr(os, "open", open_)
    monkeypatch.setattr(backup, "open_directory_of", open_directory)
    assert user_pools.run(words) == 3
    monkeypatch.undo()
    assert os.path.islink(user_pools.pool)
    assert user_pools.copies() == []
    assert stat.S_IMODE(program.stat().st_mode) == 0o4755
    assert "was replaced while it was copied; nothing was changed" in capsys.readouterr().err
    with open(f"{user_pools.directory}/aside", "rb") as file:
        assert file.read() == DAMAGED


def test_a_directory_that_is_exchanged_gets_no_copy(
    user_pools: UserPools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    def exchange_and_open(path: str, fd: int) -> int:
        os.rename(user_pools.directory, tmp_path / "aside")
        os.symlink(elsewhere, user_pools.directory)
        return open_directory_of(path, fd)

    monkeypatch.setattr(backup, "open_directory_of", exchange_and_open)
    assert user_pools.run(REPAIR) == 3
    monkeypatch.undo()
    assert os.listdir(elsewhere) == []
    assert (tmp_path / "aside" / ".kvp_pool_1").read_bytes() == DAMAGED


def test_a_copy_is_not_written_into_what_has_its_name(
    user_pools: UserPools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"other")
    real = os.open

    def open_(path: Any, flags: int, *rest: Any, **more: Any) -> int:
        name = os.path.basename(path)
        if name.startswith("hv-kvp-backup"):
            os.symlink(other, f"{user_pools.directory}/{name}")
        return real(path, flags, *rest, **more)

    monkeypatch.setattr(os, "open", open_)
    assert user_pools.run(REPAIR) == 3
    monkeypatch.undo()
    assert other.read_bytes() == b"other"
    with open(user_pools.pool, "rb") as file:
        assert file.read() == DAMAGED


def test_the_copy_of_a_pool_that_nobody_touches_is_complete(user_pools: UserPools) -> None:
    with open(user_pools.pool, "ab") as file:
        file.write(encode(b"k", b"v"))
    assert user_pools.run(REPAIR) == 0
    (copy,) = user_pools.copies()
    with open(f"{user_pools.directory}/{copy}", "rb") as file:
        assert file.read() == DAMAGED + encode(b"k", b"v")


def test_a_copy_that_cannot_be_written_leaves_nothing(
    user_pools: UserPools, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def write(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        assert user_pools.run(REPAIR) == 3
    assert "No space left on device" in capsys.readouterr().err
    assert user_pools.copies() == []
    with open(user_pools.pool, "rb") as file:
        assert file.read() == DAMAGED
