"""What several commands take on their command line: pools, keys, durations, options."""

from __future__ import annotations

import argparse
import os

from hv_kvp_daemon.pools.directory import parse_pool
from hv_kvp_daemon.service import status
from hv_kvp_daemon.service.options import POOL_DIRECTORY, UsageError
from hv_kvp_daemon.service.status_page import PATH, loopback_path
from hv_kvp_daemon.wire.uapi import KVP_POOL_AUTO, KVP_POOL_COUNT

from .command import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

#: Where cloud-init, azure-init and the C daemon look for the pools.
OTHER_DIRECTORY: Final = "/var/lib/hyperv"

#: The pools whose records are in files; those of the auto pool are made for each request.
FILES: Final = tuple(number for number in range(KVP_POOL_COUNT) if number != KVP_POOL_AUTO)


def add_pool_dir(parser: argparse.ArgumentParser) -> None:
    """Add the option that names the pool directory."""
    parser.add_argument(
        "--pool-dir",
        metavar="DIR",
        help="directory of the pool files (default: the running daemon's, else"
        f" {POOL_DIRECTORY} or {OTHER_DIRECTORY})",
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add the option that asks for JSON."""
    parser.add_argument("--json", action="store_true", help="write JSON")


def add_transport(parser: argparse.ArgumentParser) -> None:
    """Add the option that names a daemon which serves a simulated host."""
    parser.add_argument(
        "--transport",
        metavar="loopback:PATH",
        help="the daemon that was started with this option, not the machine's",
    )


def pool(name: str) -> int:
    """Parse a pool's number or name."""
    try:
        return parse_pool(name)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def file_pool(name: str) -> int:
    """Parse the number or name of a pool that has its records in a file."""
    number = pool(name)
    if number == KVP_POOL_AUTO:
        raise argparse.ArgumentTypeError(
            "the auto pool is made for each request and cannot be changed; see: hv-kvp auto"
        )
    return number


def text(word: str) -> bytes:
    """Parse a value: the bytes that were typed."""
    raw = os.fsencode(word)
    if not raw.isascii():
        # Python decoded them by the locale; a terminal in Latin-1 sends 0xe9 for é.
        try:
            return word.encode()
        except UnicodeEncodeError:
            return raw
    return raw


def key(word: str) -> bytes:
    """Parse a key."""
    if not word:
        raise argparse.ArgumentTypeError("a key has at least one character")
    return text(word)


def seconds(word: str) -> float:
    """Parse a duration."""
    try:
        value = float(word)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{word!r} is not a number of seconds")
    return value


def status_page(options: argparse.Namespace) -> str:
    """Return the path of the status page of the daemon that ``--transport`` names.

    :raises UsageError: the transport has no status page of its own.
    """
    from hv_kvp_daemon.transport.choose import is_loopback  # noqa: PLC0415 - `list` needs none

    transport: str | None = options.transport
    if transport is None:
        return PATH
    if not is_loopback(transport):
        raise UsageError(
            f"{transport!r} is not loopback:PATH; the machine's daemon needs no --transport"
        )
    return loopback_path(transport.partition(":")[2])


def directory(options: argparse.Namespace) -> str:
    """Return the absolute path of the pool directory, which need not exist."""
    if options.pool_dir is not None:
        named: str = options.pool_dir
        return os.path.abspath(named)
    try:
        running = status.find()
    except (OSError, status.StatusError):
        # The page says where a daemon that is not the default one keeps its pools.  If
        # it cannot be read, the usual places are all there is.
        running = None
    if running is not None and running.pool_dir:
        return running.pool_dir
    for path in (POOL_DIRECTORY, OTHER_DIRECTORY):
        if os.path.isdir(path):
            return path
    return POOL_DIRECTORY


def existing_directory(options: argparse.Namespace) -> str:
    """Return the absolute path of the pool directory.

    :raises CommandError: it does not exist.
    """
    path = directory(options)
    if not os.path.isdir(path):
        raise CommandError(
            f"there is no pool directory {path}: no daemon has run here, or its pools are"
            " elsewhere (--pool-dir)"
        )
    return path
