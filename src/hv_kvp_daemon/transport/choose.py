"""Which line to take: the one asked for, or the one that works here.

``auto`` takes netlink, which every kernel of this driver has, and goes over to
the character device where netlink cannot serve: no connector in the kernel,
another network namespace, another process that holds the device or group 9
(opening the device silences a netlink daemon), or no answer to the
registration within a few seconds although the device is there.  It does not go
back: whatever spoilt netlink may come again.
"""

from __future__ import annotations

import os

from .device_line import DeviceLine
from .driver import DEVICE
from .errors import TransportError
from .netlink_line import NetlinkLine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .connector import Trace
    from .line import Line

    Report = Callable[[str], None]
    Drop = Callable[[str, str], None]

_LOOPBACK = "loopback:"


def is_loopback(transport: str) -> bool:
    """Whether a ``--transport`` argument names a simulated host's socket."""
    return transport.startswith(_LOOPBACK) and transport != _LOOPBACK


class Chooser:
    """Holds the current `line` and replaces it under ``auto``.

    :raises TransportError: netlink or loopback was asked for and cannot work here.
    :raises ValueError: there is no such transport.
    """

    def __init__(
        self, transport: str, report: Report, drop: Drop, trace: Trace | None = None
    ) -> None:
        self._report = report
        self._auto = transport == "auto"
        self.line: Line
        if self._auto:
            try:
                self.line = NetlinkLine(report, drop, insist=False, trace=trace)
            except TransportError as error:
                report(f"{error}; taking the char device")
                self.line = DeviceLine(report)
        elif transport == "netlink":
            self.line = NetlinkLine(report, drop, trace=trace)
        elif transport == "chardev":
            self.line = DeviceLine(report)
        elif is_loopback(transport):
            from .loopback import LoopbackLine  # noqa: PLC0415 - no guest's daemon needs it

            self.line = LoopbackLine(report, transport.removeprefix(_LOOPBACK))
        else:
            raise ValueError(
                f"no transport {transport!r}: auto, netlink, chardev or loopback:PATH"
            )

    def start(self) -> None:
        """Open and register.

        :raises TransportError: netlink was asked for and has no kernel behind it.
        """
        try:
            self.line.start()
        except TransportError as error:
            if not self._auto:
                raise
            self._take_device(str(error))
        self._consider()

    def on_event(self, fd: int, events: int) -> memoryview | None:
        """Hand on what happened; the request that came with it, if any."""
        try:
            request = self.line.on_event(fd, events)
        except TransportError as error:
            self._cannot_register(error)
            return None
        if self._auto and not self.line.version:
            self._consider()
        return request

    def on_deadline(self) -> memoryview | None:
        """The line's deadline has passed; the request that was found, if any."""
        try:
            request = self.line.on_deadline()
        except TransportError as error:
            self._cannot_register(error)
            return None
        self._consider()
        return request

    def _cannot_register(self, error: TransportError) -> None:
        if self._auto:
            self._take_device(str(error))
        else:
            self.line.say(str(error))
            self.line.try_later()

    def _consider(self) -> None:
        """Under auto, leave a netlink line that does not serve, if there is another way."""
        line = self.line
        if not self._auto or not isinstance(line, NetlinkLine):
            return
        why = line.obstacle or ("no answer over netlink" if line.unanswered else "")
        if why and os.path.exists(DEVICE):
            self._take_device(why)

    def _take_device(self, why: str) -> None:
        self._report(f"{why}; taking the char device")
        self.line.close()
        self.line = DeviceLine(self._report)
        self.line.start()
