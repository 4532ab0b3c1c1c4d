# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""``watch --exec``: runs a program for each change, one change after the other.

While the program runs, the watcher goes on reading the pools, and further changes wait in a
queue here.  So a slow program still gets every change that is seen.

Signals come as bytes of a pipe (signal.set_wakeup_fd), which is polled together with the
watcher's descriptor.  So there is no moment at which one could be missed: neither SIGCHLD
(pidfd_open(2) would need Linux 5.3) nor those that end the command.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from hv_kvp_daemon.cli import terminal
from hv_kvp_daemon.guest.child import INT_MAX
from hv_kvp_daemon.pools.directory import POOL_NAMES

if TYPE_CHECKING:
    from .watch import Event

#: The signals that end the command, and are passed on to the program.
_ENDING: Final = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)


class Runner:
    """Runs the program at ``path`` for each change that it is given, in their order.

    The program gets event, pool and key as its arguments and, with the value, in its
    environment.  The value is no argument, because every user can read the arguments of a
    process.  All are the bytes of the record.  Standard input is /dev/null.

    A context, in which ``failed`` is whether a run of the program has failed, and
    ``signal`` is the number of the signal that ends the command, or 0.
    """

    def __init__(self, path: str) -> None:
        self.failed = False
        self.signal = 0
        self._path = path
        self._waiting: deque[Event] = deque()
        self._what = ""  # the change for which it runs, for messages
        self._pid = 0
        self._pipe = (-1, -1)
        self._handlers: dict[int, object] = {}

    def __enter__(self) -> Runner:  # noqa: PYI034 - typing.Self is of Python 3.11
        self._pipe = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, *_ENDING):
            # What nohup or a shell has ignored stays ignored, but for the end of a child.
            if number == signal.SIGCHLD or signal.getsignal(number) != signal.SIG_IGN:
                self._handlers[number] = signal.signal(number, lambda *_: None)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # what signal() returned
        signal.set_wakeup_fd(-1)
        for fd in self._pipe:
            os.close(fd)

    def add(self, change: Event) -> None:
        """Have the program run for a change, after those that were added before."""
        self._waiting.append(change)

    def wait(self, fd: int, seconds: float) -> bool:
        """Wait until a descriptor is readable: the `Wait` of the watcher.

        Meanwhile the program is run.  False after the time, or after a signal.
        """
        ends = time.monotonic() + seconds
        while not self.signal:
            self._start()
            if self._poll(fd, ends - time.monotonic()):
                return True
            if time.monotonic() >= ends:
                break
        return False

    def finish(self) -> None:
        """Run the program for all changes that wait; after a signal, only await its end."""
        self._start()
        while self._pid:
            self._poll(-1, INT_MAX)
            self._start()
        if self._waiting:
            terminal.say(f"{self._path}: not run for {len(self._waiting)} more changes")

    def _start(self) -> None:
        while self._waiting and not self._pid and not self.signal:
            change = self._waiting.popleft()
            pool = POOL_NAMES[change.pool]
            self._what = f"{change.kind} {pool} {terminal.text(change.key)}"
            words = {
                b"HV_KVP_EVENT": change.kind.encode(),
                b"HV_KVP_POOL": pool.encode(),
                b"HV_KVP_KEY": change.key,
            }
            try:
                self._pid = os.posix_spawn(
                    self._path,
                    [os.fsencode(self._path), *words.values()],
                    {**os.environb, **words, b"HV_KVP_VALUE": change.value},
                    file_actions=[(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)],
                    # A signal for the group also reaches what a shell script has started.
                    setpgroup=0,
                    # Python ignores them, and what is ignored stays so in a new program.
                    setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
                )
            except OSError as error:
                self._fail(error.strerror or str(error))

    def _poll(self, fd: int, seconds: float) -> bool:
        """Handle signals as they come; return whether the descriptor is readable."""
        poll = select.poll()
        poll.register(self._pipe[0], select.POLLIN)
        if fd >= 0:
            poll.register(fd, select.POLLIN)
        ready = dict(poll.poll(max(0, min(seconds * 1000 + 1, INT_MAX))))
        if self._pipe[0] in ready:
            for number in os.read(self._pipe[0], select.PIPE_BUF):
                if number == signal.SIGCHLD:
                    self._reap()
                elif number in _ENDING:
                    self._end(number)
        return fd in ready

    def _end(self, number: int) -> None:
        self.signal = self.signal or number
        if self._pid:
            try:
                os.killpg(self._pid, number)
            except PermissionError:
                pass  # a set-user-ID program; its end is waited for all the same

    def _reap(self) -> None:
        if not self._pid:
            return
        pid, status = os.waitpid(self._pid, os.WNOHANG)
        if not pid:
            return
        self._pid = 0
        code = os.waitstatus_to_exitcode(status)
        if code:
            self._fail(f"exit status {code}" if code > 0 else f"ended by signal {-code}")

    def _fail(self, reason: str) -> None:
        self.failed = True
        terminal.say(f"{self._path}: {reason}; it was run for: {self._what}")
