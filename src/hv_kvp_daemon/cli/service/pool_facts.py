# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Facts about the directory of the pools and its files, as the daemon sees them.

Nothing is changed, and no record is read.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass, field
from typing import Final

from hv_kvp_daemon.pools.directory import pool_path
from hv_kvp_daemon.pools.errors import NotAPoolError
from hv_kvp_daemon.pools.lock_holders import held_locks
from hv_kvp_daemon.pools.opening import open_pool
from hv_kvp_daemon.pools.place import (
    OTHER_DIRECTORY,
    POOL_DIRECTORY,
    has_records,
    is_read_only,
)
from hv_kvp_daemon.transport.holders import process_name
from hv_kvp_daemon.wire.uapi import KVP_POOL_AUTO, KVP_POOL_COUNT

# Bytes of a disk below which a change may fail: a pool's first one makes a journal of 323 KiB.
_LITTLE_SPACE: Final = 1 << 19

# Seconds between two looks at the locks of a pool.  A program that uses one holds its locks
# for milliseconds.
_LONG_HOLD: Final = 0.5


@dataclass
class LockHolder:
    """A process that has held a lock on a pool for some time; no pid if none is visible."""

    path: str
    lock: str
    pid: int
    name: str


@dataclass
class PoolFacts:
    """The pools of one machine at one moment."""

    path: str = POOL_DIRECTORY
    #: Where OTHER_DIRECTORY leads; None where it does not exist.
    others_dir: str | None = POOL_DIRECTORY
    others_have_records: bool = False
    #: Whether the daemon cannot reach the directory that is at the path for this process.
    is_replaced: bool = False
    #: The mount point of a read-only file system with the pools.
    read_only_mount: str = ""
    #: Bytes of free space for the pools, where there is little.
    space_left: int | None = None
    #: What is neither the directory nor a pool file, but has its path: path and finding.
    not_pools: dict[str, str] = field(default_factory=dict)
    lock_holders: list[LockHolder] = field(default_factory=list)


def gather_pools(path: str, daemon: int) -> PoolFacts:
    """Return the facts about a pool directory, which the daemon with this pid (or 0) uses."""
    facts = PoolFacts(os.path.realpath(path))
    other = OTHER_DIRECTORY
    facts.others_dir = os.path.realpath(other) if os.path.isdir(other) else None
    facts.others_have_records = has_records(other)
    facts.is_replaced = daemon > 0 and pool_dir_replaced(daemon, facts.path)
    present = _nearest(facts.path)
    space = os.statvfs(present)
    free = space.f_bfree * space.f_frsize
    if free < _LITTLE_SPACE or (space.f_files and not space.f_ffree):
        facts.space_left = free
    if is_read_only(present):
        facts.read_only_mount = mount_point(present)
    if os.path.lexists(facts.path) and not os.path.isdir(facts.path):
        facts.not_pools[facts.path] = f"{facts.path} is not a directory"
    for number in range(KVP_POOL_COUNT):
        if number != KVP_POOL_AUTO:
            _look_at_pool(facts, number, daemon)
    if facts.lock_holders:
        time.sleep(_LONG_HOLD)
        facts.lock_holders = [
            each for each in facts.lock_holders if each in lock_holders(each.path)
        ]
    return facts


def _look_at_pool(facts: PoolFacts, number: int, daemon: int) -> None:
    path = pool_path(facts.path, number)
    try:
        os.close(open_pool(number, path, write=False))
    except NotAPoolError as error:
        facts.not_pools[path] = str(error)
    except OSError:
        return  # it will be created, or only root may read it
    else:
        facts.lock_holders += [each for each in lock_holders(path) if each.pid != daemon]


def mount_point(path: str) -> str:
    """Return the mount point of an absolute path without links.

    os.path.ismount would not do: it does not see a directory that is mounted elsewhere in
    its own file system.  mountinfo has a blank as a backslash and 040.
    """
    found = "/"
    with open("/proc/self/mountinfo", "rb") as mounts:
        for line in mounts:
            raw = line.split(maxsplit=5)[4]
            plain = re.sub(rb"\\(\d{3})", lambda octal: bytes([int(octal[1], 8)]), raw)
            point = os.fsdecode(plain)
            if f"{path}/".startswith(f"{point.rstrip('/')}/") and len(point) > len(found):
                found = point
    return found


def lock_holders(path: str) -> list[LockHolder]:
    """Return the processes that hold a lock on a file; none if this user may not read it."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError:
        return []
    try:
        return [
            LockHolder(path, f"{kind} {mode}", pid, process_name(pid) if pid else "?")
            for kind, mode, pids in held_locks(fd)
            for pid in pids or [0]
        ]
    except (OSError, ValueError):
        return []  # a kernel without /proc/locks, or with too many locks
    finally:
        os.close(fd)


def pool_dir_replaced(pid: int, pool_dir: str) -> bool:
    """Whether a daemon cannot reach the directory that is at a path for this process.

    In its mount namespace another directory is at the path, or none is and none can be
    created, or what is there is read-only and is not so here.  False as well if this user
    may not look.
    """
    path = os.path.realpath(pool_dir)
    root = f"/proc/{pid}/root"
    if not os.access(f"{root}/", os.X_OK):
        return False
    here, there = _identity(path), _identity(root + path)
    return here != there or (
        is_read_only(_nearest(root + path)) and not is_read_only(_nearest(path))
    )


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _nearest(path: str) -> str:
    """Return a path, or the directory in which the missing part of it would be created."""
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    return path
