# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""``check``: findings about the pools, and with ``--repair`` their repair.

A repair changes the file in place under its locks, after a copy of the former bytes.
Without ``--repair`` nothing is changed, and a file's mode and owner never are.
"""

from __future__ import annotations

import argparse
import os
import shlex
import stat
from collections.abc import Iterable
from typing import Final

from hv_kvp_daemon.cli import arguments, jsontext, terminal
from hv_kvp_daemon.cli.command import EXIT_DONE, EXIT_UNUSABLE, Command
from hv_kvp_daemon.cli.service import bytecode
from hv_kvp_daemon.pools import edit
from hv_kvp_daemon.pools.directory import POOL_NAMES, pool_path
from hv_kvp_daemon.pools.edit import Edit
from hv_kvp_daemon.pools.errors import PoolError
from hv_kvp_daemon.pools.journal_file import DAMAGED, journal_path
from hv_kvp_daemon.wire import uapi

from . import backup, pool_files, pool_info, validation
from .diff import split_records
from .validation import DAMAGE, NOTE, Finding

_COLORS: Final = {DAMAGE: terminal.RED, NOTE: terminal.YELLOW}


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--repair",
        action="store_true",
        help="repair damaged files in place, after a copy of each",
    )
    arguments.add_pool_dir(parser)
    arguments.add_json(parser)


def _check(options: argparse.Namespace) -> int:
    path = arguments.existing_directory(options)
    where = arguments.pool_dir_option(options)
    if options.repair:
        _repair(path)
    found = [("", finding) for finding in _installation_findings(path)]
    for number in range(uapi.KVP_POOL_COUNT):
        with terminal.Progress(f"waiting for pool {POOL_NAMES[number]}"):
            found += [
                (POOL_NAMES[number], each) for each in _pool_findings(path, number, where)
            ]
    found = [
        (name, each._replace(advice=each.advice or f"hv-kvp check --repair{where}"))
        if each.repairable
        else (name, each)
        for name, each in found
    ]
    is_damaged = any(each.level == DAMAGE for _, each in found)
    if options.json:
        jsontext.show(
            [
                {
                    "pool": name or None,
                    "level": finding.level,
                    "finding": finding.text,
                    "repairable": finding.repairable,
                    "advice": finding.advice or None,
                }
                for name, finding in found
            ]
        )
    else:
        _show(found)
        if not is_damaged and terminal.is_terminal():
            print(terminal.safe(f"no damage in the pools of {path}"))
    return EXIT_UNUSABLE if is_damaged else EXIT_DONE


def _show(found: list[tuple[str, Finding]]) -> None:
    for name, finding in found:
        where = f"pool {name}: " if name else ""
        level = terminal.paint(f"{finding.level}:", _COLORS[finding.level])
        print(level, terminal.safe(f"{where}{finding.text}"))
        if finding.advice:
            print(f"    {terminal.safe(finding.advice)}")


def _repair(path: str) -> None:
    present = [n for n in arguments.FILES if os.path.lexists(pool_path(path, n))]
    for number in present:
        if any(each.level == DAMAGE for each in _journal_findings(path, number)):
            # Opened for writing, a pool is recovered first.
            with pool_files.OpenPool(path, number, write=True) as pool:
                pool.count()
    damaged = [number for number in present if not _is_clean(path, number)]
    pool_files.require_writable(path, damaged)
    for number in damaged:
        with terminal.Progress(f"waiting for pool {POOL_NAMES[number]}"):
            _clean(path, number)


def _is_clean(path: str, number: int) -> bool:
    try:
        data = pool_files.read(path, number)
    except PoolError:
        return True  # what it is instead is among the findings
    return validation.clean(data) == data


def _clean(path: str, number: int) -> None:
    """Copy and clean a file in one hold of its locks, so that the copy is what was changed.

    If there is so much to clean that it takes several holds, the copy is of the first.
    """
    is_copied = False

    def plan(old: bytes, fd: int) -> Edit:
        nonlocal is_copied
        wanted = Edit()
        if validation.clean(old) == old:
            return wanted
        if not is_copied:
            backup.write(path, number, old, fd)
            is_copied = True
        removed = []
        for index, (raw, new) in enumerate(
            zip(split_records(old), validation.cleaned(old), strict=True)
        ):
            if not new:
                removed.append(index)
            elif new != raw:
                wanted.changed[index] = new
        wanted.removed.append(removed)
        return wanted

    edit.change(number, pool_path(path, number), plan, report=terminal.say)


def _pool_findings(path: str, number: int, where: str) -> Iterable[Finding]:
    place = pool_path(path, number)
    try:
        status = os.lstat(place)
    except FileNotFoundError:
        return
    try:
        data = pool_files.read(path, number)
    except PoolError as error:
        advice = ""
        if isinstance(error.__cause__, PermissionError):
            yield Finding(
                NOTE, "not checked: only its owner may read it", advice="run it as root"
            )
            return
        if not stat.S_ISREG(status.st_mode):
            away = f"{os.path.dirname(place)}/not-a{os.path.basename(place)}"
            advice = f"move it away: mv {shlex.quote(place)} {shlex.quote(away)}"
        yield Finding(DAMAGE, error.reason, advice=advice)
        return
    if number == uapi.KVP_POOL_AUTO:
        if data:
            text = f"{len(data)} bytes that no host sees: this pool is made for each request"
            yield Finding(NOTE, text)
        return
    yield from _journal_findings(path, number)
    yield from validation.findings(data)
    yield from _permission_findings(place, status, os.stat(path))
    if number in pool_info.FROM_HOST:
        yield from _age_findings(number, status, where)


def _journal_findings(path: str, number: int) -> Iterable[Finding]:
    try:
        journal = pool_files.interrupted_change(path, number)
    except PoolError as error:
        yield Finding(NOTE, f"journal not checked: {error.reason}", advice="run it as root")
        return
    if journal:
        yield Finding(
            DAMAGE,
            f"a change was interrupted, its journal is {journal}; the next request finishes it",
            repairable=True,
        )
    aside = journal_path(path, number) + DAMAGED
    if os.path.lexists(aside):
        yield Finding(
            NOTE,
            f"its journal was damaged and set aside as {aside}; a change that was"
            " interrupted may be there in part",
            advice=f"when the records are as they should be: rm {aside}",
        )


def _permission_findings(
    place: str, status: os.stat_result, directory: os.stat_result
) -> Iterable[Finding]:
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o022:
        yield Finding(
            DAMAGE,
            f"mode {mode:04o}: others than its owner can write what the host reads",
            advice=f"chmod go-w {shlex.quote(place)}",
        )
    if not mode & stat.S_IROTH:
        yield Finding(NOTE, f"mode {mode:04o}: not every user can read it")
    if status.st_uid != directory.st_uid:
        yield Finding(
            DAMAGE,
            f"owned by user {status.st_uid}, its directory by user {directory.st_uid}",
            advice=f"chown {directory.st_uid} {shlex.quote(place)}",
        )


def _age_findings(number: int, status: os.stat_result, where: str) -> Iterable[Finding]:
    try:
        stale = pool_info.is_stale(status)
    except OSError as error:
        yield Finding(NOTE, f"not checked whether it is older than this boot: {error}")
        return
    if stale:
        yield Finding(
            NOTE,
            "written before this boot; in a captured image it is another machine's",
            advice=f"hv-kvp clear {POOL_NAMES[number]}{where}",
        )


def _installation_findings(path: str) -> Iterable[Finding]:
    """Yield what concerns the directory, and the daemon's own files."""
    mode = stat.S_IMODE(os.stat(path).st_mode)
    if mode & 0o022:
        yield Finding(
            DAMAGE,
            f"mode {mode:04o} of {path}: others than its owner can replace the pools",
            advice=f"chmod go-w {shlex.quote(path)}",
        )
    expected = {os.path.basename(pool_path(path, n)) for n in range(uapi.KVP_POOL_COUNT)}
    strange = sorted(
        name
        for name in os.listdir(path)
        if name.startswith(".kvp_pool_") and name not in expected
    )
    if strange:
        yield Finding(NOTE, f"{path} has {', '.join(strange)}, which some tools take for pools")
    missing = bytecode.missing()
    if missing:
        text = f"{missing} modules without bytecode: {bytecode.WHY}"
        yield Finding(NOTE, text, advice=bytecode.COMMAND)


CHECK = Command("check", "find damage in the pools, and repair it", _add_arguments, _check)
