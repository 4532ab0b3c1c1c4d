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

from hv_kvp_daemon.wire.message import START

from .conversation import AWAY
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
        #: (descriptor, epoll events) to watch now, that of the driver's messages last; a
        #: new tuple whenever they change.
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
        """Wait, and answer requests until something else is to be done; return that.

        It is what is ready and was not looked at; or a request that was read and is
        to be answered; or nothing, where the rest has been seen to.
        """
        wait, answer, stops = conversation.wait, conversation.answer, conversation.stops
        prepared, glance = conversation.prepared.get, conversation.glance
        watched = self.watched
        one_message = [(watched[-1][0], select.POLLIN)] if watched else []
        took, answered, answered_at = conversation.took, 0, 0.0
        try:
            while (ready := wait()) == one_message and self.version:
                woke = time.monotonic()
                request = self.on_event(*ready[0])
                if request is None:
                    return [], None
                reply = prepared(START.unpack_from(request)[0]) or glance(request)
                # Stopped, or kept from running since it woke: the driver may have asked
                # anew, and the host does not expect a change any more.
                if stops.continued or time.monotonic() - woke >= AWAY:
                    return [], request
                if reply is not None:
                    answered, answered_at = answered + 1, woke
                    if answered == 1:
                        # At once: a conversation may last as long as the host asks.
                        took(1, woke)
                else:
                    reply = answer(request)
                    if reply is None:
                        return [], None
                self.reply(reply)
                if self.watched is not watched:
                    return [], None
        finally:
            if answered > 1:
                took(answered - 1, answered_at)
        return ready, None

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
