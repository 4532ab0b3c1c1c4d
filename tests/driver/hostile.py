# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""A host that sends anything, and a model of what the daemon replies and stores.

The model is what docs/protocol.md says, in some lines; it reads each message by offsets of
its own.  `Hostile` makes messages as the driver passes them on, for
``tests/soak/test_hostile_host.py``.  With `wide` they are as a host sends them, for the
scenario ``hostile_host``; `passed_on` is the model of the driver in between.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from typing import final

MESSAGE = 7432
OK, NO_MORE, FAIL = 0, 0x80070103, 0x80004005
NOT_SUPPORTED = 0x80070032
GET, SET, DELETE, ENUMERATE, GET_IP, SET_IP, REGISTER = 0, 1, 2, 3, 4, 5, 100
REG_SZ, NUMBERS = 1, {4: "<I", 8: "<Q"}
POOLS, AUTO = 5, 2
WORDS = (
    b"a",
    b"HostName",
    b"na\xc3\xafve",
    b"\xf0\x9d\x84\x9e",
    b"\xff",
    b"\xed\xa0\x80",
    b"\t\n",
)
SIZES = (0, 1, 511, 512, 513, 2047, 2048, 2049, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


@final
class Model:
    """The pools, and the reply to any message: ``(status, key, value)``, or None for any."""

    def __init__(self) -> None:
        self.pools: list[list[tuple[bytes, bytes]]] = [[] for _ in range(POOLS)]

    def reply(self, message: bytes) -> tuple[int, bytes, bytes] | None:
        operation, pool = message[:2]
        if operation == ENUMERATE:
            return self._enumerate(pool, struct.unpack_from("<I", message, 4)[0])
        if operation in {GET, SET}:
            key = field(message, 8, 16, 512)
        elif operation == DELETE:
            key = field(message, 4, 8, 512)
        elif operation in {GET_IP, SET_IP}:
            return None
        else:
            return NOT_SUPPORTED, b"", b""
        value = field(message, 12, 528, 2048) if operation == SET else b""
        if not key or value is None or (operation == SET and not message[12:16].strip(b"\0")):
            return FAIL, b"", b""
        if pool >= POOLS or (pool == AUTO and operation != GET):
            return FAIL, b"", b""
        return None if pool == AUTO else self._keyed(operation, self.pools[pool], key, value)

    def _keyed(
        self, operation: int, records: list[tuple[bytes, bytes]], key: bytes, value: bytes
    ) -> tuple[int, bytes, bytes]:
        at = next((n for n, record in enumerate(records) if record[0] == key), None)
        if operation == SET:
            if at is None:
                records.append((key, value))
            else:
                records[at] = key, value
        elif at is None:
            return NO_MORE, b"", b""
        elif operation == DELETE:
            del records[at]
        else:
            return OK, seen(key, 254, 511), seen(records[at][1], 1022, 2047)
        return OK, b"", b""

    def _enumerate(self, pool: int, index: int) -> tuple[int, bytes, bytes] | None:
        if pool == AUTO and index < 10:
            return None
        if pool >= POOLS or index >= len(self.pools[pool]):
            return NO_MORE, b"", b""
        key, value = self.pools[pool][index]
        return OK, seen(key, 254, 511), seen(value, 1022, 2047)


def replied(reply: bytes) -> tuple[int, bytes, bytes]:
    """The status, and the pair of a reply with HV_S_OK, whose texts must have a NUL."""
    status: int = struct.unpack_from("<I", reply)[0]
    (key, key_nul, _), (value, value_nul, _) = (
        reply[start:end].partition(b"\0") for start, end in ((20, 532), (532, 2580))
    )
    assert status != OK or (key_nul and value_nul), "a text without a NUL"
    return status, key, value


def field(message: bytes, size_at: int, at: int, limit: int) -> bytes | None:
    """A text up to its NUL; None if it or its size exceeds the field."""
    size: int = struct.unpack_from("<I", message, size_at)[0]
    text = message[at : at + size].partition(b"\0")[0]
    return text if size <= limit and len(text) < limit else None


def seen(raw: bytes, units: int, size: int) -> bytes:
    """What a host sees of a text: valid, and cut after a whole character."""
    text = raw.decode("utf-8", "replace")
    while len(text.encode("utf-16-le")) > 2 * units or len(text.encode()) > size:
        text = text[:-1]
    return text.encode()


@final
class Hostile:
    """Makes messages: mostly such as the driver makes, and those again with damage.

    ``encode`` is applied to each text, which is UTF-8 and not always valid.
    """

    def __init__(
        self, chance: random.Random, model: Model, encode: Callable[[bytes], bytes] = bytes
    ) -> None:
        self._chance = chance
        self._model = model
        self._encode = encode

    def message(self) -> bytes:
        chance = self._chance
        operation = chance.choice((GET, SET, SET, DELETE, ENUMERATE, ENUMERATE, ENUMERATE))
        pool = chance.choice((0, 1, 3, 4))
        key = self._encode(self._key(pool))
        message = bytearray(MESSAGE)
        message[:2] = operation, pool
        if operation == DELETE:
            message[4 : 8 + len(key)] = struct.pack("<I", len(key) + 1) + key
        elif operation == ENUMERATE:
            index = chance.randrange(len(self._model.pools[pool]) + 2)
            struct.pack_into("<I", message, 4, index)
        else:
            value = self._encode(self._text(2047)) if operation == SET else b""
            struct.pack_into("<II", message, 8, len(key) + 1, len(value) + (operation == SET))
            message[16 : 16 + len(key)] = key
            message[528 : 528 + len(value)] = value
        if chance.random() < 0.3:
            self._damage(message)
        if message[0] in {GET_IP, REGISTER}:
            # Rare, as an answer to the first takes time.  The driver sends the second with
            # an empty body, if a host sends it at all; with a version it is a registration's.
            message[0] = 255 if chance.random() < 0.99 else message[0]
            message[4:] = bytes(MESSAGE - 4)
        return bytes(message)

    def _key(self, pool: int) -> bytes:
        records = self._model.pools[pool]
        # Mostly known keys once there are many, so that the pools do not grow without end.
        if records and self._chance.random() < (0.5 if len(records) < 200 else 0.98):
            return self._chance.choice(records)[0]
        return self._text(511) or b"key"

    def _text(self, limit: int) -> bytes:
        chance = self._chance
        count = chance.choice((1, 1, 2, 5, chance.randrange(600)))
        text = b"".join(chance.choices(WORDS, k=count)) + b"%d" % chance.randrange(1000)
        return text[-limit:] if chance.random() < 0.1 else text[: min(limit, 40)]

    def _damage(self, message: bytearray) -> None:
        chance = self._chance
        kind = chance.randrange(5)
        if kind == 0:
            message[chance.randrange(2)] = chance.randrange(256)
        elif kind == 1:
            struct.pack_into("<I", message, chance.choice((4, 8, 12)), chance.choice(SIZES))
        elif kind == 2:
            at = chance.choice((8, 16, 528))
            message[at : at + 2100] = bytes([chance.randrange(1, 256)]) * 2100
        elif kind == 3:
            message[chance.randrange(MESSAGE)] = chance.randrange(256)
        else:
            at = chance.randrange(MESSAGE - 64)
            message[at : at + 64] = chance.randbytes(64)


def wide(text: bytes) -> bytes:
    """UTF-16 as a host sends it, with a lone surrogate for each invalid byte."""
    return text.decode("utf-8", "surrogateescape").encode("utf-16-le", "surrogatepass")


def passed_on(message: bytes) -> bytes:
    """The message that the driver makes of a host's."""
    out = bytearray(MESSAGE)
    operation = message[0]
    out[:2] = message[:2]
    if operation in {GET, SET}:
        _pass_text(message, out, size_at=8, at=16, limit=511)
    if operation == DELETE:
        _pass_text(message, out, size_at=4, at=8, limit=511)
    elif operation == ENUMERATE:
        out[4:8] = message[4:8]
    elif operation == SET:
        kind: int = struct.unpack_from("<I", message, 4)[0]
        if kind == REG_SZ:
            _pass_text(message, out, size_at=12, at=528, limit=2047)
        elif kind in NUMBERS:
            (number,) = struct.unpack_from(NUMBERS[kind], message, 528)
            text = b"%d" % number
            struct.pack_into("<I", out, 12, len(text) + 1)
            out[528 : 528 + len(text)] = text
    return bytes(out)


def _pass_text(message: bytes, out: bytearray, size_at: int, at: int, limit: int) -> None:
    """Convert a text, which ends with a NUL, by its size or where no character fits.

    The driver takes the size, which a host gives in bytes, for a number of UTF-16 units.
    So it can read past the field.
    """
    size: int = struct.unpack_from("<i", message, size_at)[0]
    units = message[at : at + 2 * max(size, 0)].decode("utf-16-le", "ignore")
    text = b""
    for character in units.partition("\0")[0]:
        if len(text + character.encode()) > limit:
            break
        text += character.encode()
    struct.pack_into("<I", out, size_at, len(text) + 1)
    out[at : at + len(text)] = text
