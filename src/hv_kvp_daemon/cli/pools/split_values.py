"""A value that is too long for one record, split over several.

In: a value, or the records of a pool.  Out: parts of a size that a host sees
whole, under KEY.0, KEY.1 ...; or the value put together.
Rule: Ignition looks for KEY and then for KEY.0 onwards; libhvee's hosts write
KEY0 onwards.  Both are read, the former is written.
"""

from __future__ import annotations

from hv_kvp_daemon.cli.command import UsageError
from hv_kvp_daemon.wire.text import HOST_MAX_KEY, HOST_MAX_VALUE, host_value, utf16_units

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from hv_kvp_daemon.wire.record import Record

# More bytes than a field has: what is behind them cannot be in the next part.
_ENOUGH = 4096


def joined(records: Iterable[Record], key: bytes) -> bytes | None:
    """The value of a key, else of its parts in order up to the first that is missing.

    None where there is neither.  As everywhere the first of duplicates counts.
    """
    values: dict[bytes, bytes] = {}
    for record in records:
        values.setdefault(record.key, record.value)
    if key in values:
        return values[key]
    for style in (b"%b.%d", b"%b%d"):
        found: list[bytes] = []
        while (part := values.get(style % (key, len(found)))) is not None:
            found.append(part)
        if found:
            return b"".join(found)
    return None


def split(key: bytes, value: bytes) -> list[tuple[bytes, bytes]]:
    """Records that hold a value: one under the key itself if that will do.

    :raises UsageError: the value is no text, so a host would see it changed, or
        the key is too long for a number behind it.
    """
    pieces = []
    while len(piece := host_value(value[:_ENOUGH])) < len(value):
        if not value.startswith(piece) or not piece:
            raise UsageError(
                "the value is no UTF-8 text without NULs, so a host cannot see it whole;"
                " encode it, for example by base64"
            )
        pieces.append(piece)
        value = value[len(piece) :]
    if not pieces:
        return [(key, value)]
    pieces.append(value)
    named = [(b"%b.%d" % (key, number), piece) for number, piece in enumerate(pieces)]
    longest = utf16_units(named[-1][0].decode("utf-8", "replace"))
    if longest > HOST_MAX_KEY:
        raise UsageError(
            f"the last part's key has {longest} UTF-16 units, a host sees {HOST_MAX_KEY}"
        )
    return named


def is_part(candidate: bytes, key: bytes) -> bool:
    """Whether a key is ``key`` or one of the parts that `split` makes of it."""
    head, dot, number = candidate.rpartition(b".")
    return candidate == key or (head == key and bool(dot) and number.isdigit())


def check_seen_whole(key: bytes, value: bytes) -> None:
    """Make sure that a host sees a record as it is.

    :raises UsageError: it does not; the text says the limit.
    """
    for name, raw, limit in (("key", key, HOST_MAX_KEY), ("value", value, HOST_MAX_VALUE)):
        try:
            units = utf16_units(raw.decode())
        except UnicodeDecodeError as error:
            raise UsageError(
                f"the {name} is no UTF-8 text, a host sees it changed; --force stores it"
            ) from error
        if units > limit:
            way = ", --split divides it" if name == "value" else ""
            raise UsageError(
                f"{name} of {units} UTF-16 units, a host sees {limit}; --force stores what"
                f" fits into the file's field{way}"
            )
