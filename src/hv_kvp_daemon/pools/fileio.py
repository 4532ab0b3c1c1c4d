# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Reads and writes at an offset of a file that are completed or raise an error.

The kernel may transfer a part and report no error: a read from a network or FUSE file
system, a write to a disk that is nearly full.  These functions go on until all is done.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeAlias

    Buffer: TypeAlias = bytes | memoryview


def read_at(fd: int, length: int, offset: int) -> bytes:
    """Return ``length`` bytes from ``offset``, or as many as the file has.

    :raises OSError: the kernel refused.
    """
    data = os.pread(fd, length, offset)
    part = data
    while part and len(data) < length:
        part = os.pread(fd, length - len(data), offset + len(data))
        data += part
    return data


def read_into(fd: int, buffer: memoryview, offset: int) -> int:
    """Fill a buffer from ``offset``; return the number of bytes that the file had.

    :raises OSError: the kernel refused.
    """
    done = size = os.preadv(fd, [buffer], offset)
    while size and done < len(buffer):
        size = os.preadv(fd, [buffer[done:]], offset + done)
        done += size
    return done


def write_pieces(fd: int, pieces: Sequence[Buffer], offset: int) -> None:
    """Write all pieces one after the other, as `write_at` would.

    :raises OSError: as `write_at`.
    """
    done = os.pwritev(fd, pieces, offset)
    if done < sum(map(len, pieces)):
        write_at(fd, b"".join(pieces)[done:], offset + done)


def write_at(fd: int, data: Buffer, offset: int) -> None:
    """Write all of ``data``.

    :raises OSError: the kernel refused; a beginning of the data may be written.
    """
    done = os.pwrite(fd, data, offset) if data else 0
    while done < len(data):
        # After a short write the next one fails with the reason.
        done += os.pwrite(fd, data[done:], offset + done)
