# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The processes that hold locks on a file, read from /proc.

/proc/locks has every lock, with the pid of the process that took it.  An OFD lock belongs to
the open file and has the pid -1 there, but /proc/PID/fdinfo shows it, too, in each process
that has this open file.  A process without CAP_SYS_PTRACE, as the daemon in its sandbox,
cannot read fdinfo of other users' processes; ``hv-kvp doctor``, run by root, can.
"""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    #: A kind of lock (FLOCK, POSIX or OFDLCK), READ or WRITE, and its holders' pids.
    Held = tuple[str, str, list[int]]

# Any user may hold a thousand locks; a log line stays one.
_NAMED: Final = 4

# Readings of /proc/locks after the first one.
_MOST_READINGS: Final = 3

# Seconds of CPU time for reading /proc/locks, and as many for fdinfo, since the host waits
# meanwhile.  320 processes with 3,500 descriptors take 56 ms (measured), and any user may have
# a hundred times as many.  Of any user's 200,000 locks the kernel made a table in 169 s, as it
# begins anew for each part that is read.
_MOST_SECONDS: Final = 0.5


def describe(fd: int, kinds: set[str]) -> str:
    """Return who holds these kinds of lock on an open file, for one line of a log."""
    try:
        found = [held for held in held_locks(fd) if held[0] in kinds]
    except TimeoutError:
        return "its holder was not found in time among all locks of this machine"
    except (OSError, ValueError):
        return "its holder cannot be told from /proc"
    if not found:
        return "its holder is gone, or not shown by the kernel"
    texts = [f"{kind} {mode} by {_named(pids)}" for kind, mode, pids in found[:_NAMED]]
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return f"held as {', '.join(texts)}{more}; see: hv-kvp doctor"


def held_locks(fd: int) -> list[Held]:
    """Return the locks that are held on an open file.

    A line is ``1: FLOCK ADVISORY WRITE 123 fe:00:456 0 EOF``, with ``->`` in second place
    for a lock that is only waited for.

    :raises TimeoutError: there are too many locks on this machine.
    :raises OSError: there is no /proc.
    :raises ValueError: this kernel's /proc/locks has another form.
    """
    inode = _inode(fd)
    ends = time.process_time() + _MOST_SECONDS
    rows = _rows(inode, ends)
    # The kernel gives the table out in parts.  If it grows between two of them, a line comes
    # twice, so it is read until it is the same again.
    for _ in range(_MOST_READINGS):
        former, rows = rows, _rows(inode, ends)
        if rows == former:
            break
    if all(pid > 0 for *_, pid in rows):
        return [(kind, mode, [pid]) for kind, mode, pid in rows]
    pids = _ofd_holders(inode)
    return [(kind, mode, [pid] if pid > 0 else pids.get(mode, [])) for kind, mode, pid in rows]


def _rows(inode: str, ends: float) -> list[tuple[str, str, int]]:
    """Return kind, mode and pid of each lock on an inode; a pid of 0 or less is no process."""
    found = []
    with open("/proc/locks", encoding="ascii") as table:
        for line in table:
            if time.process_time() > ends:
                raise TimeoutError
            _, kind, _, mode, pid, where = line.split()[:6]
            if where == inode and kind != "->":
                found.append((kind, mode, int(pid)))
    return found


def _ofd_holders(inode: str) -> dict[str, list[int]]:
    """Return the processes that have an OFD lock on an inode, by READ and WRITE."""
    found: dict[str, list[int]] = {}
    ends = time.process_time() + _MOST_SECONDS
    for pid in os.listdir("/proc"):
        if time.process_time() > ends:
            break
        for mode in _ofd_modes(pid, inode, ends) if pid.isdecimal() else ():
            found.setdefault(mode, []).append(int(pid))
    return found


def _ofd_modes(pid: str, inode: str, ends: float) -> set[str]:
    """Return the modes of the OFD locks that a process has on an inode.

    fdinfo has them as /proc/locks does, after the word ``lock:``.
    """
    modes = set()
    directory = f"/proc/{pid}/fdinfo"
    try:
        for name in os.listdir(directory):
            # Before each descriptor: one inotify instance can have 100,000 lines.
            if time.process_time() > ends:
                break
            for line in _lock_lines(f"{directory}/{name}"):
                words = line.split()
                # Some lines are of the program's choice, as the name of a DMA buffer.
                if words[2:3] == ["OFDLCK"] and words[6:7] == [inode]:
                    modes.add(words[4])
    except OSError:
        pass  # it has ended or closed a file meanwhile, or belongs to another user
    return modes


def _lock_lines(path: str) -> list[str]:
    with open(path, encoding="ascii", errors="replace") as info:
        return [line for line in info if line.startswith("lock:")]


def _named(pids: list[int]) -> str:
    return ", ".join(map(_process, pids)) or "a process that is not visible here"


def _process(pid: int) -> str:
    try:
        # comm is whatever the process calls itself: shown with its escapes.
        with open(f"/proc/{pid}/comm", "rb") as comm:
            name = ascii(comm.read().rstrip(b"\n").decode("utf-8", "replace"))
    except OSError:
        return f"pid {pid}"
    return f"pid {pid} {name}"


def _inode(fd: int) -> str:
    """Return the name that /proc/locks has for an inode.

    Its device is the mount's.  On btrfs st_dev is another number, as each subvolume has
    its own.
    """
    with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as info:
        mount = [line.split()[1] for line in info if line.startswith("mnt_id:")]
    with open("/proc/self/mountinfo", "rb") as mounts:
        rows = [line.split(maxsplit=3) for line in mounts]
    device = [row[2].decode() for row in rows if [row[0].decode()] == mount]
    major, minor = device[0].split(":") if device else ("", "")
    return f"{int(major):02x}:{int(minor):02x}:{os.fstat(fd).st_ino}"
