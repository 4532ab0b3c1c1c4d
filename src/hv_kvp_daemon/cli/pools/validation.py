"""The condition of a pool file's bytes: what is wrong with them, and what they should be.

In: the bytes of a file.  Out: findings, or clean bytes.
Rule: nothing is called damage that every reader takes as it is meant; what a
neighbour may have done on purpose (several records of one key) is only noted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hv_kvp_daemon.wire.record import KEY_SIZE, RECORD_SIZE, decode, encode
from hv_kvp_daemon.wire.text import (
    FIELD_MAX_KEY,
    FIELD_MAX_VALUE,
    HOST_MAX_KEY,
    HOST_MAX_VALUE,
    host_text,
    utf16_units,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

#: Something to mend, and something to know.
DAMAGE: Final = "damage"
NOTE: Final = "note"

#: Records that a host is known to show (Azure's limit).
HOST_RECORDS: Final = 1024

# How many of the records in question are named.
_NAMED: Final = 5


class Finding:
    """One sentence about a pool; ``level`` is DAMAGE or NOTE, ``advice`` may be a command.

    ``repairable`` says that `clean` mends it.
    """

    __slots__ = ("advice", "level", "repairable", "text")

    def __init__(
        self, level: str, text: str, *, advice: str = "", repairable: bool = False
    ) -> None:
        self.level = level
        self.text = text
        self.advice = advice
        self.repairable = repairable


def findings(data: bytes) -> list[Finding]:
    """Everything that is remarkable in a file, the worst first."""
    records = _records(data)
    found = [
        Finding(level, f"{_which(indices)}: {meaning}", repairable=repairable)
        for level, repairable, meaning, wrong in _TESTS
        if (indices := [index for index, record in enumerate(records) if wrong(record)])
    ]
    rest = len(data) % RECORD_SIZE
    if rest:
        text = (
            f"{rest} bytes behind record {len(records)} are no whole record;"
            " readers pass over them"
        )
        found.insert(0, Finding(DAMAGE, text, repairable=True))
    found += _duplicates(records)
    if len(records) > HOST_RECORDS:
        text = f"{len(records)} records; Azure's host shows at most {HOST_RECORDS} of a pool"
        found.append(Finding(NOTE, text))
    return found


def clean(data: bytes) -> bytes:
    """Whole records in their order, each field valid text with NULs behind it.

    Left out are records without a key and the repetition of an equal record.
    """
    return b"".join(record for record in mended(data) if record)


def mended(data: bytes) -> list[bytes]:
    """For each whole record its clean bytes, or none where it is left out."""
    kept: dict[bytes, None] = {}
    found = []
    for raw in _records(data):
        record = decode(raw)
        key = host_text(record.key, FIELD_MAX_KEY, FIELD_MAX_KEY)
        value = host_text(record.value, FIELD_MAX_VALUE, FIELD_MAX_VALUE)
        new = encode(key, value) if record.key else b""
        found.append(b"" if new in kept else new)
        kept[new] = None
    return found


def _records(data: bytes) -> list[bytes]:
    whole = len(data) - len(data) % RECORD_SIZE
    return [data[at : at + RECORD_SIZE] for at in range(0, whole, RECORD_SIZE)]


def _which(indices: list[int]) -> str:
    """``record 3`` or ``12 records (3, 4, 5, 6, 7 ...)``."""
    if len(indices) == 1:
        return f"record {indices[0]}"
    named = ", ".join(map(str, indices[:_NAMED]))
    return f"{len(indices)} records ({named}{' ...' if len(indices) > _NAMED else ''})"


def _fields(raw: bytes) -> tuple[bytes, bytes]:
    return raw[:KEY_SIZE], raw[KEY_SIZE:]


def _unterminated(raw: bytes) -> bool:
    return any(0 not in field for field in _fields(raw))


def _invalid(raw: bytes) -> bool:
    record = decode(raw)
    try:
        record.key.decode()
        record.value.decode()
    except UnicodeDecodeError:
        return True
    return False


def _cut(raw: bytes) -> bool:
    """Whether a host sees less than all; valid or not, as the daemon would send it."""
    record = decode(raw)
    return (
        utf16_units(record.key.decode("utf-8", "replace")) > HOST_MAX_KEY
        or utf16_units(record.value.decode("utf-8", "replace")) > HOST_MAX_VALUE
    )


def _leftovers(raw: bytes) -> bool:
    return any(field.partition(b"\0")[2].strip(b"\0") for field in _fields(raw))


_TESTS: Final[Iterable[tuple[str, bool, str, Callable[[bytes], bool]]]] = (
    (
        DAMAGE,
        True,
        "a field without a NUL at its end; the C daemon hands it to the kernel, which stops",
        _unterminated,
    ),
    (DAMAGE, True, "no key, so nobody can read, change or delete it", lambda raw: not raw[0]),
    (
        DAMAGE,
        True,
        "no valid UTF-8; a host sees it changed, or, by the C daemon, nothing behind it",
        _invalid,
    ),
    (
        NOTE,
        False,
        f"a host sees {HOST_MAX_KEY} UTF-16 units of a key, {HOST_MAX_VALUE} of a value",
        _cut,
    ),
    (NOTE, True, "bytes behind the end of a text, which some programs show", _leftovers),
)


def _duplicates(records: list[bytes]) -> Iterable[Finding]:
    seen: set[tuple[bytes, bytes]] = set()
    keys: set[bytes] = set()
    folded: dict[str, bytes] = {}
    equal, other, case = [], [], []
    for index, raw in enumerate(records):
        record = decode(raw)
        if not record.key:
            continue
        if (record.key, record.value) in seen:
            equal.append(index)
        elif record.key in keys:
            other.append(index)
        else:
            name = record.key.decode("utf-8", "replace").casefold()
            if folded.setdefault(name, record.key) != record.key:
                case.append(index)
        seen.add((record.key, record.value))
        keys.add(record.key)
    if equal:
        yield Finding(NOTE, f"{_which(equal)}: equal to an earlier record", repairable=True)
    if other:
        yield Finding(
            NOTE,
            f"{_which(other)}: another value of an earlier record's key; GET answers with the"
            " first, a host may show the last",
        )
    if case:
        yield Finding(
            NOTE,
            f"{_which(case)}: an earlier key in other case; to a host they are one",
        )
