# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The errors of pools: each is a `PoolError`, which ends one request and never the daemon.

They have what a log or a caller needs as attributes.  ``Exception.__init__`` is not called
on purpose: ``args`` then holds the arguments of the subclass, from which pickle builds
the error again in another process.
"""

from __future__ import annotations


class PoolError(Exception):
    """A pool that cannot be used as asked.

    ``pool`` is its number, or None for the directory of all pools; ``path`` is the file;
    ``reason`` is a text without either.  If the kernel refused, its ``OSError`` is the
    ``__cause__``.
    """

    def __init__(self, pool: int | None, path: str, reason: str) -> None:
        self.pool = pool
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        what = "pool directory" if self.pool is None else f"pool {self.pool}"
        return f"{what} ({self.path}): {self.reason}"


class NotAPoolError(PoolError):
    """The path leads to something other than a regular file: ``kind`` says what."""

    def __init__(self, pool: int | None, path: str, kind: str) -> None:
        super().__init__(pool, path, f"is {kind}, not a regular file")
        self.kind = kind


class LockTimeoutError(PoolError):
    """Other programs hold both kinds of lock.

    ``waited`` is in seconds; ``holders`` names them, as far as the kernel does.
    """

    def __init__(self, pool: int, path: str, waited: float, holders: str) -> None:
        super().__init__(pool, path, f"no lock within {waited:.1f} s: {holders}")
        self.waited = waited
        self.holders = holders


class OutdatedError(PoolError):
    """Another program has changed the file since it was read: the request begins anew."""


class PoolFieldError(PoolError, ValueError):
    """A key or value that a record cannot hold.

    ``field`` is ``"key"`` or ``"value"``; ``actual`` and ``allowed`` are numbers of bytes,
    as in `wire.record.RecordFieldError`.
    """

    def __init__(
        self, pool: int, path: str, reason: str, field: str, actual: int, allowed: int
    ) -> None:
        super().__init__(pool, path, reason)
        self.field = field
        self.actual = actual
        self.allowed = allowed
