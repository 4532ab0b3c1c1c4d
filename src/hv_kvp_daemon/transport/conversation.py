"""Request after request, answered where they arrive, while nothing else happens.

In: how to wait, what is prepared, whom to ask for the rest.  Out: what is to be done
now that a line cannot do by itself.
Rule: the same replies as by way of the loop, only sooner; whatever is out of the
ordinary (another descriptor, a stop, a slow answer, trouble) goes that way.

A host that sweeps the auto pool asks every other moment for what is already there as
bytes.  System calls are 5.1 microseconds of CPU of such a request in Python, 4.5 in C;
each layer that a message passes through adds 0.1.  The way through the loop has twenty
(7.7 in all; measured natively on Linux 6.18).
"""

from __future__ import annotations

from hv_kvp_daemon.wire.uapi import HV_UTIL_TIMEOUT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Final, Protocol, TypeAlias

    #: Descriptors that are ready, with their poll events.
    Ready: TypeAlias = list[tuple[int, int]]

    class Stops(Protocol):
        """Knows whether the process was stopped and continued; `service.signals`."""

        continued: bool


#: Seconds.  After an absence of so long a request may be as old as the driver's timeout;
#: 5 s of that are left for answering.
AWAY: Final = HV_UTIL_TIMEOUT - 5.0


class Conversation:
    """What a line is given to `Line.converse`.

    ``wait()`` returns what is ready, after any length of time.  ``prepared`` has whole
    replies by the first eight bytes of their requests (`wire.message.START`).
    ``glance(request)`` returns one that is as quickly made, or None.
    ``answer(request)`` returns the reply to any other, or None where it has seen to
    that itself.  ``took(number, when)`` is told how many were sent that were prepared or
    quickly made, and when the last was, by time.monotonic(): of the first at once, of the
    others at the end.  ``stops`` says that the process has been stopped: then the next request
    may be old.
    """

    __slots__ = ("answer", "glance", "prepared", "stops", "took", "wait")

    def __init__(
        self,
        wait: Callable[[], Ready],
        prepared: Mapping[int, bytes],
        glance: Callable[[memoryview], bytes | None],
        answer: Callable[[memoryview], bytes | None],
        took: Callable[[int, float], None],
        stops: Stops,
    ) -> None:
        self.wait = wait
        self.prepared = prepared
        self.glance = glance
        self.answer = answer
        self.took = took
        self.stops = stops
