"""What goes to a person: safe text that fits, colour, a question, a sign of life.

In: text of any origin.  Out: text that cannot drive the terminal and is not
wider than it.
Rule: only a terminal gets colour, cuts, questions and progress; a pipe gets
whole values and no decoration.
"""

from __future__ import annotations

import os
import sys

from hv_kvp_daemon.wire.text import printable, width

from .command import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Final, TextIO

# Where neither the terminal nor COLUMNS says how wide it is (a serial console).
_USUAL_WIDTH: Final = 80

# What takes longer gets a line that says so.
_PATIENCE: Final = 1.0

BOLD: Final = "1"
RED: Final = "31"
GREEN: Final = "32"
YELLOW: Final = "33"


def safe(line: str) -> str:
    """A text as one line that cannot drive the terminal."""
    return printable(line)


def text(raw: bytes) -> str:
    r"""A field of a pool as one safe line, with ``\n``, ``\x1b``, ``\u202e`` or ``\xff`` in it.

    Bytes that are no UTF-8 and characters that move the cursor, change colours or
    reverse the direction of text are written as Python writes them.
    """
    return printable(raw.decode("utf-8", "backslashreplace"))


def is_terminal(stream: TextIO | None = None) -> bool:
    """Whether a stream, by default standard output, is a terminal."""
    try:
        return (stream or sys.stdout).isatty()
    except ValueError:  # closed
        return False


def columns() -> int:
    """How many columns standard output has; ``COLUMNS`` overrides."""
    wanted = os.environ.get("COLUMNS", "")
    if wanted.isdecimal() and int(wanted) > 0:
        return int(wanted)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or _USUAL_WIDTH
    except (OSError, ValueError):
        return _USUAL_WIDTH


def fit(line: str, space: int) -> str:
    """The line, or as much of it as fits into so many columns, with a mark of the cut."""
    if width(line) <= space:
        return line
    mark = _cut_mark()
    left = space - len(mark)
    if left < 0:
        return mark[:space]
    for end, character in enumerate(line):
        left -= width(character)
        if left < 0:
            return line[:end] + mark
    return line


def _cut_mark() -> str:
    try:
        "…".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return "..."
    return "…"


def paint(line: str, colour: str) -> str:
    """The text in a colour where standard output is a terminal that wants it (no-color.org)."""
    if not is_terminal() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return line
    return f"\033[{colour}m{line}\033[0m"


def say(line: str) -> None:
    """One line for a person, on standard error; what it quotes is made safe."""
    print(f"hv-kvp: {printable(line)}", file=sys.stderr)


def confirmed(question: str, *, yes: bool) -> bool:
    """Whether to go on: because ``--yes`` was given, or the person says so.

    :raises UsageError: there is nobody to ask.
    """
    if yes:
        return True
    if not (is_terminal(sys.stdin) and is_terminal(sys.stderr)):
        raise UsageError(f"{question} --yes says so where nobody can be asked")
    print(f"{printable(question)} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


class Progress:
    """A context that says what is going on once it has lasted a second.

    The line stands on standard error, if that is a terminal, until the end.
    By the timer signal, since what takes long is a system call that waits.
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
