# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Running the programs that know a network configuration, or having a unit run them.

The daemon's unit cannot reach D-Bus, over which systemd starts any program for root.  So
what only a program that uses D-Bus can answer comes from a unit with that right alone: it
sends the output of a fixed command to whatever connects to its socket, and reads nothing.
Without such a socket (no systemd, or not root) the program is run here.

A program is run without a shell, so each argument stays one word.  It gets a pipe as
standard output and nothing else of this process: the daemon's locks and its device
cannot live on in it.  It leads a process group, and when its time is over that group
is killed, since a script is a shell that waits for other processes.
"""

from __future__ import annotations

import _socket
import errno
import os
import time

from hv_kvp_daemon.guest.child import end_child
from hv_kvp_daemon.guest.files import below

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable

    from hv_kvp_daemon.guest.child import Wait
else:
    import _signal as signal

#: Seconds for all programs of one request.  The driver gives up a request after 30 s.
LIMIT = 9.5

#: More than 1500 of the longest addresses.
MAX_OUTPUT = 64 * 1024

# Seconds to exit after the end of the output.  GNU programs close their standard output
# some time before, to find a write error.
_GRACE = 0.5

# A queue that is full is an error.
_SOCKET_TYPE = _socket.SOCK_STREAM | _socket.SOCK_NONBLOCK

# A service manager sets PATH; a daemon that was started with `env -i` has none.
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Programs:
    """Runs programs below ``root`` one after the other, all within `LIMIT` seconds.

    ``report`` gets a line for the log for each one that fails.
    """

    __slots__ = ("_ends", "_wait", "report", "root")

    def __init__(self, wait: Wait, report: Callable[[str], None], root: str = "/") -> None:
        self.report = report
        self.root = root
        self._wait = wait
        self._ends = time.monotonic() + LIMIT

    def run(
        self, path: str, *arguments: str, seconds: float, any_status: bool = False
    ) -> str | None:
        """Return the standard output of a program, or None if it fails.

        It fails if it cannot be started, does not close its output within ``seconds``,
        writes more than `MAX_OUTPUT` or exits with a status other than 0.  With
        ``any_status`` the status does not matter if there is output.

        :raises InterruptedError: this process is to end.
        """
        argv = (below(self.root, path), *arguments)
        if self._ends <= time.monotonic():
            self.report(f"{argv[0]}: no time left")
            return None
        try:
            pid, pipe = _start(argv)
        except OSError as error:
            self.report(f"{argv[0]}: {error.strerror}")
            return None
        grace = 0.0
        try:
            output, trouble = self._read(pipe, seconds)
            if not trouble:
                grace = min(_GRACE, self._ends - time.monotonic())
        finally:
            os.close(pipe)
            status = end_child(pid, os.killpg, grace=grace)
        if trouble or status:
            self.report(f"{argv[0]}: {trouble or f'status {status}'}")
            if trouble or not any_status or not output:
                return None
        return output.decode("utf-8", "surrogateescape")

    def ask(self, socket: str, path: str, *arguments: str, seconds: float) -> str | None:
        """Return what the unit behind a socket sends, or None if that is nothing.

        If nothing listens there, return the output of a program, see `run`.

        :raises InterruptedError: this process is to end.
        """
        connection = _socket.socket(_socket.AF_UNIX, _SOCKET_TYPE)
        try:
            try:
                connection.connect(below(self.root, socket))
            except OSError:
                return self.run(path, *arguments, seconds=seconds)
            output, trouble = self._read(connection.fileno(), seconds)
        finally:
            connection.close()
        if trouble or not output:
            self.report(f"{socket}: {trouble or 'no answer'}")
            return None
        return output.decode("utf-8", "surrogateescape")

    def _read(self, pipe: int, seconds: float) -> tuple[bytearray, str]:
        """Read to end of file; return the output and what went wrong, if anything did."""
        seconds = max(0.0, min(seconds, self._ends - time.monotonic()))
        ends = time.monotonic() + seconds
        output = bytearray()
        while len(output) <= MAX_OUTPUT:
            if not self._wait(pipe, ends - time.monotonic()):
                if time.monotonic() < ends:
                    raise InterruptedError(errno.EINTR, "this process is to end")
                return output, f"no answer within {seconds:g} s"
            part = os.read(pipe, MAX_OUTPUT)
            if not part:
                return output, ""
            output += part
        return output, f"wrote more than {MAX_OUTPUT} bytes"


def _start(argv: tuple[str, ...]) -> tuple[int, int]:
    """Start a program; return its process id and the pipe from its standard output."""
    pipe, output = os.pipe2(os.O_CLOEXEC)
    try:
        pid = os.posix_spawn(
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
            # Python ignores these two, and a new program inherits that.
            setsigdef=(signal.SIGPIPE, signal.SIGXFSZ),
        )
    except OSError:
        os.close(pipe)
        raise
    finally:
        os.close(output)
    return pid, pipe
