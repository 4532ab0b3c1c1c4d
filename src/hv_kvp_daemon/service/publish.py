# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Publishes the daemon's state: to systemd by sd_notify(3), to ``hv-kvp status`` by a page.

systemd gets a line when the state changes.  Requests only change counters of the status
page (`service.status_page`).
"""

from __future__ import annotations

from hv_kvp_daemon.wire.text import printable
from hv_kvp_daemon.wire.uapi import HV_S_CONT, HV_S_OK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hv_kvp_daemon.transport.selector import TransportSelector

    from .log import Reporter
    from .notify import Notifier
    from .status_page import StatusPage

# The status at the start of a reply.  HV_S_CONT is the end of a list or a missing key:
# nothing failed.
_SUCCESS = (HV_S_OK.to_bytes(4, "little"), HV_S_CONT.to_bytes(4, "little"))


class Publisher:
    """Publishes the state of ``selector.link`` and what became of requests.

    ``report`` logs messages; `Publisher.report` takes its place where they are reasons for
    a failed request.
    """

    __slots__ = (
        "_answered",
        "_busy",
        "_notifier",
        "_pool_dir",
        "_published",
        "_reason",
        "_report",
        "_requests",
        "_selector",
        "page",
    )

    def __init__(
        self,
        selector: TransportSelector,
        notifier: Notifier,
        page: StatusPage,
        pool_dir: str,
        report: Reporter,
    ) -> None:
        self._selector = selector
        self._notifier = notifier
        self.page = page
        self._pool_dir = pool_dir
        self._report = report
        self._reason = ""
        self._published: tuple[str, bool, str, bytes] | None = None
        self._requests = page.requests
        self._answered = page.answered
        self._busy = page.busy

    def ready(self) -> None:
        """The daemon serves, or serves again after a reload."""
        self._store()
        self.page.publish()
        self._notifier.ready(self._line())

    def reloading(self) -> None:
        """A reload has begun; `ready` ends it."""
        self._notifier.reloading()

    def stopping(self) -> None:
        """The daemon ends; it serves no further request."""
        self._notifier.stopping()

    def look(self) -> None:
        """Publish the state if it has changed; called when something happened to the link."""
        if self._state() != self._published:
            self._store()
            self._notifier.status(self._line())

    def served(self, operation: int, now: float, reply: bytes) -> None:
        """Count a request before its reply is sent; ``now`` is its time.monotonic()."""
        self._requests[operation] += 1
        self._answered[operation] = now
        self._busy[0] = 0.0
        status = reply[:4]
        if status not in _SUCCESS:
            self.page.failed(operation, int.from_bytes(status, "little"), now, self._reason)
        self._reason = ""

    def report(self, message: str, reason: str = "") -> None:
        """Log a message; if the request fails, the status page has it as the reason."""
        self._reason = message
        self._report(message, reason)

    def _state(self) -> tuple[str, bool, str, bytes]:
        link = self._selector.link
        return link.name, link.serving, link.state(), link.version

    def _store(self) -> None:
        self._published = transport, serving, state, version = self._state()
        self.page.set_driver(transport=transport, serving=serving, state=state, version=version)

    def _line(self) -> str:
        """One line for ``systemctl status``: a newline would begin another field for systemd.

        A state can have the names of other processes, which they choose, and the name of a
        directory may be of any bytes.
        """
        link = self._selector.link
        version = link.version.decode("ascii", "replace") or "unknown"
        text = f"{link.state()}; driver version {version}; pools in {self._pool_dir}"
        return printable(text)
