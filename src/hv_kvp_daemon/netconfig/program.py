"""A program that is asked for something, beside the request path.

In: a `Question`: a command without a shell and its time limit.  Out: what it
wrote, by a pipe that a poll loop watches.
Rules: each argument is one word, whatever it holds.  The program gets nothing
of ours but standard output, so none of our locks and devices can live on in it.
When its time is over, it and all that it started are killed.
"""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Sequence
else:
    import _signal as signal

# More than 1500 of the longest addresses.  A program that writes more than we read
# is stopped by the pipe, and then by its time limit.
MAX_OUTPUT = 64 * 1024

# A service manager sets PATH; who starts the daemon from an empty environment does not.
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Question:
    """A command, its absolute path first, and the seconds that it may take."""

    __slots__ = ("argv", "seconds")

    def __init__(self, argv: Sequence[str], seconds: float) -> None:
        self.argv = tuple(argv)
        self.seconds = seconds


class Answer:
    """What came of a question.

    ``trouble`` is empty if the program ended by itself with status 0; otherwise
    it says what went wrong, and ``output`` may still be there.  It is None if
    the program could not be started or had to be killed.
    """

    __slots__ = ("output", "trouble")

    def __init__(self, output: str | None, trouble: str = "") -> None:
        self.output = output
        self.trouble = trouble


class Program:
    """A running program.  The service polls `fileno` for input and minds `deadline`.

    :raises OSError: it cannot be started.
    """

    __slots__ = ("_fd", "_pid", "_question", "_written", "deadline")

    def __init__(self, question: Question, now: float) -> None:
        self._question = question
        self._written = bytearray()
        #: When to call `expire`, by time.monotonic().
        self.deadline = now + question.seconds
        self._fd, write_end = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._fd, False)
        try:
            self._pid = _start(question.argv, write_end)
        except OSError:
            os.close(self._fd)
            raise
        finally:
            os.close(write_end)

    def fileno(self) -> int:
        """Return the descriptor that is readable when to call `on_event`."""
        return self._fd

    def on_event(self) -> Answer | None:
        """Read what there is; the answer, when the program has closed its output."""
        try:
            part = os.read(self._fd, MAX_OUTPUT)
        except BlockingIOError:
            return None
        if part:
            self._written += part
            if len(self._written) <= MAX_OUTPUT:
                return None
            self._end()
            return self._failed(f"wrote more than {MAX_OUTPUT} bytes")
        status = self._end()
        text = self._written.decode("utf-8", "surrogateescape")
        if status == 0:
            return Answer(text)
        return Answer(text, f"{self._question.argv[0]}: status {status}")

    def expire(self) -> Answer | None:
        """Kill it if its time is over."""
        if time.monotonic() < self.deadline:
            return None
        self._end()
        return self._failed(f"no answer within {self._question.seconds:g} s")

    def close(self) -> None:
        """Kill it: its answer is no longer wanted."""
        self._end()

    def _failed(self, what: str) -> Answer:
        return Answer(None, f"{self._question.argv[0]}: {what}")

    def _end(self) -> int:
        """Close the pipe, kill what still runs, and reap; the exit status, minus a signal."""
        os.close(self._fd)
        try:
            # Its process group: a script is a shell, and what it waits for is
            # another process.  One that is already ending keeps its status.
            os.killpg(self._pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # started with SIGCHLD ignored: already reaped
        except PermissionError:
            # A set-user-ID program under a daemon that is not root's.  Not waited
            # for: with its pipe closed it ends when it pleases.
            return -signal.SIGKILL
        try:
            return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        except ChildProcessError:
            return 0  # started with SIGCHLD ignored: the kernel reaps and tells nothing


def _start(argv: tuple[str, ...], output: int) -> int:
    """Start a command in a process group of its own, without our descriptors."""
    return os.posix_spawn(
        argv[0],
        argv,
        {"PATH": _PATH, **os.environ},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, output, 1),
            (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
        ],
        setpgroup=0,
        setsigmask=(),
        # Python ignores these two, and what is ignored stays so in a new program.
        setsigdef=(signal.SIGPIPE, signal.SIGXFSZ),
    )
