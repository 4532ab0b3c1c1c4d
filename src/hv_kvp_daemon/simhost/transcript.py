"""Exchanges and pools as a person reads them: lines that fit a terminal.

In: plain values.  Out: lines of at most 80 columns, without their end.
Rule: what a guest or host wrote never drives the terminal, and a wide character
counts as the two columns that it takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hv_kvp_daemon.pools.directory import POOL_NAMES
from hv_kvp_daemon.wire.message import status_name
from hv_kvp_daemon.wire.text import printable, width
from hv_kvp_daemon.wire.uapi import HV_S_OK, KVP_OP_NAMES

if TYPE_CHECKING:
    from collections.abc import Iterable

COLUMNS: Final = 80

# Operation, pool, and the longest key with its index before it.
_OPERATION, _POOL, _SUBJECT, _MICROSECONDS = 9, 8, 28, 6
_NAME, _SOURCE = 26, 6
_ELLIPSIS: Final = "\N{HORIZONTAL ELLIPSIS}"


def operation_name(operation: int) -> str:
    """The header's name of an operation without its prefix, or its number."""
    return KVP_OP_NAMES.get(operation, f"op {operation}")


def pool_name(pool: int) -> str:
    """The name of a pool, or its number."""
    return POOL_NAMES.get(pool, f"pool {pool}")


def heading() -> str:
    """The line above the exchanges."""
    return _columns("operation", "pool", "key, or index and key", "status and value", "us")


def exchange(
    operation: int, pool: int, subject: str, status: int, value: str, seconds: float
) -> str:
    """One exchange: what was asked, the status, the value with HV_S_OK, microseconds."""
    name = status_name(status)
    result = f"{name} {value}" if status == HV_S_OK else name
    microseconds = f"{seconds * 1e6:.0f}"
    return _columns(operation_name(operation), pool_name(pool), subject, result, microseconds)


def _columns(operation: str, pool: str, subject: str, result: str, time: str) -> str:
    left = f"{operation:{_OPERATION}} {pool:{_POOL}} {_fit(subject, _SUBJECT)} "
    return left + _fit(result, COLUMNS - width(left) - 1 - _MICROSECONDS) + f" {time:>6}"


def table(source: int, items: Iterable[tuple[str, str]]) -> list[str]:
    """Pairs in the form of Msvm_KvpExchangeDataItem: Name, Value, Source."""
    room = COLUMNS - _NAME - _SOURCE - 2
    rows = [("Name", "Value", "Source"), ("-" * _NAME, "-" * room, "-" * _SOURCE)]
    rows += [(name, value, str(source)) for name, value in items]
    return [f"{_fit(name, _NAME)} {_fit(value, room)} {last}" for name, value, last in rows]


def _fit(text: str, room: int) -> str:
    """A text in exactly ``room`` columns: filled with blanks, or cut with an ellipsis."""
    text = printable(text)
    if width(text) > room:
        while width(text) > room - 1:
            text = text[:-1]
        text += _ELLIPSIS
    return text + " " * (room - width(text))
