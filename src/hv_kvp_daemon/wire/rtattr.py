"""Netlink attributes: bytes to values, as a policy allows them.

In: the part of a message behind its fixed fields.  Out: a dict from attribute
number to value.  Three things that the format leaves open are settled here as
the kernel's own parser (``__nla_parse``) settles them: an attribute that the
policy does not name is passed over, since each kernel adds some; of two with one
number the last counts; and 1 to 3 bytes behind the last attribute, too few for a
header, are ignored.  A length that lies is a `WireError`, which the kernel's
parser forgives, but here it would hide addresses.
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

    #: Attribute number to (name for messages, kind, shortest and longest value in
    #: bytes, whether it must be there).  A kind turns a value of such a length into
    #: a Python one; it may raise `WireError`.
    Policy: TypeAlias = Mapping[int, tuple[str, Callable[[memoryview], Any], int, int, bool]]

#: struct rtattr (and struct nlattr): length with this header, without padding; number.
RTATTR: Final = struct.Struct("=HH")

# The two flags share the field with the number.  NESTED is only a hint, and
# NET_BYTEORDER is used by no attribute of rtnetlink.
_NUMBER_MASK = 0xFFFF & ~(NLA_F_NESTED | NLA_F_NET_BYTEORDER)

_U32 = struct.Struct("=I")


def u8(value: memoryview) -> int:
    """Read 1 byte."""
    return value[0]


def u32(value: memoryview) -> int:
    """Read 4 bytes in host byte order."""
    number: int = _U32.unpack(value)[0]
    return number


def raw(value: memoryview) -> bytes:
    """Copy the bytes: an address, in network byte order."""
    return bytes(value)


def text(value: memoryview) -> str:
    """Read a name up to its NUL, or all of it.

    The kernel allows any bytes in an interface's name; those that are no UTF-8
    become surrogates, as in `os.fsdecode` and `socket.if_nameindex`.
    """
    return bytes(value).partition(b"\0")[0].decode("utf-8", "surrogateescape")


def pack(number: int, value: bytes) -> bytes:
    """Make one attribute, padded to 4 bytes.

    :raises WireError: the number or the length does not fit its 16 bits.
    """
    length = RTATTR.size + len(value)
    try:
        header = RTATTR.pack(length, number)
    except struct.error as error:
        raise WireError(f"attribute {number} of {len(value)} bytes: {error}") from error
    return header + value + bytes(align(length) - length)


def parse(payload: bytes | memoryview, policy: Policy) -> dict[int, Any]:
    """Read the attributes that a policy names.

    :raises WireError: a length is less than the header's 4 bytes, runs past the
        payload or is outside the policy; or a required attribute is missing.
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
            name, kind, shortest, longest, _ = policy[number]
            value = view[at + RTATTR.size : at + length]
            if not shortest <= len(value) <= longest:
                raise WireError(
                    f"{name} of {len(value)} bytes, allowed {shortest} to {longest}"
                )
            found[number] = kind(value)
        at += align(length)
    for number, (name, _, _, _, required) in policy.items():
        if required and number not in found:
            raise WireError(f"{name} is missing")
    return found
