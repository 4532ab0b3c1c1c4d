# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""What a pool is opened with: one object, shared by its file, locks and journal."""

from __future__ import annotations

import os
import time

from .errors import PoolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

#: Seconds to wait for both locks.  The driver fails a request after 30.
LOCK_WAIT: Final = 5.0


class PoolConfig:
    """The number and path of a pool file, and how to use it.

    ``number`` is 0 to 4 and only appears in messages.  ``report`` is called with a line
    for each condition that an administrator should know of.  With ``sync`` a change waits
    for the disk.  Without ``writable`` the file is only read, and never created.
    ``pause(seconds)`` is called between two attempts at a lock and returns True to give up.
    ``lock_wait`` is the longest wait for the locks, in seconds.
    """

    __slots__ = ("lock_wait", "number", "path", "pause", "report", "sync", "writable")

    def __init__(
        self,
        number: int,
        path: str,
        *,
        report: Callable[[str], object],
        sync: bool = True,
        writable: bool = True,
        pause: Callable[[float], object] = time.sleep,
        lock_wait: float = LOCK_WAIT,
    ) -> None:
        self.number = number
        self.path = os.path.abspath(path)
        self.report = report
        self.sync = sync
        self.writable = writable
        self.pause = pause
        self.lock_wait = lock_wait

    def warn(self, text: str) -> None:
        """Report a condition of this pool."""
        self.report(f"pool {self.number} ({self.path}): {text}")

    def error(self, cause: OSError, what: str = "") -> PoolError:
        """Return the `PoolError` for a refusal by the kernel."""
        return PoolError(self.number, self.path, f"{what}{cause.strerror or cause}")
