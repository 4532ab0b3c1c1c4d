"""The resident process: register, serve, take signals, tell systemd, end.

Everything happens between two calls of `poll`: a request is read, answered and
forgotten.  What may take long (a resolver) is a child with a pipe in the same
loop; what may hang (another program's lock) is bounded by its own room.  One
request's reply may wait for such a child: GET_IP_INFO (`service.ipinfo`).

*Requests that the host has given up.*  The driver answers the host itself,
HV_E_FAIL, when it has waited 30 s, and nothing tells the daemon.  A request
that waited unread that long, because this process was stopped or kept busy,
must not be carried out: the host believes that it failed.  Neither netlink nor
the device stamps its messages, but a request that arrives at an idle daemon
wakes it at once, so one can be old only if this process was away: stopped
(SIGCONT says so) or busy since it last looked.  Then what would change a pool
is refused, and what only reads is answered; the driver throws the reply away if
nobody waits for it.  A reply that took long is held back if a newer request has
come: the driver would take it for the newer one's answer.
"""

from __future__ import annotations

import os
import select
import stat
import time

from hv_kvp_daemon.transport.conversation import AWAY, Conversation
from hv_kvp_daemon.wire.uapi import (
    HV_UTIL_TIMEOUT,
    KVP_OP_ENUMERATE,
    KVP_OP_NAMES,
    KVP_POOL_AUTO,
)

from .dispatch import CHANGING, FAIL
from .log import DEBUG
from .loop import Loop
from .trace import describe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from hv_kvp_daemon.guest.intrinsic import Intrinsic
    from hv_kvp_daemon.pools.directory import PoolDirectory
    from hv_kvp_daemon.transport.choose import Chooser
    from hv_kvp_daemon.transport.conversation import Ready
    from hv_kvp_daemon.wire.message import Buffer

    from .dispatch import Dispatch
    from .log import Log
    from .publish import Publisher
    from .signals import Signals

# Serving a request took so long that the driver may have given it up.  Looking
# for a newer one costs a system call, so it is done only then.
_SLOW = 1.0

# The same on every Linux architecture; a byte in the wake-up pipe.
_SIGHUP = 1


