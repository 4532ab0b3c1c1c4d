"""Values that are too long for one record, stored in several.

Ignition looks for KEY, then for KEY.0, KEY.1 and so on; libhvee's hosts write KEY0, KEY1.
Both are read, the former is written.
"""

from __future__ import annotations

from hv_kvp_daemon.service.options import UsageError
from hv_kvp_daemon.wire.text import HOST_MAX_KEY, HOST_MAX_VALUE, host_value, utf16_units

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from hv_kvp_daemon.wire.record import Record

# More bytes than a record holds, so that a long value is not decoded again for each part.
_AHEAD = 4096


def joined(records: Iterable[Record], key: bytes) -> bytes | None:
    """Return the value of a key, or else of its parts, up to the first that is missing.

    None where there is neither.  Of several records of a key the first counts.
    """
    values: dict[bytes, bytes] = {}
    for record in records:
        values.setdefault(record.key, record.value)
    if key in values:
        return values[key]
    for style in (b"%b.%d", b"%b%d"):
        parts: list[bytes] = []
        while (part := values.get(style % (key, len(parts)))) is not None:
            parts.append(part)
        if parts:
            return b"".join(parts)
    return None


def split(key: bytes, value: bytes) -> list[tuple[bytes, bytes]]:
    """Divide a value into records that a host sees whole; one under ``key`` if it fits.

    :raises UsageError: the value is not text, or the key is too long for its number.
    """
    parts = []
    while len(part := host_value(value[:_AHEAD])) < len(value):
        if not value.startswith(part) or not part:
            raise UsageError(
                "the value is not UTF-8 text without NULs, so a host cannot see it whole;"
                " encode it, for example as base64"
            )
        parts.append(part)
        value = value[len(part) :]
    if not parts:
        return [(key, value)]
    parts.append(value)
    named = [(b"%b.%d" % (key, number), part) for number, part in enumerate(parts)]
    longest = utf16_units(named[-1][0].decode("utf-8", "replace"))
    if longest > HOST_MAX_KEY:
        raise UsageError(
            f"the last part's key has {longest} UTF-16 units, a host sees {HOST_MAX_KEY}"
        )
    return named


def is_part(candidate: bytes, key: bytes) -> bool:
    """Return whether a key is ``key`` or that of one of its parts, as `split` names them."""
    head, dot, number = candidate.rpartition(b".")
    return candidate == key or (head == key and bool(dot) and number.isdigit())


def check_host_sees_all(key: bytes, value: bytes) -> None:
    """Check that a host sees a record as it is.

    :raises UsageError: it sees it cut or changed; the text says the limit.
    """
    for name, raw, limit in (("key", key, HOST_MAX_KEY), ("value", value, HOST_MAX_VALUE)):
        try:
            units = utf16_units(raw.decode())
        except UnicodeDecodeError as error:
            raise UsageError(
                f"the {name} is not UTF-8 text, a host sees it changed; --force stores it"
            ) from error
        if units > limit:
            advice = ", --split divides it" if name == "value" else ""
            raise UsageError(
                f"{name} of {units} UTF-16 units, a host sees {limit}; --force stores what"
                f" fits into the record{advice}"
            )
