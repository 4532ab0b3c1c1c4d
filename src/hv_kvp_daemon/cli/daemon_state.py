"""Which daemon a command means: the machine's, or one that serves a simulated host."""

from __future__ import annotations

from hv_kvp_daemon.service.status_page import PATH, loopback_path
from hv_kvp_daemon.transport.choose import is_loopback

from .command import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


def add_transport(parser: argparse.ArgumentParser) -> None:
    """The option that names a daemon for development."""
    parser.add_argument(
        "--transport",
        metavar="loopback:PATH",
        help="the daemon that was started with this option, not the machine's",
    )


def path_of(options: argparse.Namespace) -> str:
    """The path of the status page of the daemon that is meant.

    :raises UsageError: the transport has no status page of its own.
    """
    transport: str | None = options.transport
    if transport is None:
        return PATH
    if not is_loopback(transport):
        raise UsageError(
            f"{transport!r} is not loopback:PATH; the machine's daemon needs no name"
        )
    return loopback_path(transport.partition(":")[2])
