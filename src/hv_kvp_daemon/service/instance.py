# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The lock that allows one daemon per machine: flock(2) on ``lock`` in its run directory.

Two daemons would answer each other's requests.  Only root can open the file (mode 0600),
because any process that has it open can hold the lock.  Every user can enter the
directory: `hv-kvp status` reads the status page there (`service.status_page`).

On a read-only system there may be no place for it.  The C daemon serves there, and so does
this one: without the lock, nothing but the administrator prevents a second daemon.
"""

from __future__ import annotations

import errno
import fcntl
import os

#: Where the lock and the status page are, unless ``--run-dir`` names another directory.
RUN_DIRECTORY = "/run/hv-kvp-daemon"

# The directory cannot be created or written: a read-only or missing /run, a full one, or
# one that a security module protects.
_UNWRITABLE = frozenset(
    {errno.EROFS, errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT}
)

_PID_DIGITS = 20

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class AlreadyRunningError(Exception):
    """Another daemon holds the lock; the text has its pid."""


def take_if_writable(directory: str, warn: Callable[[str], object]) -> int | None:
    """`take` the lock; without one, and with a warning, if the directory cannot be written.

    An ordinary user, for whom the driver would be closed as well, gets the error.

    :raises AlreadyRunningError: another daemon holds it.
    :raises OSError: the file cannot be used for another reason.
    """
    try:
        return take(directory)
    except OSError as error:
        if error.errno not in _UNWRITABLE or os.geteuid():
            raise
        warn(f"no lock, so a second daemon is not refused: {error}; see --run-dir")
        return None


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
        _require_one_name(descriptor, path)
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
    _write_pid(descriptor)
    return descriptor


def _require_one_name(descriptor: int, path: str) -> None:
    """Refuse a file with several hard links: the directory's owner may have linked any file."""
    if os.fstat(descriptor).st_nlink != 1:
        raise OSError(errno.EMLINK, "the lock has another name, too", path)


def _write_pid(descriptor: int) -> None:
    """Write this process's pid into the locked file, for another daemon's error message."""
    os.ftruncate(descriptor, 0)
    try:
        os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
    except OSError:
        return  # /run is full: the message has no pid, and the lock is held all the same
