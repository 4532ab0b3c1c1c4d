"""What the daemon tells of itself: to systemd, and to ``hv-kvp status``.

In: the line to the driver, the counts of requests and of records.  Out: one line
by sd_notify(3) and the fields of `service.status`.
Rule: told when something changed, and once some seconds after requests came, so
that a request pays for one comparison and an idle daemon is not woken.
"""

from __future__ import annotations

from hv_kvp_daemon.pools.directory import POOL_NAMES
from hv_kvp_daemon.wire.uapi import KVP_POOL_AUTO

from . import status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from hv_kvp_daemon.pools.directory import PoolDirectory
    from hv_kvp_daemon.transport.choose import Chooser

    from .dispatch import Dispatch
    from .log import Log
    from .notify import Notifier

# Seconds after a request before the new numbers are told.
_DELAY = 5.0


class Publisher:
    """Tells the state of the daemon; ``file`` is where `hv-kvp status` finds it.

    ``alarm(seconds)`` has `publish` called after that time.
    """

    def __init__(
        self,
        chooser: Chooser,
        dispatch: Dispatch,
        pools: PoolDirectory,
        log: Log,
        notifier: Notifier,
        file: status.StatusFile,
        addresses: str,
        alarm: Callable[[float], object],
    ) -> None:
        self._chooser = chooser
        self._dispatch = dispatch
        self._pools = pools
        self._log = log
        self._notifier = notifier
        self._file = file
        self._addresses = addresses
        self._told = ("", b"")
        self._last: tuple[int, float] | None = None
        self._alarm = alarm
        self._awaits_alarm = False

    def ready(self) -> None:
        """The daemon serves, or serves again after a reload."""
        self._notifier.ready(self._line())
        self._write()

    def reloading(self) -> None:
        self._notifier.reloading()

    def stopping(self) -> None:
        self._notifier.stopping()
        self._file.remove()

    def served(self, operation: int, now: float) -> None:
        """A request was answered at this time.monotonic(); the latest may be told of first."""
        if self._last is None or self._last[1] <= now:
            self._last = (operation, now)
        if not self._awaits_alarm:
            self._awaits_alarm = True
            self._alarm(_DELAY)

    def look(self) -> None:
        """Publish if the line to the driver is in another state than the one told last."""
        line = self._chooser.line
        if (line.state(), line.version) != self._told:
            self.publish()

    def publish(self) -> None:
        """Tell the present state."""
        self._awaits_alarm = False
        self._notifier.status(self._line())
        self._write()

    def _write(self) -> None:
        line = self._chooser.line
        self._told = (line.state(), line.version)
        self._file.write(
            status.describe(
                transport=line.name,
                state=line.state(),
                serving=line.serving,
                driver_version=line.version,
                pool_dir=self._pools.path,
                addresses=self._addresses,
                requests=self._dispatch.requests,
                last=self._last,
                dropped=sum(self._log.drops.values()),
            )
        )

    def _line(self) -> str:
        """One line for ``systemctl status``."""
        line = self._chooser.line
        version = line.version.decode("ascii", "replace") or "unknown"
        requests = sum(self._dispatch.requests.values())
        drops = sum(self._log.drops.values())
        dropped = f", {drops} messages dropped" if drops else ""
        counts = " ".join(
            f"{POOL_NAMES[number]}={'unusable' if count is None else count}"
            for number, count in enumerate(self._pools.counts())
            if number != KVP_POOL_AUTO
        )
        return (
            f"{line.state()}; driver version {version};"
            f" {requests} requests{dropped}; records {counts}"
        )
