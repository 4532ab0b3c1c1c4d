# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Bytes in JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hv_kvp_daemon.cli import jsontext


@given(st.binary())
def test_every_byte_comes_back(raw: bytes) -> None:
    document = json.loads(json.dumps(jsontext.field("value", raw)))
    assert jsontext.read_field(document, "value") == raw


def test_text_is_text_and_other_bytes_are_base64() -> None:
    assert jsontext.pair("ключ".encode(), b"\xff") == {"key": "ключ", "value_base64": "/w=="}


@pytest.mark.parametrize(
    ("member", "said"),
    [
        ({}, "exactly one of"),
        ({"key": "a", "key_base64": "YQ=="}, "exactly one of"),
        ({"key": 1}, "key is an integer, not a string"),
        ({"key_base64": []}, "key_base64 is an array, not a string"),
        ({"key_base64": "%"}, "key_base64 is not base64"),
        ({"key": "\ud83d"}, "key has half a surrogate pair"),
    ],
)
def test_what_no_field_is_is_refused(member: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        jsontext.read_field(member, "key")
