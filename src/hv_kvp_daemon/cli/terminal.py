# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Output for a person: safe text, cut to the terminal's width, colors, questions, progress.

Keys, values and names come from hosts and other programs, so all that is shown goes
through `safe` or `text`, which escape what could drive the terminal.  Colors, cuts,
questions and progress are for terminals only: a pipe gets whole values.
"""

from __future__ import annotations

import os
import sys
import time

from hv_kvp_daemon.cli import streams
from hv_kvp_daemon.service.options import UsageError
from hv_kvp_daemon.wire.text import printable, width

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Final, TextIO

# Of a terminal that does not know its width, as a serial console.
_DEFAULT_WIDTH: Final = 80

# Seconds before `Progress` shows itself.
_PATIENCE: Final = 1.0

BOLD: Final = "1"
RED: Final = "31"
GREEN: Final = "32"
YELLOW: Final = "33"


def safe(line: str) -> str:
    """Return a text as one line that cannot drive the terminal."""
    return printable(line)


def text(raw: bytes) -> str:
    r"""Return a field of a pool as one safe line, with escapes such as ``\n`` and ``\xff``.

    Escaped as Python writes them are bytes that are not UTF-8, and characters that move
    the cursor, change colors or reverse the direction of text.
    """
    return printable(raw.decode("utf-8", "backslashreplace"))


def is_terminal(stream: TextIO | None = None) -> bool:
    """Return whether a stream, by default standard output, is a terminal."""
    try:
        return (sys.stdout if stream is None else stream).isatty()
    except ValueError:  # closed
        return False


def columns() -> int:
    """Return the width of standard output; ``COLUMNS`` in the environment overrides it."""
    wanted = os.environ.get("COLUMNS", "")
    if wanted.isdecimal() and int(wanted) > 0:
        return int(wanted)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or _DEFAULT_WIDTH
    except (OSError, ValueError):
        return _DEFAULT_WIDTH


def fit(line: str, space: int) -> str:
    """Return a line, cut and marked where it has more than ``space`` columns."""
    from hv_kvp_daemon.wire import columns as cut  # noqa: PLC0415 - `list` in a pipe cuts nothing

    try:
        "…".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return cut.fit(line, space, "...")
    return cut.fit(line, space)


def paint(line: str, color: str) -> str:
    """Return a text in a color, where standard output is a terminal without ``NO_COLOR``."""
    if not is_terminal() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return line
    return f"\033[{color}m{line}\033[0m"


def ago(when: int) -> str:
    """Return how long ago a time is, in the largest whole unit: ``3 min ago``."""
    seconds = max(0, int(time.time()) - when)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit} ago"
    return f"{seconds} s ago"


def say(line: str) -> None:
    """Write one line for a person to standard error, made safe.

    A standard error that cannot be written is no reason to stop.
    """
    try:
        print(f"hv-kvp: {printable(line)}", file=sys.stderr, flush=True)
    except OSError:
        streams.discard(2)


def confirmed(question: str, *, yes: bool) -> bool:
    """Ask whether to go on, unless ``--yes`` was given.

    :raises UsageError: there is no terminal to ask on.
    """
    if yes:
        return True
    if not (is_terminal(sys.stdin) and is_terminal(sys.stderr)):
        raise UsageError(f"{question} Not asked without a terminal; --yes answers it")
    print(f"{printable(question)} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


class Progress:
    """A context that says what it waits for, on a terminal, once it has lasted a second.

    The line on standard error is removed at the end.  It is written from a timer signal's
    handler, since what takes long is a system call that waits.
    """

    __slots__ = ("_shown", "_what")

    def __init__(self, what: str) -> None:
        self._what = what
        self._shown = 0

    def __enter__(self) -> None:
        if is_terminal(sys.stderr):
            import signal  # noqa: PLC0415 - half a millisecond of every start

            signal.signal(signal.SIGALRM, self._show)
            signal.setitimer(signal.ITIMER_REAL, _PATIENCE)

    def _show(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        line = fit(f"{printable(self._what)} ...", columns() - 1)
        self._shown = width(line)
        # Not by print: the signal may have come within one.
        os.write(2, b"\r" + line.encode(sys.stderr.encoding, "replace"))

    def __exit__(self, *_: object) -> None:
        if is_terminal(sys.stderr):
            import signal  # noqa: PLC0415 - as above

            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
        if self._shown:
            os.write(2, b"\r" + b" " * self._shown + b"\r")
