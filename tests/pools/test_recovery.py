# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""States of file and journal, and what recovery makes of each.

`test_kills` and its kin produce such states by dying at every call.  Here they are put
together by hand, as docs/pools.md lists them.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hv_kvp_daemon.pools import journal as journal_module
from hv_kvp_daemon.pools.change import (
    PAGE,
    SECTOR,
    TOMBSTONE,
    Change,
    append,
    move,
    pad,
    replace,
)
from hv_kvp_daemon.pools.config import PoolConfig
from hv_kvp_daemon.pools.journal import BACKWARD, FORWARD, SWEEP, Journal
from hv_kvp_daemon.pools.pool import PoolFile
from hv_kvp_daemon.pools.recovery import classify_sectors
from hv_kvp_daemon.wire.record import KEY_SIZE, RECORD_SIZE, encode
from tests.pools.crash import content

if TYPE_CHECKING:
    from collections.abc import Callable

SECTORS = st.lists(st.sampled_from([b"a", b"b", b"c"]), min_size=1, max_size=6)

A, B, C, D = (encode(key, key * 2000) for key in (b"a", b"b", b"c", b"d"))
LONG = encode(b"b", b"new" * 600)
TOMBSTONE_RECORD = pad(RECORD_SIZE)


class Broken:
    """A pool and a journal as an interrupted change left them."""

    def __init__(self, directory: str) -> None:
        self.path = os.path.join(directory, ".kvp_pool_1")
        self.reports: list[str] = []
        self._journal = Journal(PoolConfig(1, self.path, report=print))

    def write(self, *records: bytes) -> None:
        with open(self.path, "wb") as file:
            file.write(b"".join(records))

    def note(self, state: bytes, change: Change | None = None) -> None:
        if change is None:
            self._journal.mark(SWEEP, durable=True)
        else:
            self._journal.write(change)
            self._journal.mark(state)

    def recovered(self) -> bytes:
        """Use the pool, and return its bytes; the journal must be clear then."""
        pool = PoolFile(1, self.path, report=self.reports.append)
        pool.count()
        pool.close()
        assert self._journal.pending() is None
        self._journal.close()
        return content(self.path)


@pytest.fixture
def broken(public: str) -> Broken:
    return Broken(public)


def torn(old: bytes, new: bytes, at: int, *ends: int) -> bytes:
    """Writes of ``new``, then ``old``, and so on over ``old``, each ending with a page."""
    found = old
    for number, end in enumerate(ends):
        cut = end * PAGE - at % PAGE
        found = (old if number % 2 else new)[:cut] + found[cut:]
    return found


@pytest.mark.parametrize("same_boot", [True, False])
@pytest.mark.parametrize("appended", [b"", B, B + C, B + D])
def test_appended_records_that_are_there_or_of_another_program_are_left_and_not_reported(
    broken: Broken, monkeypatch: pytest.MonkeyPatch, appended: bytes, *, same_boot: bool
) -> None:
    broken.note(FORWARD, append(RECORD_SIZE, B + C))
    broken.write(A, appended)
    if not same_boot:
        monkeypatch.setattr(journal_module, "boot", lambda: 7)
    assert broken.recovered() == A + appended
    assert broken.reports == []


