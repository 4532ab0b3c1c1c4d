# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The base of links: a link opens a transport, registers, and repairs it after a failure.

A transport (`connector`, `chardev`, `loopback`) sends and receives whole messages.  A link
decides when to open it, when to register, and what to do when it fails.  It has no loop of
its own.  The server watches the descriptors in `watched` and calls

- `receive` when only a message of the driver is ready (`message_ready`),
- `on_event` for each ready descriptor in all other cases,
- `on_deadline` when `deadline` has passed.

Each returns a request, which is answered with `send`, or None.  Each may replace `watched`.
"""

from __future__ import annotations

import select
import time

from .uevent import Uevents

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    #: (descriptor, poll events), as epoll takes and returns them.
    Event = tuple[int, int]

FIRST_DELAY = 0.05
LONGEST_DELAY = 2.0


class Link:
    """The interface of a link to the server, and the code that all links share.

    ``report`` is called with a line for the log.
    """

    #: The name of the transport, as in --transport and the status.
    name = ""

    def __init__(self, report: Callable[[str], None]) -> None:
        #: The driver's version, from its answer to the registration; ``b""`` before that.
        self.version = b""
        #: time.monotonic() at which `on_deadline` must be called, or None.
        self.deadline: float | None = None
        #: The descriptors to watch; a new tuple whenever they change.
        self.watched: tuple[Event, ...] = ()
        #: The result of a poll when a message is ready and nothing else; None while there
        #: is no transport for messages.
        self.message_ready: list[Event] | None = None
        self._report = report
        self._said = ""
        self._delay = FIRST_DELAY

    def start(self) -> None:
        """Open and register, or set a deadline for another attempt.

        :raises TransportError: the transport cannot work here.
        """
        raise NotImplementedError

    def receive(self) -> memoryview | None:
        """Return the newest request; it is valid until the next call of any method.

        None means that the message was no request, or that the transport is lost.
        """
        raise NotImplementedError

    def newer(self) -> memoryview | None:
        """Return a request that is newer than the one being served, or None.

        There is one only if the driver has given up the former.
        """
        raise NotImplementedError

    def send(self, reply: bytes) -> None:
        """Answer the last request.

        A reply that cannot be sent is dropped: the driver then returns HV_E_FAIL to the
        host.
        """
        raise NotImplementedError

    def on_event(self, fd: int, events: int) -> memoryview | None:
        """Handle a ready descriptor.

        :raises TransportError: the transport can no longer work here.
        """
        raise NotImplementedError

    def on_deadline(self) -> memoryview | None:
        """Do what the deadline was set for.

        :raises TransportError: the transport can no longer work here.
        """
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    @property
    def serving(self) -> bool:
        """Whether the driver has accepted the registration."""
        return bool(self.version)

    def state(self) -> str:
        """Return the state of this link as text for logs and ``hv-kvp status``."""
        raise NotImplementedError

    def say(self, text: str) -> None:
        """Report a text, unless it was the last one: an attempt may fail again and again."""
        if text != self._said:
            self._said = text
            self._report(text)

    def registered(self, over: str) -> None:
        """Report that the driver has answered the registration, each time that it does."""
        version = self.version.decode("ascii", "replace")
        self._said = f"registered over {over}, driver version {version}"
        self._report(self._said)
        self.settle()

    def retry_later(self) -> None:
        """Set the deadline after a delay that doubles up to 2 s."""
        self.deadline = time.monotonic() + self._delay
        self._delay = min(2 * self._delay, LONGEST_DELAY)

    def settle(self) -> None:
        """Clear the deadline; the next retry has the shortest delay again."""
        self.deadline = None
        self._delay = FIRST_DELAY


def open_uevents(report: Callable[[str], None]) -> Uevents | None:
    """Open the kernel's announcements; without them, report that and return None."""
    try:
        return Uevents()
    except OSError as error:
        report(f"no kernel uevents ({error.strerror}): a driver reload will not be noticed")
        return None


def is_readable(fd: int) -> bool:
    """Whether a read would return data, end of file or an error at once."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))
