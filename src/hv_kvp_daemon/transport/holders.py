# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The other processes that use the driver, read from /proc.

Any user may have thousands of processes, descriptors and sockets, and the host waits
meanwhile.  So each search ends after `_MOST_SECONDS`, with what it has found.
"""

from __future__ import annotations

import os
import time

from hv_kvp_daemon.wire.uapi import NETLINK_CONNECTOR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_GROUPS_SHOWN = 32

# Seconds of CPU time for one search.
_MOST_SECONDS = 0.5


def group_members(group: int) -> set[int]:
    """Return the port ids of this network namespace's connector sockets in a group."""
    return {port for port, _ in _group_sockets(group)}


def group_inodes(group: int) -> set[str]:
    """Return the inodes of the same sockets."""
    return {inode for _, inode in _group_sockets(group)}


def port_holders(port: int) -> list[tuple[int, str]]:
    """Return (pid, comm) of the processes that have the connector socket with a port id.

    The port id of a process's first netlink socket is its pid, but any process may bind a
    socket to the pid of another.  The list is empty if this user may not see the process.
    """
    sockets = {f"socket:[{inode}]" for _, found, inode in _sockets() if found == port}
    return [(pid, process_name(pid)) for pid in holders(sockets)]


def _group_sockets(group: int) -> set[tuple[int, str]]:
    """Return port id and inode of each connector socket that has joined a group."""
    if not 1 <= group <= _GROUPS_SHOWN:
        raise ValueError(f"group {group}, /proc/net/netlink shows 1 to {_GROUPS_SHOWN}")
    bit = 1 << group - 1
    return {(port, inode) for groups, port, inode in _sockets() if groups & bit}


def _sockets() -> list[tuple[int, int, str]]:
    """Return groups, port id and inode of each connector socket of this network namespace.

    /proc/net/netlink has the columns ``sk Eth Pid Groups Rmem Wmem Dump Locks Drops
    Inode``: the protocol in ``Eth``, the port id in ``Pid`` and the first 32 groups as a
    mask in ``Groups``.  The list is empty if the file cannot be read.
    """
    found = []
    ends = time.process_time() + _MOST_SECONDS
    try:
        with open("/proc/net/netlink", encoding="ascii") as table:
            next(table, None)
            for line in table:
                if time.process_time() > ends:
                    break
                _, protocol, port, groups, *_, inode = line.split()
                if int(protocol) == NETLINK_CONNECTOR:
                    found.append((int(groups, 16), int(port), inode))
    except OSError:
        return []
    return found


def device_holders(path: str) -> Iterator[tuple[int, str]]:
    """Yield (pid, comm) of other processes that have a path open, if this user may see it.

    They are root's or this user's.  Any other user can have a file of that path in a mount
    namespace of his own.
    """
    for pid in holders({path}):
        if pid != os.getpid() and _user(pid) in (0, os.geteuid()):
            yield pid, process_name(pid)


def holders(files: set[str]) -> Iterator[int]:
    """Yield the processes that have one of these files open, if this user may see it.

    A file is given as /proc/PID/fd shows it: a path, or ``socket:[INODE]``.  Without /proc,
    or without a free descriptor to read it, there are none.
    """
    try:
        entries = os.listdir("/proc") if files else []
    except OSError:
        return
    ends = time.process_time() + _MOST_SECONDS
    for entry in entries:
        if time.process_time() > ends:
            return
        if entry.isdecimal() and _holds(entry, files, ends):
            yield int(entry)


def _holds(pid: str, files: set[str], ends: float) -> bool:
    directory = f"/proc/{pid}/fd"
    try:
        for fd in os.listdir(directory):
            if time.process_time() > ends:
                break
            if _link(f"{directory}/{fd}") in files:
                return True
    except OSError:
        pass  # it has ended, or belongs to another user
    return False


def _user(pid: int) -> int | None:
    """Return the real user id of a process, or None if it has ended."""
    try:
        # Not the owner of /proc/PID, which is root for a process that is not dumpable.
        with open(f"/proc/{pid}/status", "rb") as status:
            return int(status.read().partition(b"\nUid:")[2].split(maxsplit=1)[0])
    except OSError:
        return None


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""  # closed in the meantime


def process_name(pid: int) -> str:
    """Return the comm of a process, or ``?`` if it has ended."""
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as comm:
            return comm.read().rstrip("\n")
    except OSError:
        return "?"


def named(pids: list[tuple[int, str]]) -> str:
    """Return ``comm (pid 12), other (pid 34)`` for a log line; empty for an empty list."""
    return ", ".join(f"{comm} (pid {pid})" for pid, comm in pids)