class Daemon:
    """Serves until SIGTERM or SIGINT.

    ``pools`` are open, ``chooser`` is made but not started.  With ``trace`` a
    line is logged for each exchange.
    """

    def __init__(
        self,
        pools: PoolDirectory,
        intrinsic: Intrinsic,
        chooser: Chooser,
        dispatch: Dispatch,
        publisher: Publisher,
        signals: Signals,
        log: Log,
        *,
        trace: bool = False,
    ) -> None:
        self._pools = pools
        self._intrinsic = intrinsic
        self._chooser = chooser
        self._signals = signals
        self._log = log
        self._trace = trace
        self._dispatch = dispatch
        self._publisher = publisher
        self._page = publisher.page
        self._loop = Loop()
        self._line_watched: tuple[tuple[int, int], ...] = ()
        self._line_serves = False
        self._woke = time.monotonic()
        self._away = False
        self._looked = False

    def run(self, ready: Callable[[], None]) -> None:
        """Register and serve; ``ready`` is called once, when that was tried.

        :raises TransportError: the transport that was asked for cannot work here.
        """
        self._loop.watch("signals", [(self._signals.fileno(), select.POLLIN)], self._on_signal)
        self._chooser.start()
        self._intrinsic.start()
        # In this order: an address that came with a request belongs in its answer.
        self._watch_guest()
        self._watch_line()
        self._line_changed()
        self._publisher.ready()
        ready()
        while not self._signals.stopping:
            self._turn()
        self._publisher.stopping()
        self._log.info("stopped by signal")

    def close(self) -> None:
        """Close the transport and the guest's sources; the pools are the caller's."""
        self._dispatch.ip_info.abandon()
        self._chooser.line.close()
        self._intrinsic.close()
        self._loop.close()

    def _turn(self) -> None:
        busy = time.monotonic() - self._woke
        away = self._signals.take_continued() or self._away or busy >= AWAY
        # After an absence the line is looked at once without waiting: what is
        # there now came meanwhile, what comes later is new.
        deadline = 0.0 if away else self._soonest()
        request = None
        if deadline is None and not self._trace:
            ready, request = self._converse()
        else:
            ready = self._loop.wait(deadline)
        self._woke = time.monotonic()
        again = self._signals.take_continued()
        # A conversation hands on no request but one that may be old.
        self._away = away or again or request is not None
        self._looked = request is not None
        if request is not None or self._chooser.line.watched is not self._line_watched:
            self._serve(request)
        self._loop.call(ready)
        if deadline is not None and self._woke >= deadline:
            self._check_deadlines()
        # What was read after the process went on left nothing older behind.
        self._away = again and not self._looked

    def _converse(self) -> tuple[Ready, memoryview | None]:
        """Wait, while the line answers what is no more than a request."""
        return self._chooser.line.converse(
            Conversation(
                self._loop.wait,
                self._dispatch.prepared(),
                self._dispatch.glance,
                self._answer,
                self._took,
                self._signals,
            )
        )

    def _took(self, number: int, when: float) -> None:
        self._page.requests[KVP_OP_ENUMERATE] += number
        self._page.answered[KVP_OP_ENUMERATE] = when

    def _answer(self, message: memoryview) -> bytes | None:
        """The reply to a request of a conversation; None: all has been seen to."""
        started = self._page.busy[0] = time.monotonic()
        reply = self._dispatch.make(message)
        finished = time.monotonic()
        if reply is None or self._signals.continued or finished - started >= _SLOW:
            self._serve(self._conclude(message, reply, started, late=True))
            return None
        self._publisher.served(message[0], finished, reply)
        return reply

    def _soonest(self) -> float | None:
        """The earliest deadline of all, or None: nothing wakes an idle daemon."""
        soonest = self._line_deadline()
        for deadline in (self._dispatch.ip_info.deadline, self._intrinsic.deadline()):
            if deadline is not None and (soonest is None or deadline < soonest):
                soonest = deadline
        return soonest

    def _line_deadline(self) -> float | None:
        """None while a reply is owed: the driver would take a registration for it."""
        return None if self._dispatch.ip_info.request else self._chooser.line.deadline

    def _check_deadlines(self) -> None:
        now = time.monotonic()
        deadline = self._line_deadline()
        if deadline is not None and now >= deadline:
            self._serve(self._chooser.on_deadline())
        deadline = self._dispatch.ip_info.deadline
        if deadline is not None and now >= deadline:
            request = self._dispatch.ip_info.request
            self._reply_later(request, self._dispatch.ip_info.expire())
        deadline = self._intrinsic.deadline()
        if deadline is not None and now >= deadline:
            self._intrinsic.expire()
            self._watch_guest()

    # -- the line to the driver

    def _on_line(self, fd: int, events: int) -> None:
        self._looked = True
        self._serve(self._chooser.on_event(fd, events))

    def _serve(self, message: memoryview | None) -> None:
        """Answer a request and whatever came while it was answered."""
        if self._chooser.line.watched is not self._line_watched:
            self._drop_later("its line to the driver is lost")
        changed = message is None or not self._line_serves
        old = self._away
        while message is not None:
            started = time.monotonic()
            old = old or self._signals.continued
            self._drop_later("the driver has asked anew")
            self._page.busy[0] = started
            reply = (
                self._refuse(message)
                if old and message[0] in CHANGING
                else self._dispatch.answer(message)
            )
            message = self._conclude(message, reply, started, late=old)
            # A newer one came at least the driver's timeout after the former.
            old = time.monotonic() - started >= HV_UTIL_TIMEOUT + AWAY
        if self._chooser.line.watched is not self._line_watched:
            self._watch_line()
            changed = True
        if changed:
            self._line_changed()

    def _conclude(
        self, message: memoryview, reply: bytes | None, started: float, *, late: bool
    ) -> memoryview | None:
        """Send the reply, unless there is none yet or the driver has asked for something newer.

        That newer request is returned.  Who serves it has the same buffer for it.
        """
        finished = time.monotonic()
        if reply is None:
            self._watch_later()
            return None
        self._publisher.served(message[0], finished, reply)
        if self._trace:
            self._log_exchange(message, reply)
        if late or finished - started >= _SLOW:
            return self._reply_late(reply)
        self._chooser.line.reply(reply)
        return None

    def _reply_late(self, reply: bytes) -> memoryview | None:
        """Send it, unless the driver has asked for something newer: then return that."""
        newer = self._chooser.line.newer()
        if newer is None:
            self._chooser.line.reply(reply)
        else:
            self._log.warning("a reply came too late; the driver has asked anew")
        return newer

    # -- a reply that waits for a program

    def _on_later(self, fd: int, events: int) -> None:
        del fd, events
        request = self._dispatch.ip_info.request
        self._reply_later(request, self._dispatch.ip_info.on_event())

    def _reply_later(self, request: bytes, reply: bytes | None) -> None:
        """Send it, unless there is none yet or the driver has asked for something newer."""
        self._watch_later()
        if reply is None:
            return
        self._publisher.served(request[0], time.monotonic(), reply)
        if self._trace:
            self._log_exchange(request, reply)
        self._serve(self._reply_late(reply))

    def _drop_later(self, why: str) -> None:
        """A reply that is still owed has nobody to wait for it."""
        if self._dispatch.ip_info.request:
            self._log.warning(f"a reply was not made to its end; {why}")
            self._dispatch.ip_info.abandon()
            self._page.busy[0] = 0.0
            self._watch_later()

    def _watch_later(self) -> None:
        fd = self._dispatch.ip_info.fileno()
        self._loop.watch("later", [(fd, select.POLLIN)] if fd >= 0 else [], self._on_later)

    def _refuse(self, message: memoryview) -> bytes:
        self._log.warning(
            f"{KVP_OP_NAMES[message[0]]} refused: it may have waited longer than the"
            f" {HV_UTIL_TIMEOUT} s after which the host was told that it failed"
        )
        return FAIL

    def _watch_line(self) -> None:
        self._line_watched = self._chooser.line.watched
        self._loop.watch("line", self._line_watched, self._on_line)

    def _line_changed(self) -> None:
        """Hand on the driver's version, and tell when the driver goes or comes."""
        if self._chooser.line.version:
            self._intrinsic.driver_version = self._chooser.line.version
        self._line_serves = self._chooser.line.serving
        self._publisher.look()

    def _log_exchange(self, message: Buffer, reply: bytes) -> None:
        may_show = self._world_readable if self._log.level >= DEBUG else None
        self._log.info(describe(message, reply, may_show))

    def _world_readable(self, pool: int) -> bool:
        """Whether everybody may read a pool's values; the auto pool is no secret."""
        if pool == KVP_POOL_AUTO:
            return True
        try:
            return bool(os.stat(self._pools[pool].path).st_mode & stat.S_IROTH)
        except (KeyError, OSError):
            return False

    # -- the guest

    def _on_guest(self, fd: int, events: int) -> None:
        del events
        self._intrinsic.on_event(fd)
        self._watch_guest()

    def _watch_guest(self) -> None:
        self._loop.watch("guest", self._intrinsic.watched(), self._on_guest)

    # -- signals and systemd

    def _on_signal(self, fd: int, events: int) -> None:
        del fd, events
        numbers = self._signals.read()
        if _SIGHUP in numbers:
            self._log.info("SIGHUP: reading os-release, host name and addresses again")
            self._publisher.reloading()
            self._intrinsic.reload()
            self._watch_guest()
            self._publisher.ready()
