"""The daemon that runs now, by the file in which it says what it is doing.

In: that file's path.  Out: its fields, if the process that wrote them is alive.
Rule: a file that a killed daemon left behind counts for nothing.
"""

from __future__ import annotations

from hv_kvp_daemon.service import status
from hv_kvp_daemon.transport.choose import is_loopback

from .command import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


class Daemon:
    """A running daemon: ``fields`` as it wrote them (`service.status`), and its pid."""

    __slots__ = ("fields", "pid")

    def __init__(self, fields: dict[str, str]) -> None:
        self.fields = fields
        self.pid = int(fields["PID"])

    @property
    def serves(self) -> bool:
        """Whether the driver (or the simulated host) has it registered."""
        return self.fields.get("SERVING") == "yes"


def find(path: str = status.PATH) -> Daemon | None:
    """The daemon that wrote a file, None where it is not running.

    :raises OSError: the file cannot be read.
    """
    fields = status.read(path)
    if fields is None:
        return None
    try:
        daemon = Daemon(fields)
        started = int(fields["START_TICKS"])
    except (KeyError, ValueError):
        return None  # the file is not the daemon's
    return daemon if started and status.start_ticks(daemon.pid) == started else None


def add_transport(parser: argparse.ArgumentParser) -> None:
    """The option that names a daemon for development."""
    parser.add_argument(
        "--transport",
        metavar="loopback:PATH",
        help="the daemon that was started with this option, not the machine's",
    )


def path_of(options: argparse.Namespace) -> str:
    """The file of the daemon that is meant.

    :raises UsageError: the transport is none with a file of its own.
    """
    transport: str | None = options.transport
    if transport is None:
        return status.PATH
    if not is_loopback(transport):
        raise UsageError(
            f"{transport!r} is not loopback:PATH; the machine's daemon needs no name"
        )
    return status.loopback_path(transport.partition(":")[2])
