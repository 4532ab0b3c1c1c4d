"""``list`` and ``get``: what is in the pools.

In: pools.  Out: a table or one value; nothing is changed, no file is made.
"""

from __future__ import annotations

import os
import sys

from hv_kvp_daemon.cli import arguments, tables, terminal
from hv_kvp_daemon.cli.command import EXIT_DONE, EXIT_NOT_FOUND, EXIT_UNUSABLE
from hv_kvp_daemon.pools.directory import POOL_NAMES
from hv_kvp_daemon.pools.errors import PoolError
from hv_kvp_daemon.wire.uapi import KVP_POOL_AUTO

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from hv_kvp_daemon.wire.record import Record


def arguments_list(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``list``."""
    parser.add_argument(
        "pool", nargs="?", type=arguments.pool, metavar="POOL", help="one pool only"
    )
    arguments.add_pool_dir(parser)
    arguments.add_json(parser)


def run_list(options: argparse.Namespace) -> int:
    """A table of records; a pool that cannot be read does not hide the others."""
    if options.pool == KVP_POOL_AUTO:
        from hv_kvp_daemon.cli.guest import auto  # noqa: PLC0415 - it asks the guest, which takes modules and time

        return auto.show(options)
    path = arguments.existing_directory(options)
    numbers = arguments.FILES if options.pool is None else (options.pool,)
    found, failed = _read(path, numbers)
    if options.json:
        from hv_kvp_daemon.cli import jsontext  # noqa: PLC0415 - costs a fifth of the start

        jsontext.show(
            [
                {"pool": POOL_NAMES[number], **jsontext.pair(record.key, record.value)}
                for number, record in found
            ]
        )
    elif options.pool is None:
        rows = [
            (POOL_NAMES[number], terminal.text(record.key), terminal.text(record.value))
            for number, record in found
        ]
        tables.show(("POOL", "KEY", "VALUE"), rows)
    else:
        pairs = [
            (terminal.text(record.key), terminal.text(record.value)) for _, record in found
        ]
        tables.show(("KEY", "VALUE"), pairs)
    return EXIT_UNUSABLE if failed else EXIT_DONE


def _read(path: str, numbers: tuple[int, ...]) -> tuple[list[tuple[int, Record]], bool]:
    found, failed = [], False
    for number in numbers:
        pool = arguments.reader(path, number)
        try:
            with terminal.Progress(f"waiting for {pool.path}"):
                found += [(number, record) for record in pool.records()]
        except PoolError as error:
            terminal.say(str(error))
            failed = True
        finally:
            pool.close()
    return found, failed


def arguments_get(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``get``."""
    parser.add_argument("key", type=arguments.key, metavar="KEY")
    parser.add_argument(
        "--pool",
        type=arguments.pool,
        metavar="POOL",
        help="look in this pool only (default: all, in the order of their numbers)",
    )
    parser.add_argument(
        "-n", "--no-newline", action="store_true", help="write no newline behind the value"
    )
    parser.add_argument(
        "--join",
        action="store_true",
        help="put together a value that is split over KEY.0, KEY.1 ... or KEY0, KEY1 ...",
    )
    arguments.add_pool_dir(parser)
    arguments.add_json(parser)


def run_get(options: argparse.Namespace) -> int:
    """The value's own bytes into a pipe, a safe line onto a terminal."""
    look = _first
    if options.join:
        from .split_values import joined as look  # noqa: PLC0415 - as in run_list
    numbers = (*arguments.FILES, KVP_POOL_AUTO) if options.pool is None else (options.pool,)
    path = arguments.directory(options)
    if options.pool is None and not os.path.isdir(path) and _is_auto(options.key):
        numbers = (KVP_POOL_AUTO,)
    failed = False
    for number in numbers:
        try:
            value = _look(options, number, look)
        except PoolError as error:
            # What only root may read does not hide what everyone may.
            terminal.say(str(error))
            failed = True
            continue
        if value is not None:
            _write(options, number, value)
            return EXIT_DONE
    where = "any pool" if options.pool is None else f"pool {POOL_NAMES[options.pool]}"
    terminal.say(f"no key {terminal.text(options.key)} in {where}")
    return EXIT_UNUSABLE if failed else EXIT_NOT_FOUND


def _look(
    options: argparse.Namespace,
    number: int,
    look: Callable[[list[Record], bytes], bytes | None],
) -> bytes | None:
    if number == KVP_POOL_AUTO:
        if not _is_auto(options.key):
            return None
        from hv_kvp_daemon.cli.guest import auto  # noqa: PLC0415 - as in run_list

        return auto.value(options.key)
    pool = arguments.reader(arguments.existing_directory(options), number)
    try:
        with terminal.Progress(f"waiting for {pool.path}"):
            return look(pool.records(), options.key)
    finally:
        pool.close()


def _is_auto(key: bytes) -> bool:
    from hv_kvp_daemon.guest.intrinsic import KEYS  # noqa: PLC0415 - as in run_list

    return key in KEYS


def _first(records: list[Record], key: bytes) -> bytes | None:
    return next((record.value for record in records if record.key == key), None)


def _write(options: argparse.Namespace, number: int, value: bytes) -> None:
    if options.json:
        from hv_kvp_daemon.cli import jsontext  # noqa: PLC0415 - as in run_list

        jsontext.show({"pool": POOL_NAMES[number], **jsontext.pair(options.key, value)})
        return
    if terminal.is_terminal():
        value = terminal.text(value).encode(sys.stdout.encoding, "backslashreplace")
    sys.stdout.buffer.write(value if options.no_newline else value + b"\n")
