"""Signals become readable bytes: nothing happens inside a handler.

``signal.set_wakeup_fd`` writes each signal's number into a pipe that the poll
loop watches; Python's own handlers are there only so that the default action
is not taken.
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

_READ_SIZE = 64

# time.sleep goes on after a handler has run, so it is taken in steps.
_PAUSE_STEP = 0.05


class Signals:
    """SIGTERM, SIGINT, SIGHUP, SIGCONT and SIGALRM as events of a descriptor.

    `continued` turns true at once when the process goes on after a stop, also
    in the middle of a request.
    """

    WATCHED = (
        signal.SIGTERM,
        signal.SIGINT,
        signal.SIGHUP,
        signal.SIGCONT,
        signal.SIGALRM,
    )

    def __init__(self) -> None:
        self.continued = False
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
            self.continued = True
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

    def alarm(self, seconds: float) -> None:
        """Have SIGALRM come after some time, once.

        For what is not urgent: a deadline of the loop would cost a timer in the kernel
        with each wait, which is 0.4 of a request's 5.6 microseconds of CPU (measured).
        """
        signal.setitimer(signal.ITIMER_REAL, seconds)

    def take_continued(self) -> bool:
        """Whether the process has been stopped and continued since the last call."""
        continued, self.continued = self.continued, False
        return continued

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
        """Sleep, but not beyond the request to end; True: end now."""
        ends = time.monotonic() + seconds
        while not self.stopping and (left := ends - time.monotonic()) > 0:
            time.sleep(min(left, _PAUSE_STEP))
        return self.stopping

    def close(self) -> None:
        """Ignore the signals from now on: the process is ending, with a status of its own."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number in self.WATCHED:
            signal.signal(number, signal.SIG_IGN)
        signal.set_wakeup_fd(-1)
        os.close(self._read)
        os.close(self._write)
