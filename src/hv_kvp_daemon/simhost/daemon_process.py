"""The daemon as a child process: started, waited for, ended, and never left behind.

In: the daemon's options.  Out: its pid, what it wrote to standard error, and its
exit status.  That it serves is learned as a service manager learns it, from
sd_notify's ``READY=1``.
"""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import tempfile
import time
from typing import IO, TYPE_CHECKING, Final

import hv_kvp_daemon

from .errors import ProcessError

if TYPE_CHECKING:
    from typing_extensions import Self

# How often a child that is waited for is looked at, in milliseconds: its end is
# no event on the socket.
_LOOK: Final = 50

# ``-m`` would look for the package in the current directory first, where anybody's files
# may be, so the interpreter is isolated (-I; -P is of Python 3.11) and imports the package
# from where it is imported from here: PYTHONPATH, say, of which it knows nothing.  Once
# the package is there, its modules are found by its own path.
_PACKAGES: Final = os.path.dirname(os.path.dirname(os.path.abspath(hv_kvp_daemon.__file__)))
_START: Final = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); import hv_kvp_daemon; del sys.path[0];"
    " from hv_kvp_daemon.service.main import main; raise SystemExit(main())"
)


class DaemonProcess:
    """``python -m hv_kvp_daemon`` with these options, by this interpreter.

    The options must keep it attached (``-n`` or ``--foreground``).  It runs in ``/``, so
    paths in them must be absolute.  ``timeout`` is in seconds, for its start and for its
    end.
    """

    def __init__(self, *options: str, timeout: float = 10.0) -> None:
        self.options = options
        self.timeout = timeout
        self._process: subprocess.Popen[bytes] | None = None
        # One for each start, open as long as that daemon may send to its name:
        # another socket could be given the name then.
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        # A file, not a pipe: a full pipe that nobody reads would stop the daemon.
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """The process id of the daemon that was started last."""
        return self._child.pid

    @property
    def stderr(self) -> str:
        """What it has written to standard error, over all starts."""
        size = os.fstat(self._stderr.fileno()).st_size
        return os.pread(self._stderr.fileno(), size, 0).decode("utf-8", "replace")

    @property
    def last_words(self) -> str:
        """The last line of `stderr`."""
        return self.stderr.rstrip("\n").rpartition("\n")[2]

    def start(self) -> None:
        """Start it and wait until it serves.

        :raises ProcessError: it ended instead, or is not ready after ``timeout``.
        """
        self._notify.close()
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        # An empty name makes the kernel choose an abstract one (unix(7), autobind).
        self._notify.bind("")
        address = "@" + self._notify.getsockname()[1:].decode()
        self._process = subprocess.Popen(  # noqa: S603 - this interpreter, this package
            [sys.executable, "-I", "-c", _START, _PACKAGES, *self.options],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=self._stderr,
            stderr=self._stderr,
            env={**os.environ, "NOTIFY_SOCKET": address},
        )
        try:
            self._wait_until_ready()
        except BaseException:
            self.kill()
            raise

    def stop(self) -> int:
        """Send SIGTERM and wait for the end: the exit status, negative for a signal.

        :raises ProcessError: it goes on after ``timeout``; it is killed then.
        """
        self._child.terminate()
        try:
            return self._child.wait(self.timeout)
        except subprocess.TimeoutExpired as error:
            self.kill()
            raise ProcessError(f"no end within {self.timeout:g} s of SIGTERM") from error

    def kill(self) -> None:
        """Send SIGKILL and wait for the end."""
        self._child.kill()
        self._child.wait()

    def close(self) -> None:
        """Make sure that it has ended, and forget what it wrote.

        It is told to end, and killed only if it does not: a killed daemon leaves
        the child behind with which it looks a name up.
        """
        try:
            if self._process is not None and self._process.poll() is None:
                self.stop()
        finally:
            self._notify.close()
            self._stderr.close()

    @property
    def _child(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise ProcessError("the daemon was not started")
        return self._process

    def _wait_until_ready(self) -> None:
        poll = select.poll()
        poll.register(self._notify, select.POLLIN)
        deadline = time.monotonic() + self.timeout
        while time.monotonic() < deadline:
            if poll.poll(_LOOK) and b"READY=1" in self._notify.recv(4096).split(b"\n"):
                return
            status = self._child.poll()
            if status is not None:
                raise ProcessError(f"the daemon ended with status {status}: {self.last_words}")
        raise ProcessError(f"the daemon was not ready within {self.timeout:g} s")
