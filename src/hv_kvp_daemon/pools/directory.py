# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The five pools in their directory, by number and by name.

A file that cannot be used does not keep the others from being served.
"""

from __future__ import annotations

import os
import stat
import time

from hv_kvp_daemon.wire.record import RECORD_SIZE
from hv_kvp_daemon.wire.uapi import (
    KVP_POOL_AUTO,
    KVP_POOL_AUTO_EXTERNAL,
    KVP_POOL_AUTO_INTERNAL,
    KVP_POOL_COUNT,
    KVP_POOL_EXTERNAL,
    KVP_POOL_GUEST,
)

from .config import LOCK_WAIT
from .errors import PoolError
from .opening import make_directory
from .pool import PoolFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Final

#: The name of each pool by its number: its writer, or what it holds.
POOL_NAMES: Final = {
    KVP_POOL_EXTERNAL: "external",
    KVP_POOL_GUEST: "guest",
    KVP_POOL_AUTO: "auto",
    KVP_POOL_AUTO_EXTERNAL: "host",
    KVP_POOL_AUTO_INTERNAL: "internal",
}

_NUMBERS: Final = {
    text: number for number, name in POOL_NAMES.items() for text in (name, str(number))
}


def parse_pool(text: str | int) -> int:
    """Return the number of a pool given by number or name.

    :raises ValueError: there is no such pool; the text lists those that there are.
    """
    number = _NUMBERS.get(str(text))
    if number is None:
        names = ", ".join(f"{number} {name}" for number, name in POOL_NAMES.items())
        raise ValueError(f"no pool {text!r}; there are: {names}")
    return number


def pool_path(directory: str, number: int) -> str:
    """Return the path of a pool file: ``.kvp_pool_0`` to ``.kvp_pool_4``."""
    return os.path.join(directory, f".kvp_pool_{number}")


class PoolDirectory:
    """The five pools; ``directory[1]`` is the guest's.

    The arguments besides the path are those of `PoolFile`.
    """

    __slots__ = ("_pools", "_report", "_sync", "path")

    def __init__(
        self,
        path: str,
        *,
        report: Callable[[str], object],
        sync: bool = True,
        pause: Callable[[float], object] = time.sleep,
        lock_wait: float = LOCK_WAIT,
    ) -> None:
        self.path = os.path.abspath(path)
        self._report = report
        self._sync = sync
        self._pools = {
            number: PoolFile(
                number,
                pool_path(self.path, number),
                report=report,
                sync=sync,
                pause=pause,
                lock_wait=lock_wait,
                tell_damage=True,
            )
            for number in range(KVP_POOL_COUNT)
        }

    def __getitem__(self, number: int) -> PoolFile:
        return self._pools[number]

    def __iter__(self) -> Iterator[PoolFile]:
        return iter(self._pools.values())

    def open_all(self) -> None:
        """Open the five files; create those that are missing (0644, directories 0755).

        A file that cannot be opened is reported, and each request tries again.

        :raises PoolError: the directory cannot be created, or none of its files opened.
        """
        try:
            make_directory(self.path, sync=self._sync)
        except OSError as error:
            raise PoolError(None, self.path, error.strerror or str(error)) from error
        failures = []
        for pool in self:
            try:
                pool.open()
            except PoolError as error:  # noqa: PERF203 - five times, at the start
                self._report(str(error))
                failures.append(error)
        if len(failures) == KVP_POOL_COUNT:
            reason = f"none of its files can be used: {failures[0].reason}"
            raise PoolError(None, self.path, reason) from failures[0]

    def counts(self) -> list[int | None]:
        """Return the number of records of each pool, by its length, None if unusable."""
        return [_records(pool.path) for pool in self]

    def close(self) -> None:
        """Close the files."""
        for pool in self:
            pool.close()


def _records(path: str) -> int | None:
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return 0
    except OSError:
        return None
    return status.st_size // RECORD_SIZE if stat.S_ISREG(status.st_mode) else None
