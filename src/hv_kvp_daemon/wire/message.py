# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""``struct hv_kvp_msg``: a request of the driver or a reply of the daemon, 7432 bytes.

The first four bytes are the header of a request (operation, pool) or, in the same
place, the status of a reply.  Requests are decoded to `Request`, replies encoded from
plain values; the opposite directions are for the simulated host.

Texts are ``bytes`` without their NUL.  Sizes in a request include the NUL.  The driver
sends ``value_size`` 0 for a value whose registry type it does not know.
"""

from __future__ import annotations

import struct

from .errors import WireError
from .record import RECORD_SIZE, plain_lengths
from .text import FIELD_MAX_KEY, FIELD_MAX_VALUE, host_key, host_value
from .uapi import (
    HV_KVP_EXCHANGE_MAX_KEY_SIZE,
    HV_KVP_EXCHANGE_MAX_VALUE_SIZE,
    HV_S_OK,
    HV_STATUS_NAMES,
    KVP_OP_DELETE,
    KVP_OP_ENUMERATE,
    KVP_OP_GET,
    KVP_OP_REGISTER,
    KVP_OP_REGISTER1,
    KVP_OP_SET,
    REG_SZ,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    Buffer = bytes | bytearray | memoryview

#: sizeof(struct hv_kvp_msg): 4 bytes of header, 7426 of the largest body, 2 of padding.
MESSAGE_SIZE: Final = 7432

# Offsets within hv_kvp_msg, include/uapi/linux/hyperv.h.
BODY: Final = 4
ENUMERATE_INDEX: Final = 4
EXCHANGE_KEY_SIZE: Final = 8
EXCHANGE_VALUE_SIZE: Final = 12
EXCHANGE_KEY: Final = 16
EXCHANGE_VALUE: Final = 528
ENUMERATE_KEY: Final = 20
#: The driver reads the value of a GET here, too, although the header has it elsewhere.
ENUMERATE_VALUE: Final = 532
DELETE_KEY_SIZE: Final = 4
DELETE_KEY: Final = 8
REGISTER_VERSION: Final = 4
REGISTER_VERSION_SIZE: Final = 512

#: A message's first eight bytes: operation, pool and the index of ENUMERATE.
ENUMERATE: Final = struct.Struct("=BBxxI")

_U32 = struct.Struct("=I")
_HEADER = struct.Struct("=BBxx")
_EXCHANGE = struct.Struct(
    f"=BBxxIII{HV_KVP_EXCHANGE_MAX_KEY_SIZE}s{HV_KVP_EXCHANGE_MAX_VALUE_SIZE}s"
)
_DELETE = struct.Struct(f"=BBxxI{HV_KVP_EXCHANGE_MAX_KEY_SIZE}s")
_RECORD_REPLY = struct.Struct(
    f"=IIIII{RECORD_SIZE}s{MESSAGE_SIZE - ENUMERATE_KEY - RECORD_SIZE}x"
)
_REGISTER = struct.Struct(f"=BBxx{REGISTER_VERSION_SIZE}s")
_REPLY = struct.Struct(
    f"=IIIII{HV_KVP_EXCHANGE_MAX_KEY_SIZE}s{HV_KVP_EXCHANGE_MAX_VALUE_SIZE}s"
    f"{MESSAGE_SIZE - ENUMERATE_VALUE - HV_KVP_EXCHANGE_MAX_VALUE_SIZE}x"
)


class FieldError(WireError):
    """A request whose key or value is unusable; the answer is HV_E_FAIL."""


class Request:
    """A request of the host as the driver passes it on.

    ``key`` and ``value`` are UTF-8 without NUL, empty if the operation has none.
    ``index`` is unsigned, and 0 unless the operation is ENUMERATE.
    """

    __slots__ = ("index", "key", "operation", "pool", "value")

    def __init__(
        self, operation: int, pool: int, key: bytes = b"", value: bytes = b"", index: int = 0
    ) -> None:
        self.operation = operation
        self.pool = pool
        self.key = key
        self.value = value
        self.index = index

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Request) and all(
            getattr(self, name) == getattr(other, name) for name in Request.__slots__
        )

    __hash__ = None  # type: ignore[assignment]  # compared by value and mutable

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in Request.__slots__)
        return f"Request({fields})"


class Reply:
    """What the driver reads from a reply: the status, and a pair if it is HV_S_OK."""

    __slots__ = ("key", "status", "value")

    def __init__(self, status: int, key: bytes = b"", value: bytes = b"") -> None:
        self.status = status
        self.key = key
        self.value = value


def decode_request(message: Buffer) -> Request:
    """Decode a message of 7432 bytes.

    Of operations other than GET, SET, DELETE and ENUMERATE only the header is decoded.

    :raises FieldError: a key is empty or longer than 511 bytes, or the size of a value
        is 0 (a registry type unknown to the driver) or above 2048.
    :raises WireError: the message has another size.
    """
    if len(message) != MESSAGE_SIZE:
        raise WireError(f"a message has {len(message)} bytes, not {MESSAGE_SIZE}")
    operation = message[0]
    pool = message[1]
    if operation == KVP_OP_ENUMERATE:
        return Request(operation, pool, index=_U32.unpack_from(message, ENUMERATE_INDEX)[0])
    if operation == KVP_OP_SET:
        return Request(
            operation,
            pool,
            _key(message, EXCHANGE_KEY_SIZE, EXCHANGE_KEY),
            _value(message),
        )
    if operation == KVP_OP_GET:
        return Request(operation, pool, _key(message, EXCHANGE_KEY_SIZE, EXCHANGE_KEY))
    if operation == KVP_OP_DELETE:
        return Request(operation, pool, _key(message, DELETE_KEY_SIZE, DELETE_KEY))
    return Request(operation, pool)


def _key(message: Buffer, size_at: int, at: int) -> bytes:
    size = _U32.unpack_from(message, size_at)[0]
    if size > HV_KVP_EXCHANGE_MAX_KEY_SIZE:
        raise FieldError(f"key_size {size}, at most {HV_KVP_EXCHANGE_MAX_KEY_SIZE} bytes")
    key = bytes(message[at : at + size]).partition(b"\0")[0]
    if not key:
        raise FieldError("the key is empty")
    if len(key) > FIELD_MAX_KEY:
        raise FieldError(f"key of {len(key)} bytes, at most {FIELD_MAX_KEY}")
    return key


def _value(message: Buffer) -> bytes:
    size = _U32.unpack_from(message, EXCHANGE_VALUE_SIZE)[0]
    if not size:
        raise FieldError("value_size 0: the driver does not know the value's registry type")
    if size > HV_KVP_EXCHANGE_MAX_VALUE_SIZE:
        raise FieldError(f"value_size {size}, at most {HV_KVP_EXCHANGE_MAX_VALUE_SIZE} bytes")
    value = bytes(message[EXCHANGE_VALUE : EXCHANGE_VALUE + size]).partition(b"\0")[0]
    if len(value) > FIELD_MAX_VALUE:
        raise FieldError(f"value of {len(value)} bytes, at most {FIELD_MAX_VALUE}")
    return value


def encode_request(request: Request) -> bytes:
    """Encode a request as the driver does; the inverse of `decode_request`."""
    operation, pool, key = request.operation, request.pool, request.key
    if operation == KVP_OP_ENUMERATE:
        body = ENUMERATE.pack(operation, pool, request.index)
    elif operation == KVP_OP_SET:
        # The driver has converted a value of any registry type to text.
        sizes = len(key) + 1, len(request.value) + 1
        body = _EXCHANGE.pack(operation, pool, 0, *sizes, key, request.value)
    elif operation == KVP_OP_GET:
        body = _EXCHANGE.pack(operation, pool, 0, len(key) + 1, 0, key, b"")
    elif operation == KVP_OP_DELETE:
        body = _DELETE.pack(operation, pool, len(key) + 1, key)
    else:
        body = _HEADER.pack(operation, pool)
    return body.ljust(MESSAGE_SIZE, b"\0")


def encode_status(status: int) -> bytes:
    """Encode a reply of a status alone."""
    return _U32.pack(status).ljust(MESSAGE_SIZE, b"\0")


def encode_pair(key: bytes, value: bytes, index: int = 0) -> bytes:
    """Encode HV_S_OK with a pair, the reply to ENUMERATE and to GET.

    Both texts are cut and made valid by `wire.text`, so each ends with a NUL.  The
    value of a GET is at ENUMERATE's offset, because ``hv_kvp.c`` reads it there.
    """
    key = host_key(key)
    value = host_value(value)
    return _REPLY.pack(HV_S_OK, index, REG_SZ, len(key) + 1, len(value) + 1, key, value)


def encode_record(data: bytes, index: int) -> bytes | None:
    """Encode the same reply from the 2560 bytes of a record; None if `encode_pair` must.

    A reply holds key and value as a record does, so a record that needs no changes is
    copied.
    """
    lengths = plain_lengths(data)
    if lengths is None:
        return None
    key, value = lengths
    return _RECORD_REPLY.pack(HV_S_OK, index, REG_SZ, key + 1, value + 1, data)


def decode_reply(message: Buffer) -> Reply:
    """Decode a reply as the driver does: strings up to their NUL, sizes ignored.

    :raises WireError: the size is wrong, or a string that the driver would read has no
        NUL (a kernel BUG in ``kvp_on_msg``).
    """
    if len(message) != MESSAGE_SIZE:
        raise WireError(f"a message has {len(message)} bytes, not {MESSAGE_SIZE}")
    status = _U32.unpack_from(message)[0]
    if status != HV_S_OK:
        return Reply(status)
    texts = []
    for at, size in (
        (ENUMERATE_KEY, HV_KVP_EXCHANGE_MAX_KEY_SIZE),
        (ENUMERATE_VALUE, HV_KVP_EXCHANGE_MAX_VALUE_SIZE),
    ):
        text, nul, _ = bytes(message[at : at + size]).partition(b"\0")
        if not nul:
            raise WireError(f"no NUL within the {size} bytes at offset {at}")
        texts.append(text)
    return Reply(status, *texts)


def encode_register(version: bytes = b"", operation: int = KVP_OP_REGISTER1) -> bytes:
    """Encode a registration: the daemon's, or with a version the driver's answer to it.

    ``operation`` is KVP_OP_REGISTER (4) for a daemon of before Linux 3.7.
    """
    return _REGISTER.pack(operation, 0, version).ljust(MESSAGE_SIZE, b"\0")


def decode_version(message: Buffer) -> bytes:
    """Return the driver's version if a message answers a registration, else ``b""``.

    Only an operation 100 with a version is the handshake.  A host can send any
    operation number, but the driver passes on unknown ones with an empty body.
    """
    return _version(message) if message[0] == KVP_OP_REGISTER1 else b""


def answers_old_register(message: Buffer) -> bool:
    """Whether a message is the driver's answer to a registration of the old protocol.

    Its operation, 4, is GET_IP_INFO's, too, which has the adapter's MAC address where the
    answer has a version: ``3.1``.
    """
    version = _version(message) if message[0] == KVP_OP_REGISTER else b""
    major, _, minor = version.partition(b".")
    return major.isdigit() and minor.isdigit()


def _version(message: Buffer) -> bytes:
    version = bytes(message[REGISTER_VERSION : REGISTER_VERSION + REGISTER_VERSION_SIZE])
    return version.partition(b"\0")[0]


def status_name(status: int) -> str:
    """Return the header's name of a status, or its number in hexadecimal."""
    return HV_STATUS_NAMES.get(status) or f"0x{status:08x}"
