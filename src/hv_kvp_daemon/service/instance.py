"""The lock that allows one daemon per machine: flock(2) on /run/hv-kvp-daemon/lock.

Two daemons would answer each other's requests.  Only root can open the file (mode 0600),
because any process that has it open can hold the lock.  Every user can enter the
directory: `hv-kvp status` reads the status page there (`service.status_page`).
"""

from __future__ import annotations

import fcntl
import os

RUN_DIRECTORY = "/run/hv-kvp-daemon"

_PID_DIGITS = 20


class AlreadyRunningError(Exception):
    """Another daemon holds the lock; the text has its pid."""


def take(directory: str = RUN_DIRECTORY) -> int:
    """Take the lock and return its descriptor, which holds the lock until it is closed.

    :raises AlreadyRunningError: another daemon holds it.
    :raises OSError: the directory or the file cannot be created or opened.
    """
    try:
        os.mkdir(directory, 0o755)
    except FileExistsError:
        pass
    path = f"{directory}/lock"
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(path, flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        first = os.pread(descriptor, _PID_DIGITS, 0).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise AlreadyRunningError(
            f"another hv-kvp-daemon serves this machine (pid {first or 'unknown'})"
        ) from None
    except OSError:
        os.close(descriptor)
        raise
    write_pid(descriptor)
    return descriptor


def write_pid(descriptor: int) -> None:
    """Write this process's pid into the locked file, for another daemon's error message."""
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
