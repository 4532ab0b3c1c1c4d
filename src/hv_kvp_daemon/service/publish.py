"""Publishes the daemon's state: to systemd by sd_notify(3), to ``hv-kvp status`` by a page.

systemd gets a line when the state changes.  Requests only change counters of the status
page (`service.status_page`).
"""

from __future__ import annotations

from hv_kvp_daemon.wire.uapi import HV_S_CONT, HV_S_OK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from hv_kvp_daemon.transport.choose import Chooser

    from .notify import Notifier
    from .status_page import StatusPage

# The status at the start of a reply.  HV_S_CONT is the end of a list or a missing key:
# nothing failed.
_SUCCESS = (HV_S_OK.to_bytes(4, "little"), HV_S_CONT.to_bytes(4, "little"))


class Publisher:
    """Publishes the state of ``chooser.line`` and what became of requests.

    ``limited(reason, message)`` logs a message; see `service.log.Log.limited`.
    """

    __slots__ = (
        "_answered",
        "_busy",
        "_chooser",
        "_limited",
        "_notifier",
        "_pool_dir",
        "_problem",
        "_published",
        "_requests",
        "page",
    )

    def __init__(
        self,
        chooser: Chooser,
        notifier: Notifier,
        page: StatusPage,
        pool_dir: str,
        limited: Callable[[str, str], object],
    ) -> None:
        self._chooser = chooser
        self._notifier = notifier
        self.page = page
        self._pool_dir = pool_dir
        self._limited = limited
        self._problem = ""
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
        """Publish the state if it has changed; called when something happened to the line."""
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
            self.page.failed(operation, int.from_bytes(status, "little"), now, self._problem)
        self._problem = ""

    def problem(self, reason: str, message: str) -> None:
        """Log a message; if the request fails, it is the reason on the status page."""
        self._problem = message
        self._limited(reason, message)

    def _state(self) -> tuple[str, bool, str, bytes]:
        line = self._chooser.line
        return line.name, line.serving, line.state(), line.version

    def _store(self) -> None:
        self._published = transport, serving, state, version = self._state()
        self.page.set_driver(transport=transport, serving=serving, state=state, version=version)

    def _line(self) -> str:
        """One line for ``systemctl status``."""
        line = self._chooser.line
        version = line.version.decode("ascii", "replace") or "unknown"
        return f"{line.state()}; driver version {version}; pools in {self._pool_dir}"
