# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Notices that the pool directory was replaced, which the daemon's sandbox does not follow.

The unit makes everything read-only but the pool directory, by a mount on it.  If the
directory is removed or renamed, the kernel takes that mount away or moves it along.  The
daemon then sees what is at the path now, through the read-only mount below, and no change
can succeed any more.  Only a new sandbox helps, so the daemon ends and systemd starts it
again.

This is looked at only after a pool has failed, so that a request costs nothing.
"""

from __future__ import annotations

import os

from hv_kvp_daemon.pools.place import is_read_only

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .signals import Signals


class PoolWatch:
    """Stops the server if a failure is due to a pool directory that was replaced.

    `report` takes the place of the given callback; see `service.log.Reporter`.
    """

    REASON = (
        "it was removed or replaced, and what is there now is read-only for this daemon,"
        " which ends to be started anew"
    )

    __slots__ = ("_identity", "_path", "_report", "_signals", "is_replaced")

    def __init__(
        self, path: str, report: Callable[[str, str], object], signals: Signals
    ) -> None:
        self._path = path
        self._report = report
        self._signals = signals
        self._identity = _identity(path)
        #: Whether the server was stopped.
        self.is_replaced = False

    def report(self, message: str, reason: str = "") -> None:
        """Report a failed request, and look at the directory.

        Another directory that can be written is no reason to end: the pools are opened
        in it.
        """
        self._report(message, reason)
        if _identity(self._path) != self._identity and _is_read_only(self._path):
            self.is_replaced = True
            # The request is answered before the server looks at it.
            self._signals.stopping = True


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None  # missing, or a link that leads nowhere
    return status.st_dev, status.st_ino


def _is_read_only(path: str) -> bool:
    """Whether a path, or what it would be created in, is on a read-only mount."""
    path = os.path.realpath(path)
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    return is_read_only(path)
