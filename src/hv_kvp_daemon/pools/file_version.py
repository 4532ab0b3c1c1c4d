# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The version of a file: what stat(2) says of it, compared to see whether it has changed.

Two facts limit what an unchanged stat says.

- Before Linux 6.13 a write takes its times from a clock that ticks every 1 to 10 ms
  (CONFIG_HZ).  Two writes within one tick leave the same times.  A version whose times
  are younger than a tick is called racy, as in git: the next write may not change it.
- Some file systems keep times in whole seconds (ext3, ext4 with inodes of 128 bytes) or
  in pairs of them (FAT).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from typing import Final, TypeAlias

    #: st_dev, st_ino, st_size, st_mtime_ns and st_ctime_ns.
    FileVersion: TypeAlias = tuple[int, int, int, int, int]

#: The age in nanoseconds from which a time is older than a tick, with a margin.
RACY_NS: Final = 20_000_000

# The same for a time without a fraction of a second.
_RACY_COARSE_NS: Final = 2_000_000_000
_SECOND: Final = 1_000_000_000


def version_of(status: os.stat_result) -> FileVersion:
    """Return the version of a file that has this status."""
    return (
        *(status.st_dev, status.st_ino, status.st_size),
        *(status.st_mtime_ns, status.st_ctime_ns),
    )


def is_racy(version: FileVersion, now: int) -> bool:
    """Whether a write at ``now`` (nanoseconds since the epoch) may leave the same version.

    Both times have to be old: programs set st_mtime back (``cp -p``, ``rsync -t``), but
    cannot set st_ctime.
    """
    return any(
        now - time <= (RACY_NS if time % _SECOND else _RACY_COARSE_NS) for time in version[3:]
    )
