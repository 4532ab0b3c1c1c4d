"""Which pool directory, and its pools opened for a command.

In: the options of a command line.  Out: pools as the daemon opens them.
Rule: a directory that is not named is the running daemon's; what only reads
makes no file and needs no more than the right to read.
"""

from __future__ import annotations

import argparse
import os

from hv_kvp_daemon.pools.directory import parse_pool, pool_path
from hv_kvp_daemon.pools.pool import PoolFile
from hv_kvp_daemon.service import status
from hv_kvp_daemon.service.options import POOL_DIRECTORY
from hv_kvp_daemon.wire.uapi import KVP_POOL_AUTO, KVP_POOL_COUNT

from . import terminal
from .command import CommandError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

#: Where cloud-init, azure-init and the C daemon look for the pools.
OTHER_DIRECTORY: Final = "/var/lib/hyperv"

#: Pools that are files with something in them; the auto pool is made for each request.
FILES: Final = tuple(number for number in range(KVP_POOL_COUNT) if number != KVP_POOL_AUTO)


def add_pool_dir(parser: argparse.ArgumentParser) -> None:
    """The option that names the directory."""
    parser.add_argument(
        "--pool-dir",
        metavar="DIR",
        help="directory of the pool files (default: the running daemon's, else"
        f" {POOL_DIRECTORY} or {OTHER_DIRECTORY})",
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """The option for programs."""
    parser.add_argument("--json", action="store_true", help="write JSON")


def pool(name: str) -> int:
    """An argument that is a pool's number or name."""
    try:
        return parse_pool(name)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def file_pool(name: str) -> int:
    """An argument that is a pool whose file holds its records."""
    number = pool(name)
    if number == KVP_POOL_AUTO:
        raise argparse.ArgumentTypeError(
            "the auto pool is made anew for each request; see: hv-kvp auto"
        )
    return number


def directory(options: argparse.Namespace) -> str:
    """The pool directory of a command, absolute; it need not be there."""
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
    """The pool directory of a command that only reads.

    :raises CommandError: there is none.
    """
    path = directory(options)
    if not os.path.isdir(path):
        raise CommandError(
            f"no pool directory {path}: no daemon has run here; --pool-dir DIR names another"
        )
    return path


def reader(path: str, number: int) -> PoolFile:
    """A pool in a directory, for reading."""
    return PoolFile(number, pool_path(path, number), report=terminal.say, writable=False)


def writer(path: str, number: int) -> PoolFile:
    """A pool in a directory, for changes.

    :raises CommandError: it may not be written; nothing was done yet.
    """
    require_writable(path, [number])
    return PoolFile(number, pool_path(path, number), report=terminal.say)


def require_writable(path: str, numbers: Sequence[int]) -> None:
    """Make sure, before anything is changed, that all of these pools may be.

    :raises CommandError: one may not.
    """
    for number in numbers:
        place = pool_path(path, number)
        while not os.path.lexists(place):
            place = os.path.dirname(place)
        if not os.access(place, os.W_OK):
            hint = "" if os.geteuid() == 0 else "; run it as root"
            raise CommandError(f"{place} may not be written{hint}")


def argument(text: str) -> bytes:
    """A key or value from the command line, as its bytes."""
    raw = os.fsencode(text)
    if not raw.isascii():
        # Python takes the bytes by the locale; a terminal in Latin-1 means é by 0xe9.
        try:
            return text.encode()
        except UnicodeEncodeError:
            return raw
    return raw


def key(text: str) -> bytes:
    """A key from the command line.

    :raises UsageError: it is empty.
    """
    if not text:
        raise UsageError("a key has at least one character")
    return argument(text)
