"""How a pool fails: always a `PoolError`, which ends one request and never the daemon.

Each carries what a log or a caller needs as attributes.  ``Exception.__init__``
is left alone on purpose: ``args`` then holds the arguments of the subclass, by
which pickle makes the error again (in another process of the library's user).
"""

from __future__ import annotations


class PoolError(Exception):
    """A pool that cannot be used as asked.

    ``pool`` is its number, None for the directory of all; ``path`` the file;
    ``reason`` a text without either.  Where the kernel said so, the ``OSError``
    is the ``__cause__``.
    """

    def __init__(self, pool: int | None, path: str, reason: str) -> None:
        self.pool = pool
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        what = "pool directory" if self.pool is None else f"pool {self.pool}"
        return f"{what} ({self.path}): {self.reason}"


class NotAPoolError(PoolError):
    """The path leads to something else than a regular file: ``kind`` says what."""

    def __init__(self, pool: int, path: str, kind: str) -> None:
        super().__init__(pool, path, f"is {kind}, not a regular file")
        self.kind = kind


class LockTimeoutError(PoolError):
    """Neither kind of lock came: others hold both.

    ``waited`` is in seconds; ``holders`` names who, where the kernel tells.
    """

    def __init__(self, pool: int, path: str, waited: float, holders: str) -> None:
        super().__init__(pool, path, f"no lock within {waited:.1f} s: {holders}")
        self.waited = waited
        self.holders = holders


class PoolFieldError(PoolError, ValueError):
    """A key or value that a record cannot hold.

    ``field`` is ``"key"`` or ``"value"``; ``actual`` and ``allowed`` are bytes,
    as `wire.record.RecordFieldError` has them.
    """

    def __init__(
        self, pool: int, path: str, reason: str, field: str, actual: int, allowed: int
    ) -> None:
        super().__init__(pool, path, reason)
        self.field = field
        self.actual = actual
        self.allowed = allowed
