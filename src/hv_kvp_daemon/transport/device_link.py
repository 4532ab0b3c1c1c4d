# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The link over the character device: opens it, registers, and reopens it after a failure.

Closing and reopening the device resets both sides after any failure.  While the device is
missing or open in another process, the link tries to open it at least every 2 s, and at
once when the kernel announces it.  It listens to these announcements (uevents) only while
it has no device, since each interface of each container causes one.
"""

from __future__ import annotations

import errno
import select
import time

from . import uevent
from .chardev import CharDevice
from .driver import DEVICE, Driver
from .errors import TransportError, TransportLostError
from .holders import device_holders, named
from .link import Link, is_readable, open_uevents

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .uevent import Uevents


class DeviceLink(Link):
    """Opens ``path``, registers, and reopens it within 2 s after a failure."""

    name = CharDevice.name

    def __init__(
        self,
        report: Callable[[str], None],
        path: str = DEVICE,
        driver: Driver | None = None,
    ) -> None:
        super().__init__(report)
        self._path = path
        self._driver = Driver() if driver is None else driver
        self._device: CharDevice | None = None
        self._uevents: Uevents | None = None
        self._may_listen = True
        self._trouble = ""

    def start(self) -> None:
        self._open()

    def _open(self) -> None:
        """Open the device and register, or set the deadline for the next attempt."""
        delay = self._driver.delay()
        if delay:
            self._wait_for_driver(delay)
            return
        try:
            self._device = CharDevice(self._path)
            # The device was missing before, so it has just appeared.
            if delay is None and (delay := self._driver.delay()):
                self._close_device()
                self._wait_for_driver(delay)
                return
            self._device.register()
        except TransportError as error:
            self._complain(error)
            self._listen()
            self.retry_later()
        except TransportLostError as error:
            self._lose(error)
        else:
            self._trouble = ""
            self.deadline = None
            self._stop_listening()
        self._watch()

    def _wait_for_driver(self, seconds: float) -> None:
        self._trouble = "waiting until the driver is ready"
        self.deadline = time.monotonic() + seconds
        self._listen()
        self._watch()

    def _listen(self) -> None:
        if self._uevents is None and self._may_listen:
            self._uevents = open_uevents(self._report)
            self._may_listen = self._uevents is not None

    def _stop_listening(self) -> None:
        if self._uevents is not None:
            self._uevents.close()
            self._uevents = None

    def _complain(self, error: TransportError) -> None:
        cause = error.__cause__
        code = cause.errno if isinstance(cause, OSError) else None
        if code == errno.EBUSY:
            holders = named(list(device_holders(self._path))) or "another process"
            self._trouble = f"waiting for {self._path}, held by {holders}"
        elif code == errno.ENOENT:
            self._trouble = (
                f"waiting for {self._path}: the driver hv_utils is not loaded, or this is"
                " not a Hyper-V guest"
            )
        else:
            self._trouble = f"cannot open {error}"
        self.say(self._trouble)

    def _lose(self, error: TransportLostError) -> None:
        self.say(f"{self._path} lost ({error}); reopening it")
        self._trouble = f"lost {self._path}"
        self.version = b""
        # The removal of the driver waits until the device is closed.
        self._close_device()
        self._listen()
        self._watch()
        self.retry_later()

    def _close_device(self) -> None:
        if self._device is not None:
            self._device.close()
            self._device = None

    def _watch(self) -> None:
        watched = []
        self.message_ready = None
        if self._uevents is not None:
            watched.append((self._uevents.fileno(), select.POLLIN))
        if self._device is not None:
            watched.append((self._device.fileno(), self._device.EVENTS))
            self.message_ready = [(self._device.fileno(), select.POLLIN)]
        self.watched = tuple(watched)

    def on_event(self, fd: int, events: int) -> memoryview | None:
        if self._uevents is not None and fd == self._uevents.fileno():
            if self._uevents.read() == uevent.ADD and self._device is None:
                self._driver.appeared()
                self._open()
            return None
        if events & (select.POLLERR | select.POLLHUP):
            self._lose(TransportLostError("the driver has gone"))
            return None
        return self.receive()

    def on_deadline(self) -> memoryview | None:
        self.deadline = None
        if self._device is None:
            self._open()
        return None

    def receive(self) -> memoryview | None:
        if self._device is None:
            return None
        try:
            request = self._device.receive()
        except TransportLostError as error:
            self._lose(error)
            return None
        if request is None and self._device.version != self.version:
            self.version = self._device.version
            self.registered(self._path)
        return request

    def newer(self) -> memoryview | None:
        if self._device is None or not is_readable(self._device.fileno()):
            return None
        return self.receive()

    def send(self, reply: bytes) -> None:
        if self._device is None:
            return  # lost meanwhile; the driver has returned HV_E_FAIL to the host
        try:
            if not self._device.send(reply):
                self.say("a reply was dropped: the driver has given up the request")
        except TransportLostError as error:
            self._lose(error)

    def close(self) -> None:
        self._close_device()
        self._stop_listening()

    def state(self) -> str:
        if self._trouble:
            return self._trouble
        return "serving over the char device" if self.version else "registering"
