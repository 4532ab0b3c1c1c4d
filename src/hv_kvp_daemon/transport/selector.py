# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The selector of the link to the driver: the requested one or, for ``auto``, one that works.

``auto`` uses netlink, which every kernel with this driver has, and changes over to the
character device where netlink cannot serve: there is no connector in the kernel or in this
network namespace; another process has the device open, opens it, joins group 9 or sends
messages to it; or the driver does not answer the registration within a few seconds although
the device exists.  It does not change back, since the cause may return.
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
    """Whether a ``--transport`` argument is ``loopback:PATH``."""
    return transport.startswith(_LOOPBACK) and transport != _LOOPBACK


class TransportSelector:
    """Holds the current `link`, and replaces it under ``auto``.

    :raises TransportError: netlink or loopback was requested and cannot work here.
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
                report(f"{error}; using the char device")
                self.link = DeviceLink(report)
            else:
                self.link = NetlinkLink(report, connector, insist=not self._auto)
        elif transport == "chardev":
            self.link = DeviceLink(report)
        elif is_loopback(transport):
            from .loopback import LoopbackLink  # noqa: PLC0415 - only a simulated host needs it

            self.link = LoopbackLink(report, transport.removeprefix(_LOOPBACK))
        else:
            raise ValueError(
                f"no transport {transport!r}: auto, netlink, chardev or loopback:PATH"
            )

    def start(self) -> None:
        """Open and register.

        :raises TransportError: netlink was requested, and this network namespace has no
            connector.
        """
        try:
            self.link.start()
        except TransportError as error:
            if not self._auto:
                raise
            self._take_device(str(error))

    def on_event(self, fd: int, events: int) -> memoryview | None:
        """Let the link handle a ready descriptor; return a request that it found, or None."""
        try:
            return self.link.on_event(fd, events)
        except TransportError as error:
            self._cannot_register(error)
            return None

    def on_deadline(self) -> memoryview | None:
        """Let the link handle its deadline; return a request that it found, or None."""
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
        """Under ``auto``, change over to the device if it exists and netlink cannot serve.

        The server calls this after each event other than a request.
        """
        link = self.link
        if not self._auto or not isinstance(link, NetlinkLink):
            return
        silent = "the driver does not answer over netlink"
        why = link.obstacle or (silent if link.unanswered else "")
        if why and os.path.exists(DEVICE):
            self._take_device(why)

    def _take_device(self, why: str) -> None:
        self._report(f"{why}; using the char device")
        self.link.close()
        self.link = DeviceLink(self._report)
        self.link.start()
