# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The readable lines for exchanges and tables."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hv_kvp_daemon.simhost import transcript
from hv_kvp_daemon.simhost.exchange import Exchange
from hv_kvp_daemon.wire.text import width
from hv_kvp_daemon.wire.uapi import (
    HV_ERROR_NOT_SUPPORTED,
    HV_S_OK,
    KVP_OP_ENUMERATE,
    KVP_OP_GET,
    KVP_OP_GET_IP_INFO,
    KVP_POOL_AUTO,
)


@given(st.integers(0, 255), st.integers(0, 255), st.text(), st.text(), st.floats(0, 3600))
def test_an_exchange_fills_80_columns_exactly(
    operation: int, pool: int, subject: str, value: str, seconds: float
) -> None:
    line = transcript.line(Exchange(operation, pool, subject, HV_S_OK, value), seconds)
    assert width(line) == 80
    assert line.isprintable()


@given(st.lists(st.tuples(st.text(), st.text())))
def test_a_table_fits_80_columns(items: list[tuple[str, str]]) -> None:
    lines = transcript.table(1, items)
    assert len(lines) == 2 + len(items)
    assert all(width(line) <= 80 and line.isprintable() for line in lines)


def test_an_exchange_shows_the_request_and_its_answer() -> None:
    line = transcript.line(
        Exchange(KVP_OP_ENUMERATE, KVP_POOL_AUTO, "5 OSName", HV_S_OK, "Debian"), 0.000123
    )
    assert line.split() == ["ENUMERATE", "auto", "5", "OSName", "HV_S_OK", "Debian", "123"]


def test_the_longest_names_are_shown_in_full() -> None:
    line = transcript.line(
        Exchange(
            KVP_OP_GET_IP_INFO, 255, "1 IntegrationServicesVersion", HV_ERROR_NOT_SUPPORTED, ""
        ),
        0.5,
    )
    assert "GET_IP_INFO pool 255 1 IntegrationServicesVersion" in line
    assert width(line) == 80


def test_numbers_without_a_name_are_shown_as_numbers() -> None:
    line = transcript.line(Exchange(99, 77, "", 0x80070050, ""), 1e-6)
    assert line.split() == ["op", "99", "pool", "77", "0x80070050", "1"]


def test_a_long_value_is_cut_and_marked() -> None:
    (_, _, row) = transcript.table(0, [("key", "v" * 100)])
    assert "v" * 45 + "\N{HORIZONTAL ELLIPSIS} 0" in row


def test_wide_and_combining_characters_keep_the_columns() -> None:
    rows = transcript.table(0, [("\u4e2d\u6587", "e\u0301"), ("plain", "e")])[2:]
    assert [width(row) for row in rows] == [75, 75]


def test_a_value_cannot_drive_the_terminal() -> None:
    line = transcript.line(Exchange(KVP_OP_GET, 0, "key", HV_S_OK, "\x1b[2J\n\u202e"), 0)
    assert r"\x1b[2J\n\u202e" in line
