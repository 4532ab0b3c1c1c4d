"""Where messages go: the terminal, the journal or syslog.

One line each.  The journal reads a priority from ``<N>`` in front of a line on
standard error (sd-daemon(3)); syslog gets it through the C library.  The
``logging`` package would cost every guest 1.5 MiB.
"""

from __future__ import annotations

import os
import sys
import time

from hv_kvp_daemon.wire.text import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# syslog(3)
ERR = 3
WARNING = 4
NOTICE = 5
INFO = 6
DEBUG = 7

LEVELS = {"error": ERR, "warning": WARNING, "notice": NOTICE, "info": INFO, "debug": DEBUG}

#: Seconds during which a reason is logged once.
INTERVAL = 60.0


class Log:
    """Writes messages up to ``level`` by way of ``write(priority, line)``."""

    def __init__(self, write: Callable[[int, str], None], level: int = INFO) -> None:
        self._write = write
        self.level = level
        self._seen: dict[str, tuple[float, int]] = {}
        #: Messages that were not served, by reason.
        self.drops: dict[str, int] = {}
        #: Called with each of them.
        self.on_drop: Callable[[], object] = lambda: None

    def redirect(self, write: Callable[[int, str], None]) -> None:
        """From now on write by way of another function."""
        self._write = write

    def log(self, priority: int, message: str) -> None:
        """One message; line breaks and other control characters are escaped."""
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
        """Count a message that is not served, and say so at most once a minute per reason."""
        self.drops[reason] = self.drops.get(reason, 0) + 1
        self.on_drop()
        self.limited(reason, f"dropped: {reason} ({detail})")

    def limited(self, reason: str, message: str) -> None:
        """A warning at most once a minute per reason; the next says how many were held back."""
        now = time.monotonic()
        last, held_back = self._seen.get(reason, (-INTERVAL, 0))
        if now - last < INTERVAL:
            self._seen[reason] = (last, held_back + 1)
            return
        self._seen[reason] = (now, 0)
        more = f" ({held_back} more like this before)" if held_back else ""
        self.warning(message + more)


def to_terminal(priority: int, line: str) -> None:
    """Readable lines on standard error; only trouble is marked."""
    mark = {ERR: "error: ", WARNING: "warning: "}.get(priority, "")
    _to_stderr(f"{mark}{line}\n")


def to_journal(priority: int, line: str) -> None:
    """Lines on standard error with the priority that the journal takes from them."""
    _to_stderr(f"<{priority}>{line}\n")


def _to_stderr(text: str) -> None:
    data = text.encode("utf-8", "backslashreplace")
    try:
        os.write(2, data)
    except OSError:
        # Nobody reads standard error (a closed pipe, a full disk behind it, a
        # journal that hangs): the daemon serves on without a log rather than end
        # for want of one.
        return


def to_syslog(identity: str) -> Callable[[int, str], None]:
    """Lines to syslog under an identity; the default of a detached daemon."""
    import syslog  # noqa: PLC0415 - a daemon under systemd does not need it

    syslog.openlog(identity, syslog.LOG_PID, syslog.LOG_DAEMON)
    return syslog.syslog


def stderr_is_journal() -> bool:
    """Whether systemd connected standard error to the journal (sd-daemon: JOURNAL_STREAM)."""
    stream = os.environ.get("JOURNAL_STREAM", "")
    try:
        status = os.fstat(2)
    except OSError:
        return False
    return stream == f"{status.st_dev}:{status.st_ino}"


def log_uncaught(log: Log) -> None:
    """Make an exception that ends the process appear in its log, whole."""

    def hook(kind: type[BaseException], error: BaseException, trace: object) -> None:
        import traceback  # noqa: PLC0415 - only a dying process needs it

        del trace
        for part in traceback.format_exception(kind, error, error.__traceback__):
            for line in part.rstrip("\n").split("\n"):
                log.error(line)

    sys.excepthook = hook
