# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Functions that make text safe for the driver, and for terminals and logs.

*For the driver.*  ``hv_kvp.c`` calls ``strlen`` on each field of a reply and converts it
from UTF-8 to UTF-16.  A field without a NUL is a kernel BUG.  At an invalid byte the host
stops the enumeration, so it misses all later records.  Text that exceeds the host's field
is cut in the middle of an address or a word.  So every text of a reply is made valid here,
and cut after a whole character so that a NUL fits.

*For a terminal or a log.*  Characters that break the line, move the cursor or reverse
the direction of text are replaced by escapes.
"""

from __future__ import annotations

from .uapi import HV_KVP_EXCHANGE_MAX_KEY_SIZE, HV_KVP_EXCHANGE_MAX_VALUE_SIZE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

#: Most UTF-16 units that reach the host: the driver converts at most size / 2 - 2.
HOST_MAX_KEY: Final = HV_KVP_EXCHANGE_MAX_KEY_SIZE // 2 - 2
HOST_MAX_VALUE: Final = HV_KVP_EXCHANGE_MAX_VALUE_SIZE // 2 - 2

#: Bytes of UTF-8 of a key that fit in its field, with their NUL.
FIELD_MAX_KEY: Final = HV_KVP_EXCHANGE_MAX_KEY_SIZE - 1

#: The same of a value.
FIELD_MAX_VALUE: Final = HV_KVP_EXCHANGE_MAX_VALUE_SIZE - 1

_BMP_END = 0x10000


def host_key(raw: bytes) -> bytes:
    """Return a key as the host will see it: at most 254 UTF-16 units and 511 bytes."""
    return host_text(raw, HOST_MAX_KEY, FIELD_MAX_KEY)


def host_value(raw: bytes) -> bytes:
    """Return a value as the host will see it: at most 1022 UTF-16 units and 2047 bytes."""
    return host_text(raw, HOST_MAX_VALUE, FIELD_MAX_VALUE)


def host_text(raw: bytes, max_units: int, max_bytes: int) -> bytes:
    """Return valid UTF-8 of at most ``max_units`` UTF-16 units and ``max_bytes`` bytes.

    Bytes that are not UTF-8 are replaced by U+FFFD.  The text ends at the first NUL, or
    after the last character that fits as a whole.
    """
    if len(raw) <= max_units and raw.isascii() and 0 not in raw:
        return raw
    text = raw.partition(b"\0")[0].decode("utf-8", "replace")
    units = size = 0
    for position, character in enumerate(text):
        units += 1 if ord(character) < _BMP_END else 2
        size += len(character.encode())
        if units > max_units or size > max_bytes:
            text = text[:position]
            break
    return text.encode()


def fitting(texts: Sequence[str], limit: int) -> int:
    """Return how many texts, joined by ``;``, fit into ``limit`` characters."""
    length = -1
    for count, text in enumerate(texts):
        length += 1 + len(text)
        if length > limit:
            return count
    return len(texts)


def utf16_units(text: str) -> int:
    """Return how many UTF-16 units a text has on the host."""
    return len(text) + sum(ord(character) >= _BMP_END for character in text)


def printable(text: str) -> str:
    """Return a text as one line that cannot control a terminal or forge another line."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def width(text: str) -> int:
    """Return how many columns a printable text takes on a terminal."""
    if text.isascii():
        return len(text)
    # Imported here, since the resident daemon does not need this module.
    from unicodedata import category, east_asian_width  # noqa: PLC0415

    columns = 0
    for character in text:
        # Combining marks take no column.
        if category(character) not in {"Mn", "Me"}:
            columns += 2 if east_asian_width(character) in {"W", "F"} else 1
    return columns
