# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""What several commands take on their command line: pools, keys, durations, options."""

from __future__ import annotations

import argparse
import os
import stat
import sys

from hv_kvp_daemon.pools.directory import parse_pool
from hv_kvp_daemon.pools.place import OTHER_DIRECTORY, POOL_DIRECTORY
from hv_kvp_daemon.wire.uapi import KVP_POOL_AUTO, KVP_POOL_COUNT

from .command import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final

# Seconds, about 30 years: the kernel and Python reject larger numbers.
_FOREVER: Final = 1e9

#: The pools whose records are in files; those of the auto pool are made for each request.
FILES: Final = tuple(number for number in range(KVP_POOL_COUNT) if number != KVP_POOL_AUTO)


def add_pool_dir(parser: argparse.ArgumentParser) -> None:
    """Add the option that names the pool directory."""
    parser.add_argument(
        "--pool-dir",
        type=path,
        metavar="DIR",
        help="directory of the pool files (default: the running daemon's, else"
        f" {POOL_DIRECTORY} or {OTHER_DIRECTORY})",
    )


class _Positional(argparse.Action):
    """An argument that may be left out and then does not overwrite the option's value."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        del parser, option_string
        if values is not self.default:
            setattr(namespace, self.dest, values)


def add_pool(
    parser: argparse.ArgumentParser,
    parse: Callable[[str], int],
    text: str = "only this pool",
    *,
    required: bool = False,
    repeated: bool = False,
) -> None:
    """Add a pool as an argument that can be given as ``--pool POOL`` as well.

    ``options.pool`` is its number or None; with ``repeated`` a list of numbers.
    """
    default: list[int] | None = [] if repeated else None
    pools = parser.add_mutually_exclusive_group(required=required)
    pools.add_argument(
        "pool",
        nargs="*" if repeated else "?",
        action=_Positional,
        type=parse,
        default=default,
        metavar="POOL",
        help=text,
    )
    pools.add_argument(
        "--pool",
        action="append" if repeated else "store",
        type=parse,
        default=default,
        metavar="POOL",
        help="the same; may be repeated" if repeated else "the same",
    )


def add_json(parser: argparse.ArgumentParser, default: Any = False) -> None:
    """Add the option that asks for JSON."""
    parser.add_argument("--json", action="store_true", default=default, help="write JSON")


def add_transport(parser: argparse.ArgumentParser) -> None:
    """Add the option that names a daemon which serves a simulated host."""
    parser.add_argument(
        "--transport",
        type=loopback,
        metavar="loopback:PATH",
        help="the daemon that was started with this option, not the machine's",
    )


def add_root(parser: argparse.ArgumentParser) -> None:
    """Add the options of a command that changes a machine or a mounted image."""
    parser.add_argument(
        "--root",
        type=path,
        default="/",
        metavar="DIR",
        help="an image's root, instead of this machine",
    )
    parser.add_argument("--dry-run", action="store_true", help="only show what would be done")
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")


def add_run_dir(parser: argparse.ArgumentParser) -> None:
    """Add the option that names the run directory of the daemon."""
    parser.add_argument(
        "--run-dir",
        type=path,
        metavar="DIR",
        help="the daemon that was started with this option",
    )


def loopback(word: str) -> str:
    """Parse ``loopback:PATH``, a daemon's option, and return the path of its socket."""
    kind, _, path = word.partition(":")
    if kind != "loopback" or not path:
        raise argparse.ArgumentTypeError(f"{word!r} is not loopback:PATH")
    return path


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
    return min(value, _FOREVER)


def path(word: str) -> str:
    """Parse the name of a directory; an empty one, of a variable say, means none."""
    if not word:
        raise argparse.ArgumentTypeError("a directory has a name")
    return word


def read_input(name: str) -> bytes:
    """Return the bytes of a file that is an argument; of standard input for ``-``.

    :raises CommandError: the file cannot be read.
    """
    try:
        if name == "-":
            return sys.stdin.buffer.read()
        with open(name, "rb") as file:
            return file.read()
    except OSError as error:
        raise CommandError(f"{name}: {error.strerror}") from error


def status_page(options: argparse.Namespace) -> str:
    """Return the path of the status page of the daemon that the options name."""
    from hv_kvp_daemon.service import status_page as pages  # noqa: PLC0415 - as below

    if getattr(options, "transport", None) is not None:
        return pages.loopback_path(options.transport)
    run_dir = getattr(options, "run_dir", None)
    return pages.PATH if run_dir is None else pages.page_path(run_dir)


def directory(options: argparse.Namespace) -> str:
    """Return the absolute path of the pool directory, which need not exist."""
    if options.pool_dir is not None:
        named: str = options.pool_dir
        return os.path.abspath(named)
    from hv_kvp_daemon.service import status  # noqa: PLC0415 - a tenth of `import argparse`

    return status.pool_directory(status_page(options))


def pool_dir_option(options: argparse.Namespace) -> str:
    """Return `` --pool-dir DIR`` as it was given, for a command that is advised; or nothing."""
    if options.pool_dir is None:
        return ""
    import shlex  # noqa: PLC0415 - only for messages

    return f" --pool-dir {shlex.quote(os.path.abspath(options.pool_dir))}"


def existing_directory(options: argparse.Namespace) -> str:
    """Return the absolute path of the pool directory.

    :raises CommandError: it does not exist.
    :raises PermissionError: this user may not look.
    """
    place = directory(options)
    try:
        mode = os.stat(place).st_mode
    except PermissionError:
        raise
    except OSError:
        mode = 0
    if not stat.S_ISDIR(mode):
        raise CommandError(
            f"there is no pool directory {place}: no daemon has run here, or its pools are"
            " elsewhere (--pool-dir)"
        )
    return place
