# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""``list`` and ``get``.  Nothing is changed, and no file is created."""

from __future__ import annotations

import argparse
import os
import sys

from hv_kvp_daemon.cli import arguments, tables, terminal
from hv_kvp_daemon.cli.command import (
    EXIT_DONE,
    EXIT_NOT_FOUND,
    EXIT_UNUSABLE,
    Command,
    describe,
)
from hv_kvp_daemon.pools.directory import POOL_NAMES
from hv_kvp_daemon.pools.errors import PoolError
from hv_kvp_daemon.service.options import UsageError
from hv_kvp_daemon.wire.uapi import KVP_AUTO_KEYS, KVP_POOL_AUTO

from . import pool_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from hv_kvp_daemon.wire.record import Record

# Modules that a plain `list` or `get` does without are imported in the functions that
# need them: json alone costs a fifth of the start.


def _add_list_arguments(parser: argparse.ArgumentParser) -> None:
    arguments.add_pool(parser, arguments.pool)
    parser.add_argument(
        "--info",
        action="store_true",
        help="show the pools' files instead: records, size, mode, age, limits, path",
    )
    parser.add_argument("--no-header", action="store_true", help="write no headings")
    parser.add_argument(
        "--full", action="store_true", help="cut no text to the width of the terminal"
    )
    arguments.add_pool_dir(parser)
    arguments.add_json(parser)


def _list(options: argparse.Namespace) -> int:
    form = {"header": not options.no_header, "full": options.full}
    if options.pool == KVP_POOL_AUTO:
        if options.info:
            raise UsageError("the auto pool has no file: it is made for each request")
        from hv_kvp_daemon.cli.guest import auto  # noqa: PLC0415

        return auto.show(auto.AutoValues(), as_json=options.json, sources=False, **form)
    path = arguments.existing_directory(options)
    numbers = arguments.FILES if options.pool is None else (options.pool,)
    if options.info:
        from . import pool_info  # noqa: PLC0415

        return pool_info.show(pool_info.collect(path, numbers), as_json=options.json, **form)
    found, failed = _read(path, numbers)
    if options.json:
        from hv_kvp_daemon.cli import jsontext  # noqa: PLC0415

        jsontext.show(
            [
                {"pool": POOL_NAMES[number], **jsontext.pair(record.key, record.value)}
                for number, record in found
            ]
        )
    else:
        first = 0 if options.pool is None else 1
        rows = [
            (POOL_NAMES[number], terminal.text(record.key), terminal.text(record.value))
            for number, record in found
        ]
        tables.show(("POOL", "KEY", "VALUE")[first:], [row[first:] for row in rows], **form)
    return EXIT_UNUSABLE if failed else EXIT_DONE


def _read(path: str, numbers: tuple[int, ...]) -> tuple[list[tuple[int, Record]], bool]:
    """Return the records of some pools, and whether one of the pools cannot be read."""
    found, failed = [], False
    for number in numbers:
        try:
            found += [(number, record) for record in pool_files.records(path, number)]
        except PoolError as error:  # noqa: PERF203 - the others are shown
            terminal.say(describe(error))
            failed = True
    return found, failed


def _add_get_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("key", type=arguments.key, metavar="KEY")
    parser.add_argument(
        "--pool",
        type=arguments.pool,
        metavar="POOL",
        help="look in this pool only (default: all, auto last)",
    )
    parser.add_argument(
        "-n", "--no-newline", action="store_true", help="write no newline after the value"
    )
    parser.add_argument(
        "--join",
        action="store_true",
        help="join a value that is split over several records, as KEY.0, KEY.1 ...",
    )
    arguments.add_pool_dir(parser)
    arguments.add_json(parser)


def _get(options: argparse.Namespace) -> int:
    find = _first
    if options.join:
        from .split_values import joined as find  # noqa: PLC0415
    numbers = (*arguments.FILES, KVP_POOL_AUTO) if options.pool is None else (options.pool,)
    path = arguments.directory(options)
    if options.pool is None and not os.path.isdir(path) and options.key in KVP_AUTO_KEYS:
        numbers = (KVP_POOL_AUTO,)
    failed = False
    for number in numbers:
        try:
            value = _find(options, number, find)
        except PoolError as error:
            # The key may be in a pool that this user can read.
            terminal.say(describe(error))
            failed = True
            continue
        if value is not None:
            _write(options, number, value)
            if options.pool is None:
                _warn_of_others(options, number, numbers, find)
            return EXIT_DONE
    where = "any pool" if options.pool is None else f"pool {POOL_NAMES[options.pool]}"
    terminal.say(f"no key {terminal.text(options.key)} in {where}")
    return EXIT_UNUSABLE if failed else EXIT_NOT_FOUND


def _warn_of_others(
    options: argparse.Namespace,
    shown: int,
    numbers: tuple[int, ...],
    find: Callable[[list[Record], bytes], bytes | None],
) -> None:
    """Say in which other pools the key is: a host may have set it in its own, say."""
    others = []
    for number in numbers[numbers.index(shown) + 1 :]:
        try:
            if number == KVP_POOL_AUTO:
                is_there = options.key in KVP_AUTO_KEYS
            else:
                is_there = _find(options, number, find) is not None
        except PoolError:
            continue  # what was asked for has been found
        if is_there:
            others.append(POOL_NAMES[number])
    if others:
        terminal.say(
            f"this is the value in pool {POOL_NAMES[shown]}; the key is also in pool"
            f" {' and '.join(others)}: choose with --pool"
        )


def _find(
    options: argparse.Namespace,
    number: int,
    find: Callable[[list[Record], bytes], bytes | None],
) -> bytes | None:
    if number == KVP_POOL_AUTO:
        if options.key not in KVP_AUTO_KEYS:
            return None
        from hv_kvp_daemon.cli.guest import auto  # noqa: PLC0415

        return auto.AutoValues().values[KVP_AUTO_KEYS.index(options.key)]
    path = arguments.existing_directory(options)
    return find(pool_files.records(path, number), options.key)


def _first(records: list[Record], key: bytes) -> bytes | None:
    return next((record.value for record in records if record.key == key), None)


def _write(options: argparse.Namespace, number: int, value: bytes) -> None:
    """Write the value's own bytes into a pipe, a safe line to a terminal."""
    if options.json:
        from hv_kvp_daemon.cli import jsontext  # noqa: PLC0415

        jsontext.show({"pool": POOL_NAMES[number], **jsontext.pair(options.key, value)})
        return
    if terminal.is_terminal():
        value = terminal.text(value).encode(sys.stdout.encoding, "backslashreplace")
    sys.stdout.buffer.write(value if options.no_newline else value + b"\n")


LIST = Command("list", "show the records of one pool or of all", _add_list_arguments, _list)
GET = Command("get", "write one value", _add_get_arguments, _get)
