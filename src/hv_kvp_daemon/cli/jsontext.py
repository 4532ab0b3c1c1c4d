# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""JSON in which every byte of a key or value survives.

Bytes that are UTF-8 are a string under the field's name; any others are base64 under that
name with ``_base64`` added.  The output is ASCII, so it cannot drive a terminal either.
"""

from __future__ import annotations

import base64
import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def field(name: str, raw: bytes) -> dict[str, str]:
    """Return the JSON member for a field's bytes."""
    try:
        return {name: raw.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": encode(raw)}


def pair(key: bytes, value: bytes) -> dict[str, str]:
    """Return the members of a record."""
    return {**field("key", key), **field("value", value)}


def read_field(source: dict[str, Any], name: str) -> bytes:
    """Return the bytes of a member that `field` made.

    :raises ValueError: it is missing, there in both forms, or malformed.
    """
    plain, packed = source.get(name), source.get(f"{name}_base64")
    if (plain is None) == (packed is None):
        raise ValueError(f"exactly one of {name} and {name}_base64 is needed")
    if packed is not None:
        return decode(packed, f"{name}_base64")
    if not isinstance(plain, str):
        raise ValueError(f"{name} is {kind(plain)}, not a string")  # noqa: TRY004 - one error for any bad document
    try:
        return plain.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{name} has half a surrogate pair") from error


def encode(raw: bytes) -> str:
    """Encode bytes as base64."""
    return base64.b64encode(raw).decode()


def decode(packed: object, name: str) -> bytes:
    """Decode base64.

    :raises ValueError: it is not a string of base64.
    """
    if not isinstance(packed, str):
        raise ValueError(f"{name} is {kind(packed)}, not a string")  # noqa: TRY004 - as above
    try:
        return base64.b64decode(packed, validate=True)
    except ValueError as error:  # for bad padding and, of another text, for any other byte
        raise ValueError(f"{name} is not base64") from error


def kind(value: object) -> str:
    """Return the JSON name of a value's type, or a literal such as ``null``."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    for each, name in (dict, "an object"), (list, "an array"), (str, "a string"):
        if isinstance(value, each):
            return name
    return "an integer" if isinstance(value, int) else "a number"


def show(document: object) -> None:
    """Write a document to standard output."""
    print(json.dumps(document, indent=2))


def show_line(document: object) -> None:
    """Write a document as one line and flush it, for commands that go on."""
    print(json.dumps(document), flush=True)
