# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The writes of a VM to its disk, in their order, as qemu's blklogwrites records them.

The format is that of Linux's dm-log-writes (Documentation/admin-guide/device-mapper).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

FLUSH = 1
FUA = 2
DISCARD = 4

_MAGIC = 0x6A736677736872
_SUPER = struct.Struct("<QQQI")
_ENTRY = struct.Struct("<QQQQ")


class Write(NamedTuple):
    """Bytes at an offset; with ``flushes`` all before it is on the disk for certain."""

    offset: int
    data: bytes
    flushes: bool


def read(path: str) -> Iterator[Write]:
    """Yield the entries that the log's head counts: all up to the last flush at least.

    What stands behind those may be half of an entry, where qemu was killed.
    """
    with open(path, "rb") as file:
        magic, version, entries, sector = _SUPER.unpack(file.read(_SUPER.size))
        assert (magic, version) == (_MAGIC, 1)
        at = sector
        for _ in range(entries):
            file.seek(at)
            first, count, flags, _ = _ENTRY.unpack(file.read(_ENTRY.size))
            at += sector
            size = 0 if flags & DISCARD else count * sector
            file.seek(at)
            data = file.read(size)
            at += size
            yield Write(first * sector, data, bool(flags & (FLUSH | FUA)))
