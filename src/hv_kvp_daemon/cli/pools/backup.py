# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""A copy of a pool file in its directory, made before the file is repaired or overwritten.

Root runs these commands also where an ordinary user owns the directory and can replace the
pool, or the directory, at any moment.  So no path is looked up twice: the copy's mode and
owner come from the descriptor from which the bytes were read under the locks, and it is
created in a directory that was opened once and contains that very file.
"""

from __future__ import annotations

import errno
import os
import time
from typing import Final

from hv_kvp_daemon.cli import terminal
from hv_kvp_daemon.cli.command import CommandError
from hv_kvp_daemon.pools.directory import POOL_NAMES, pool_path
from hv_kvp_daemon.pools.opening import open_directory_of, sync_directory

# Not ``.kvp_pool_*``: other tools read whatever matches that.
_PREFIX: Final = "hv-kvp-backup"

_REPLACED: Final = (errno.ESTALE, errno.ENOENT, errno.ENOTDIR)


def write(directory: str, number: int, data: bytes, fd: int) -> None:
    """Write a pool's bytes to a new file, and say where.

    The pool is open as ``fd``.  The copy gets its owner and permission bits, but no
    set-user-id, set-group-id or sticky bit.  It is on the disk on return.

    :raises CommandError: the path of the pool leads to another file by now.
    :raises OSError: the copy cannot be written.
    """
    moment = time.strftime("%Y%m%dT%H%M%S")
    name = f"{_PREFIX}-{number}-{moment}-{os.getpid()}"
    pool = pool_path(directory, number)
    try:
        folder = open_directory_of(pool, fd)
    except OSError as error:
        if error.errno not in _REPLACED:
            raise
        text = f"{pool} was replaced while it was copied; nothing was changed"
        raise CommandError(text) from error
    try:
        _write(folder, name, data, fd)
        sync_directory(".", folder)
    finally:
        os.close(folder)
    terminal.say(
        f"pool {POOL_NAMES[number]}: the former bytes are in {os.path.join(directory, name)}"
    )


def _write(folder: int, name: str, data: bytes, fd: int) -> None:
    status = os.fstat(fd)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    # The pool may hold secrets, so no other user may open the copy before it has its mode.
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
