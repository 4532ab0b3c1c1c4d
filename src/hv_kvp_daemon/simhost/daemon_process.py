# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The daemon as a child process: started, waited for, and ended in every case.

It is ready when it has sent sd_notify's ``READY=1``, as for a service manager.
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

# Milliseconds between checks of a starting child: its end is no event on the socket.
_LOOK: Final = 50

# ``-m`` would search the current directory first, which may have files of anybody.  So the
# interpreter is isolated (-I, as Python 3.10 has no -P) and gets the directory from which
# this process has imported the package; PYTHONPATH, which may have named it, is ignored
# now.  Once the package is imported, its modules are found by its own path.
_PACKAGES: Final = os.path.dirname(os.path.dirname(os.path.abspath(hv_kvp_daemon.__file__)))
_START: Final = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); import hv_kvp_daemon; del sys.path[0];"
    " from hv_kvp_daemon.service.main import main; raise SystemExit(main())"
)


class DaemonProcess:
    """The daemon with these options, run by this interpreter.

    The options must keep it attached (``-n`` or ``--foreground``), and paths in them must be
    absolute, as it runs in ``/``.  ``timeout`` is in seconds, for its start and its end.
    """

    def __init__(self, *options: str, timeout: float = 60.0) -> None:
        self.options = options
        self.timeout = timeout
        self._process: subprocess.Popen[bytes] | None = None
        # A new one for each start.  It stays open while that daemon may send to it, since
        # the kernel could give its name to another socket.
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        # Not a pipe: a full one would block the daemon.
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
        """The process id of the daemon that was last started."""
        return self._child.pid

    @property
    def stderr(self) -> str:
        """What all started daemons have written to standard error."""
        size = os.fstat(self._stderr.fileno()).st_size
        return os.pread(self._stderr.fileno(), size, 0).decode("utf-8", "replace")

    @property
    def last_words(self) -> str:
        """The last line of `stderr`."""
        return self.stderr.rstrip("\n").rpartition("\n")[2]

    def start(self) -> None:
        """Start the daemon and wait until it serves.

        :raises ProcessError: it has ended, or is not ready after ``timeout``.
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
        """Send SIGTERM, wait, and return the exit status; a signal's is negative.

        :raises ProcessError: it was still running after ``timeout`` and has been killed.
        """
        self._child.terminate()
        try:
            return self._child.wait(self.timeout)
        except subprocess.TimeoutExpired as error:
            self.kill()
            raise ProcessError(f"no end within {self.timeout:g} s of SIGTERM") from error

    def kill(self) -> None:
        """Send SIGKILL and wait."""
        self._child.kill()
        self._child.wait()

    def close(self) -> None:
        """End the daemon if it runs, and discard what it wrote.

        It gets SIGTERM first: a killed daemon cannot end the child that looks up its name.
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
