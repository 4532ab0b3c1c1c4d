"""What is left of a change that was cut short, and what is told from it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hv_kvp_daemon.pools.change import (
    GRAVE,
    SECTOR,
    append,
    close_gap,
    filler,
    replace,
)
from hv_kvp_daemon.wire.record import KEY_SIZE, RECORD_SIZE, encode

if TYPE_CHECKING:
    from hv_kvp_daemon.pools.change import Change

PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")
SECTORS = st.lists(st.sampled_from([b"a", b"b", b"c"]), min_size=1, max_size=6)


def filled(letters: list[bytes]) -> bytes:
    return b"".join(letter * SECTOR for letter in letters)


@given(old=SECTORS, data=st.data())
def test_a_mixture_of_sectors_is_torn_and_what_is_whole_or_strange_is_not(
    old: list[bytes], data: st.DataObject
) -> None:
    size = st.lists(st.sampled_from([b"a", b"b", b"c"]), min_size=len(old), max_size=len(old))
    new, mask = data.draw(size), data.draw(st.lists(st.booleans(), min_size=6, max_size=6))
    found = [n if done else o for o, n, done in zip(old, new, mask, strict=False)]
    torn = found not in (old, new)
    assert replace(0, filled(old), filled(new)).is_torn(filled(found)) == torn
    found[0] = b"x"
    assert not replace(0, filled(old), filled(new)).is_torn(filled(found))


def test_a_kill_and_a_cut_leave_something_torn_and_a_removal_by_others_does_not() -> None:
    old, new = filled([b"a", b"b", b"c"]), filled([b"b", b"c", b"d"])
    assert replace(0, old, new).is_torn(filled([b"b", b"b"]))
    assert not replace(0, old, new).is_torn(filled([b"a", b"c"]))


@pytest.mark.parametrize(
    ("change", "can_tear"),
    [
        (replace(0, encode(b"k", b"1"), encode(b"k", b"2")), False),
        (replace(0, encode(b"k", b"1"), encode(b"k", b"1")), False),
        (replace(0, encode(b"k", b"1" * 512), encode(b"k", b"2" * 512)), False),
        (replace(0, encode(b"k", b"1" * 513), encode(b"k", b"2" * 513)), True),
        (replace(0, encode(b"k", b"1"), encode(b"k", b"2" * 2047)), True),
        (replace(0, bytes(KEY_SIZE), GRAVE), False),
        (append(0, b"", encode(b"k", b"")), False),
        (append(PAGE_SIZE * 5, b"", encode(b"k", b"")), False),
        (append(RECORD_SIZE, b"", encode(b"k", b"")), True),
        (append(2 * RECORD_SIZE, b"", encode(b"k", b"")), True),
        (close_gap(0, encode(b"k", b"") * 2, 0), True),
    ],
)
def test_a_journal_is_needed_where_more_than_one_piece_changes(
    change: Change, can_tear: bool
) -> None:
    assert change.can_tear == can_tear


def test_of_an_append_nothing_but_nuls_is_a_part_and_what_others_append_is_none() -> None:
    """ext4 writes the length before the bytes where the file grows within a block."""
    new = encode(b"k", b"v" * 2000)
    change = append(2 * RECORD_SIZE, b"", new)
    for part in (bytes(RECORD_SIZE), bytes(100), new[:512] + bytes(2048), new[:1536]):
        assert change.is_torn(part)
    for other in (b"", new, encode(b"k", b"other"), encode(b"a", b"v" * 2000)):
        assert not change.is_torn(other)
    change = append(2 * RECORD_SIZE, b"part", new)
    assert not change.is_torn(b"part")


@given(
    old=st.binary(max_size=1000),
    new=st.binary(max_size=1000),
    tail=st.binary(max_size=RECORD_SIZE - 1),
    stop=st.integers(0, RECORD_SIZE),
)
def test_a_change_can_be_repeated_after_any_part_of_it_and_taken_back(
    tmp_path_factory: pytest.TempPathFactory, old: bytes, new: bytes, tail: bytes, stop: int
) -> None:
    assume(b"\0" not in old + new)
    before = encode(b"a", b"") + encode(b"k", old) + tail
    for change in (
        replace(RECORD_SIZE, encode(b"k", old), encode(b"k", new)),
        append(2 * RECORD_SIZE, tail, encode(b"n", new)),
        close_gap(0, before[: 2 * RECORD_SIZE], 0),
    ):
        path = tmp_path_factory.getbasetemp() / "change"
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        os.pwrite(fd, before, 0)
        change.apply(fd)
        after = path.read_bytes()
        change.undo(fd)
        assert path.read_bytes() == before
        os.pwrite(fd, change.new[:stop], change.offset)
        change.apply(fd)
        change.apply(fd)
        assert path.read_bytes() == after
        change.undo(fd)
        assert path.read_bytes() == before
        os.close(fd)


def test_a_gap_is_closed_by_the_records_behind_it_and_graves_take_their_place() -> None:
    a, b, c, grave = encode(b"a", b"1"), encode(b"b", b"2"), encode(b"c", b"3"), filler(2560)
    change = close_gap(0, a + b + a + c, 0)
    assert (change.new, change.kept) == (b + c + grave * 2, 2 * RECORD_SIZE)
    change = close_gap(0, a + grave + b + c, RECORD_SIZE)
    assert (change.new, change.kept) == (b + c + grave * 2, 2 * RECORD_SIZE)
    change = close_gap(0, b"part!" + b + c, 5)
    assert change.new == b + c + filler(5)
