"""The server: one loop that receives a request, answers it and sends the reply.

The driver sends one request at a time and waits for its answer, so nothing else happens
meanwhile: a lock that another program holds, a network manager that is asked, a name that
is looked up, are waited for within bounds, and SIGTERM ends each of these waits.  Nothing
is watched between requests but signals and the link to the driver, so an idle daemon sleeps.

*Requests that the host has given up.*  After 30 s without an answer the driver tells the
host HV_E_FAIL by itself, and sends its next request.  Requests carry neither an id nor a
time.  Two rules follow:

- An old reply must not answer a newer request (the host got key 7 for index 8).  Before a
  reply that took more than a second is sent, the link is asked for a newer request; if
  there is one, it is answered instead.
- A request that has failed for the host must not be carried out.  A message wakes an idle
  daemon at once, so one can be old only if this process was away: stopped (SIGCONT says
  so), or busy or kept from running for as long as `AWAY`.  After an absence the link is
  looked at once without waiting, and what is found there and would change a pool is
  refused.  What only reads is answered; the driver drops the reply if it waits for none.

Not covered is a cgroup freezer, which continues a process without a signal.
"""

from __future__ import annotations

import errno
import os
import select
import stat
import time

from hv_kvp_daemon.wire.uapi import HV_UTIL_TIMEOUT, KVP_OP_NAMES, KVP_POOL_AUTO

from .dispatch import CHANGING, FAIL
from .log import DEBUG
from .trace import describe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from hv_kvp_daemon.guest.auto_pool import AutoPool
    from hv_kvp_daemon.pools.directory import PoolDirectory
    from hv_kvp_daemon.transport.selector import TransportSelector
    from hv_kvp_daemon.wire.message import Buffer

    from .dispatch import Dispatch
    from .log import Log
    from .publish import Publisher
    from .signals import Signals

#: Seconds.  After an absence of so long a request may be as old as the driver's timeout;
#: 5 s of that are left for answering.
AWAY: Final = HV_UTIL_TIMEOUT - 5.0

# Serving a request took so long that the driver may have given it up.
_SLOW = 1.0

# Descriptors of which a wait reports at most so many; the others are reported by the next.
_MOST_READY = 8

# The link has closed the descriptor, which may be something else's now.
_GONE = frozenset({errno.EBADF, errno.ENOENT})

_SIGHUP = 1  # on every Linux architecture


