# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The link over the netlink connector: registers, and notices when netlink is lost.

Facts on which this module rests (measured on the driver of Linux 6.1):

- The driver answers a registration only in its initial state.  A restarted daemon gets no
  answer, but does get the requests.  While a request is pending, the driver takes a
  registration for the reply to it, with status 100.
- Opening and closing the character device resets the driver to its initial state, so that
  it answers; a pending request fails (HV_E_FAIL).  If another netlink daemon is running,
  both would then serve: 294 of 300 answers were wrong.
- When another process opens the device, the driver stops using netlink for good, without
  notice over netlink: the host gets no more answers.  inotify on the device node reports
  the open.
- Any local user may join the group on Linux 6.6 and later.  A process with CAP_NET_ADMIN
  may send to its members.
- Any local user may send to the driver.  If a registration of the old protocol (operation
  4) arrives between the reset and the daemon's, the driver answers that one, refuses the
  daemon's, and serves in its legacy mode until the next reset: it ignores the status of a
  reply, and tells the host HV_S_CONT for each SET that was done.
- A driver that is loaded again announces its device shortly before it is ready (see
  `driver`), and sends nothing over netlink.

So there is one procedure for registering (`_begin`), at start and after each of these
events: wait until the driver is ready; unless the group has another member, reset the
driver by opening and closing the device; watch the device for the next open; send
registrations, with growing delays, until the driver answers one or sends a request.  If
it answers one of the old protocol, start again after the delay, without having answered
any request in between.
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
from .holders import device_holders, group_members, named, port_holders
from .link import Link, open_uevents

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .inotify import Inotify

#: Seconds between two checks for other members of the group; made when a request arrives.
LOOK_INTERVAL = 60.0

#: Seconds without an answer to registrations after which `unanswered` is true.
PATIENCE = 3.0

# Any user may join the group with a thousand sockets, and each owner is searched for.
_NAMED = 2

_NO_DRIVER = frozenset({errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.EBADF})

# The states of a link that does not serve.
_REGISTERING = "registering over netlink"
_NOT_READY = "waiting until the driver is ready"
_NO_DEVICE = "waiting for the driver"
_BUSY = "waiting for the device to be released"
_PREEMPTED = "registering again, since another process has registered before"


