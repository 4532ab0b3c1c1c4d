# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Hyper-V key/value pair (KVP) guest daemon for Linux, and its pools as a library.

    from hv_kvp_daemon import Pool

    with Pool("guest") as pool:
        pool["state"] = "ready"

The names of the library are imported on first use, since the daemon, which is in the same
package, does not need them.
"""

from __future__ import annotations

__version__ = "1.0.0"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .library import (
        DIRECTORIES,
        FIELD_MAX_KEY,
        FIELD_MAX_VALUE,
        HOST_SAFE_KEY,
        HOST_SAFE_VALUE,
        LockTimeoutError,
        NotAPoolError,
        Pool,
        PoolError,
        PoolFieldError,
        PoolId,
        PoolWarning,
        Record,
    )

__all__ = [
    "DIRECTORIES",
    "FIELD_MAX_KEY",
    "FIELD_MAX_VALUE",
    "HOST_SAFE_KEY",
    "HOST_SAFE_VALUE",
    "LockTimeoutError",
    "NotAPoolError",
    "Pool",
    "PoolError",
    "PoolFieldError",
    "PoolId",
    "PoolWarning",
    "Record",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import library  # noqa: PLC0415

    return getattr(library, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
