"""Who else talks to the driver: read from /proc, for decisions and for the log."""

from __future__ import annotations

import os

from hv_kvp_daemon.wire.uapi import NETLINK_CONNECTOR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_GROUPS_SHOWN = 32


def group_members(group: int) -> set[int]:
    """Port ids of the connector sockets in this network namespace that joined a group."""
    return {port for port, _ in _group_sockets(group)}


def group_inodes(group: int) -> set[str]:
    """Inodes of the same sockets, as `holders` looks for them."""
    return {inode for _, inode in _group_sockets(group)}


def _group_sockets(group: int) -> set[tuple[int, str]]:
    """Port id and inode of each connector socket that joined a group.

    /proc/net/netlink: ``sk Eth Pid Groups Rmem Wmem Dump Locks Drops Inode`` with
    the protocol in ``Eth``, the port id in ``Pid`` and the first 32 groups as a mask.
    Empty where /proc does not show it.
    """
    if not 1 <= group <= _GROUPS_SHOWN:
        raise ValueError(f"group {group}, /proc/net/netlink shows 1 to {_GROUPS_SHOWN}")
    bit = 1 << group - 1
    members = set()
    try:
        with open("/proc/net/netlink", encoding="ascii") as table:
            next(table, None)
            for line in table:
                _, protocol, port, groups, *_, inode = line.split()
                if int(protocol) == NETLINK_CONNECTOR and int(groups, 16) & bit:
                    members.add((int(port), inode))
    except OSError:
        return set()
    return members


def device_holders(path: str) -> Iterator[tuple[int, str]]:
    """Other processes (pid, comm) that have a path open, as far as this user may see."""
    for pid in holders({path}):
        if pid != os.getpid():
            yield pid, process_name(pid)


def holders(files: set[str]) -> Iterator[int]:
    """Processes that have one of these open, as far as this user may see.

    A file goes by what /proc/PID/fd shows: a path, or ``socket:[INODE]``.
    """
    for entry in os.listdir("/proc") if files else ():
        if entry.isdecimal() and _holds(entry, files):
            yield int(entry)


def _holds(pid: str, files: set[str]) -> bool:
    directory = f"/proc/{pid}/fd"
    try:
        return any(_link(f"{directory}/{fd}") in files for fd in os.listdir(directory))
    except OSError:
        return False  # it has ended, or it is another user's


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""  # closed in the meantime


def process_name(pid: int) -> str:
    """A process's comm, or ``?`` where it has ended."""
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as comm:
            return comm.read().rstrip("\n")
    except OSError:
        return "?"


def named(pids: list[tuple[int, str]]) -> str:
    """``comm (pid 12), other (pid 34)`` for a log line; empty for nobody."""
    return ", ".join(f"{comm} (pid {pid})" for pid, comm in pids)
