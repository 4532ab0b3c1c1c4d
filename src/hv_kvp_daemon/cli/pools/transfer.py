"""``export`` and ``import``: pools as one JSON document, and back.

In: pool files, or a document.  Out: the other.
Rule: a document that `run_export` wrote makes the same pools again: keys and
values always; with ``--exact`` every byte of the files, and so the order of keys that
were there already.  All of a document is checked before the first pool is changed.

::

    {"version": 1,
     "pools": {"guest": {"records": [{"key": "a", "value": "b"}]}}}

Bytes that are no UTF-8 are base64 (`jsontext`).  A record that its writer left
with other bytes than these behind the NULs has them all as ``record_base64``; a
part of a record at the end of a file is ``rest_base64``.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from hv_kvp_daemon.cli import arguments, jsontext, terminal
from hv_kvp_daemon.cli.command import EXIT_DONE, CommandError, UsageError
from hv_kvp_daemon.pools.directory import POOL_NAMES
from hv_kvp_daemon.wire.record import RECORD_SIZE, RecordFieldError, decode, encode

from . import backup, diff, split_values

if TYPE_CHECKING:
    from collections.abc import Callable

    from hv_kvp_daemon.pools.edit import Edit

_VERSION = 1


def arguments_export(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``export``."""
    parser.add_argument(
        "pool",
        nargs="*",
        type=arguments.file_pool,
        metavar="POOL",
        help="the pools (default: all that are files)",
    )
    arguments.add_pool_dir(parser)
    # For the sake of those who write it everywhere: there is no other form.
    arguments.add_json(parser)


def run_export(options: argparse.Namespace) -> int:
    """All or nothing: a document without a pool that could not be read would lose it."""
    path = arguments.existing_directory(options)
    numbers = dict.fromkeys(options.pool) or arguments.FILES
    pools = {}
    for number in numbers:
        with terminal.Progress(f"waiting for pool {POOL_NAMES[number]}"):
            pools[POOL_NAMES[number]] = _document(diff.read(path, number))
    jsontext.show({"version": _VERSION, "pools": pools})
    return EXIT_DONE


def _document(data: bytes) -> dict[str, Any]:
    records = []
    whole = len(data) - len(data) % RECORD_SIZE
    for at in range(0, whole, RECORD_SIZE):
        raw = data[at : at + RECORD_SIZE]
        record = decode(raw)
        member = jsontext.pair(record.key, record.value)
        if _clean(record.key, record.value) != raw:
            member["record_base64"] = jsontext.encode(raw)
        records.append(member)
    if whole == len(data):
        return {"records": records}
    return {"records": records, "rest_base64": jsontext.encode(data[whole:])}


def _clean(key: bytes, value: bytes) -> bytes | None:
    try:
        return encode(key, value)
    except RecordFieldError:
        return None


def arguments_import(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``import``."""
    parser.add_argument(
        "file", nargs="?", default="-", metavar="FILE", help="the document (default: -)"
    )
    parser.add_argument(
        "--merge",
        action="store_true",
        help="keep the records of other keys (default: the document's pools are replaced)",
    )
    parser.add_argument(
        "--exact",
        action="store_true",
        help="also bytes behind a text's end and parts of records, as they were exported",
    )
    parser.add_argument(
        "-y", "--yes", action="store_true", help="do not ask before records are lost"
    )
    arguments.add_pool_dir(parser)


def run_import(options: argparse.Namespace) -> int:
    """Pools as the document says; each in one hold of its locks."""
    if options.merge and options.exact:
        raise UsageError("--exact makes the same files again, so it cannot --merge")
    pools = _read(options)
    path = arguments.directory(options)
    arguments.require_writable(path, list(pools))
    if not options.merge:
        lost = sum(_lost(diff.read(path, number), new) for number, new in pools.items())
        if lost and not terminal.confirmed(
            f"Lose {lost} records that are not in the document?", yes=options.yes
        ):
            return EXIT_DONE
    for number, new in pools.items():
        with terminal.Progress(f"waiting for pool {POOL_NAMES[number]}"):
            if options.exact:
                _overwrite(path, number, new)
            else:
                diff.change(path, number, _plan(new, merge=options.merge))
        _warn(number, new)
    return EXIT_DONE


def _warn(number: int, data: bytes) -> None:
    """Say that a host will not see all of it: what was exported is imported all the same."""
    changed = 0
    for raw in diff.records(data):
        record = decode(raw)
        try:
            split_values.check_seen_whole(record.key, record.value)
        except UsageError:
            changed += 1
    if changed:
        terminal.say(
            f"pool {POOL_NAMES[number]}: a host sees {changed} records cut or changed;"
            " hv-kvp check names them"
        )


def _overwrite(path: str, number: int, new: bytes) -> None:
    """Any bytes, by way of a copy: a kill can leave a part of the old and a part of the new."""

    def kept(old: bytes, fd: int) -> bytes:
        if old and old != new:
            copy = backup.write(path, number, old, fd)
            terminal.say(f"pool {POOL_NAMES[number]}: the former bytes are in {copy}")
        return new

    if new or diff.read(path, number):
        diff.overwrite(path, number, kept)


def _plan(new: bytes, *, merge: bool) -> Callable[[bytes, int], Edit]:
    wanted = diff.records(new)
    theirs = {decode(record).key for record in wanted}
    return lambda old, _: diff.towards(old, wanted, lambda key: not merge or key in theirs)


def _lost(old: bytes, new: bytes) -> int:
    """How many records of the old bytes the new ones do not have."""
    kept = {decode(record) for record in diff.records(new)}
    return sum(decode(record) not in kept for record in diff.records(old))


def _read(options: argparse.Namespace) -> dict[int, bytes]:
    """The bytes of each pool of the document.

    :raises UsageError: it is none, or holds what a pool cannot.
    """
    try:
        if options.file == "-":
            document = json.load(sys.stdin.buffer)
        else:
            with open(options.file, "rb") as file:
                document = json.load(file)
    except ValueError as error:
        raise UsageError(f"{options.file} is no JSON: {error}") from error
    except OSError as error:
        raise CommandError(f"{options.file}: {error.strerror}") from error
    try:
        if document["version"] != _VERSION:
            raise UsageError(
                f"{options.file} has version {document['version']}, not {_VERSION}"
            )
        return {
            _number(name): _pool(name, pool, exact=options.exact)
            for name, pool in document["pools"].items()
        }
    except (TypeError, KeyError, AttributeError) as error:
        raise UsageError(f"{options.file} is no export of hv-kvp: {error!r}") from error


def _number(name: str) -> int:
    try:
        return arguments.file_pool(name)
    except argparse.ArgumentTypeError as error:
        raise UsageError(str(error)) from error


def _pool(name: str, pool: dict[str, Any], *, exact: bool) -> bytes:
    made: list[bytes] = []
    try:
        for record in pool["records"]:
            made.append(_record(record, exact=exact))  # noqa: PERF401 - the error says how far it came
        if exact and "rest_base64" in pool:
            made.append(jsontext.decode(pool["rest_base64"], "rest_base64"))
    except ValueError as error:
        raise UsageError(f"pool {name}, record {len(made)}: {error}") from error
    return b"".join(made)


def _record(record: dict[str, Any], *, exact: bool) -> bytes:
    if exact and "record_base64" in record:
        raw = jsontext.decode(record["record_base64"], "record_base64")
        if len(raw) != RECORD_SIZE:
            raise ValueError(f"record_base64 has {len(raw)} bytes, {RECORD_SIZE} expected")
        return raw
    return encode(jsontext.read_field(record, "key"), jsontext.read_field(record, "value"))
