"""What a file is known again by: inode, length and times.

In: a status, the time.  Out: a stamp, and whether it is true of one content.
Rule: two contents may have one stamp as long as the clock has not ticked since.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from typing import Final, TypeAlias

    #: st_dev, st_ino, st_size, st_mtime_ns and st_ctime_ns.
    Stamp: TypeAlias = tuple[int, int, int, int, int]

#: Nanoseconds after which another write has other times: Linux before 6.13 takes
#: it from a clock that ticks every 1 to 10 ms.
TICK: Final = 20_000_000

# The same where a time has no fraction of a second: it may be kept in whole ones (ext3,
# ext4 with inodes of 128 bytes) or in pairs of them (FAT).
_COARSE_TICK: Final = 2_000_000_000
_SECOND: Final = 1_000_000_000


def stamp_of(status: os.stat_result) -> Stamp:
    """Return the stamp of a file that has this status."""
    return (
        *(status.st_dev, status.st_ino, status.st_size),
        *(status.st_mtime_ns, status.st_ctime_ns),
    )


def is_settled(stamp: Stamp, now: int) -> bool:
    """Tell whether a write from ``now`` on leaves another stamp.

    By both times: who sets the one back (``cp -p``, ``rsync -t``) cannot set the other.
    """
    return all(_is_old(time, now) for time in stamp[3:])


def _is_old(time: int, now: int) -> bool:
    return now - time > (TICK if time % _SECOND else _COARSE_TICK)
