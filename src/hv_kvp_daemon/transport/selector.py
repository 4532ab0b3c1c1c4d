"""Selects the link to the driver: the one asked for, or the one that works here.

``auto`` takes netlink, which every kernel with this driver has, and changes over to the
character device where netlink cannot serve: no connector in the kernel, another network
namespace, another process that holds the device, has opened it, or has joined group 9, or
no answer to the registration within a few seconds although the device is there.  It does
not change back: whatever spoilt netlink may come again.
"""

from __future__ import annotations

import os

from .connector import Connector
from .device_link import DeviceLink
from .driver import DEVICE
from .errors import TransportError
from .netlink_link import NetlinkLink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .connector import Trace
    from .link import Link

    Report = Callable[[str], None]
    Drop = Callable[[str, str], None]

_LOOPBACK = "loopback:"


def is_loopback(transport: str) -> bool:
    """Whether a ``--transport`` argument names a simulated host's socket."""
    return transport.startswith(_LOOPBACK) and transport != _LOOPBACK


class TransportSelector:
    """Holds the current `link` and replaces it under ``auto``.

    :raises TransportError: netlink or loopback was asked for and cannot work here.
    :raises ValueError: there is no such transport.
    """

    def __init__(
        self, transport: str, report: Report, drop: Drop, trace: Trace | None = None
    ) -> None:
        self._report = report
        self._auto = transport == "auto"
        self.link: Link
        if transport in ("auto", "netlink"):
            try:
                connector = Connector(drop, trace=trace)
            except TransportError as error:
                if not self._auto:
                    raise
                report(f"{error}; taking the char device")
                self.link = DeviceLink(report)
            else:
                self.link = NetlinkLink(report, connector, insist=not self._auto)
        elif transport == "chardev":
            self.link = DeviceLink(report)
        elif is_loopback(transport):
            from .loopback import LoopbackLink  # noqa: PLC0415 - no guest's daemon needs it

            self.link = LoopbackLink(report, transport.removeprefix(_LOOPBACK))
        else:
            raise ValueError(
                f"no transport {transport!r}: auto, netlink, chardev or loopback:PATH"
            )

    def start(self) -> None:
        """Open and register.

        :raises TransportError: netlink was asked for and has no kernel behind it.
        """
        try:
            self.link.start()
        except TransportError as error:
            if not self._auto:
                raise
            self._take_device(str(error))

    def on_event(self, fd: int, events: int) -> memoryview | None:
        """Hand on what happened to a descriptor; the request that came with it, if any."""
        try:
            return self.link.on_event(fd, events)
        except TransportError as error:
            self._cannot_register(error)
            return None

    def on_deadline(self) -> memoryview | None:
        """Tell the link that its deadline has passed; the request that was found, if any."""
        try:
            return self.link.on_deadline()
        except TransportError as error:
            self._cannot_register(error)
            return None

    def _cannot_register(self, error: TransportError) -> None:
        if self._auto:
            self._take_device(str(error))
        else:
            self.link.say(str(error))
            self.link.retry_later()

    def consider(self) -> None:
        """Under auto, leave a netlink link that cannot serve, if there is another way.

        To be called after anything but a request.
        """
        link = self.link
        if not self._auto or not isinstance(link, NetlinkLink):
            return
        why = link.obstacle or ("no answer over netlink" if link.unanswered else "")
        if why and os.path.exists(DEVICE):
            self._take_device(why)

    def _take_device(self, why: str) -> None:
        self._report(f"{why}; taking the char device")
        self.link.close()
        self.link = DeviceLink(self._report)
        self.link.start()
