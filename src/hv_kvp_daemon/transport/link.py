"""A link to the driver: a transport that is opened, registered and kept in order.

A transport (`connector`, `chardev`, `loopback`) moves whole messages.  A link decides
when to open it, when to register, and what to do when it breaks.  It knows no loop.  The
server watches the descriptors in `watched`, and calls

- `receive`, when the driver's messages alone are ready (`message_ready`),
- `on_event`, for each descriptor that is ready otherwise,
- `on_deadline`, when `deadline` has passed.

Each returns a request to be answered with `send`, or None.  After any of them, `watched`
may be another tuple.
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
    """What the server relies on, and what all links share.

    ``report`` takes a line for the log.
    """

    #: As --transport and the status name it.
    name = ""

    def __init__(self, report: Callable[[str], None]) -> None:
        #: What the driver answered to the registration, ``b""`` until it has.
        self.version = b""
        #: time.monotonic() at which `on_deadline` wants to be called, or None.
        self.deadline: float | None = None
        #: What to watch now; a new tuple whenever that changes.
        self.watched: tuple[Event, ...] = ()
        #: What a poll returns when a message has come and nothing else has happened; None
        #: where no message can come.
        self.message_ready: list[Event] | None = None
        self._report = report
        self._said = ""
        self._delay = FIRST_DELAY

    def start(self) -> None:
        """Open and register, or arrange to try again.

        :raises TransportError: it can never work here.
        """
        raise NotImplementedError

    def receive(self) -> memoryview | None:
        """The newest request that has come; valid until the next call of any of these.

        None: what came was no request, or the transport is lost.
        """
        raise NotImplementedError

    def newer(self) -> memoryview | None:
        """A request that came after the one that is being served.

        There is one only if the driver has given the former up.
        """
        raise NotImplementedError

    def send(self, reply: bytes) -> None:
        """Answer the last request.

        A reply that cannot be sent is dropped: the driver then tells the host HV_E_FAIL.
        """
        raise NotImplementedError

    def on_event(self, fd: int, events: int) -> memoryview | None:
        """Handle a ready descriptor.

        :raises TransportError: it cannot work here any more.
        """
        raise NotImplementedError

    def on_deadline(self) -> memoryview | None:
        """Do what was to be done at the deadline.

        :raises TransportError: it cannot work here any more.
        """
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    @property
    def serving(self) -> bool:
        """Whether the driver knows this daemon."""
        return bool(self.version)

    def state(self) -> str:
        """What this link is doing, for people."""
        raise NotImplementedError

    def say(self, text: str) -> None:
        """Report, but not the same twice in a row: what is retried for ever fails for ever."""
        if text != self._said:
            self._said = text
            self._report(text)

    def registered(self, over: str) -> None:
        """The driver has answered the registration."""
        self.say(
            f"registered over {over}, driver version {self.version.decode('ascii', 'replace')}"
        )
        self.settle()

    def retry_later(self) -> None:
        """Set the deadline after a delay that doubles up to 2 s."""
        self.deadline = time.monotonic() + self._delay
        self._delay = min(2 * self._delay, LONGEST_DELAY)

    def settle(self) -> None:
        """Clear the deadline; the next trouble starts with the shortest delay."""
        self.deadline = None
        self._delay = FIRST_DELAY


def open_uevents(report: Callable[[str], None]) -> Uevents | None:
    """The kernel's announcements, or None (and a report) where there are none."""
    try:
        return Uevents()
    except OSError as error:
        report(f"no kernel uevents: a reloaded driver will go unnoticed ({error.strerror})")
        return None


def is_readable(fd: int) -> bool:
    """Whether a descriptor has something to read, or an error to report, now."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))
