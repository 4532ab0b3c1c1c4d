# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""What is wrong in a file's bytes, and the bytes that it should have."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hv_kvp_daemon.cli.pools import validation
from hv_kvp_daemon.cli.pools.validation import DAMAGE, NOTE
from hv_kvp_daemon.wire.record import RECORD_SIZE, encode

NO_KEY = bytes(512) + b"v".ljust(2048, b"\0")
LEFTOVERS = b"a\0rubbish".ljust(512, b"\0") + b"v".ljust(2048, b"\0")
GOOD = encode(b"k", b"v")


def texts(data: bytes) -> list[str]:
    return [finding.text for finding in validation.findings(data)]


@given(st.binary(max_size=3 * RECORD_SIZE))
def test_clean_bytes_stay_as_they_are_and_show_no_damage(data: bytes) -> None:
    cleaned = validation.clean(data.ljust(RECORD_SIZE, b"\0"))
    assert validation.clean(cleaned) == cleaned
    assert not any(each.repairable for each in validation.findings(cleaned))


def test_damage_comes_before_notes_and_a_part_of_a_record_first() -> None:
    found = validation.findings(GOOD + LEFTOVERS + NO_KEY + b"rest")
    assert [each.level for each in found] == [DAMAGE, DAMAGE, NOTE]
    assert found[0].text.startswith("4 bytes after record 3")


def test_many_records_are_counted_and_the_first_are_named() -> None:
    found = texts(NO_KEY * 7)
    assert found == [
        "7 records (0, 1, 2, 3, 4 ...): no key, so it cannot be read, changed or deleted"
    ]
    # The control character of the key is shown, not sent.
    found = texts(b"".join(encode(b"k\x1b%d" % n, b"\xff") for n in range(6)))
    names = ", ".join(f"{n} k\\x1b{n}" for n in range(5))
    assert found[0].startswith(f"6 records ({names} ...): not valid UTF-8")


def test_a_record_with_several_faults_is_in_each_finding() -> None:
    found = texts(b"k\0x".ljust(512, b"\0") + b"\xff" * 2048)
    assert [text.partition(":")[0] for text in found] == ["record 0 (k)"] * 4
    assert not any("no key" in text for text in found)


def test_clean_bytes_keep_the_order_and_leave_out_what_cannot_be_asked_for() -> None:
    other = encode(b"k", b"other")
    assert validation.cleaned(GOOD + NO_KEY + other + GOOD) == [GOOD, b"", other, b""]
    assert validation.clean(LEFTOVERS + b"rest") == encode(b"a", b"v")


@pytest.mark.parametrize(
    ("value", "cut"), [("v" * 1022, False), ("v" * 1023, True), ("\U0001f427" * 511, False)]
)
def test_a_value_is_cut_beyond_what_a_host_sees(value: str, cut: bool) -> None:
    assert any("UTF-16" in text for text in texts(encode(b"k", value.encode()))) == cut
