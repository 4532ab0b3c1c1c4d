"""A pool file's bytes, all at once: for export, import, clear and repair.

In: a function from the old bytes to the new ones.  Out: the file with these.
Rule: one hold of both locks from reading to writing, in place; what fails leaves
the file as it was.
"""

from __future__ import annotations

import os

from hv_kvp_daemon.pools.change import read_at, write_at
from hv_kvp_daemon.pools.directory import pool_path
from hv_kvp_daemon.pools.errors import PoolError
from hv_kvp_daemon.pools.shared_file import SharedFile
from hv_kvp_daemon.wire.record import RECORD_SIZE

from . import terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def read(directory: str, number: int) -> bytes:
    """The bytes of a pool file, under a shared lock; none where there is no file.

    :raises PoolError: it cannot be used.
    """
    file = _open(directory, number, writable=False)
    try:
        with file.hold() as size:
            return read_at(file.fd, size, 0) if size else b""
    finally:
        file.close()


def rewrite(directory: str, number: int, make: Callable[[bytes], bytes]) -> bytes:
    """Put what ``make`` returns in place of what it is given, under the exclusive locks.

    Only from the first record that differs on.  A file that is missing is made if
    there is something to write.  Returns what was there before.

    :raises PoolError: the file cannot be used, and is as it was.
    """
    file = _open(directory, number, writable=True)
    try:
        with file.hold(write=True) as size:
            old = read_at(file.fd, size, 0) if size else b""
            new = make(old)
            if file.fd >= 0:
                if new != old:
                    _change(file, old, new)
                return old
        if new:
            with file.hold(write=True, create=True) as size:
                if size:
                    raise PoolError(number, file.path, "was made by another at this moment")
                _change(file, b"", new)
        return old
    finally:
        file.close()


def _open(directory: str, number: int, *, writable: bool) -> SharedFile:
    path = pool_path(directory, number)
    return SharedFile(number, path, report=terminal.say, writable=writable)


def _change(file: SharedFile, old: bytes, new: bytes) -> None:
    least = min(len(old), len(new))
    same = 0
    while same < least and old[same : same + RECORD_SIZE] == new[same : same + RECORD_SIZE]:
        same += RECORD_SIZE
    same = min(same, least)
    try:
        write_at(file.fd, new[same:], same)
        if len(new) < len(old):
            os.ftruncate(file.fd, len(new))
        file.flush()
    except BaseException:
        write_at(file.fd, old[same:], same)
        os.ftruncate(file.fd, len(old))
        raise
