"""What the daemon is doing, in a file for ``hv-kvp status``.

In: names and texts.  Out: a file of lines ``NAME=text``, replaced whole, so that
whoever reads it sees one state or the next.
Rule: it holds counts and states, never a key or a value; it is written when
something changed and some seconds after requests came, never by a request.

Not JSON, which would cost the resident daemon an import, and ``hv-kvp list`` too.
A file outlives a daemon that was killed: ``PID`` and ``START_TICKS`` tell whose
it is, since a pid is given out again.
"""

from __future__ import annotations

import os
import time

from hv_kvp_daemon import __version__
from hv_kvp_daemon.wire.text import printable
from hv_kvp_daemon.wire.uapi import KVP_OP_NAMES

from .instance import RUN_DIRECTORY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

#: The file of the daemon that serves the driver.
PATH = f"{RUN_DIRECTORY}/status"

# More than a state with the longest paths; the file is not ours to trust.
_READ_LIMIT = 64 * 1024


def loopback_path(socket_path: str) -> str:
    """The file of a daemon that serves a simulated host: beside its socket."""
    return f"{socket_path}.status"


def describe(
    *,
    transport: str,
    state: str,
    serving: bool,
    driver_version: bytes,
    pool_dir: str,
    addresses: str,
    requests: dict[int, int],
    last: tuple[int, float] | None,
    dropped: int,
) -> dict[str, str]:
    """The fields of a daemon; ``last`` is the last request's operation and time.monotonic()."""
    counts = (f"{operation_name(number)}:{count}" for number, count in requests.items())
    fields = {
        "VERSION": __version__,
        "TRANSPORT": transport,
        "STATE": state,
        "SERVING": "yes" if serving else "no",
        "DRIVER_VERSION": driver_version.decode("ascii", "replace"),
        "POOL_DIR": pool_dir,
        "ADDRESSES": addresses,
        "REQUESTS": " ".join(counts),
        "DROPPED": str(dropped),
    }
    if last is not None:
        operation, when = last
        moment = int(time.time() - (time.monotonic() - when))
        fields["LAST_REQUEST"] = f"{operation_name(operation)} {moment}"
    return fields


def operation_name(operation: int) -> str:
    """``ENUMERATE``, or the number of an operation that has no name."""
    return KVP_OP_NAMES.get(operation, str(operation))


class StatusFile:
    """Writes the state of this process to ``path``, readable by everyone.

    ``problem`` gets one line when that fails, and again after it has worked.
    """

    __slots__ = ("_failed", "_path", "_problem")

    def __init__(self, path: str, problem: Callable[[str], object]) -> None:
        self._path = path
        self._problem = problem
        self._failed = False

    def write(self, fields: dict[str, str]) -> None:
        """Replace what is there; ``PID`` and ``START_TICKS`` are added.

        Without syncing: the file is in memory (/run) or worth nothing after a crash.
        """
        whose = {"PID": str(os.getpid()), "START_TICKS": str(start_ticks(os.getpid()))}
        lines = "".join(f"{k}={printable(v)}\n" for k, v in {**whose, **fields}.items())
        try:
            _replace(self._path, lines.encode("utf-8", "backslashreplace"))
        except OSError as error:
            if not self._failed:
                self._failed = True
                self._problem(f"hv-kvp status will be out of date: {self._path}: {error}")
        else:
            self._failed = False

    def remove(self) -> None:
        """Take the file away: the daemon ends."""
        try:
            os.unlink(self._path)
        except OSError as error:
            if not self._failed and not isinstance(error, FileNotFoundError):
                self._problem(f"{self._path} stays behind: {error}")


def _replace(path: str, data: bytes) -> None:
    new = f"{path}.new"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    fd = os.open(new, flags, 0o644)
    try:
        # Whatever the umask: `systemctl status` shows the same to everyone.
        os.fchmod(fd, 0o644)
        os.write(fd, data)
    finally:
        os.close(fd)
    os.rename(new, path)


def read(path: str) -> dict[str, str] | None:
    """The fields of a file, None where there is none.

    :raises OSError: it cannot be read; PermissionError where the directory is root's alone.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    try:
        text = os.read(fd, _READ_LIMIT).decode("utf-8", "replace")
    finally:
        os.close(fd)
    return dict(line.partition("=")[::2] for line in text.splitlines() if "=" in line)


def start_ticks(pid: int) -> int:
    """When a process started, in clock ticks since the boot; 0 where it is gone.

    proc_pid_stat(5), field 22.  The second is the command in parentheses, which
    may hold spaces and parentheses itself.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            rest = file.read().rpartition(b")")[2].split()
    except OSError:
        return 0
    return int(rest[22 - 3])
