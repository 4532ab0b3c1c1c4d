# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""What is known of a pool without its records: its file, its size, its age, its limits.

The files are not opened, so this needs no locks, and shows also what cannot be read.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from hv_kvp_daemon.cli import jsontext, tables, terminal
from hv_kvp_daemon.cli.command import EXIT_DONE, EXIT_UNUSABLE
from hv_kvp_daemon.pools.directory import POOL_NAMES, pool_path
from hv_kvp_daemon.pools.stale import boot_time
from hv_kvp_daemon.wire import uapi
from hv_kvp_daemon.wire.record import RECORD_SIZE
from hv_kvp_daemon.wire.text import (
    FIELD_MAX_KEY,
    FIELD_MAX_VALUE,
    HOST_MAX_KEY,
    HOST_MAX_VALUE,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

#: The pools that a host fills again after each boot: older records are of another machine.
FROM_HOST = (uapi.KVP_POOL_EXTERNAL, uapi.KVP_POOL_AUTO_EXTERNAL)

# UTF-16 units that a host sees, and bytes that a record holds.
_LIMITS = {
    "key": {"utf16_units": HOST_MAX_KEY, "bytes": FIELD_MAX_KEY},
    "value": {"utf16_units": HOST_MAX_VALUE, "bytes": FIELD_MAX_VALUE},
}


def collect(directory: str, numbers: Iterable[int]) -> list[dict[str, Any]]:
    """Return a JSON document for each pool.

    ``records`` is None where the path leads to no regular file, or to one in a directory
    that may not be entered.  ``mode`` is None where there is none, and ``stale`` where it
    cannot be known, or does not matter because the guest writes the pool.
    """
    return [_collect(pool_path(directory, number), number) for number in numbers]


def _collect(path: str, number: int) -> dict[str, Any]:
    facts: dict[str, Any] = {"pool": POOL_NAMES[number], "number": number, "path": path}
    facts |= {"mode": None, "records": None, "size": None, "stale": None, "limits": _LIMITS}
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return facts | {"records": 0, "size": 0}
    except OSError:
        return facts
    facts["mode"] = f"{stat.S_IMODE(status.st_mode):04o}"
    if stat.S_ISREG(status.st_mode):
        facts |= {"records": status.st_size // RECORD_SIZE, "size": status.st_size}
        if number in FROM_HOST:
            with suppress(OSError):
                facts["stale"] = is_stale(status)
    return facts


def is_stale(status: os.stat_result) -> bool:
    """Return whether a pool has records from before this boot.

    :raises OSError: the time of the boot cannot be read.
    """
    return bool(status.st_size) and status.st_mtime_ns < boot_time("/proc/stat")


def show(pools: list[dict[str, Any]], *, as_json: bool, **form: bool) -> int:
    """Write the documents, or a table in the form of `tables.show`; the exit status."""
    if as_json:
        jsontext.show(pools)
    else:
        heads = ("POOL", "RECORDS", "SIZE", "MODE", "STALE", "KEY", "VALUE", "PATH")
        tables.show(heads, map(_row, pools), **form)
    return EXIT_UNUSABLE if any(pool["records"] is None for pool in pools) else EXIT_DONE


def _row(pool: dict[str, Any]) -> tuple[str, ...]:
    limits = (f"{each['utf16_units']}/{each['bytes']}" for each in pool["limits"].values())
    return (
        pool["pool"],
        count(pool),
        "-" if pool["size"] is None else str(pool["size"]),
        pool["mode"] or "-",
        {True: "yes", False: "no", None: "-"}[pool["stale"]],
        *limits,
        terminal.safe(pool["path"]),
    )


def count(pool: dict[str, Any]) -> str:
    """Return the number of a pool's records as a text."""
    return "unusable" if pool["records"] is None else str(pool["records"])
