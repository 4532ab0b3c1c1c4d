"""The line over the netlink connector.

Facts that shape this module (measured on the driver, Linux 6.1):

- The driver answers a registration only in its initial state.  To a restarted
  daemon it says nothing and serves it all the same; while a request is pending
  it even takes the registration for the reply, with status 100.
- Opening and closing the character device sets the driver back, also a pending
  request (the host gets HV_E_FAIL), so that the answer comes.  Done while
  another netlink daemon is alive, both would serve: 294 of 300 answers wrong.
- The same happens when anybody opens the device, and nothing tells a netlink daemon: the
  host gets no more answers.  inotify on the node reports the open.
- A driver that is loaded again announces its device a moment before it listens
  to the connector, so the first registration may be lost.
"""

from __future__ import annotations

import errno
import os
import select
import time

from hv_kvp_daemon.wire.uapi import CN_KVP_IDX

from . import uevent
from .chardev import CharDevice
from .connector import SUPERSEDED, Connector
from .driver import DEVICE, Driver
from .errors import TransportError
from .holders import device_holders, group_members, named, process_name
from .line import Line, open_uevents

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .connector import Trace
    from .conversation import Conversation, Ready
    from .inotify import Inotify

# Registrations go unanswered for this long before another way is looked for.
PATIENCE = 3.0

_NO_DRIVER = frozenset({errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.EBADF})


