# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""What is wrong, or remarkable, in the bytes of a pool file, and the bytes it should have.

What a reader would misunderstand or a kernel choke on is damage.  What a program may have
done on purpose, as several records of one key, is a note.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, NamedTuple

from hv_kvp_daemon.cli import terminal
from hv_kvp_daemon.pools.damage import INVALID, LEFTOVERS, NO_KEY, UNENDING, damage
from hv_kvp_daemon.wire.columns import fit
from hv_kvp_daemon.wire.record import RECORD_SIZE, decode, encode
from hv_kvp_daemon.wire.text import (
    FIELD_MAX_KEY,
    FIELD_MAX_VALUE,
    HOST_MAX_KEY,
    HOST_MAX_VALUE,
    host_text,
    utf16_units,
)

from .diff import split_records

if TYPE_CHECKING:
    from hv_kvp_daemon.wire.record import Record

#: The levels of a finding: something to repair, and something to know.
DAMAGE: Final = "damage"
NOTE: Final = "note"

#: Records of a pool that Azure's host shows.
HOST_RECORDS: Final = 1024

# How many of the records that a finding is about are named.
_NAMED: Final = 5

# The columns of a key in a finding; the longest has 511 bytes.
_NAME_COLUMNS: Final = 40

_CUT: Final = "cut"

#: In the order of the findings: the kind (those of `pools.damage`, and _CUT), its level,
#: whether `clean` repairs it, and what it means.
_KINDS: Final = (
    (
        UNENDING,
        DAMAGE,
        True,
        "a field without a NUL at its end; the C daemon passes it to the kernel, which crashes",
    ),
    (NO_KEY, DAMAGE, True, "no key, so it cannot be read, changed or deleted"),
    (
        INVALID,
        DAMAGE,
        True,
        "not valid UTF-8; a host sees it changed or, from the C daemon, no record after it",
    ),
    (
        _CUT,
        NOTE,
        False,
        f"a host sees {HOST_MAX_KEY} UTF-16 units of a key, {HOST_MAX_VALUE} of a value",
    ),
    (LEFTOVERS, NOTE, True, "bytes after the end of a text, which some programs show"),
)


class Finding(NamedTuple):
    """One sentence about a pool, with its level (DAMAGE or NOTE).

    ``advice`` may be a command.  ``repairable``: `clean` repairs it.
    """

    level: str
    text: str
    advice: str = ""
    repairable: bool = False


def findings(data: bytes) -> list[Finding]:
    """Return all findings about a file's bytes, the worst first."""
    records = split_records(data)
    pairs = list(map(decode, records))
    kinds = [
        {*damage(raw), *([_CUT] if _is_cut(pair) else [])}
        for raw, pair in zip(records, pairs, strict=True)
    ]
    found = [
        Finding(level, f"{_which(indices, pairs)}: {meaning}", repairable=repairable)
        for kind, level, repairable, meaning in _KINDS
        if (indices := [index for index, wrong in enumerate(kinds) if kind in wrong])
    ]
    rest = len(data) % RECORD_SIZE
    if rest:
        text = f"{rest} bytes after record {len(records)} are a part of one; readers skip them"
        found.insert(0, Finding(DAMAGE, text, repairable=True))
    found += _repetitions(pairs)
    if len(records) > HOST_RECORDS:
        text = f"{len(records)} records; Azure's host shows at most {HOST_RECORDS} of a pool"
        found.append(Finding(NOTE, text))
    return found


def clean(data: bytes) -> bytes:
    """Return the bytes that a file should have, see `cleaned`."""
    return b"".join(cleaned(data))


def cleaned(data: bytes) -> list[bytes]:
    """Return for each whole record its valid texts padded with NULs.

    Empty for a record that should go: one without a key, or equal to an earlier one.
    """
    seen = {b""}
    found = []
    for record in map(decode, split_records(data)):
        key = host_text(record.key, FIELD_MAX_KEY, FIELD_MAX_KEY)
        value = host_text(record.value, FIELD_MAX_VALUE, FIELD_MAX_VALUE)
        new = encode(key, value) if record.key else b""
        found.append(b"" if new in seen else new)
        seen.add(new)
    return found


def _which(indices: list[int], records: list[Record]) -> str:
    """``record 3 (its.key)`` or ``12 records (3 its.key, 4 another ...)``."""
    keys = [
        fit(terminal.text(records[index].key), _NAME_COLUMNS, "...")
        for index in indices[:_NAMED]
    ]
    if len(indices) == 1:
        return f"record {indices[0]} ({keys[0]})" if keys[0] else f"record {indices[0]}"
    names = [f"{index} {key}".rstrip() for index, key in zip(indices, keys, strict=False)]
    more = " ..." if len(indices) > _NAMED else ""
    return f"{len(indices)} records ({', '.join(names)}{more})"


def _is_cut(record: Record) -> bool:
    """Return whether a host sees less than all of a record, valid or not."""
    return (
        utf16_units(record.key.decode("utf-8", "replace")) > HOST_MAX_KEY
        or utf16_units(record.value.decode("utf-8", "replace")) > HOST_MAX_VALUE
    )


def _repetitions(records: list[Record]) -> Iterable[Finding]:
    """Yield what repeats an earlier record or key."""
    seen: set[Record] = set()
    keys: set[bytes] = set()
    folded: dict[str, bytes] = {}
    equal, other, case = [], [], []
    for index, record in enumerate(records):
        if not record.key:
            continue
        if record in seen:
            equal.append(index)
        elif record.key in keys:
            other.append(index)
        else:
            name = record.key.decode("utf-8", "replace").casefold()
            if folded.setdefault(name, record.key) != record.key:
                case.append(index)
        seen.add(record)
        keys.add(record.key)
    if equal:
        yield Finding(
            NOTE, f"{_which(equal, records)}: equal to an earlier record", repairable=True
        )
    if other:
        yield Finding(
            NOTE,
            f"{_which(other, records)}: another value of an earlier record's key; GET answers"
            " with the first, a host may show the last",
        )
    if case:
        yield Finding(
            NOTE,
            f"{_which(case, records)}: differs from an earlier key in case only; to a host"
            " they are one",
        )
