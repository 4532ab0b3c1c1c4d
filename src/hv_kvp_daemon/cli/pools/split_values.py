# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Values that are too long for one record, stored in several.

======================  =====================================================================
records                 written by
======================  =====================================================================
KEY.0, KEY.1 ...        this command, and hosts for Ignition
KEY0, KEY1 ...          hosts that use libhvee (podman)
KEY._0, KEY._1 ...      HLVMM
KEY|0, KEY|1 ...        cloud-init, for events: each part is JSON with a piece of the message
KEY several times       azure-init: 1022 bytes in each record but the last
======================  =====================================================================

All of them are read.
"""

from __future__ import annotations

from hv_kvp_daemon.service.options import UsageError
from hv_kvp_daemon.wire.text import HOST_MAX_KEY, HOST_MAX_VALUE, host_value, utf16_units

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Final

    from hv_kvp_daemon.wire.record import Record

# KEY0 is the last: it may also be a key of its own that ends in a digit.
_STYLES: Final = (b"%b.%d", b"%b._%d", b"%b|%d", b"%b%d")

# The bytes of a part (HV_KVP_AZURE_MAX_VALUE_SIZE in azure-init's libazureinit/src/kvp.rs).
_AZURE_INIT_PART: Final = 1022

# More bytes than a record holds, so that a long value is not decoded again for each part.
_AHEAD = 4096


def joined(records: Iterable[Record], key: bytes) -> bytes | None:
    """Return the value of a key, or else of its parts, up to the first that is missing.

    None where there is neither.  Of several records of a key the first counts, unless they
    are azure-init's.  As for Ignition, an empty value of the key itself does not hide parts.
    """
    values: dict[bytes, list[bytes]] = {}
    for record in records:
        values.setdefault(record.key, []).append(record.value)
    whole = values.get(key, [])
    if whole and whole[0]:
        ends = (at for at, value in enumerate(whole, 1) if len(value) != _AZURE_INIT_PART)
        return b"".join(whole[: next(ends, len(whole))])
    for style in _STYLES:
        parts: list[bytes] = []
        while found := values.get(style % (key, len(parts))):
            parts.append(found[0])
        if parts:
            return _event(parts) or b"".join(parts)
    return whole[0] if whole else None


def _event(parts: list[bytes]) -> bytes | None:
    """Join the parts of an event of cloud-init to the JSON that it would be undivided.

    None if they are not of that form (``_break_down`` in cloudinit/reporting/handlers.py):
    ``{...,"msg_i":N,"msg":"..."}``, where N is the part's number.  The message is cut
    after it was escaped, perhaps within an escape, so a part alone may be no valid JSON.
    """
    head, message = b"", b""
    for number, part in enumerate(parts):
        before, mark, piece = part.partition(b',"msg_i":%d,"msg":"' % number)
        if not mark or not piece.endswith(b'"}'):
            return None
        head = head or before
        message += piece[: -len(b'"}')]
    return head + b',"msg":"' + message + b'"}'


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
