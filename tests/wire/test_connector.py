# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The frame around a KVP message: only the driver's is accepted; others get a reason."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hv_kvp_daemon.wire import connector
from hv_kvp_daemon.wire.connector import FRAME_SIZE, FrameError, pack_header, unpack
from hv_kvp_daemon.wire.message import MESSAGE_SIZE, encode_status

GOOD = pack_header() + encode_status(0)


def reason(datagram: bytes) -> str:
    with pytest.raises(FrameError) as caught:
        unpack(memoryview(datagram))
    return caught.value.reason


def patched(at: int, form: str, value: int) -> bytes:
    data = bytearray(GOOD)
    struct.pack_into(form, data, at, value)
    return bytes(data)


def test_a_frame_is_7468_bytes_and_gives_its_message() -> None:
    assert len(GOOD) == FRAME_SIZE == 7468
    assert bytes(unpack(memoryview(GOOD))) == encode_status(0)


@given(st.binary(max_size=9000))
def test_arbitrary_bytes_raise_nothing_but_a_frame_error(noise: bytes) -> None:
    assert reason(noise) in connector.REASONS


@pytest.mark.parametrize("size", [*range(80), 7467, 7469, 9000, 14936])
def test_any_other_length_is_refused(size: int) -> None:
    """T2: the rest of an earlier message was handled as a request."""
    assert reason((GOOD * 2)[:size]) in (connector.SHORT, connector.LENGTH)


@pytest.mark.parametrize(
    ("at", "form", "value", "why"),
    [
        (0, "=I", 7467, connector.LENGTH),
        (0, "=I", 0xFFFFFFFF, connector.LENGTH),
        (4, "=H", 2, connector.TYPE),
        (4, "=H", 0, connector.TYPE),
        (16, "=I", 1, connector.FOREIGN_ID),
        (20, "=I", 2, connector.FOREIGN_ID),
        (32, "=H", 7431, connector.LENGTH),
        (32, "=H", 0, connector.LENGTH),
    ],
)
def test_each_header_field_counts(at: int, form: str, value: int, why: str) -> None:
    """T2: neither id nor type nor length was checked."""
    assert reason(patched(at, form, value)) == why


def test_a_process_event_is_foreign() -> None:
    """T1: 76 bytes of the proc connector, {1, 1}, were carried out as SET and DELETE."""
    event = struct.pack("=IHHIIIIIIHH", 76, 3, 0, 1, 0, 1, 1, 1, 0, 40, 0) + bytes(40)
    assert reason(event) == connector.FOREIGN_ID


def test_the_header_names_the_drivers_numbers() -> None:
    assert struct.unpack("=IHHIIIIIIHH", pack_header()) == (
        (FRAME_SIZE, 3, 0, 0, 0, 9, 1, 0, 0, MESSAGE_SIZE, 0)
    )
