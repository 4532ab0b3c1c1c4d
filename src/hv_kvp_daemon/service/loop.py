"""One `select.poll`: descriptors and what to call when they are ready.

Without a deadline it waits for ever: an idle daemon costs no wake-up.
"""

from __future__ import annotations

import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Handler = Callable[[int, int], None]


class Loop:
    """Calls ``handler(fd, events)`` for each watched descriptor that is ready."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._handlers: dict[int, Handler] = {}
        self._ranks: dict[int, int] = {}
        self._groups: dict[str, tuple[tuple[int, int], ...]] = {}

    def watch(
        self, group: str, descriptors: Iterable[tuple[int, int]], handler: Handler
    ) -> None:
        """Watch these (descriptor, poll events) under a name, in place of its former ones.

        Of what is ready together, the group that was first watched first is
        called first.
        """
        for fd, _ in self._groups.get(group, ()):
            self._poll.unregister(fd)
            del self._handlers[fd]
        self._groups[group] = tuple(descriptors)
        rank = list(self._groups).index(group)
        for fd, events in self._groups[group]:
            self._poll.register(fd, events)
            self._handlers[fd] = handler
            self._ranks[fd] = rank

    def wait(self, deadline: float | None) -> list[tuple[int, int]]:
        """What is ready, after something happened or the deadline has passed.

        The deadline is of `time.monotonic`; without one nothing but an event ends the wait.
        """
        if deadline is None:
            return self._poll.poll()
        # Rounded up: waking a moment early would only mean to poll again.
        return self._poll.poll(max(0, int((deadline - time.monotonic()) * 1000) + 1))

    def call(self, ready: list[tuple[int, int]]) -> None:
        """Call the handler of each; one that another handler has dropped is not called."""
        if len(ready) > 1:
            ready.sort(key=lambda event: self._ranks[event[0]])
        for fd, events in ready:
            handler = self._handlers.get(fd)
            if handler is not None:
                handler(fd, events)
