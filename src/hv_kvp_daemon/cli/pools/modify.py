# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""``set``, ``append``, ``delete`` and ``clear``.

A key or value that a host would see cut or changed is refused, unless ``--force`` is given.
"""

from __future__ import annotations

import argparse

from hv_kvp_daemon.cli import arguments, terminal
from hv_kvp_daemon.cli.command import EXIT_DECLINED, EXIT_DONE, EXIT_NOT_FOUND, Command
from hv_kvp_daemon.pools import edit
from hv_kvp_daemon.pools.directory import POOL_NAMES, pool_path
from hv_kvp_daemon.service.options import UsageError
from hv_kvp_daemon.wire.record import RecordFieldError, encode
from hv_kvp_daemon.wire.uapi import KVP_POOL_GUEST

from . import split_values
from .diff import diff
from .pool_files import OpenPool, require_readable, require_writable


def _add_pair(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("key", type=arguments.key, metavar="KEY")
    parser.add_argument(
        "value",
        type=arguments.text,
        metavar="VALUE",
        help="the value; - reads it from standard input, every byte",
    )
    _add_store_options(parser)


def _add_store_options(parser: argparse.ArgumentParser) -> None:
    _add_pool(parser)
    parser.add_argument(
        "--force", action="store_true", help="store also what a host would see cut or changed"
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


def _value(value: bytes) -> bytes:
    return arguments.read_input("-") if value == b"-" else value


def _add_set_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = (
        "%(prog)s [OPTION]... KEY VALUE\n       %(prog)s [OPTION]... KEY=VALUE [KEY=VALUE]..."
    )
    parser.add_argument(
        "words",
        nargs="+",
        type=arguments.text,
        metavar="KEY",
        help="a key and its value, or any number of KEY=VALUE; the value - of a single pair"
        " is read from standard input, every byte",
    )
    _add_store_options(parser)
    parser.add_argument(
        "--split",
        action="store_true",
        help="divide a long value over KEY.0, KEY.1 ... and remove the parts of a former one",
    )


def _pairs(words: list[bytes]) -> list[tuple[bytes, bytes]]:
    """Return the pairs that are to be set: one as KEY VALUE, or each word as KEY=VALUE.

    Of two words with a = in each, both are pairs.

    :raises UsageError: a word is neither, or a key is empty.
    """
    if len(words) == 2 and not all(b"=" in word for word in words):
        pairs = [(words[0], _value(words[1]))]
    else:
        for word in words:
            if b"=" not in word:
                raise UsageError(
                    f"{terminal.text(word)} is not KEY=VALUE; a single pair can be KEY VALUE"
                )
        pairs = [(key, value) for key, _, value in (word.partition(b"=") for word in words)]
    if not all(key for key, _ in pairs):
        raise UsageError("a key has at least one character")
    return pairs


def _set(options: argparse.Namespace) -> int:
    """Set the pairs one after the other, after each was checked."""
    pairs = _pairs(options.words)
    stored = [split_values.split(*pair) if options.split else [pair] for pair in pairs]
    for record in (record for records in stored for record in records):
        if not options.force:
            split_values.check_host_sees_all(*record)
        try:
            encode(*record)
        except RecordFieldError as error:
            raise UsageError(str(error)) from error
    path = arguments.directory(options)
    if options.split:
        for (key, _), records in zip(pairs, stored, strict=True):
            _store_parts(path, options.pool, key, records)
    else:
        with OpenPool(path, options.pool, write=True) as pool:
            for pair in pairs:
                pool.store(*pair)
    return EXIT_DONE


def _store_parts(
    path: str, number: int, key: bytes, records: list[tuple[bytes, bytes]]
) -> None:
    """Store the parts of a value and remove former ones, in one hold of the locks.

    Readers look for the key itself before its parts.  So a record of the key is removed
    last, when no former part is left that could be taken for one of the new ones.
    """
    new = [encode(*record) for record in records]
    require_writable(path, [number])
    require_readable(path, [number])
    file = pool_path(path, number)
    with terminal.Progress(f"waiting for {file}"):
        edit.change(
            number,
            file,
            lambda old, _: diff(
                old, new, lambda each: split_values.is_part(each, key), last=key
            ),
            report=terminal.say,
        )


def _append(options: argparse.Namespace) -> int:
    value = _value(options.value)
    if not options.force:
        split_values.check_host_sees_all(options.key, value)
    with OpenPool(arguments.directory(options), options.pool, write=True) as pool:
        pool.append(options.key, value)
    return EXIT_DONE


def _add_delete_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("keys", nargs="+", type=arguments.key, metavar="KEY")
    _add_pool(parser)
    arguments.add_pool_dir(parser)
    arguments.add_json(parser)


def _delete(options: argparse.Namespace) -> int:
    with OpenPool(arguments.existing_directory(options), options.pool, write=True) as pool:
        removed = {key: pool.delete(key) for key in dict.fromkeys(options.keys)}
    total = sum(removed.values())
    if options.json:
        from hv_kvp_daemon.cli import jsontext  # noqa: PLC0415 - not needed without --json

        jsontext.show({"pool": POOL_NAMES[options.pool], "removed": total})
    else:
        print(f"{total} record{'' if total == 1 else 's'} removed")
    missing = [key for key, count in removed.items() if not count]
    for key in missing:
        terminal.say(f"no key {terminal.text(key)} in pool {POOL_NAMES[options.pool]}")
    return EXIT_NOT_FOUND if missing else EXIT_DONE


def _add_clear_arguments(parser: argparse.ArgumentParser) -> None:
    arguments.add_pool(parser, arguments.file_pool, "the pool", required=True)
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")
    arguments.add_pool_dir(parser)


def _clear(options: argparse.Namespace) -> int:
    path = arguments.existing_directory(options)
    with OpenPool(path, options.pool, write=True) as pool:
        count = pool.count()
    question = f"Remove all records of pool {POOL_NAMES[options.pool]} ({count})?"
    if count and not terminal.confirmed(question, yes=options.yes):
        return EXIT_DECLINED
    with OpenPool(path, options.pool, write=True) as pool:
        pool.clear()
    return EXIT_DONE


SET = Command("set", "set the value of a key", _add_set_arguments, _set)
APPEND = Command("append", "add a record, whether or not the key is there", _add_pair, _append)
DELETE = Command("delete", "remove all records with these keys", _add_delete_arguments, _delete)
CLEAR = Command("clear", "remove all records of a pool", _add_clear_arguments, _clear)
