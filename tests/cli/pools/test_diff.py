# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The edit between a pool's bytes and the records that it is to have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from hv_kvp_daemon.cli.pools.diff import diff, split_records
from hv_kvp_daemon.wire.record import encode

if TYPE_CHECKING:
    from hv_kvp_daemon.pools.edit import Edit

A1, A2, A3, B1, C1 = (
    encode(key, value)
    for key, value in ((b"a", b"1"), (b"a", b"2"), (b"a", b"3"), (b"b", b"1"), (b"c", b"1"))
)
RECORDS = st.lists(st.sampled_from([A1, A2, A3, B1, C1]), max_size=8)


def applied(old: list[bytes], edit: Edit) -> list[bytes]:
    removed = {index for group in edit.removed for index in group}
    kept = [
        edit.changed.get(index, record)
        for index, record in enumerate(old)
        if index not in removed
    ]
    return kept + edit.added


def test_a_part_of_a_record_at_the_end_is_no_record() -> None:
    assert split_records(A1 + B1 + b"rest") == [A1, B1]


@given(RECORDS, RECORDS)
def test_the_edit_leads_to_the_new_records(old: list[bytes], new: list[bytes]) -> None:
    edit = diff(b"".join(old), new, lambda _: True)
    assert sorted(applied(old, edit)) == sorted(new)


@given(RECORDS)
def test_equal_records_need_no_edit(records: list[bytes]) -> None:
    edit = diff(b"".join(records), records, lambda _: True)
    assert (edit.added, edit.changed) == ([], {})
    assert not any(edit.removed)


def test_a_key_keeps_its_place_and_new_ones_follow() -> None:
    edit = diff(A1 + B1, [A2, C1], lambda _: True)
    assert edit.changed == {0: A2}
    assert edit.added == [C1]
    assert edit.removed == [[], [1], []]


def test_only_keys_that_may_go_are_removed() -> None:
    assert not any(diff(A1 + B1, [C1], lambda key: key == b"c").removed)


def test_the_first_record_of_a_key_goes_after_its_repetitions() -> None:
    assert diff(A1 + B1 + A2 + A3, [], lambda _: True).removed == [[2, 3], [0, 1], []]


def test_the_last_key_goes_after_all_others() -> None:
    assert diff(A1 + B1, [], lambda _: True, last=b"a").removed == [[], [1], [0]]
