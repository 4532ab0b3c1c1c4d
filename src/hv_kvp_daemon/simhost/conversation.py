"""A host's exchanges as they are shown to a person, and compared with what they should be.

In: what to ask and what to expect.  Out: a line for each exchange; the first
thing that is not as expected ends the conversation.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from hv_kvp_daemon.wire.message import status_name
from hv_kvp_daemon.wire.uapi import (
    HV_S_CONT,
    HV_S_OK,
    KVP_OP_DELETE,
    KVP_OP_ENUMERATE,
    KVP_OP_GET,
    KVP_OP_SET,
    REG_SZ,
)

from . import transcript

if TYPE_CHECKING:
    from collections.abc import Callable

    from .simulated_host import SimulatedHost


class UnexpectedError(Exception):
    """Something was not as it should be; the text says what, expected and got."""


class Conversation:
    """A host whose exchanges are written down and compared with what they should be."""

    def __init__(self, host: SimulatedHost, write: Callable[[str], None]) -> None:
        self._host = host
        self._write = write
        self._started = 0.0

    def set(
        self,
        pool: int,
        key: str,
        value: str | int,
        kind: int = REG_SZ,
        *,
        expected: int = HV_S_OK,
    ) -> None:
        """SET and its expected status."""
        self._start()
        status = self._host.set(pool, key, value, kind)
        self._line(KVP_OP_SET, pool, key, status, str(value), expected)

    def get(self, pool: int, key: str, expected: str | None) -> None:
        """GET and its expected value; None where there should be none."""
        self._start()
        status, value = self._host.get(pool, key)
        wanted = HV_S_CONT if expected is None else HV_S_OK
        self._line(KVP_OP_GET, pool, key, status, value, wanted)
        check(f"GET {transcript.pool_name(pool)} {key}", value, expected or "")

    def delete(self, pool: int, key: str, *, expected: int = HV_S_OK) -> None:
        """DELETE and its expected status."""
        self._start()
        status = self._host.delete(pool, key)
        self._line(KVP_OP_DELETE, pool, key, status, "", expected)

    def enumerate(self, pool: int, index: int, expected: str | None) -> str:
        """ENUMERATE and its expected key, None past the end; the value."""
        self._start()
        status, key, value = self._host.enumerate(pool, index)
        wanted = HV_S_CONT if expected is None else HV_S_OK
        self._line(KVP_OP_ENUMERATE, pool, f"{index} {key}", status, value, wanted)
        check(f"ENUMERATE {transcript.pool_name(pool)} {index}", key, expected or "")
        return value

    def ask(self, operation: int, pool: int, *, expected: int) -> None:
        """Any operation, without a body, and its expected status."""
        self._start()
        status, _ = self._host.kvp(operation, pool)
        self._line(operation, pool, "", status, "", expected)

    def _start(self) -> None:
        self._started = time.perf_counter()

    def _line(
        self, operation: int, pool: int, subject: str, status: int, value: str, expected: int
    ) -> None:
        seconds = time.perf_counter() - self._started
        self._write(transcript.exchange(operation, pool, subject, status, value, seconds))
        name = f"{transcript.operation_name(operation)} {transcript.pool_name(pool)} {subject}"
        check(name.rstrip(), status_name(status), status_name(expected))


def check(what: str, got: object, expected: object) -> None:
    """Nothing if both are equal.

    :raises UnexpectedError: they are not.
    """
    if got != expected:
        raise UnexpectedError(f"{what}: {expected!r} was expected, {got!r} came")
