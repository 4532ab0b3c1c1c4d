"""A copy of a pool file beside it, before it is repaired or overwritten.

In: a directory, a pool's number, bytes.  Out: a file that no tool takes for a pool.
"""

from __future__ import annotations

import os
import stat
import time
from typing import Final

from hv_kvp_daemon.pools.directory import pool_path
from hv_kvp_daemon.pools.opening import sync_directory

# Not ``.kvp_pool_*``: other tools read whatever matches that.
_PREFIX: Final = "hv-kvp-backup"


def write(directory: str, number: int, data: bytes) -> str:
    """Write the bytes to a new file with the pool's mode and owner; its path.

    On the disk before it returns.

    :raises OSError: it cannot be written.
    """
    status = os.stat(pool_path(directory, number))
    moment = time.strftime("%Y%m%dT%H%M%S")
    path = os.path.join(directory, f"{_PREFIX}-{number}-{moment}-{os.getpid()}")
    # Nobody else's until it has the pool's own mode: it may hold secrets.
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        done = 0
        while done < len(data):
            done += os.write(fd, data[done:])
        os.fchown(fd, status.st_uid, status.st_gid)
        os.fchmod(fd, stat.S_IMODE(status.st_mode))
        os.fsync(fd)
    except BaseException:
        os.unlink(path)
        raise
    finally:
        os.close(fd)
    sync_directory(directory)
    return path
