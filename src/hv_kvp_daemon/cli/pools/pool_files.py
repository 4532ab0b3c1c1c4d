# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Pool files opened for a command, and their bytes."""

from __future__ import annotations

import os

from hv_kvp_daemon.cli import terminal
from hv_kvp_daemon.cli.command import CommandError
from hv_kvp_daemon.pools.config import PoolConfig
from hv_kvp_daemon.pools.directory import pool_path
from hv_kvp_daemon.pools.errors import PoolError
from hv_kvp_daemon.pools.fileio import read_at
from hv_kvp_daemon.pools.locked_pool import LockedPool
from hv_kvp_daemon.pools.pool import PoolFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Final

    from hv_kvp_daemon.wire.record import Record


# The longest file that is read as a whole: 100,000 records are 244 MiB, and commands take
# some times as much memory as the file has.  A sparse file can have any length.
_LONGEST: Final = 1 << 28


class OpenPool:
    """A context in which one pool of a directory is open.

    Without ``write`` the file is never created and needs only the right to read it.  A wait
    for its locks shows on the terminal.

    :raises CommandError: it is to be written and may not be.
    """

    __slots__ = ("_pool", "_progress")

    def __init__(self, directory: str, number: int, *, write: bool = False) -> None:
        if write:
            require_writable(directory, [number])
        path = pool_path(directory, number)
        self._pool = PoolFile(number, path, report=terminal.say, writable=write)
        self._progress = terminal.Progress(f"waiting for {self._pool.path}")

    def __enter__(self) -> PoolFile:
        self._progress.__enter__()
        return self._pool

    def __exit__(self, *_: object) -> None:
        self._progress.__exit__()
        self._pool.close()


def require_writable(directory: str, numbers: Iterable[int]) -> None:
    """Check that all of some pools may be written, before the first is changed.

    :raises CommandError: one may not.
    """
    for number in numbers:
        path = pool_path(directory, number)
        while not os.path.lexists(path):
            path = os.path.dirname(path)
        if not os.access(path, os.W_OK):
            hint = "" if os.geteuid() == 0 else "; run it as root"
            raise CommandError(f"{path} may not be written{hint}")


def require_readable(directory: str, numbers: Iterable[int]) -> None:
    """Check that none of some pools is too long to be read as a whole.

    :raises PoolError: one is.
    """
    for number in numbers:
        path = pool_path(directory, number)
        try:
            size = os.lstat(path).st_size
        except OSError:
            continue  # reported where it is opened
        if size > _LONGEST:
            reason = f"{size} bytes long, at most {_LONGEST} are read as a whole"
            raise PoolError(number, path, reason)


def records(directory: str, number: int) -> list[Record]:
    """Return all records of a pool file.

    :raises PoolError: it cannot be read.
    """
    require_readable(directory, [number])
    with OpenPool(directory, number) as pool:
        return pool.records()


def read(directory: str, number: int) -> bytes:
    """Return the bytes of a pool file, read under a shared lock; none where it is missing.

    :raises PoolError: it cannot be read.
    """
    require_readable(directory, [number])
    file = _unchanged(directory, number)
    try:
        with file.reading:
            # All of it: the context's length leaves out appends that were not finished.
            return b"" if file.fd < 0 else read_at(file.fd, os.fstat(file.fd).st_size, 0)
    finally:
        file.close()


def interrupted_change(directory: str, number: int) -> str:
    """Return the path of the journal, if it holds an unfinished change of a pool.

    :raises PoolError: the pool or the journal cannot be read.
    """
    file = _unchanged(directory, number)
    journal = file.writer.journal
    try:
        # Without the lock, a change that another process is making would look unfinished.
        with file.reading:
            return journal.path if journal.pending() is not None else ""
    finally:
        file.close()


def _unchanged(directory: str, number: int) -> LockedPool:
    """Return a pool file that is neither created nor recovered."""
    path = pool_path(directory, number)
    return LockedPool(PoolConfig(number, path, report=terminal.say, writable=False))