class NetlinkLink(Link):
    """Registers until the driver answers or sends a request.

    With ``insist`` the link uses netlink in any case.  Otherwise, if the character device
    exists, it does not register where netlink cannot serve reliably, and gives the reason
    in `obstacle`.  ``path`` is the device with which the driver is reset.
    """

    name = Connector.name

    def __init__(
        self,
        report: Callable[[str], None],
        connector: Connector,
        *,
        insist: bool = True,
        path: str = DEVICE,
        driver: Driver | None = None,
    ) -> None:
        super().__init__(report)
        self._insist = insist
        self._path = path
        self._connector = connector
        self._driver = Driver() if driver is None else driver
        self._uevents = open_uevents(report)
        #: Reports each open of the device.
        self._opens: Inotify | None = None
        self._patience_ends = 0.0
        self._next_look = 0.0
        #: Whether the driver has sent a request, which it may do without having answered
        #: the registration.
        self._served = False
        self._doing = _REGISTERING
        #: Why netlink cannot serve now, or ``""``.
        self.obstacle = ""
        self.message_ready = [(connector.fileno(), select.POLLIN)]
        self._watch()

    # -- registering

    def start(self) -> None:
        self.settle()
        self._begin()

    def _begin(self) -> None:
        self._forget()
        self.obstacle = ""
        self._stop_watching_device()
        delay = self._driver.delay()
        self._patience_ends = time.monotonic() + (delay or 0.0) + PATIENCE
        if delay:
            self._doing = _NOT_READY
            self.deadline = time.monotonic() + delay
            return
        self._doing = _REGISTERING
        self.obstacle = self._other_members()
        if self.obstacle:
            if not self._insist and os.path.exists(self._path):
                return
            self.say(f"{self.obstacle}; two daemons answer each other's requests")
        elif self._reset_driver():
            # The host has got HV_E_FAIL for the requests that are still queued.
            self._drop_requests()
            self._watch_device()
        if self._connector.preempted:
            self._on_preempted()
            return
        # If it did not exist a moment ago, it may have appeared just now.
        if delay is None and self._driver.delay():
            self._begin()
            return
        self._connector.register()
        self.retry_later()

    def _forget(self) -> None:
        self.version = self._connector.version = b""
        self._served = False
        self._connector.registering = True
        self._connector.preempted = False

    def _drop_requests(self) -> None:
        while self._connector.receive() is not None:
            self._connector.drop(SUPERSEDED, "the driver was reset")

    def _other_members(self) -> str:
        """Return that group 9 has other members, and which; empty if it has none."""
        others = sorted(group_members(CN_KVP_IDX) - {self._connector.port_id})
        owners = [_owner(port) for port in others[:_NAMED]]
        if len(others) > _NAMED:
            owners.append(f"and {len(others) - _NAMED} more")
        text = ", ".join(owners)
        return text and f"netlink group {CN_KVP_IDX} has another member: {text}"

    def _reset_driver(self) -> bool:
        """Reset the driver to its initial state; return False if that is not possible."""
        try:
            CharDevice(self._path).close()
        except TransportError as error:
            cause = error.__cause__
            code = cause.errno if isinstance(cause, OSError) else None
            if code in _NO_DRIVER:
                self._doing = _NO_DEVICE
                self.say(
                    f"{self._path} does not exist: the driver hv_utils is not loaded, or this"
                    " is not a Hyper-V guest; waiting for the driver"
                )
            elif code == errno.EBUSY:
                self._doing = _BUSY
                holders = named(list(device_holders(self._path))) or "another process"
                self.obstacle = f"{self._path} is held by {holders}"
                self.say(f"{self.obstacle}: the driver does not listen to netlink")
            else:
                self.say(f"{error}; the driver's version may stay unknown")
            return False
        return True

    def on_deadline(self) -> memoryview | None:
        # If there is a request in the queue, the driver needs no registration, and would
        # take it for the answer.
        doing = self._doing
        request = self.receive()
        if request is not None or self.version or self._doing != doing:
            return request
        if doing in (_BUSY, _NOT_READY, _PREEMPTED) or self._driver.delay():
            self._begin()
        elif self._doing == _NO_DEVICE and self.unanswered:
            # The uevent announces the driver; until then nothing wakes this process.
            self.deadline = None
        else:
            self._connector.register()
            self.retry_later()
        return None

    @property
    def unanswered(self) -> bool:
        """Whether the driver has neither answered nor sent a request within `PATIENCE`."""
        return not self.serving and time.monotonic() >= self._patience_ends

    # -- events

    def _watch(self) -> None:
        sources = (self._uevents, self._opens, self._connector)
        self.watched = tuple(
            (source.fileno(), select.POLLIN) for source in sources if source is not None
        )

    def on_event(self, fd: int, events: int) -> memoryview | None:  # noqa: ARG002 - a socket error comes with recv
        if self._uevents is not None and fd == self._uevents.fileno():
            self._on_uevent(self._uevents.read())
        elif self._opens is not None and fd == self._opens.fileno():
            if self._opens.read()[1]:
                self._on_node_removed()
            else:
                self._on_open()
        elif fd == self._connector.fileno():
            return self.receive()
        return None

    def _on_uevent(self, action: str) -> None:
        if action == uevent.ADD:
            self._report("the KVP driver has appeared")
            self._driver.appeared()
            self.start()
        elif action == uevent.REMOVE:
            self._report("the KVP driver has been removed; waiting for it")
            self._forget()
            self._doing = _NO_DEVICE

    def _watch_device(self) -> None:
        """Watch for the next open of the device by another process.

        If that happened before the watch exists, the registration gets no answer, and
        another is sent.
        """
        from . import inotify  # noqa: PLC0415 - ctypes: see there

        try:
            self._opens = inotify.Inotify(self._path, inotify.IN_OPEN)
        except OSError as error:
            self.say(f"cannot watch {self._path} for other processes that open it: {error}")
        self._watch()

    def _stop_watching_device(self) -> None:
        if self._opens is not None:
            self._opens.close()
            self._opens = None
            self._watch()

    def _on_node_removed(self) -> None:
        """Stop watching: devtmpfs removes the node of a driver that is removed.

        The uevent follows.  If it does not, only the node is gone, and netlink still works.
        """
        self._stop_watching_device()
        if self._uevents is None:
            self.start()

    def _on_open(self) -> None:
        """Handle an open of the device by another process, which ends netlink."""
        self._stop_watching_device()
        self._forget()
        holders = named(list(device_holders(self._path)))
        opener = holders or "a process that closed it again"
        self.obstacle = f"{self._path} was opened by {opener}"
        if self._insist and not holders:
            # Otherwise `_reset_driver` finds the device busy and reports its holder, or
            # the selector changes over to the device.
            self.say(f"{self.obstacle}, which ends netlink; registering again")
        self._doing = _BUSY
        self.deadline = time.monotonic()

    # -- requests

    def receive(self) -> memoryview | None:
        request = self._connector.receive()
        if self._connector.preempted:
            self._on_preempted()
            if request is not None:
                self._connector.drop(SUPERSEDED, "the driver is about to be reset")
            return None
        if (self._connector.stranger or time.monotonic() >= self._next_look) and self.serving:
            self._look_around()
            if self.obstacle and not self._insist:
                # The selector will open the device, at which the driver fails this request.
                return None
        if self._connector.version != self.version:
            self.version = self._connector.version
            self.obstacle = ""
            self.registered("netlink")
        if request is not None and not self._served:
            self._served = True
            self.settle()
        self._connector.registering = not self.serving
        return request

    def _on_preempted(self) -> None:
        """Plan to register again: the driver has answered another process."""
        if self._doing == _PREEMPTED:
            return
        self._doing = _PREEMPTED
        self.obstacle = "another process registered with the driver first, in the old protocol"
        if self._insist:
            self.say(f"{self.obstacle}; registering again")
        self.retry_later()

    def _look_around(self) -> None:
        """Check for other senders and members of the group, which end netlink under `auto`.

        The kernel does not report that a socket joins the group, which any local user can
        do on Linux 6.6 and later.
        """
        stranger, self._connector.stranger = self._connector.stranger, 0
        self._next_look = time.monotonic() + LOOK_INTERVAL
        if stranger:
            sender = _owner(stranger)
            trouble = f"another process sends messages of the driver's kind: {sender}"
        else:
            trouble = self._other_members()
        if not trouble:
            return
        if self._insist:
            self.say(trouble)
        elif os.path.exists(self._path):
            self.obstacle = trouble

    def newer(self) -> memoryview | None:
        return self._connector.newer()

    def send(self, reply: bytes) -> None:
        self._connector.send(reply)

    def close(self) -> None:
        self._stop_watching_device()
        self._connector.close()
        if self._uevents is not None:
            self._uevents.close()

    @property
    def serving(self) -> bool:
        return bool(self.version) or self._served

    def state(self) -> str:
        return "serving over netlink" if self.serving else self._doing


def _owner(port: int) -> str:
    """Return the processes that have a netlink socket, or its port id if none is visible."""
    return named(port_holders(port)) or f"port id {port}, of a process not visible here"
