"""A copy of a pool file in its directory, made before the file is repaired or overwritten.

Root runs these commands also where an ordinary user owns the directory and can put
anything in the place of the pool, or of the directory, at any moment.  So nothing is
asked of a path twice: permissions and owner come from the descriptor from which the
bytes were read under the locks, and the copy is made in a directory that was opened
once and has that very file under the pool's name.
"""

from __future__ import annotations

import os
import time
from typing import Final

from hv_kvp_daemon.cli.command import CommandError
from hv_kvp_daemon.pools.directory import pool_path

# Not ``.kvp_pool_*``: other tools read whatever matches that.
_PREFIX: Final = "hv-kvp-backup"


def write(directory: str, number: int, data: bytes, fd: int) -> str:
    """Write a pool's bytes to a new file and return its path.

    The pool is open as ``fd``.  The copy gets its owner and permission bits, not the
    set-user-id, set-group-id and sticky bits.  It is on the disk on return.

    :raises CommandError: the directory does not lead to the open file any more.
    :raises OSError: the copy cannot be written.
    """
    moment = time.strftime("%Y%m%dT%H%M%S")
    name = f"{_PREFIX}-{number}-{moment}-{os.getpid()}"
    folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        pool = pool_path(directory, number)
        if not _leads_to(folder, os.path.basename(pool), fd):
            raise CommandError(f"{pool} was replaced while it was copied; nothing was changed")
        _write(folder, name, data, fd)
        os.fsync(folder)
    finally:
        os.close(folder)
    return os.path.join(directory, name)


def _leads_to(folder: int, name: str, fd: int) -> bool:
    try:
        there = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(there, os.fstat(fd))


def _write(folder: int, name: str, data: bytes, fd: int) -> None:
    status = os.fstat(fd)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    # Nobody else's until it has the pool's own mode: it may hold secrets.
    copy = os.open(name, flags, 0o600, dir_fd=folder)
    try:
        done = 0
        while done < len(data):
            done += os.write(copy, data[done:])
        os.fchown(copy, status.st_uid, status.st_gid)
        os.fchmod(copy, status.st_mode & 0o777)
        os.fsync(copy)
    except BaseException:
        os.unlink(name, dir_fd=folder)
        raise
    finally:
        os.close(copy)
