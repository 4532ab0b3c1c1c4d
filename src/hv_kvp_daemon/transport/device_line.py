"""The line over the character device: opened again for ever, whatever happens.

Where it cannot be opened, the kernel's uevents tell when it appears; while it is open
they are nothing to this process, which each container's interfaces would wake.
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
from .line import Line, open_uevents, readable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .conversation import Conversation, Ready
    from .uevent import Uevents


class DeviceLine(Line):
    """``path`` is opened, registered with, and reopened within 2 s of any failure."""

    name = CharDevice.name

    def __init__(self, report: Callable[[str], None], path: str = DEVICE) -> None:
        super().__init__(report)
        self._path = path
        self._device: CharDevice | None = None
        self._uevents: Uevents | None = None
        self._trouble = ""
        self._may_listen = True
        self._driver = Driver()

    def start(self) -> None:
        self._open()

    def _open(self) -> None:
        """Open the device and register, or set the deadline at which to try."""
        delay = self._driver.delay()
        if delay:
            self._wait_for_driver(delay)
            return
        try:
            self._device = CharDevice(self._path)
            # Was it not there a moment ago, it may have appeared just now.
            if delay is None and (delay := self._driver.delay()):
                self._device.close()
                self._device = None
                self._wait_for_driver(delay)
                return
            self._device.register()
        except TransportError as error:
            self._complain(error)
            self._listen()
            self.try_later()
        except TransportLostError as error:
            self._lost(error)
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
                " no Hyper-V guest"
            )
        else:
            self._trouble = f"cannot open {error}"
        self.say(self._trouble)

    def _lost(self, error: TransportLostError) -> None:
        self.say(f"{self._path} lost ({error}); opening it again")
        self._trouble = f"lost {self._path}"
        self.version = b""
        if self._device is not None:
            # The driver waits for this close when it is unloaded.
            self._device.close()
            self._device = None
        self._listen()
        self._watch()
        self.try_later()

    def _watch(self) -> None:
        watched: list[tuple[int, int]] = []
        if self._uevents is not None:
            watched.append((self._uevents.fileno(), select.POLLIN))
        if self._device is not None:
            watched.append((self._device.fileno(), self._device.EVENTS))
        self.watched = tuple(watched)

    def on_event(self, fd: int, events: int) -> memoryview | None:
        if self._uevents is not None and fd == self._uevents.fileno():
            if self._uevents.read() == uevent.ADD and self._device is None:
                self._driver.appeared()
                self._open()
            return None
        if events & (select.POLLERR | select.POLLHUP):
            self._lost(TransportLostError("the driver has gone"))
            return None
        return self._receive()

    def _receive(self) -> memoryview | None:
        if self._device is None:
            return None
        try:
            request = self._device.receive()
        except TransportLostError as error:
            self._lost(error)
            return None
        if self._device.version != self.version:
            self.version = self._device.version
            version = self.version.decode("ascii", "replace")
            self.say(f"registered over {self._path}, driver version {version}")
            self.settled()
        return request

    def converse(self, conversation: Conversation) -> tuple[Ready, memoryview | None]:
        if self._device is None or not self.version:
            return conversation.wait(), None
        try:
            return self._device.converse(conversation)
        except TransportLostError as error:
            self._lost(error)
            return [], None

    def on_deadline(self) -> memoryview | None:
        self.deadline = None
        if self._device is None:
            self._open()
        return None

    def newer(self) -> memoryview | None:
        if self._device is not None and readable(self._device.fileno()):
            return self._receive()
        return None

    def reply(self, message: bytes) -> None:
        if self._device is None:
            return  # lost meanwhile; the driver has told the host HV_E_FAIL
        try:
            self._device.send(message)
        except TransportLostError as error:
            self._lost(error)

    def close(self) -> None:
        if self._device is not None:
            self._device.close()
            self._device = None
        self._stop_listening()

    def state(self) -> str:
        if self._trouble:
            return self._trouble
        return "serving over the char device" if self.version else "registering"
