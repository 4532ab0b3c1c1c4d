# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The pool record: bytes to pair and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hv_kvp_daemon.wire.errors import WireError
from hv_kvp_daemon.wire.record import (
    KEY_SIZE,
    RECORD_SIZE,
    VALUE_SIZE,
    Record,
    RecordFieldError,
    check_key,
    decode,
    encode,
)
from hv_kvp_daemon.wire.text import FIELD_MAX_KEY, FIELD_MAX_VALUE

_CHARACTERS = st.integers(1, 255)
KEYS = st.lists(_CHARACTERS, min_size=1, max_size=FIELD_MAX_KEY).map(bytes)
VALUES = st.lists(_CHARACTERS, max_size=FIELD_MAX_VALUE).map(bytes)


def test_the_sizes_are_those_of_the_c_daemons_struct() -> None:
    assert (KEY_SIZE, VALUE_SIZE, RECORD_SIZE) == (512, 2048, 2560)


@given(KEYS, VALUES)
def test_what_was_encoded_is_decoded(key: bytes, value: bytes) -> None:
    data = encode(key, value)
    assert len(data) == RECORD_SIZE
    assert decode(data) == Record(key, value)


@given(KEYS, VALUES)
def test_only_nuls_follow_both_texts(key: bytes, value: bytes) -> None:
    """P4."""
    data = encode(key, value)
    assert data[len(key) : KEY_SIZE] == bytes(KEY_SIZE - len(key))
    assert data[KEY_SIZE + len(value) :] == bytes(VALUE_SIZE - len(value))


@given(st.binary(max_size=40), st.integers(0, RECORD_SIZE + 40))
def test_any_bytes_are_decoded_or_refused_with_the_codecs_own_error(
    start: bytes, size: int
) -> None:
    data = (start * (size // max(len(start), 1) + 1))[:size].ljust(size, b"\xff")
    if size != RECORD_SIZE:
        with pytest.raises(WireError, match=f"{size} bytes, 2560 expected"):
            decode(data)
    else:
        record = decode(data)
        assert b"\0" not in record.key + record.value


def test_a_field_ends_at_its_first_nul_whatever_follows() -> None:
    data = b"key\0garbage".ljust(KEY_SIZE, b"\xaa") + b"v\0alue\0".ljust(VALUE_SIZE, b"\xbb")
    assert decode(data) == Record(b"key", b"v")


def test_a_field_without_a_nul_is_taken_as_a_whole() -> None:
    assert decode(b"k" * KEY_SIZE + b"v" * VALUE_SIZE) == Record(b"k" * 512, b"v" * 2048)


def test_the_longest_key_and_value_leave_room_for_a_nul() -> None:
    data = encode(b"k" * 511, b"v" * 2047)
    assert data[KEY_SIZE - 1] == 0
    assert data[RECORD_SIZE - 1] == 0


@pytest.mark.parametrize(
    ("key", "value", "field", "actual", "allowed", "text"),
    [
        (b"", b"", "key", 0, 511, "key of 0 bytes, 1 to 511 allowed"),
        (b"k" * 512, b"", "key", 512, 511, "key of 512 bytes, 1 to 511 allowed"),
        (b"k", b"v" * 2048, "value", 2048, 2047, "value of 2048 bytes, 0 to 2047 allowed"),
        (b"k\0y", b"", "key", 3, 1, "key of 3 bytes with a NUL after 1"),
        (b"\0", b"", "key", 1, 0, "key of 1 bytes with a NUL after 0"),
        (b"k" * 510 + b"\0", b"", "key", 511, 510, "key of 511 bytes with a NUL after 510"),
        (b"k", b"ab\0", "value", 3, 2, "value of 3 bytes with a NUL after 2"),
    ],
)
def test_what_does_not_fit_is_refused_with_actual_and_allowed_size(
    key: bytes, value: bytes, field: str, actual: int, allowed: int, text: str
) -> None:
    """P8."""
    with pytest.raises(RecordFieldError) as caught:
        encode(key, value)
    error = caught.value
    assert isinstance(error, WireError)
    assert (error.field, error.actual, error.allowed) == (field, actual, allowed)
    assert str(error) == text


def test_a_key_can_be_checked_alone() -> None:
    check_key(b"k")
    check_key(b"k" * 511)
    for key in (b"", b"k" * 512, b"k\0"):
        with pytest.raises(RecordFieldError):
            check_key(key)


def test_records_are_equal_by_value_and_show_what_they_hold() -> None:
    record = Record(b"k", b"v")
    assert record == Record(b"k", b"v")
    assert hash(record) == hash(Record(b"k", b"v"))
    assert record != Record(b"k", b"w")
    assert record != (b"k", b"v")
    assert repr(record) == "Record(key=b'k', value=b'v')"
    assert not hasattr(record, "__dict__")
