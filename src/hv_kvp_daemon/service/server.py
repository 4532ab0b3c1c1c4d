# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The server: one loop that receives a request, answers it and sends the reply.

The driver sends one request at a time and waits for its answer, so the daemon does nothing
else meanwhile.  It waits for a lock that another program holds, a network manager's
program or a name look-up, each within a time limit; SIGTERM ends each of these waits.
Between requests it watches only signals and the link to the driver, so an idle daemon
sleeps.

*Requests that the host has given up.*  After 30 s without an answer, the driver returns
HV_E_FAIL to the host and sends its next request.  Requests carry neither an id nor a time.
Two rules follow:

- An old reply must not answer a newer request (measured: the host got key 7 for index 8).
  Before the server sends a reply that took more than a second, it checks the link for a
  newer request; if there is one, it answers that instead.
- A request that has failed for the host must not be carried out.  A message wakes an idle
  daemon at once, so a request can be old only if this process did not run: because it was
  stopped (SIGCONT reports that), or because it was busy or not scheduled for `AWAY`
  seconds.  After that the server checks the link once without waiting, and refuses a
  request that it finds there if it would change a pool.  A request that only reads is
  answered; the driver drops the reply if it no longer waits for one.

The cgroup freezer is not covered: it continues a process without a signal.
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

#: Seconds after which a waiting request counts as expired: the driver's timeout, less 5 s
#: for answering.
AWAY: Final = HV_UTIL_TIMEOUT - 5.0

# Seconds after which the link is checked for a newer request before a reply is sent.
_SLOW = 1.0

# Most descriptors that one wait reports; the next wait reports the others.
_MOST_READY = 8

# The link has closed the descriptor; its number may be in use for another file.
_GONE = frozenset({errno.EBADF, errno.ENOENT})

_SIGHUP = 1  # on every Linux architecture


class Server:
    """Serves until SIGTERM or SIGINT.

    ``pools`` must be open, and ``selector`` not started.  With ``trace``, a line is logged
    for each request.
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
        # poll(2) polls each descriptor twice per wait, epoll only the ready one.
        self._epoll = select.epoll()
        self._watched: tuple[tuple[int, int], ...] = ()
        self._serving = False
        #: The value of `Signals.stops` when the link was last checked.
        self._stops = 0

    def run(self, ready: Callable[[], None]) -> None:
        """Register and serve; ``ready`` is called once, after the attempt to register.

        :raises TransportError: the requested transport cannot work here.
        """
        self._epoll.register(self._signals.fileno(), select.POLLIN)
        self._selector.start()
        self._note_state()
        self._publisher.ready()
        ready()
        self._serve()
        self._publisher.stopping()

    def close(self) -> None:
        """Close the transport and the auto pool's sources, but not the pools."""
        self._selector.link.close()
        self._auto_pool.close()
        self._epoll.close()

    def _serve(self) -> None:
        signals, poll, clock = self._signals, self._epoll.poll, time.monotonic
        # Whether a message that waits on the link may be older than the driver's timeout.
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
            # `_answer` has checked the link, so no older message is left there.
            stale = message is None and clock() - woke >= AWAY
            if signals.stops != self._stops:
                self._stops = signals.stops
                stale = True

    def _watch(self, wanted: tuple[tuple[int, int], ...]) -> None:
        """Watch these (descriptor, events) pairs instead of the former ones."""
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
        """Handle signals, events of the link and its deadline; return a request, or None."""
        message = None
        signals_fd = self._signals.fileno()
        for fd, events in ready:
            if fd == signals_fd:
                self._on_signals()
            elif message is None and self._selector.link.watched is self._watched:
                # Otherwise the link's descriptors have changed meanwhile; the next wait
                # reports those that are still ready.
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
        """Answer a request, or a newer one that arrives meanwhile."""
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
                    self._log.warning(
                        "a reply was dropped: the driver has sent a newer request meanwhile"
                    )
                    message, woke = newer, clock()
                    # The driver sent it after it had given up the former one.
                    stale = stopped or took >= HV_UTIL_TIMEOUT + AWAY
                    continue
            link.send(reply)
            return

    def _refuse(self, message: memoryview) -> bytes:
        self._publisher.report(
            f"{KVP_OP_NAMES[message[0]]} refused: it may have waited longer than the"
            f" {HV_UTIL_TIMEOUT} s after which the driver tells the host that it failed"
        )
        return FAIL

    def _note_state(self) -> None:
        """Select the transport, store the driver's version, and publish a changed state."""
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
        """Whether every user may read a pool; the auto pool counts as readable."""
        if pool == KVP_POOL_AUTO:
            return True
        try:
            return bool(os.stat(self._pools[pool].path).st_mode & stat.S_IROTH)
        except (KeyError, OSError):
            return False