class Server:
    """Serves until SIGTERM or SIGINT.

    ``pools`` are open, ``selector`` is made but not started.  With ``trace`` a line is
    logged for each exchange.
    """

    def __init__(
        self,
        pools: PoolDirectory,
        auto_pool: AutoPool,
        selector: TransportSelector,
        dispatch: Dispatch,
        publisher: Publisher,
        signals: Signals,
        log: Log,
        *,
        trace: bool = False,
    ) -> None:
        self._pools = pools
        self._auto_pool = auto_pool
        self._selector = selector
        self._dispatch = dispatch
        self._publisher = publisher
        self._busy = publisher.page.busy
        self._signals = signals
        self._log = log
        self._trace = trace
        # poll(2) looks at each descriptor twice for each wait, epoll at the ready one.
        self._epoll = select.epoll()
        self._watched: tuple[tuple[int, int], ...] = ()
        self._serving = False
        #: How often the process had been stopped when the link was last looked at.
        self._stops = 0

    def run(self, ready: Callable[[], None]) -> None:
        """Register and serve; ``ready`` is called once, when registering has been tried.

        :raises TransportError: the transport that was asked for cannot work here.
        """
        self._epoll.register(self._signals.fileno(), select.POLLIN)
        self._selector.start()
        self._note_state()
        self._publisher.ready()
        ready()
        self._serve()
        self._publisher.stopping()

    def close(self) -> None:
        """Close the transport and the guest's sources; the pools are the caller's."""
        self._selector.link.close()
        self._auto_pool.close()
        self._epoll.close()

    def _serve(self) -> None:
        signals, poll, clock = self._signals, self._epoll.poll, time.monotonic
        # Whether a message that is waiting may be older than the driver's timeout.
        stale = False
        while not signals.stopping:
            link = self._selector.link
            if link.watched is not self._watched:
                self._watch(link.watched)
                self._note_state()
            deadline = link.deadline
            timeout = None if deadline is None else max(0.0, deadline - clock())
            ready = poll(0.0 if stale else timeout, _MOST_READY)
            woke = clock()
            if ready == link.message_ready:
                message = link.receive()
            else:
                message = self._on_events(ready, deadline, woke)
            if message is not None:
                self._answer(message, woke, stale=stale)
            if message is None or not self._serving:
                self._note_state()
            # Answering has looked at the link, so nothing older is left there.
            stale = message is None and clock() - woke >= AWAY
            if signals.stops != self._stops:
                self._stops = signals.stops
                stale = True

    def _watch(self, wanted: tuple[tuple[int, int], ...]) -> None:
        """Watch these (descriptor, events) in place of the former ones."""
        for fd, _ in self._watched:
            try:
                self._epoll.unregister(fd)
            except OSError as error:  # noqa: PERF203 - a link has at most three
                if error.errno not in _GONE:
                    raise
        for fd, events in wanted:
            self._epoll.register(fd, events)
        self._watched = wanted

    def _on_events(
        self, ready: list[tuple[int, int]], deadline: float | None, woke: float
    ) -> memoryview | None:
        """Handle whatever is not a message alone; the request that came with it, if any."""
        message = None
        signals_fd = self._signals.fileno()
        for fd, events in ready:
            if fd == signals_fd:
                self._on_signals()
            elif message is None and self._selector.link.watched is self._watched:
                # Otherwise its descriptors are other ones now; what is still ready is
                # reported again.
                message = self._selector.on_event(fd, events)
        if message is None and deadline is not None and woke >= deadline:
            message = self._selector.on_deadline()
        return message

    def _on_signals(self) -> None:
        if _SIGHUP in self._signals.read():
            self._log.info("SIGHUP: reading os-release, host name and addresses again")
            self._publisher.reloading()
            self._auto_pool.reload()
            self._publisher.ready()

    def _answer(self, message: memoryview, woke: float, *, stale: bool) -> None:
        """Answer a request, or a newer one that came while it was answered."""
        signals, clock, link = self._signals, time.monotonic, self._selector.link
        while True:
            self._busy[0] = woke
            if message[0] in CHANGING and (
                stale or signals.stops != self._stops or clock() - woke >= AWAY
            ):
                reply = self._refuse(message)
            else:
                reply = self._dispatch.handle(message)
            self._publisher.served(message[0], clock(), reply)
            if self._trace:
                self._log_exchange(message, reply)
            took = clock() - woke
            if took >= _SLOW or stale or signals.stops != self._stops:
                stopped = signals.stops != self._stops
                self._stops = signals.stops
                newer = link.newer()
                if newer is not None:
                    self._log.warning("a reply came too late; the driver has asked anew")
                    message, woke = newer, clock()
                    # It was sent when the driver gave the former up, or later.
                    stale = stopped or took >= HV_UTIL_TIMEOUT + AWAY
                    continue
            link.send(reply)
            return

    def _refuse(self, message: memoryview) -> bytes:
        self._log.warning(
            f"{KVP_OP_NAMES[message[0]]} refused: it may have waited longer than the"
            f" {HV_UTIL_TIMEOUT} s after which the host was told that it failed"
        )
        return FAIL

    def _note_state(self) -> None:
        """Change over if need be, take the driver's version, publish a changed state."""
        self._selector.consider()
        link = self._selector.link
        if link.version:
            self._auto_pool.driver_version = link.version
        self._serving = link.serving
        self._publisher.look()

    def _log_exchange(self, message: Buffer, reply: bytes) -> None:
        may_show = self._is_world_readable if self._log.level >= DEBUG else None
        self._log.info(describe(message, reply, may_show))

    def _is_world_readable(self, pool: int) -> bool:
        """Whether everybody may read a pool's values; the auto pool is no secret."""
        if pool == KVP_POOL_AUTO:
            return True
        try:
            return bool(os.stat(self._pools[pool].path).st_mode & stat.S_IROTH)
        except (KeyError, OSError):
            return False
