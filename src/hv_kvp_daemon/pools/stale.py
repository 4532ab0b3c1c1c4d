# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Empties pools that are older than this boot: an image carries those of its first machine.

Only pools 0 and 3, which the host writes: what it said to another machine is not true of
this one, and it says again what still is.  The guest's own pool has other owners, and
cloud-init empties it itself.  It happens before the host can send anything, because the
host does not repeat what it has sent.

The kernel computes the time of the boot as the clock's time minus the uptime, so it moves
when the clock is set: what the host wrote a minute after the boot can look older than the
boot an hour later.  So this happens once in a boot; ``.hv_kvp_boot`` beside the pools holds
the boot's id.
"""

from __future__ import annotations

import os

from hv_kvp_daemon.wire.uapi import KVP_POOL_AUTO_EXTERNAL, KVP_POOL_EXTERNAL

from .errors import PoolError
from .fileio import read_at, write_at
from .opening import open_directory, open_pool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from .directory import PoolDirectory

_MARK: Final = ".hv_kvp_boot"
# An UUID and a newline.
_ID_SIZE: Final = 37


def clear_stale(
    pools: PoolDirectory, report: Callable[[str], object], *, proc: str = "/proc"
) -> None:
    """Empty stale pools under their locks; report each, and each that could not be."""
    try:
        with open(f"{proc}/sys/kernel/random/boot_id", "rb") as file:
            boot = file.read()
        folder = open_directory(pools.path)
        mark = os.path.join(pools.path, _MARK)
        try:
            if _last_boot(mark, folder) != boot:
                _clear(pools, boot_time(f"{proc}/stat"), report)
                _store_boot(folder, boot)
        finally:
            os.close(folder)
    except (OSError, PoolError) as error:
        report(f"pools not cleared of stale records: {error}")


def _last_boot(path: str, folder: int) -> bytes:
    """Return the id of the boot in which this was done last, or ``b""``."""
    try:
        fd = open_pool(None, path, write=False, parent=folder)
    except FileNotFoundError:
        return b""
    try:
        return read_at(fd, _ID_SIZE + 1, 0)
    finally:
        os.close(fd)


def _store_boot(folder: int, boot: bytes) -> None:
    """Store the id in a new file: who owns the directory could link another one there."""
    new = f"{_MARK}.new"
    try:
        os.unlink(new, dir_fd=folder)
    except FileNotFoundError:
        pass
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    fd = os.open(new, flags, 0o600, dir_fd=folder)
    try:
        write_at(fd, boot, 0)
    finally:
        os.close(fd)
    os.rename(new, _MARK, src_dir_fd=folder, dst_dir_fd=folder)


def boot_time(path: str) -> int:
    """Return the time of the boot, in nanoseconds since the epoch.

    The line ``btime`` of /proc/stat has it in seconds, rounded down, so a pool that was
    written in the same second counts as new.

    :raises OSError: the file cannot be read, or has no such line.
    """
    with open(path, "rb") as file:
        for line in file:
            name, _, rest = line.partition(b" ")
            if name == b"btime":
                return int(rest) * 1_000_000_000
    raise OSError(f"{path} has no btime")


def _clear(pools: PoolDirectory, booted: int, report: Callable[[str], object]) -> None:
    for number in (KVP_POOL_EXTERNAL, KVP_POOL_AUTO_EXTERNAL):
        pool = pools[number]
        try:
            count = pool.clear(if_older_than=booted)
        except PoolError as error:
            report(f"not cleared of stale records: {error}")
            continue
        if count:
            report(f"pool {number} ({pool.path}): removed {count} records older than this boot")
