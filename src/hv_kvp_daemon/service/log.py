# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The daemon's log: one line per message, to the terminal, the journal or syslog.

The journal reads a priority from ``<N>`` at the start of a line on standard error
(sd-daemon(3)); syslog gets it from the C library.  The ``logging`` package is not used,
because it takes 1.5 MiB of every guest's memory.
"""

from __future__ import annotations

import os
import sys
import time

from hv_kvp_daemon.wire.text import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# Priorities of syslog(3).
ERR = 3
WARNING = 4
NOTICE = 5
INFO = 6
DEBUG = 7

LEVELS = {"error": ERR, "warning": WARNING, "notice": NOTICE, "info": INFO, "debug": DEBUG}

_MARKS = {ERR: "error: ", WARNING: "warning: "}

#: Seconds during which `Log.limited` logs a reason once.
INTERVAL = 60.0

#: The most reasons that `Log` remembers.  All others count as one.
MOST_REASONS = 64

_ANOTHER = "another reason"


class Log:
    """Writes messages of priority ``level`` or more urgent with ``write(priority, line)``."""

    def __init__(self, write: Callable[[int, str], None], level: int = INFO) -> None:
        self._write = write
        self.level = level
        self._seen: dict[str, tuple[float, int]] = {}
        #: Called for each message that is dropped.
        self.on_drop: Callable[[], object] = lambda: None

    def redirect(self, write: Callable[[int, str], None]) -> None:
        """Write with another function from now on."""
        self._write = write

    def log(self, priority: int, message: str, reason: str = "") -> None:
        """Log a message as one line; control characters are written as escapes.

        With a ``reason``, at most one a minute for each: the next one says how many were
        left out.  A reason must not have text that other programs choose, such as a
        process's name: that process could evade the limit by changing it.
        """
        if reason:
            now = time.monotonic()
            if len(self._seen) >= MOST_REASONS and reason not in self._seen:
                reason = _ANOTHER
            last, held_back = self._seen.get(reason, (-INTERVAL, 0))
            if now - last < INTERVAL:
                self._seen[reason] = (last, held_back + 1)
                return
            self._seen[reason] = (now, 0)
            if held_back:
                message += f" ({held_back} more like this before)"
        if priority <= self.level:
            self._write(priority, printable(message))

    def error(self, message: str) -> None:
        self.log(ERR, message)

    def warning(self, message: str) -> None:
        self.log(WARNING, message)

    def notice(self, message: str) -> None:
        self.log(NOTICE, message)

    def info(self, message: str) -> None:
        self.log(INFO, message)

    def debug(self, message: str) -> None:
        self.log(DEBUG, message)

    def dropped(self, reason: str, detail: str) -> None:
        """Count a message that is not served, and log it at most once a minute per reason."""
        self.on_drop()
        self.log(WARNING, f"dropped: {reason} ({detail})", reason)


class Reporter:
    """A log callback of one priority: ``report(message)`` or ``report(message, reason)``.

    The packages below `service` do not import the log: they take one of these or, in tools
    and tests, any function of a message.  ``reason`` is that of `Log.log`.
    """

    __slots__ = ("_log", "_priority")

    def __init__(self, log: Log, priority: int = WARNING) -> None:
        self._log = log
        self._priority = priority

    def __call__(self, message: str, reason: str = "") -> None:
        self._log.log(self._priority, message, reason)


def to_terminal(priority: int, line: str) -> None:
    """Write a line to standard error; errors and warnings are marked as such."""
    _to_stderr(f"{_MARKS.get(priority, '')}{line}\n")


def to_terminal_with_time(priority: int, line: str) -> None:
    """The same, after the time of day in milliseconds."""
    now = time.time()
    moment = time.strftime("%H:%M:%S", time.localtime(now))
    mark = _MARKS.get(priority, "")
    _to_stderr(f"{moment}.{int(now * 1000) % 1000:03d} {mark}{line}\n")


def to_journal(priority: int, line: str) -> None:
    """Write a line to standard error with the journal's prefix for its priority."""
    _to_stderr(f"<{priority}>{line}\n")


def _to_stderr(text: str) -> None:
    data = text.encode("utf-8", "backslashreplace")
    try:
        os.write(2, data)
    except OSError:
        # A closed pipe, a file on a full disk, or a journal that hangs (the pipe is full
        # and does not block): a lost message must not end or stop the daemon.
        return


def to_syslog(identity: str) -> Callable[[int, str], None]:
    """Open syslog under a name; the log of a detached daemon."""
    import syslog  # noqa: PLC0415 - not needed under systemd

    syslog.openlog(identity, syslog.LOG_PID, syslog.LOG_DAEMON)
    return syslog.syslog


def stderr_is_journal() -> bool:
    """Whether standard error is the journal's stream: JOURNAL_STREAM of systemd.exec(5)."""
    stream = os.environ.get("JOURNAL_STREAM", "")
    try:
        status = os.fstat(2)
    except OSError:
        return False
    return stream == f"{status.st_dev}:{status.st_ino}"


def log_uncaught(log: Log) -> None:
    """Log the traceback of an exception that ends the process."""

    def hook(kind: type[BaseException], error: BaseException, trace: object) -> None:
        import traceback  # noqa: PLC0415 - needed once, at the end

        del trace
        for part in traceback.format_exception(kind, error, error.__traceback__):
            for line in part.rstrip("\n").split("\n"):
                log.error(line)

    sys.excepthook = hook