class NetlinkLine(Line):
    """Registers until the driver answers or sends a request.

    Where another way is open (``insist`` is false and the character device is
    there) it stops at what would spoil the service and says so in `obstacle`.

    :raises TransportError: this kernel, network namespace or user cannot do it.
    """

    name = Connector.name

    def __init__(
        self,
        report: Callable[[str], None],
        drop: Callable[[str, str], None],
        *,
        insist: bool = True,
        trace: Trace | None = None,
    ) -> None:
        super().__init__(report)
        self._drop = drop
        self._insist = insist
        self._connector = Connector(drop, trace=trace)
        self._uevents = open_uevents(report)
        #: Reports who opens the device.
        self._opens: Inotify | None = None
        self._watch()
        self._patience_ends = 0.0
        #: The driver sent a request, so it knows us even if it never answered.
        self._served = False
        self._device_busy = False
        self._driver_missing = False
        self._driver = Driver()
        self._too_early = False
        #: Why netlink cannot serve now, or ``""``.
        self.obstacle = ""

    def _watch(self) -> None:
        self.watched = tuple(
            (source.fileno(), select.POLLIN)
            for source in (self._uevents, self._opens, self._connector)
            if source is not None
        )

    def _watch_device(self) -> None:
        """Watch for the next open of the device by anybody else.

        An open before that is one before our registration, which the driver then does
        not answer, so that another is sent.
        """
        from . import inotify  # noqa: PLC0415 - ctypes: see there

        try:
            self._opens = inotify.Inotify(DEVICE, inotify.IN_OPEN)
        except OSError as error:
            self.say(
                f"cannot watch {DEVICE}, so nothing will tell if another opens it: {error}"
            )
        self._watch()

    def _stop_watching(self) -> None:
        if self._opens is not None:
            self._opens.close()
            self._opens = None
            self._watch()

    def _rivals(self) -> list[tuple[int, str]]:
        """Other members of group 9: (port id, name of the process of that pid).

        The kernel gives a process's first netlink socket its pid as port id;
        for others the name is ``?``.
        """
        others = group_members(CN_KVP_IDX) - {self._connector.port_id}
        return [(port, process_name(port)) for port in sorted(others)]

    def start(self) -> None:
        self.settled()
        self._begin()

    def _begin(self) -> None:
        self.version = self._connector.version = b""
        self._served = False
        self._patience_ends = time.monotonic() + PATIENCE
        self.obstacle = ""
        self._stop_watching()
        self._too_early = self._must_wait()
        if self._too_early:
            return
        rivals = self._rivals()
        if rivals:
            self.obstacle = f"netlink group {CN_KVP_IDX} has another member: {named(rivals)}"
            if not self._insist and os.path.exists(DEVICE):
                return
            self.say(f"{self.obstacle}; two daemons answer each other's requests")
        elif self._reset_driver():
            # The host has been told HV_E_FAIL for whatever is still queued.
            while self._connector.receive() is not None:
                self._drop(SUPERSEDED, "the driver was set back")
            self._watch_device()
        self._connector.register()
        self.try_later()

    def _must_wait(self) -> bool:
        """Whether the driver may not be spoken to yet; then the deadline is set."""
        delay = self._driver.delay()
        if not delay:
            return False
        self._patience_ends = time.monotonic() + delay + PATIENCE
        self.deadline = time.monotonic() + delay
        return True

    def _reset_driver(self) -> bool:
        """Set the driver back to its initial state; False if that was not possible."""
        self._device_busy = self._driver_missing = False
        try:
            CharDevice().close()
        except TransportError as error:
            cause = error.__cause__
            code = cause.errno if isinstance(cause, OSError) else None
            if code in _NO_DRIVER:
                self._driver_missing = True
                self.say(
                    f"{DEVICE} is not there: the driver hv_utils is not loaded, or this is"
                    " no Hyper-V guest; waiting for it"
                )
            elif code == errno.EBUSY:
                self._device_busy = True
                holders = named(list(device_holders(DEVICE))) or "another process"
                self.obstacle = f"{DEVICE} is held by {holders}"
                self.say(f"{self.obstacle}: the driver does not listen to netlink")
            else:
                self.say(f"{error}; the driver's version may stay unknown")
            return False
        return True

    def on_event(self, fd: int, events: int) -> memoryview | None:  # noqa: ARG002 - a socket error comes with recv
        if self._uevents is not None and fd == self._uevents.fileno():
            self._on_uevent(self._uevents.read())
            return None
        if self._opens is not None and fd == self._opens.fileno():
            self._on_open()
            return None
        return self._receive()

    def _on_open(self) -> None:
        """Another process has opened the device: the driver has left netlink."""
        self._stop_watching()
        opener = named(list(device_holders(DEVICE)))
        self.obstacle = f"{DEVICE} was opened by {opener or 'a process that closed it again'}"
        if self._insist and not opener:
            # Otherwise the registration that is refused names it, or the selector does.
            self.say(f"{self.obstacle}, which ends netlink; registering again")
        self.version = self._connector.version = b""
        self._served = False
        self._device_busy = True
        self.deadline = time.monotonic()

    def _on_uevent(self, action: str) -> None:
        if action == uevent.ADD:
            self._report("the KVP driver has appeared")
            self._driver.appeared()
            self.start()
        elif action == uevent.REMOVE:
            self._report("the KVP driver has gone; waiting for it")
            self.version = self._connector.version = b""
            self._served = False
            self._driver_missing = True

    def converse(self, conversation: Conversation) -> tuple[Ready, memoryview | None]:
        if not (self.version and self._served):
            return conversation.wait(), None
        ready, request = self._connector.converse(conversation)
        return ready, self._taken(request)

    def _receive(self) -> memoryview | None:
        return self._taken(self._connector.receive())

    def _taken(self, request: memoryview | None) -> memoryview | None:
        if self._connector.version != self.version:
            self.version = self._connector.version
            version = self.version.decode("ascii", "replace")
            self.say(f"registered over netlink, driver version {version}")
            self.settled()
        if request is not None and not self._served:
            self._served = True
            self.settled()
        return request

    def on_deadline(self) -> memoryview | None:
        # A request in the queue says that the driver knows us, and a
        # registration sent now would be taken for its answer.
        request = self._receive()
        if request is not None or self.version:
            return request
        if self._device_busy or self._too_early:
            self._begin()
        elif self._driver_missing and self.unanswered:
            # The uevent will tell; until then nothing wakes this process.
            self.deadline = None
        elif not self._must_wait():
            self._connector.register()
            self.try_later()
        return None

    @property
    def unanswered(self) -> bool:
        """Registered for some seconds, and nobody has answered or asked."""
        return not self.version and not self._served and time.monotonic() >= self._patience_ends

    def newer(self) -> memoryview | None:
        return self._receive()

    def reply(self, message: bytes) -> None:
        self._connector.send(message)

    def close(self) -> None:
        self._stop_watching()
        self._connector.close()
        if self._uevents is not None:
            self._uevents.close()

    @property
    def serving(self) -> bool:
        return bool(self.version) or self._served

    def state(self) -> str:
        if self.serving:
            return "serving over netlink"
        if self._device_busy:
            return f"waiting for {DEVICE} to be released"
        if self._driver_missing:
            return "waiting for the driver"
        return "registering over netlink"
