# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""``export`` and ``import``: pools as one JSON document, and back.

::

    {"version": 1,
     "pools": {"guest": {"records": [{"key": "a", "value": "b"}]}}}

Bytes that are not UTF-8 are base64 (see `jsontext`).  ``record_base64`` has all 2560 bytes
of a record with other bytes than NULs after its texts, ``rest_base64`` a part of a record
at the end of the file; only ``import --exact`` uses them.

An import checks the whole document before it changes the first pool.
"""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any, TypeVar

from hv_kvp_daemon.cli import arguments, jsontext, terminal
from hv_kvp_daemon.cli.command import EXIT_DECLINED, EXIT_DONE, Command
from hv_kvp_daemon.pools import edit
from hv_kvp_daemon.pools.directory import POOL_NAMES, parse_pool, pool_path
from hv_kvp_daemon.service.options import UsageError
from hv_kvp_daemon.wire.record import RECORD_SIZE, RecordFieldError, decode, encode
from hv_kvp_daemon.wire.uapi import KVP_POOL_AUTO

from . import backup, pool_files, split_values
from .diff import diff, split_records

if TYPE_CHECKING:
    from hv_kvp_daemon.pools.edit import Edit

_VERSION = 1

_Kind = TypeVar("_Kind")


def _add_export_arguments(parser: argparse.ArgumentParser) -> None:
    text = "the pools (default: all but auto)"
    arguments.add_pool(parser, arguments.file_pool, text, repeated=True)
    arguments.add_pool_dir(parser)
    # Without effect, as there is no other format; accepted as by the other commands.
    arguments.add_json(parser)


def _export(options: argparse.Namespace) -> int:
    """Write all pools or, where one of them cannot be read, nothing."""
    path = arguments.existing_directory(options)
    pools = {}
    for number in dict.fromkeys(options.pool) or arguments.FILES:
        with terminal.Progress(f"waiting for pool {POOL_NAMES[number]}"):
            pools[POOL_NAMES[number]] = _document(pool_files.read(path, number))
    jsontext.show({"version": _VERSION, "pools": pools})
    return EXIT_DONE


def _document(data: bytes) -> dict[str, Any]:
    records = []
    for raw in split_records(data):
        record = decode(raw)
        member = jsontext.pair(record.key, record.value)
        if _padded(record.key, record.value) != raw:
            member["record_base64"] = jsontext.encode(raw)
        records.append(member)
    rest = data[len(records) * RECORD_SIZE :]
    return {"records": records} | ({"rest_base64": jsontext.encode(rest)} if rest else {})


def _padded(key: bytes, value: bytes) -> bytes | None:
    try:
        return encode(key, value)
    except RecordFieldError:
        return None


def _add_import_arguments(parser: argparse.ArgumentParser) -> None:
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
        help="restore every byte of the files, not only keys and values",
    )
    parser.add_argument(
        "-y", "--yes", action="store_true", help="do not ask before records are lost"
    )
    arguments.add_pool_dir(parser)


def _import(options: argparse.Namespace) -> int:
    if options.merge and options.exact:
        raise UsageError("--exact restores whole files, so it cannot --merge")
    pools = _load(options)
    path = arguments.directory(options)
    pool_files.require_writable(path, pools)
    pool_files.require_readable(path, pools)
    if not options.merge:
        lost = sum(_lost(pool_files.read(path, number), new) for number, new in pools.items())
        question = f"Remove what the document does not have ({lost} records)?"
        if lost and not terminal.confirmed(question, yes=options.yes):
            return EXIT_DECLINED
    for number, new in pools.items():
        with terminal.Progress(f"waiting for pool {POOL_NAMES[number]}"):
            if options.exact:
                _overwrite(path, number, new)
            else:
                _change(path, number, split_records(new), merge=options.merge)
        _warn(number, new, arguments.pool_dir_option(options))
    return EXIT_DONE


def _change(path: str, number: int, new: list[bytes], *, merge: bool) -> None:
    keys = {decode(record).key for record in new}

    def plan(old: bytes, _: int) -> Edit:
        return diff(old, new, lambda key: not merge or key in keys)

    edit.change(number, pool_path(path, number), plan, report=terminal.say)


def _overwrite(path: str, number: int, new: bytes) -> None:
    """Replace a file's bytes, after a copy: a kill leaves a part of the old and of the new."""

    def copy(old: bytes, fd: int) -> bytes:
        if old and old != new:
            backup.write(path, number, old, fd)
        return new

    if new or pool_files.read(path, number):
        edit.overwrite(number, pool_path(path, number), copy, report=terminal.say)


