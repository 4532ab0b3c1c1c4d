"""Signals become readable bytes: nothing happens inside a handler.

``signal.set_wakeup_fd`` writes each signal's number into a pipe that the poll
loop watches; Python's own handlers are there only so that the default action
is not taken.
"""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
else:
    import _signal as signal

_READ_SIZE = 64

# time.sleep goes on after a handler has run, so it is taken in steps.
_PAUSE_STEP = 0.05


class Signals:
    """SIGTERM, SIGINT, SIGHUP and SIGCONT as events of a descriptor.

    `continued` turns true at once when the process goes on after a stop, also
    in the middle of a request.
    """

    WATCHED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCONT)

    def __init__(self) -> None:
        self.stops = 0
        self.stopping = False
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        for number in self.WATCHED:
            signal.signal(number, self._on_signal)
        # A client of the log or of the loopback socket that has gone is an
        # error of that write, not the end of the daemon.
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
        """The numbers of the signals that have come since the last call."""
        try:
            return set(os.read(self._read, _READ_SIZE))
        except BlockingIOError:
            return set()

    def pause(self, seconds: float) -> bool:
        """Sleep, but not beyond the request to end; True: end now."""
        ends = time.monotonic() + seconds
        while not self.stopping and (left := ends - time.monotonic()) > 0:
            time.sleep(min(left, _PAUSE_STEP))
        return self.stopping

    def close(self) -> None:
        """Ignore the signals from now on: the process is ending, with a status of its own."""
        for number in self.WATCHED:
            signal.signal(number, signal.SIG_IGN)
        signal.set_wakeup_fd(-1)
        os.close(self._read)
        os.close(self._write)
