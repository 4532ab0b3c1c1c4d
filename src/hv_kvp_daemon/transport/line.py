"""The line to the driver: a transport that is opened, registered, and kept.

A transport moves messages; a line decides when to open one, when to register
and what to do when it breaks.  It knows no loop: the service polls what is
`watched`, calls `on_event` for what is ready and `on_deadline` when `deadline`
has passed; either may return a request to be served and answered with `reply`.
After each call `watched` may be another tuple.
"""

from __future__ import annotations

import select
import time

from .uevent import Uevents

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .conversation import Conversation, Ready

FIRST_DELAY = 0.05
LONGEST_DELAY = 2.0


class Line:
    """What all lines have in common: version, growing delays, and saying things once."""

    #: As --transport and the status name it.
    name = ""

    def __init__(self, report: Callable[[str], None]) -> None:
        #: What the driver answered to the registration, ``b""`` until it has.
        self.version = b""
        #: time.monotonic() at which `on_deadline` wants to be called, or None.
        self.deadline: float | None = None
        #: (descriptor, poll events) to watch now; a new tuple whenever they change.
        self.watched: tuple[tuple[int, int], ...] = ()
        self._report = report
        self._said = ""
        self._delay = FIRST_DELAY

    def start(self) -> None:
        """Open and register, or arrange to try again.

        :raises TransportError: it can never work here.
        """
        raise NotImplementedError

    def on_event(self, fd: int, events: int) -> memoryview | None:
        """Something happened on a watched descriptor; perhaps a request came."""
        raise NotImplementedError

    def on_deadline(self) -> memoryview | None:
        """The deadline has passed; perhaps a request was found."""
        raise NotImplementedError

    def converse(self, conversation: Conversation) -> tuple[Ready, memoryview | None]:
        """Wait; return what is ready, and a request that was read and is to be answered.

        A line that can answers what comes in between itself.
        """
        return conversation.wait(), None

    def newer(self) -> memoryview | None:
        """A request that came after the one that is being served.

        There can be one only if the driver has given up the former.
        """
        raise NotImplementedError

    def reply(self, message: bytes) -> None:
        """Answer the last request."""
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    @property
    def serving(self) -> bool:
        """Whether the driver knows this daemon."""
        return bool(self.version)

    def state(self) -> str:
        """For people: what this line is doing."""
        raise NotImplementedError

    def say(self, text: str) -> None:
        """Report, but not the same twice in a row: what is tried for ever fails for ever."""
        if text != self._said:
            self._said = text
            self._report(text)

    def try_later(self) -> None:
        """Set the deadline after a delay that doubles up to 2 s."""
        self.deadline = time.monotonic() + self._delay
        self._delay = min(2 * self._delay, LONGEST_DELAY)

    def settled(self) -> None:
        """All is well: no deadline, and the next trouble starts with the shortest delay."""
        self.deadline = None
        self._delay = FIRST_DELAY


def open_uevents(report: Callable[[str], None]) -> Uevents | None:
    """The kernel's announcements, or None (and a report) where there are none."""
    try:
        return Uevents()
    except OSError as error:
        report(f"no kernel uevents: a reloaded driver will go unnoticed ({error.strerror})")
        return None


def readable(fd: int) -> bool:
    """Whether a descriptor has something to read (or to say) now."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))
