"""inotify(7): which name in a directory something happened to.

In: a directory.  Out: a descriptor for `select.poll`, and names.
Rule: the standard library has no inotify, so libc's two functions are called.
"""

from __future__ import annotations

import ctypes
import os
import struct
from typing import Final, final

# include/uapi/linux/inotify.h
IN_MODIFY: Final = 0x002
IN_ATTRIB: Final = 0x004
IN_MOVED_FROM: Final = 0x040
IN_MOVED_TO: Final = 0x080
IN_CREATE: Final = 0x100
IN_DELETE: Final = 0x200
IN_DELETE_SELF: Final = 0x400
IN_MOVE_SELF: Final = 0x800
IN_Q_OVERFLOW: Final = 0x4000
IN_IGNORED: Final = 0x8000
IN_ONLYDIR: Final = 0x1000000

#: A file in the directory got other contents, or another file its name.
CHANGES: Final = IN_MODIFY | IN_ATTRIB | IN_MOVED_FROM | IN_MOVED_TO | IN_CREATE | IN_DELETE
#: The directory itself has gone.
GONE: Final = IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED

_EVENT: Final = struct.Struct("iIII")  # wd, mask, cookie, length of the name behind it
_BUFFER: Final = 64 * 1024


@final
class Inotify:
    """One directory's events.

    :raises OSError: there is no such directory, or no watch is left
        (fs.inotify.max_user_watches).
    """

    def __init__(self, directory: str, mask: int = CHANGES | GONE) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._fd = _checked(libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK), "inotify")
        try:
            _checked(
                libc.inotify_add_watch(self._fd, os.fsencode(directory), mask | IN_ONLYDIR),
                directory,
            )
        except OSError:
            os.close(self._fd)
            raise

    def fileno(self) -> int:
        """The descriptor."""
        return self._fd

    def read(self) -> tuple[set[str], bool]:
        """The names of all events that wait, and whether the directory itself has gone.

        Lost events (a full queue) are the name ``""``: anything may have changed.
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
        """Close the descriptor, and with it the watch."""
        os.close(self._fd)

    def __enter__(self) -> Inotify:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _checked(result: int, what: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), what)
    return result
