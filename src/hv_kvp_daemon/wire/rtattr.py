# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Netlink attributes, which follow the fixed part of a message, decoded by a policy.

Three things that the format leaves open are decided as in the kernel's own parser,
``__nla_parse``: attributes that the policy does not name are skipped, because newer
kernels add some; if a number occurs twice, the last attribute counts; and 1 to 3
bytes after the last attribute, too few for another header, are ignored.  An
attribute that runs past the payload is a `WireError`.  The kernel's parser forgives
that, but here it would hide addresses.
"""

from __future__ import annotations

import struct

from .errors import WireError
from .netlink import align
from .uapi import NLA_F_NESTED, NLA_F_NET_BYTEORDER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Final, TypeAlias

    #: Attribute number to (name for error messages, decoder, whether the attribute is
    #: required).  The decoder raises `WireError` or ``struct.error`` for a value of a length
    #: that it does not allow.
    Policy: TypeAlias = Mapping[int, tuple[str, Callable[[memoryview], Any], bool]]

#: struct rtattr (and struct nlattr): length, with this header but without padding; number.
RTATTR: Final = struct.Struct("=HH")

# The two flags share the field with the number.  NESTED is only a hint, and no
# attribute of rtnetlink uses NET_BYTEORDER.
_NUMBER_MASK = 0xFFFF & ~(NLA_F_NESTED | NLA_F_NET_BYTEORDER)

_U8 = struct.Struct("=B")
_U32 = struct.Struct("=I")


def u8(value: memoryview) -> int:
    """Decode 1 byte."""
    number: int = _U8.unpack(value)[0]
    return number


def u32(value: memoryview) -> int:
    """Decode 4 bytes in host byte order."""
    number: int = _U32.unpack(value)[0]
    return number


def text(value: memoryview) -> str:
    """Decode a name up to its NUL, if it has one.

    The kernel allows any bytes in the name of an interface.  Bytes that are not
    UTF-8 become surrogates, as in `os.fsdecode` and `socket.if_nameindex`.
    """
    return bytes(value).partition(b"\0")[0].decode("utf-8", "surrogateescape")


def pack(number: int, value: bytes) -> bytes:
    """Encode one attribute, padded to 4 bytes.

    :raises WireError: the number or the length does not fit its 16 bits.
    """
    length = RTATTR.size + len(value)
    try:
        header = RTATTR.pack(length, number)
    except struct.error as error:
        raise WireError(f"attribute {number} of {len(value)} bytes: {error}") from error
    return header + value + bytes(align(length) - length)


def parse(payload: bytes | memoryview, policy: Policy) -> dict[int, Any]:
    """Decode the attributes that a policy names.

    :raises WireError: a length is less than the header's 4 bytes, runs past the
        payload or is not allowed by the decoder; or a required attribute is missing.
    """
    view = memoryview(payload)
    end = len(view)
    found = {}
    at = 0
    while end - at >= RTATTR.size:
        length, number = RTATTR.unpack_from(view, at)
        if not RTATTR.size <= length <= end - at:
            raise WireError(
                f"attribute length {length} at {at}, allowed {RTATTR.size} to {end - at}"
            )
        number &= _NUMBER_MASK
        if number in policy:
            name, decode, _ = policy[number]
            value = view[at + RTATTR.size : at + length]
            try:
                found[number] = decode(value)
            except (WireError, struct.error) as error:
                raise WireError(f"{name} of {len(value)} bytes: {error}") from error
        at += (length + 3) & ~3  # align(), inlined: a link has some 40 attributes
    for number, (name, _, required) in policy.items():
        if required and number not in found:
            raise WireError(f"{name} is missing")
    return found
