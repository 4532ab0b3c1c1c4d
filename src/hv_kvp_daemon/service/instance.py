"""One daemon per machine, by a lock that only root can take.

Two daemons would answer each other's requests.  The lock is on a file that only
root can open: on one that anyone may open, anyone could hold the lock and keep
the daemon out.  The directory is open to all, for the page that `hv-kvp status`
reads there (`service.status_page`).
"""

from __future__ import annotations

import fcntl
import os

RUN_DIRECTORY = "/run/hv-kvp-daemon"

_PID_DIGITS = 20


class AlreadyRunningError(Exception):
    """Another daemon holds the lock."""


def take(directory: str = RUN_DIRECTORY) -> int:
    """Lock the machine for this process; the descriptor holds the lock until it is closed.

    :raises AlreadyRunningError: another daemon serves; the text names it.
    :raises OSError: the directory or the file cannot be made or opened.
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
    """Write this process's pid into the locked file, for the one that comes second."""
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
