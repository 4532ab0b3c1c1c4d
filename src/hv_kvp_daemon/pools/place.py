# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The directory of the pools, where no option names one.

cloud-init, azure-init, Ignition and the C daemon use /var/lib/hyperv.  It is a link to the
daemon's own directory, /var/opt/hyperv, if tmpfiles.d was the first to come by.  If another
program has made a directory there (Ignition, ``mkdir -p``), nothing links the two, and a
daemon that served its own would show the host nothing of what the others write.

So the directory is chosen at each start, and by each tool in the same way: that of the
others, unless the daemon's own has records, which must not disappear.
"""

from __future__ import annotations

import os
import stat

from hv_kvp_daemon.wire.record import RECORD_SIZE
from hv_kvp_daemon.wire.uapi import KVP_POOL_COUNT

from .directory import pool_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

#: The daemon's own directory.
POOL_DIRECTORY: Final = "/var/opt/hyperv"

#: Where cloud-init, azure-init and the C daemon have the pools.
OTHER_DIRECTORY: Final = "/var/lib/hyperv"


class Place:
    """The chosen directory, ``path``.

    ``reason`` is empty if the two are one directory.  Otherwise it says why this one was
    chosen, and ``is_split`` whether other programs use the directory that was not.
    """

    __slots__ = ("is_split", "path", "reason")

    def __init__(self, path: str, reason: str = "", *, is_split: bool = False) -> None:
        self.path = path
        self.reason = reason
        self.is_split = is_split


def choose(own: str = POOL_DIRECTORY, other: str = OTHER_DIRECTORY) -> Place:
    """Choose between the daemon's own directory and that of the other programs."""
    if not os.path.isdir(other) or os.path.realpath(other) == os.path.realpath(own):
        return Place(own)
    if has_records(own):
        found = "both have records" if has_records(other) else f"{own} has records"
        return Place(own, f"{other} is another directory, and {found}", is_split=True)
    if is_read_only(other):
        return Place(own, f"{other} is another directory, but read-only", is_split=True)
    return Place(
        other, f"it is not a link to {own}, so other programs use it, and {own} has no records"
    )


def is_read_only(path: str) -> bool:
    """Whether a file or directory is on a read-only mount; not, if it does not exist."""
    try:
        return bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def has_records(directory: str) -> bool:
    """Whether one of the pool files in a directory has a record."""
    for number in range(KVP_POOL_COUNT):
        try:
            status = os.lstat(pool_path(directory, number))
        except OSError:
            continue  # no such file, or no such directory
        if stat.S_ISREG(status.st_mode) and status.st_size >= RECORD_SIZE:
            return True
    return False