def test_appended_records_that_a_power_cut_left_in_part_are_completed_and_reported(
    broken: Broken, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken.note(FORWARD, append(RECORD_SIZE, B + C))
    broken.write(A, B, bytes(RECORD_SIZE))
    monkeypatch.setattr(journal_module, "boot", lambda: 7)
    assert broken.recovered() == A + B + C
    assert "was put in order" in broken.reports[0]


def test_a_hole_at_the_end_is_cut_off_without_being_read(
    broken: Broken, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P20: truncate(1) makes one of a terabyte, and reading that takes hours."""
    broken.write(A, B)
    os.truncate(broken.path, 100_000 * RECORD_SIZE)
    reads = []
    pread = os.pread

    def noted(fd: int, length: int, offset: int) -> bytes:
        reads.append(offset)
        return pread(fd, length, offset)

    monkeypatch.setattr(os, "pread", noted)
    assert broken.recovered() == A + B
    assert len(reads) < 100


# A record that is replaced.


@pytest.mark.parametrize(
    ("state", "sectors", "expected"),
    [
        (FORWARD, "nnooo", "nnnnn"),
        (FORWARD, "ooooo", "ooooo"),  # not begun
        (FORWARD, "nnnnn", "nnnnn"),
        (BACKWARD, "nnooo", "ooooo"),
        (BACKWARD, "oonno", "ooooo"),  # the write back has begun
        (BACKWARD, "nnnnn", "nnnnn"),
        (BACKWARD, "ooooo", "ooooo"),
        (SWEEP, "nnooo", "nnooo"),  # no change is known
        (FORWARD, "nnoxo", "nnoxo"),  # of some other program
    ],
)
def test_a_record_in_part_is_completed_in_the_direction_of_the_entry(
    broken: Broken, state: bytes, sectors: str, expected: str
) -> None:
    old, new = (letter.encode() * SECTOR for letter in "on")
    kinds = {"o": old, "n": new, "x": b"x" * SECTOR}
    # A sector that is the same before and after would say nothing.
    before, after = old * 5, new * 5
    broken.write(A, b"".join(kinds[letter] for letter in sectors), C)
    broken.note(state, replace(RECORD_SIZE, before, after) if state != SWEEP else None)
    found = broken.recovered()
    assert found == A + b"".join(kinds[letter] for letter in expected) + C
    assert bool(broken.reports) == (sectors != expected)


@pytest.mark.parametrize("offset", [1, 2, 3, 4])
@pytest.mark.parametrize("state", [FORWARD, BACKWARD])
def test_it_is_found_where_records_before_it_were_removed(
    broken: Broken, state: bytes, offset: int
) -> None:
    broken.write(C, LONG[:1024] + B[1024:], D)
    broken.note(state, replace(offset * RECORD_SIZE, B, LONG))
    assert broken.recovered() == C + (LONG if state == FORWARD else B) + D


@given(old=SECTORS, data=st.data())
def test_a_mixture_of_sectors_has_some_of_both_and_anything_else_is_of_others(
    old: list[bytes], data: st.DataObject
) -> None:
    size = st.lists(st.sampled_from([b"a", b"b", b"c"]), min_size=len(old), max_size=len(old))
    new, mask = data.draw(size), data.draw(st.lists(st.booleans(), min_size=6, max_size=6))
    mixed = [n if done else o for o, n, done in zip(old, new, mask, strict=False)]
    before, after, found = (
        b"".join(letter * SECTOR for letter in letters) for letters in (old, new, mixed)
    )
    parts = classify_sectors(found, before, after, len(after))
    assert parts is not None
    assert parts[0] == (found != after)
    assert parts[1] == (found != before)
    assert classify_sectors(b"x" + found[1:], before, after, len(after)) is None


# Records that move.


@pytest.mark.parametrize("pages", range(1, 4))
def test_a_block_in_part_is_moved_and_the_file_cut(broken: Broken, pages: int) -> None:
    old = B + C + D
    change = move(RECORD_SIZE, old, 0)
    broken.write(A, torn(old, change.new, RECORD_SIZE, pages))
    broken.note(FORWARD, change)
    assert broken.recovered() == A + C + D
    assert len(broken.reports) == 1


def test_a_block_that_has_not_moved_stays(broken: Broken) -> None:
    broken.write(A, B, C, D)
    broken.note(FORWARD, move(RECORD_SIZE, B + C + D, 0))
    assert broken.recovered() == A + B + C + D
    assert broken.reports == []


def test_a_block_that_has_not_moved_stays_where_a_record_before_it_was_removed(
    broken: Broken,
) -> None:
    """P33: the first record was taken for one in part, of D's value and the next key."""
    key_of_the_last = encode(b"e", b"d" * 2000)
    last = encode(b"e", b"")
    broken.note(FORWARD, move(2 * RECORD_SIZE, C + D + last, 0))
    broken.write(key_of_the_last, C, D, last)
    assert broken.recovered() == key_of_the_last + C + D + last
    assert broken.reports == []


@pytest.mark.parametrize("state", [FORWARD, SWEEP, BACKWARD])
def test_after_a_block_that_has_moved_only_the_cut_is_left_to_do(
    broken: Broken, state: bytes
) -> None:
    broken.write(A, C, D, TOMBSTONE_RECORD)
    broken.note(state, move(RECORD_SIZE, B + C + D, 0))
    assert broken.recovered() == A + C + D


@pytest.mark.parametrize("ends", [(1,), (2,), (3,), (2, 1), (3, 1), (3, 2)])
def test_a_move_that_is_taken_back_is_taken_back_completely(
    broken: Broken, ends: tuple[int, ...]
) -> None:
    """Issue 15, item 7: what the write back has left begins with bytes of before."""
    old = B + C + D
    change = move(RECORD_SIZE, old, 0)
    broken.write(A, torn(old, change.new, RECORD_SIZE, *ends))
    broken.note(BACKWARD, change)
    expected = A + C + D if ends == (3,) else A + old
    assert broken.recovered() == expected


@pytest.mark.parametrize("pages", range(4))
def test_a_cut_that_is_taken_back_makes_the_file_longer_again(
    broken: Broken, pages: int
) -> None:
    """The write back ends with a page, which need not be the end of a record."""
    old = B + C + D + A
    change = move(RECORD_SIZE, old, 0)
    done = old[: max(pages * PAGE - RECORD_SIZE, 0)]
    broken.write(A, done, change.new[len(done) : change.kept])
    broken.note(BACKWARD, change)
    assert broken.recovered() == A + old


def test_what_another_program_cut_is_not_brought_back(broken: Broken) -> None:
    for left in ([], [A], [A, C]):
        broken.write(*left)
        broken.note(BACKWARD, move(RECORD_SIZE, B + C + D, 0))
        assert broken.recovered() == b"".join(left)


@pytest.mark.parametrize("far", [3, 2**48])
def test_a_change_beyond_the_end_of_the_file_is_looked_for_in_the_file(
    broken: Broken, far: int
) -> None:
    """P29: a journal of another user held up root's command for centuries."""
    broken.write(A, B)
    broken.note(FORWARD, move(far * RECORD_SIZE, A + B + C, 0))
    assert broken.recovered() == A + B


@pytest.mark.parametrize("gone", [b"c", b"e", b"g", b"h"])
def test_a_record_that_another_program_removed_meanwhile_stays_removed(
    broken: Broken, gone: bytes
) -> None:
    """P34: the last one of the file came back."""
    keys = (b"b", b"c", b"d", b"e", b"f", b"g", b"h")
    records = [encode(key, key * 2000) for key in keys]
    old = b"".join(records)
    change = move(RECORD_SIZE, old, 0)
    left = torn(old, change.new, RECORD_SIZE, 3)
    found = [left[at : at + RECORD_SIZE] for at in range(0, len(left), RECORD_SIZE)]
    found.remove(encode(gone, gone * 2000))
    broken.write(A, *found)
    broken.note(FORWARD, change)
    expected = [A, *(record for record in records[1:] if record[:1] != gone)]
    assert broken.recovered() == b"".join(expected)


@pytest.mark.parametrize("elsewhere", [D, encode(b"e", b"d" * 2000)])
def test_records_elsewhere_that_look_like_those_of_a_block_in_part_stay(
    broken: Broken, elsewhere: bytes
) -> None:
    """P33: both are in the file of a kill, D a second time and D's value with the next key."""
    broken.note(FORWARD, move(2 * RECORD_SIZE, C + D + encode(b"e", b"") + B, 0))
    # Of a block that has not moved, another program has removed a record.
    broken.write(elsewhere, A, C, D, B)
    assert broken.recovered() == elsewhere + A + C + D + B
    assert broken.reports == []


def test_a_value_that_another_program_sets_to_the_one_before_it_is_not_taken_for_a_part(
    broken: Broken,
) -> None:
    """P33: nothing had moved, but a record before the block was removed."""
    broken.note(FORWARD, move(3 * RECORD_SIZE, C + D + encode(b"e", b""), 0))
    changed = encode(b"e", b"d" * 2000)
    broken.write(A, B, C, D, changed)
    assert broken.recovered() == A + B + C + D + changed


@pytest.mark.parametrize("pages", range(1, 8))
def test_the_same_where_several_records_go(broken: Broken, pages: int) -> None:
    keys = b"bcbdebbfghi"
    records = [encode(keys[at : at + 1], b"%d " % at * 650) for at in range(len(keys))]
    old = b"".join(records)
    change = move(RECORD_SIZE, old, 0)
    left = torn(old, change.new, RECORD_SIZE, pages)
    kept = [record for record in records if record[:1] != b"b"]
    for gone in kept:
        found = [left[at : at + RECORD_SIZE] for at in range(0, len(left), RECORD_SIZE)]
        found.remove(gone)
        if gone in found:
            continue  # it was there twice, and the other program removed one of them
        broken.write(A, *found, D)
        broken.note(FORWARD, change)
        expected = [A, *(record for record in kept if record != gone), D]
        assert broken.recovered() == b"".join(expected), gone[:1]


def test_a_power_cut_leaves_any_of_the_sectors(
    broken: Broken, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = B + C + D
    change = move(RECORD_SIZE, old, 0)
    left = b"".join((old if at % 3 else change.new)[at * SECTOR :][:SECTOR] for at in range(15))
    broken.note(FORWARD, change)
    # In the same boot no kill can have left that.
    broken.write(A, left)
    assert broken.recovered() == A + left
    broken.note(FORWARD, change)
    broken.write(A, left)
    monkeypatch.setattr(journal_module, "boot", lambda: 7)
    broken._journal.close()
    assert broken.recovered() == A + C + D


# Records without a key of their own.


@pytest.mark.parametrize("noted", [True, False])
@pytest.mark.parametrize(
    "record",
    [
        bytes(RECORD_SIZE),
        TOMBSTONE_RECORD,
        TOMBSTONE + b"in part".ljust(2048, b"\0"),
        bytes(KEY_SIZE) + b"after a power cut".ljust(2048, b"\0"),
    ],
    ids=["extended", "tombstone", "value", "value without its key's sector"],
)
def test_an_append_that_was_not_finished_is_removed_from_the_end(
    broken: Broken, record: bytes, noted: bool
) -> None:
    broken.write(A, B, record)
    if noted:
        broken.note(SWEEP)
    assert broken.recovered() == A + B
    assert len(broken.reports) == 1


@pytest.mark.parametrize(
    "record", [bytes(RECORD_SIZE), TOMBSTONE_RECORD, TOMBSTONE + C[KEY_SIZE:]]
)
def test_others_that_appended_after_it_do_not_keep_it_there(
    broken: Broken, record: bytes
) -> None:
    broken.write(A, record, B, C)
    broken.note(SWEEP)
    assert broken.recovered() == A + B + C


@pytest.mark.parametrize("odd", [b"o", bytes(7), b"odd" * 853], ids=len)
@pytest.mark.parametrize("noted", [True, False])
def test_bytes_after_the_last_whole_record_go_with_an_unfinished_append_and_no_sooner(
    broken: Broken, odd: bytes, *, noted: bool
) -> None:
    """Another program that crashed, or whose disk was full, leaves a part of a record."""
    for unfinished, expected in ((b"", odd), (TOMBSTONE_RECORD, b"")):
        broken.write(A, B, unfinished, odd)
        if noted:
            broken.note(SWEEP)
        assert broken.recovered() == A + B + expected


@pytest.mark.parametrize("state", [FORWARD, BACKWARD])
def test_bytes_after_the_last_whole_record_do_not_hide_a_torn_one(
    broken: Broken, state: bytes
) -> None:
    broken.write(A, LONG[:SECTOR] + LONG[SECTOR : 2 * SECTOR] + B[2 * SECTOR :], b"odd")
    broken.note(state, replace(RECORD_SIZE, B, LONG))
    assert broken.recovered() == A + (LONG if state == FORWARD else B) + b"odd"


def test_readers_do_not_see_it_where_they_may_not_remove_it(broken: Broken) -> None:
    broken.write(A, B, TOMBSTONE_RECORD)
    pool = PoolFile(1, broken.path, report=print, writable=False)
    for _ in range(2):
        assert pool.count() == 2
        assert pool.read(2) is None
        assert [record.key for record in pool.records()] == [b"a", b"b"]
        assert pool.read_unlocked(2) is None
    pool.close()
    assert len(content(broken.path)) == 3 * RECORD_SIZE


def test_an_empty_record_of_others_is_left_alone(broken: Broken) -> None:
    """Without a hint of an interrupted change, in the middle, or with bytes in its key."""
    nameless = b"\0x".ljust(RECORD_SIZE, b"\0")
    broken.write(bytes(RECORD_SIZE), A, bytes(KEY_SIZE) + B[KEY_SIZE:], C, nameless)
    assert (
        broken.recovered()
        == bytes(RECORD_SIZE) + A + bytes(KEY_SIZE) + B[KEY_SIZE:] + C + nameless
    )


# Another process that had known the file.


def test_a_kill_before_the_first_byte_is_found_by_a_process_that_knew_the_file(
    broken: Broken, make_pool: Callable[..., PoolFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a change of its own would be taken for a part of the one that had not begun."""
    broken.write(A, B, C)
    pool = make_pool(broken.path)
    pool.store(b"a", b"1")
    assert pool.read_unlocked(1) == B
    another = make_pool(broken.path)
    another.count()

    def killed(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "pwrite", killed)
    with pytest.raises(KeyboardInterrupt):
        another.store(b"b", b"x" * 2000)
    monkeypatch.undo()
    another.close()
    assert pool.read_unlocked(1) is None
    pool.store(b"b", b"x" * SECTOR + b"b" * (2000 - SECTOR))
    third = make_pool(broken.path)
    assert third.find(b"b") == b"x" * SECTOR + b"b" * (2000 - SECTOR)
