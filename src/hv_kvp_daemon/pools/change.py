"""What a request does to a pool file: bytes at offsets, and the length afterwards.

In: the bytes.  Out: the file as the change says, or as it was.
Rule: every change of a pool goes through one `Change`, in place.  Other programs
hold locks on the inode and rely on its mode, so it is never replaced by another.

A change can be applied any number of times, also to a file that has a part of
it already: it is what a redo journal writes down before it is applied.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class Change:
    """``writes`` are pairs of an offset and bytes; ``length`` is the file's afterwards.

    The writes end at or before ``length``, in rising order and without overlap.
    A file that is shorter must be filled by them: no holes are made.
    """

    __slots__ = ("length", "writes")

    def __init__(self, writes: Sequence[tuple[int, bytes]], length: int) -> None:
        self.writes = writes
        self.length = length

    def apply(self, fd: int) -> None:
        """Write what is to be written, then cut the file if it is longer.

        In this order, so that a reader without locks misses nothing that stays.

        :raises OSError: the kernel refused (ENOSPC, EIO, EROFS, ...); a part may
            have been done.
        """
        for offset, data in self.writes:
            write_at(fd, data, offset)
        if os.fstat(fd).st_size != self.length:
            os.ftruncate(fd, self.length)

    def inverse(self, fd: int) -> Change:
        """Return the change that takes this one back; ask before applying it.

        :raises OSError: what is there cannot be read.
        """
        size = os.fstat(fd).st_size
        old = [(offset, read_at(fd, len(data), offset)) for offset, data in self.writes]
        if size > self.length:
            old.append((self.length, read_at(fd, size - self.length, self.length)))
        return Change(old, size)


def read_at(fd: int, length: int, offset: int) -> bytes:
    """Return ``length`` bytes from ``offset`` on, or as many as the file has.

    :raises OSError: the kernel refused.
    """
    data = os.pread(fd, length, offset)
    if len(data) == length or not data:
        return data
    # A part before the end of the file: network and FUSE file systems do that.
    return data + read_at(fd, length - len(data), offset + len(data))


def write_at(fd: int, data: bytes, offset: int) -> None:
    """Write all of ``data``.

    :raises OSError: the kernel refused; the beginning may have been written.
    """
    done = os.pwrite(fd, data, offset)
    while done < len(data):
        # A short write is no error to the kernel (a disk that is nearly full):
        # the next one then fails with the reason.
        done += os.pwrite(fd, data[done:], offset + done)
