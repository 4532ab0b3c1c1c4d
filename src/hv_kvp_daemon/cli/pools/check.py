"""``check``: whether the pools are as every reader expects them, and mending them.

In: the pool directory.  Out: findings for each pool; with ``--repair`` interrupted
changes are finished, and files clean, in place and under their locks, with the
former bytes beside them.
Rule: nothing is changed without ``--repair``, no file's mode ever.
"""

from __future__ import annotations

import os
import stat
import time
from typing import TYPE_CHECKING, Final

from hv_kvp_daemon.cli import arguments, jsontext, terminal
from hv_kvp_daemon.cli.command import EXIT_DONE, EXIT_UNUSABLE
from hv_kvp_daemon.cli.service import bytecode
from hv_kvp_daemon.pools.directory import POOL_NAMES, pool_path
from hv_kvp_daemon.pools.edit import Edit
from hv_kvp_daemon.pools.errors import PoolError
from hv_kvp_daemon.wire.uapi import (
    KVP_POOL_AUTO,
    KVP_POOL_AUTO_EXTERNAL,
    KVP_POOL_COUNT,
    KVP_POOL_EXTERNAL,
)

from . import backup, diff, validation
from .validation import DAMAGE, NOTE, Finding

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

#: Pools that a host fills anew after each boot.
_FROM_HOST: Final = (KVP_POOL_EXTERNAL, KVP_POOL_AUTO_EXTERNAL)

_COLOURS: Final = {DAMAGE: terminal.RED, NOTE: terminal.YELLOW}


def arguments_check(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``check``."""
    parser.add_argument(
        "--repair",
        action="store_true",
        help="keep a copy of each damaged file and write a clean one in its place",
    )
    arguments.add_pool_dir(parser)
    arguments.add_json(parser)


def run_check(options: argparse.Namespace) -> int:
    """0 when nothing is damaged (any more), 3 when something is."""
    path = arguments.existing_directory(options)
    if options.repair:
        _finish_changes(path)
        damaged = [number for number in _present(path) if _is_unclean(path, number)]
        arguments.require_writable(path, damaged)
        for number in damaged:
            _repair(path, number)
    found: list[tuple[str, Finding]] = [("", finding) for finding in installation(path)]
    for number in range(KVP_POOL_COUNT):
        with terminal.Progress(f"waiting for pool {POOL_NAMES[number]}"):
            found += [(POOL_NAMES[number], finding) for finding in _pool(path, number)]
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
    return EXIT_UNUSABLE if any(each.level == DAMAGE for _, each in found) else EXIT_DONE


def _show(found: list[tuple[str, Finding]]) -> None:
    for name, finding in found:
        where = f"pool {name}: " if name else ""
        advice = finding.advice
        if finding.repairable and not advice:
            advice = "hv-kvp check --repair"
        level = terminal.paint(f"{finding.level}:", _COLOURS[finding.level])
        print(level, terminal.safe(f"{where}{finding.text}"))
        if advice:
            print(f"    {terminal.safe(advice)}")


def _present(path: str) -> list[int]:
    return [number for number in arguments.FILES if os.path.lexists(pool_path(path, number))]


def _finish_changes(path: str) -> None:
    """Let the pools' own code put in order what their journals tell of."""
    for number in _present(path):
        if any(each.level == DAMAGE for each in _journal(path, number)):
            pool = arguments.writer(path, number)
            try:
                pool.count()
            finally:
                pool.close()


def _is_unclean(path: str, number: int) -> bool:
    try:
        data = diff.read(path, number)
    except PoolError:
        return False  # it is among the findings
    return validation.clean(data) != data


def _repair(path: str, number: int) -> None:
    """Copy and clean in one hold of the locks, so that the copy is what was changed."""

    def plan(old: bytes, fd: int) -> Edit:
        edit = Edit()
        if validation.clean(old) == old:
            return edit
        copy = backup.write(path, number, old, fd)
        terminal.say(f"pool {POOL_NAMES[number]}: the former bytes are in {copy}")
        records = diff.records(old)
        removed = []
        for index, new in enumerate(validation.mended(old)):
            if not new:
                removed.append(index)
            elif new != records[index]:
                edit.changed[index] = new
        edit.removed.append(removed)
        return edit

    with terminal.Progress(f"waiting for pool {POOL_NAMES[number]}"):
        diff.change(path, number, plan)


def _pool(path: str, number: int) -> Iterable[Finding]:
    place = pool_path(path, number)
    try:
        status = os.lstat(place)
    except FileNotFoundError:
        return
    try:
        data = diff.read(path, number)
    except PoolError as error:
        advice = ""
        if isinstance(error.__cause__, PermissionError):
            yield Finding(
                NOTE, "only its owner may read it; not looked at", advice="run as root"
            )
            return
        if not stat.S_ISREG(status.st_mode):
            advice = f"move it away: mv {place} {place.replace('.kvp', 'not-a-kvp')}"
        yield Finding(DAMAGE, error.reason, advice=advice)
        return
    if number == KVP_POOL_AUTO:
        if data:
            yield Finding(
                NOTE, f"{len(data)} bytes that nobody sees: this pool is made for each request"
            )
        return
    yield from _journal(path, number)
    yield from validation.findings(data)
    yield from _permissions(place, status, os.stat(path))
    if number in _FROM_HOST and data and status.st_mtime < boot_time():
        yield Finding(
            NOTE,
            "written before this boot; in an image that was captured it is another machine's",
            advice=f"hv-kvp clear {POOL_NAMES[number]}",
        )


def _journal(path: str, number: int) -> Iterable[Finding]:
    """A change that was interrupted; whoever uses the pool next finishes it."""
    try:
        journal = diff.interrupted(path, number)
    except PoolError as error:
        yield Finding(NOTE, f"not looked at: {error.reason}", advice="run as root")
        return
    if journal:
        yield Finding(
            DAMAGE,
            f"a change was interrupted, noted in {journal}; the next request finishes it",
            repairable=True,
        )


def _permissions(
    place: str, status: os.stat_result, directory: os.stat_result
) -> Iterable[Finding]:
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o022:
        yield Finding(
            DAMAGE,
            f"mode {mode:04o}: others than its owner can write what the host reads",
            advice=f"chmod go-w {place}",
        )
    if not mode & stat.S_IROTH:
        yield Finding(NOTE, f"mode {mode:04o}: not every user can read it")
    if status.st_uid != directory.st_uid:
        yield Finding(
            DAMAGE,
            f"belongs to user {status.st_uid}, its directory to user {directory.st_uid}",
            advice=f"chown {directory.st_uid} {place}",
        )


def installation(path: str) -> Iterable[Finding]:
    """What concerns no single pool: the directory, and the daemon's own files."""
    mode = stat.S_IMODE(os.stat(path).st_mode)
    if mode & 0o022:
        yield Finding(
            DAMAGE,
            f"mode {mode:04o} of {path}: others than its owner can replace the pools",
            advice=f"chmod go-w {path}",
        )
    expected = {os.path.basename(pool_path(path, n)) for n in range(KVP_POOL_COUNT)}
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


def boot_time() -> float:
    """When this machine booted, in seconds of the wall clock.

    By the clock that counts suspended time, too, as the wall clock does.
    """
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
