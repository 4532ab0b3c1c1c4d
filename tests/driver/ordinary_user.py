# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Tries what an ordinary user could try: ``ordinary_user.py POOL_DIR RUN_DIR PID PORT``.

It runs as root, becomes the user nobody, and writes a JSON object of error messages to its
standard output; "" is a way that is open.  PID is the daemon, and PORT the port id of its
netlink socket or 0.  `OPEN` are the ways that SECURITY.md leaves to such a user.

With ``flood SECONDS`` in place of all that, it sends to the driver in the daemon's name.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable

NOBODY = 65534
DEVICE = "/dev/vmbus/hv_kvp"
CONNECTOR, GROUP = 11, 9
OPEN = {
    *("read a pool", "lock a pool", "watch the pools", "watch the run directory"),
    *("send to the kernel", "join the group"),
}

_FRAME = struct.Struct("=IHHIIIIIIHH")
_IN_ALL = 0xFFF


def frame(operation: int = 100) -> bytes:
    """A registration, or a reply whose status is this number."""
    return _FRAME.pack(7468, 3, 0, 0, 0, 9, 1, 0, 0, 7432, 0) + bytes([operation]) + bytes(7431)


def opened(path: str, flags: int) -> None:
    os.close(os.open(path, flags, 0o600))


def connector() -> socket.socket:
    link = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, CONNECTOR)
    link.bind((0, 0))
    return link


def send(port: int, groups: int) -> None:
    with connector() as link:
        link.sendto(frame(), (port, groups))


def join() -> None:
    with connector() as link:
        link.setsockopt(270, 1, GROUP)


def watch(path: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.inotify_init1(os.O_CLOEXEC)
    failed = libc.inotify_add_watch(fd, os.fsencode(path), _IN_ALL) < 0
    os.close(fd)
    if failed:
        raise OSError(ctypes.get_errno(), "inotify")


def lock(path: str, kind: int) -> None:
    with open(path, "rb" if kind == fcntl.LOCK_SH else "r+b") as file:
        fcntl.lockf(file, kind | fcntl.LOCK_NB)


def lease(path: str) -> None:
    with open(path, "rb") as file:
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)


def connect(path: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as link:
        link.connect(path)


def ways(pool_dir: str, run_dir: str, pid: int, port: int) -> dict[str, Callable[[], object]]:
    """Return what is tried, by its name."""
    pool = f"{pool_dir}/.kvp_pool_1"
    found: dict[str, Callable[[], object]] = {
        "read a pool": lambda: opened(pool, os.O_RDONLY),
        "write a pool": lambda: opened(pool, os.O_RDWR),
        "cut a pool": lambda: os.truncate(pool, 0),
        "chmod a pool": lambda: os.chmod(pool, 0o666),
        "remove a pool": lambda: os.unlink(pool),
        "rename a pool": lambda: os.rename(pool, f"{pool}.away"),
        "link a pool": lambda: os.link(pool, "/tmp/hv-kvp-link"),
        "plant a file": lambda: opened(f"{pool_dir}/planted", os.O_CREAT | os.O_WRONLY),
        "plant a link": lambda: os.symlink("/etc/passwd", f"{pool_dir}/.kvp_pool_9"),
        "plant a FIFO": lambda: os.mkfifo(f"{pool_dir}/.kvp_pool_9"),
        "read the journal": lambda: opened(f"{pool_dir}/.hv_kvp_journal_1", os.O_RDONLY),
        "lock a pool": lambda: lock(pool, fcntl.LOCK_SH),
        "lock a pool to write": lambda: lock(pool, fcntl.LOCK_EX),
        "lease a pool": lambda: lease(pool),
        "watch the pools": lambda: watch(pool_dir),
        "watch the run directory": lambda: watch(run_dir),
        "open the lock": lambda: opened(f"{run_dir}/lock", os.O_RDONLY),
        "write the status page": lambda: opened(f"{run_dir}/status", os.O_RDWR),
        "plant a status page": lambda: os.symlink(pool, f"{run_dir}/status.new"),
        "end the daemon": lambda: os.kill(pid, signal.SIGTERM),
        "read its memory": lambda: opened(f"/proc/{pid}/mem", os.O_RDONLY),
        "see its files": lambda: os.listdir(f"/proc/{pid}/fd"),
    }
    if os.path.exists(DEVICE):
        found |= {
            "open the device": lambda: opened(DEVICE, os.O_RDWR),
            "send to the group": lambda: send(0, 1 << GROUP - 1),
            "send to the kernel": lambda: send(0, 0),
            "join the group": join,
        }
    if port:
        found["send to the daemon"] = lambda: send(port, 0)
    for name in ("hv-kvp-ip", "hv-kvp-nmcli", "hv-kvp-resolvectl"):
        if os.path.exists(path := f"/run/{name}.socket"):
            found[f"connect to {name}"] = lambda path=path: connect(path)  # type: ignore[misc]
    return found


def tried(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except OSError as error:
        return str(error)
    return ""


def flood(seconds: float) -> int:
    """Send replies and registrations of both protocols to the driver; return how many."""
    messages = [frame(status) for status in (0, 4, 100, 255)]
    ends = time.monotonic() + seconds
    sent = 0
    with connector() as link:
        while time.monotonic() < ends:
            for message in messages:
                link.sendto(message, (0, 0))
                sent += 1
    return sent


def main(words: list[str]) -> None:
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    if words[0] == "flood":
        print(flood(float(words[1])))
        return
    pool_dir, run_dir, pid, port = words
    attempts = ways(pool_dir, run_dir, int(pid), int(port))
    json.dump({name: tried(attempt) for name, attempt in attempts.items()}, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1:])
