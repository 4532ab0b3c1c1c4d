# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""What a change puts in place of which bytes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hv_kvp_daemon.pools.change import SECTOR, differing_sectors, move, pad
from hv_kvp_daemon.wire.record import RECORD_SIZE, encode

SECTORS = st.lists(st.sampled_from([b"a", b"b"]), min_size=5, max_size=5)
TOMBSTONE_RECORD = pad(RECORD_SIZE)


@given(old=SECTORS, new=SECTORS)
def test_only_the_sectors_that_differ_are_written(old: list[bytes], new: list[bytes]) -> None:
    before = b"".join(letter * SECTOR for letter in old)
    after = b"".join(letter * SECTOR for letter in new)
    first, last = differing_sectors(before, after)
    assert before[:first] + after[first:last] + before[last:] == after
    numbers = [at for at in range(5) if old[at] != new[at]]
    assert (first, last) == (
        (numbers[0] * SECTOR, (numbers[-1] + 1) * SECTOR) if numbers else (0, 0)
    )


def test_a_hole_is_filled_by_the_records_after_it_and_tombstones_take_their_place() -> None:
    a, b, c = encode(b"a", b"1"), encode(b"b", b"2"), encode(b"c", b"3")
    change = move(0, a + b + a + c, 0)
    assert (change.new, change.kept) == (b + c + TOMBSTONE_RECORD * 2, 2 * RECORD_SIZE)
    change = move(0, a + TOMBSTONE_RECORD + b + c, RECORD_SIZE)
    assert (change.new, change.kept) == (b + c + TOMBSTONE_RECORD * 2, 2 * RECORD_SIZE)
    change = move(0, a + b, 2 * RECORD_SIZE)
    assert (change.new, change.kept) == (TOMBSTONE_RECORD * 2, 0)


def test_what_is_dropped_is_dropped_by_its_whole_key() -> None:
    kept = [encode(b"abc", b""), encode(b"xb", b""), b"ab".ljust(RECORD_SIZE, b"a")]
    change = move(0, encode(b"ab", b"1") + b"".join(kept) + encode(b"ab", b"2"), 0)
    assert change.new == b"".join(kept) + TOMBSTONE_RECORD * 2


def test_other_readers_see_a_tombstone_as_an_empty_pair() -> None:
    assert (TOMBSTONE_RECORD[0], TOMBSTONE_RECORD[SECTOR:]) == (0, bytes(4 * SECTOR))
    assert pad(0) == b""
