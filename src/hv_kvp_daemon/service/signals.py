# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Signals as bytes in a pipe that the serving loop watches.

``signal.set_wakeup_fd`` makes the interpreter write the number of each signal into the
pipe.  The handlers only set a flag, and replace the default action; everything else is
done by the loop, between requests.
"""

from __future__ import annotations

import os
import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
else:
    import _signal as signal

# The capacity of a pipe, so that what `wait` puts back always fits.  Less of a full pipe
# may free no room: the kernel frees whole pages.
_READ_SIZE = 65536

# Seconds.  time.sleep continues after a handler has run (PEP 475), so `pause` sleeps in
# steps.
_PAUSE_STEP = 0.05


class Signals:
    """Handles SIGTERM, SIGINT, SIGHUP and SIGCONT; `fileno` is readable after one of them.

    ``stops`` counts how often the process has continued after a stop, and ``stopping``
    becomes true with SIGTERM or SIGINT; both also while a request is handled.
    """

    WATCHED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCONT)

    def __init__(self) -> None:
        self.stops = 0
        self.stopping = False
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        for number in self.WATCHED:
            signal.signal(number, self._on_signal)
        # A log or a loopback peer that has closed its end is an error of that write
        # (EPIPE), and must not end the daemon.
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)

    def _on_signal(self, number: int, frame: object) -> None:
        del frame
        if number == signal.SIGCONT:
            self.stops += 1
        elif number in (signal.SIGTERM, signal.SIGINT):
            self.stopping = True

    def fileno(self) -> int:
        return self._read

    def read(self) -> set[int]:
        """Return the numbers of the signals that have come since the last call."""
        try:
            return set(os.read(self._read, _READ_SIZE))
        except BlockingIOError:
            return set()

    def wait(self, fd: int, seconds: float) -> bool:
        """Wait until a descriptor is readable or hung up; False after so many seconds.

        False as well as soon as SIGTERM or SIGINT has come.  What else has come is put
        back into the pipe, so that `fileno` is readable and `read` returns it.
        """
        ends = time.monotonic() + seconds
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        poll.register(self._read, select.POLLIN)
        came: set[int] = set()
        ready = False
        while not self.stopping and not ready:
            left = ends - time.monotonic()
            events = poll.poll(max(0, int(left * 1000) + 1))
            if not events and left <= 0:
                break
            ready = any(each == fd for each, _ in events)
            came |= self.read()
        if came:
            os.write(self._write, bytes(came))
        return ready

    def pause(self, seconds: float) -> bool:
        """Sleep for some seconds, or until SIGTERM or SIGINT; return whether one has come."""
        ends = time.monotonic() + seconds
        while not self.stopping and (left := ends - time.monotonic()) > 0:
            time.sleep(min(left, _PAUSE_STEP))
        return self.stopping

    def close(self) -> None:
        """Ignore the signals from now on: they must not change the exit status any more."""
        for number in self.WATCHED:
            signal.signal(number, signal.SIG_IGN)
        signal.set_wakeup_fd(-1)
        os.close(self._read)
        os.close(self._write)
