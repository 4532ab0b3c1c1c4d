# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Exchanges and pools as lines of at most 80 columns, without what could drive a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from hv_kvp_daemon.pools.directory import POOL_NAMES
from hv_kvp_daemon.wire.columns import fit
from hv_kvp_daemon.wire.message import status_name
from hv_kvp_daemon.wire.text import printable, width
from hv_kvp_daemon.wire.uapi import HV_S_OK, KVP_OP_NAMES

if TYPE_CHECKING:
    from .exchange import Exchange

COLUMNS: Final = 80

# The widths of operation, pool, the longest key with its index, and microseconds.  More of
# those, as of a resolver that does not answer, take the room of the result.
_OPERATION, _POOL, _SUBJECT, _MICROSECONDS = 9, 8, 28, 6
_NAME, _SOURCE = 26, 6


def operation_name(operation: int) -> str:
    """Return the header's name of an operation without its prefix, or its number."""
    return KVP_OP_NAMES.get(operation, f"op {operation}")


def pool_name(pool: int) -> str:
    """Return the name of a pool, or its number."""
    return POOL_NAMES.get(pool, f"pool {pool}")


def heading() -> str:
    """Return the line above the exchanges."""
    return _columns("operation", "pool", "key, or index and key", "status and value", "us")


def line(exchange: Exchange, seconds: float) -> str:
    """Return an exchange as a line, with the time that it took."""
    result = status_name(exchange.status)
    if exchange.status == HV_S_OK:
        result = f"{result} {exchange.value}"
    return _columns(
        operation_name(exchange.operation),
        pool_name(exchange.pool),
        exchange.subject,
        result,
        f"{seconds * 1e6:.0f}",
    )


def _columns(operation: str, pool: str, subject: str, result: str, time: str) -> str:
    left = f"{operation:{_OPERATION}} {pool:{_POOL}} {_cell(subject, _SUBJECT)} "
    right = f" {time:>{_MICROSECONDS}}"
    return left + _cell(result, COLUMNS - width(left) - len(right)) + right


def table(source: int, items: Iterable[tuple[str, str]]) -> list[str]:
    """Return pairs as a table with columns of Msvm_KvpExchangeDataItem: Name, Value, Source."""
    room = COLUMNS - _NAME - _SOURCE - 2
    rows = [("Name", "Value", "Source"), ("-" * _NAME, "-" * room, "-" * _SOURCE)]
    rows += [(name, value, str(source)) for name, value in items]
    return [f"{_cell(name, _NAME)} {_cell(value, room)} {last}" for name, value, last in rows]


def _cell(text: str, room: int) -> str:
    """Return a text in exactly ``room`` columns: padded with blanks, or cut and marked."""
    cut = fit(printable(text), room)
    return cut + " " * (room - width(cut))
