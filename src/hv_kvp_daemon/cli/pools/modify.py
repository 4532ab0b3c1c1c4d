"""``set``, ``append``, ``delete`` and ``clear``: changes by a person or a script.

In: keys and values.  Out: the pool file, changed in place under its locks.
Rule: what a host would not see whole is refused unless it is forced, and nothing
is done by halves.
"""

from __future__ import annotations

import sys

from hv_kvp_daemon.cli import arguments, terminal
from hv_kvp_daemon.cli.command import EXIT_DONE, EXIT_NOT_FOUND, UsageError
from hv_kvp_daemon.pools.directory import POOL_NAMES
from hv_kvp_daemon.wire.record import RecordFieldError, encode
from hv_kvp_daemon.wire.uapi import KVP_POOL_GUEST

from . import diff, split_values

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


def _add_pair(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("key", type=arguments.key, metavar="KEY")
    parser.add_argument(
        "value",
        type=arguments.argument,
        metavar="VALUE",
        help="the value; - takes it from standard input, every byte",
    )
    _add_pool(parser)
    parser.add_argument(
        "--force", action="store_true", help="also what a host would see cut or changed"
    )
    arguments.add_pool_dir(parser)


def _add_pool(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--pool",
        type=arguments.file_pool,
        default=KVP_POOL_GUEST,
        metavar="POOL",
        help="the pool (default: guest)",
    )


def _value(options: argparse.Namespace) -> bytes:
    value: bytes = options.value
    return sys.stdin.buffer.read() if value == b"-" else value


def arguments_set(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``set``."""
    _add_pair(parser)
    parser.add_argument(
        "--split",
        action="store_true",
        help="divide a value that is too long over KEY.0, KEY.1 ... and remove former parts",
    )


def run_set(options: argparse.Namespace) -> int:
    """The first record with the key gets the value, or a new one is added."""
    value = _value(options)
    records = (
        split_values.split(options.key, value) if options.split else [(options.key, value)]
    )
    if not options.force:
        for record in records:
            split_values.check_seen_whole(*record)
    path = arguments.directory(options)
    pool = arguments.writer(path, options.pool)
    try:
        with terminal.Progress(f"waiting for {pool.path}"):
            if options.split:
                _set_parts(path, options.pool, options.key, records)
            else:
                pool.store(options.key, value)
    finally:
        pool.close()
    return EXIT_DONE


def _set_parts(path: str, number: int, key: bytes, records: list[tuple[bytes, bytes]]) -> None:
    """Store the parts and remove former ones, in one hold of the locks.

    What `split_values.joined` finds first, the key itself, comes first, and goes when former
    parts, which would be taken for some of the new ones, have gone.
    """
    new = [_record(*record) for record in records]
    diff.change(
        path,
        number,
        lambda old, _: diff.towards(
            old, new, lambda each: split_values.is_part(each, key), last=key
        ),
    )


def _record(key: bytes, value: bytes) -> bytes:
    try:
        return encode(key, value)
    except RecordFieldError as error:
        raise UsageError(str(error)) from error


def arguments_append(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``append``."""
    _add_pair(parser)


def run_append(options: argparse.Namespace) -> int:
    """A record more, at the end."""
    value = _value(options)
    if not options.force:
        split_values.check_seen_whole(options.key, value)
    pool = arguments.writer(arguments.directory(options), options.pool)
    try:
        with terminal.Progress(f"waiting for {pool.path}"):
            pool.append(options.key, value)
    finally:
        pool.close()
    return EXIT_DONE


def arguments_delete(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``delete``."""
    parser.add_argument("keys", nargs="+", type=arguments.key, metavar="KEY")
    _add_pool(parser)
    arguments.add_pool_dir(parser)


def run_delete(options: argparse.Namespace) -> int:
    """Those that are there are removed, those that are not are named."""
    pool = arguments.writer(arguments.existing_directory(options), options.pool)
    try:
        with terminal.Progress(f"waiting for {pool.path}"):
            missing = [key for key in options.keys if not pool.delete(key)]
    finally:
        pool.close()
    for key in missing:
        terminal.say(f"no key {terminal.text(key)} in pool {POOL_NAMES[options.pool]}")
    return EXIT_NOT_FOUND if missing else EXIT_DONE


def arguments_clear(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``clear``."""
    parser.add_argument("pool", type=arguments.file_pool, metavar="POOL")
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")
    arguments.add_pool_dir(parser)


def run_clear(options: argparse.Namespace) -> int:
    """An empty file; the file stays."""
    path = arguments.existing_directory(options)
    pool = arguments.writer(path, options.pool)
    name = POOL_NAMES[options.pool]
    try:
        count = pool.count()
        if count and not terminal.confirmed(
            f"Remove {count} records of pool {name}?", yes=options.yes
        ):
            return EXIT_DONE
        with terminal.Progress(f"waiting for {pool.path}"):
            pool.clear()
    finally:
        pool.close()
    return EXIT_DONE
