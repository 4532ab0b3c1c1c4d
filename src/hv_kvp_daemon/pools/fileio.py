"""Reads and writes of a file at an offset: all of it, or an error.

In: a descriptor, bytes or buffers, an offset.  Out: bytes, or the file.
Rule: a part is no error to the kernel, neither of a read (network and FUSE file
systems) nor of a write (a disk that is nearly full), and none to these either.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeAlias

    Buffer: TypeAlias = bytes | memoryview


def read_at(fd: int, length: int, offset: int) -> bytes:
    """Return ``length`` bytes from ``offset`` on, or as many as the file has.

    :raises OSError: the kernel refused.
    """
    data = os.pread(fd, length, offset)
    if len(data) == length or not data:
        return data
    # A part before the end of the file: network and FUSE file systems do that.
    return data + read_at(fd, length - len(data), offset + len(data))


def read_into(fd: int, buffer: memoryview, offset: int) -> int:
    """Fill a buffer from ``offset`` on, and return how many bytes the file had for it.

    :raises OSError: the kernel refused.
    """
    done = size = os.preadv(fd, [buffer], offset)
    while size and done < len(buffer):
        size = os.preadv(fd, [buffer[done:]], offset + done)
        done += size
    return done


def write_pieces(fd: int, pieces: Sequence[Buffer], offset: int) -> None:
    """Write all pieces, one behind the other, as `write_at` would.

    :raises OSError: as `write_at`.
    """
    done = os.pwritev(fd, pieces, offset)
    if done < sum(map(len, pieces)):
        write_at(fd, b"".join(pieces)[done:], offset + done)


def write_at(fd: int, data: Buffer, offset: int) -> None:
    """Write all of ``data``.

    :raises OSError: the kernel refused; the beginning may have been written.
    """
    done = os.pwrite(fd, data, offset) if data else 0
    while done < len(data):
        # A short write is no error to the kernel (a disk that is nearly full):
        # the next one then fails with the reason.
        done += os.pwrite(fd, data[done:], offset + done)
