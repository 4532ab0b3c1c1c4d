# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The changes that lead from a pool's bytes to the records that it is to have."""

from __future__ import annotations

from hv_kvp_daemon.pools.edit import Edit
from hv_kvp_daemon.wire.record import RECORD_SIZE, decode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def split_records(data: bytes) -> list[bytes]:
    """Return the whole records of a file's bytes."""
    whole = len(data) - len(data) % RECORD_SIZE
    return [data[at : at + RECORD_SIZE] for at in range(0, whole, RECORD_SIZE)]


def diff(
    data: bytes, new: list[bytes], is_removed: Callable[[bytes], bool], last: bytes = b""
) -> Edit:
    """Return the edit after which a pool has the records ``new``.

    Old records of other keys go if ``is_removed`` says so of their key.  The new records
    of a key replace its old ones, first by first.  Of a key's surplus old records the
    first goes last: as long as it is there, readers do not find the values after it.
    The first of the key ``last`` goes after all others.
    """
    edit = Edit()
    unplaced: dict[bytes, list[int]] = {}
    for number, record in enumerate(new):
        unplaced.setdefault(decode(record).key, []).append(number)
    repeated: list[int] = []
    first: list[int] = []
    very_last: list[int] = []
    seen: set[bytes] = set()
    for index, record in enumerate(split_records(data)):
        key = decode(record).key
        if unplaced.get(key):
            replacement = new[unplaced[key].pop(0)]
            if replacement != record:
                edit.changed[index] = replacement
        elif is_removed(key):
            group = repeated if key in seen else very_last if key == last else first
            group.append(index)
        seen.add(key)
    added = {number for numbers in unplaced.values() for number in numbers}
    edit.added = [record for number, record in enumerate(new) if number in added]
    edit.removed = [repeated, first, very_last]
    return edit