def _warn(number: int, data: bytes, where: str) -> None:
    """Say how many records a host does not see whole; they are imported all the same."""
    changed = 0
    for record in map(decode, split_records(data)):
        try:
            split_values.check_host_sees_all(record.key, record.value)
        except UsageError:  # noqa: PERF203 - all are counted
            changed += 1
    if changed:
        terminal.say(
            f"pool {POOL_NAMES[number]}: a host sees {changed} records cut or changed;"
            f" hv-kvp check{where} lists them"
        )


def _lost(old: bytes, new: bytes) -> int:
    """Count the records of the old bytes that the new ones do not have."""
    kept = set(map(decode, split_records(new)))
    return sum(record not in kept for record in map(decode, split_records(old)))


def _load(options: argparse.Namespace) -> dict[int, bytes]:
    """Return the bytes of each pool in the document.

    :raises UsageError: it is no export, or holds what a pool cannot.
    """
    try:
        document = json.loads(arguments.read_input(options.file))
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise UsageError(f"{options.file} is not JSON: {error.msg}, {place}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{options.file} is not UTF-8 from byte {error.start} on") from error
    except (ValueError, RecursionError) as error:
        reason = "its arrays or objects are nested too deep, or a number has too many digits"
        raise UsageError(f"{options.file} is no export of hv-kvp: {reason}") from error
    try:
        return _pools(document, exact=options.exact)
    except ValueError as error:
        raise UsageError(f"{options.file} is no export of hv-kvp: {error}") from error


def _pools(document: object, *, exact: bool) -> dict[int, bytes]:
    version = _member(document, "version", int)
    if version != _VERSION:
        raise ValueError(f"version {version}, {_VERSION} expected")
    pools: dict[int, bytes] = {}
    for name, pool in _member(document, "pools", dict).items():
        number = parse_pool(name)
        if number == KVP_POOL_AUTO:
            raise ValueError(f"pool {name} is made for each request and cannot be imported")
        if number in pools:
            raise ValueError(f"pool {name} is there twice, by name and by number")
        try:
            pools[number] = _pool(pool, exact=exact)
        except ValueError as error:
            raise ValueError(f"pool {name}: {error}") from error
    return pools


def _pool(pool: Any, *, exact: bool) -> bytes:
    records: list[bytes] = []
    for number, record in enumerate(_member(pool, "records", list)):
        try:
            records.append(_record(record, exact=exact))
        except ValueError as error:  # noqa: PERF203 - the first ends it
            raise ValueError(f"record {number}: {error}") from error
    if exact and "rest_base64" in pool:
        records.append(jsontext.decode(pool["rest_base64"], "rest_base64"))
    return b"".join(records)


def _record(record: object, *, exact: bool) -> bytes:
    if not isinstance(record, dict):
        raise ValueError(f"it is {jsontext.kind(record)}, not an object")  # noqa: TRY004 - one error for any bad document
    if exact and "record_base64" in record:
        raw = jsontext.decode(record["record_base64"], "record_base64")
        if len(raw) != RECORD_SIZE:
            raise ValueError(f"record_base64 has {len(raw)} bytes, {RECORD_SIZE} expected")
        return raw
    return encode(jsontext.read_field(record, "key"), jsontext.read_field(record, "value"))


def _member(document: object, name: str, kind: type[_Kind]) -> _Kind:
    """Return a member of an object that has to be of a kind.

    :raises ValueError: it is not, or it is missing, or this is no object.
    """
    if not isinstance(document, dict):
        raise ValueError(f"it is {jsontext.kind(document)}, not an object")  # noqa: TRY004 - as above
    if name not in document:
        raise ValueError(f"it has no {name}")
    value = document[name]
    if type(value) is not kind:  # true is an int to Python
        raise ValueError(f"{name} is {jsontext.kind(value)}, not {jsontext.kind(kind())}")
    return value


EXPORT = Command("export", "write pools as JSON", _add_export_arguments, _export)
IMPORT = Command("import", "fill pools from JSON", _add_import_arguments, _import)
