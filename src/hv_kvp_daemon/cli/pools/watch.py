# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""``watch``: changes of the pools as they happen, or the wait for a key.

After an inotify event about a pool, it is read again under a shared lock and compared.  The
watch is set up before the first read, so no change is missed in between.  Changes that
follow each other closely may show as one.  A pool that could not be read is read again after
a while, since no event comes when another program releases a lock.

With ``--exec`` a program gets the changes instead of standard output (`program_runner`).
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import math
import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

from hv_kvp_daemon.cli import arguments, jsontext, terminal
from hv_kvp_daemon.cli.command import (
    EXIT_DONE,
    EXIT_NOT_FOUND,
    EXIT_UNUSABLE,
    Command,
    describe,
)
from hv_kvp_daemon.guest.child import wait_readable
from hv_kvp_daemon.pools.directory import POOL_NAMES, pool_path
from hv_kvp_daemon.pools.errors import LockTimeoutError, PoolError
from hv_kvp_daemon.service.options import UsageError
from hv_kvp_daemon.transport import inotify

from . import pool_files

if TYPE_CHECKING:
    from collections.abc import Callable

    from hv_kvp_daemon.guest.child import Wait

    Values = dict[bytes, list[bytes]]

_MARKS: Final = {"present": "=", "added": "+", "changed": "~", "deleted": "-"}
_COLORS: Final = {"added": terminal.GREEN, "changed": terminal.YELLOW, "deleted": terminal.RED}

# Seconds until a pool that could not be read is read again.
_RETRY: Final = 5.0


class Event(NamedTuple):
    """One record that was added, changed or deleted, or is present at the start."""

    kind: str
    pool: int
    key: bytes
    value: bytes


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    arguments.add_pool(parser, arguments.file_pool)
    parser.add_argument(
        "--until",
        type=arguments.key,
        metavar="KEY",
        help="end as soon as a record has this key, which may be at once",
    )
    parser.add_argument(
        "--timeout",
        type=arguments.seconds,
        metavar="SECONDS",
        help="end after this time; the exit status is 1 if --until's key did not come",
    )
    parser.add_argument(
        "--key", type=arguments.key, metavar="KEY", help="only changes of records with this key"
    )
    parser.add_argument(
        "--present",
        action="store_true",
        help="begin with the records that are there already, as changes of the kind present",
    )
    parser.add_argument(
        "--exec",
        type=_program,
        metavar="PROGRAM",
        help="run a program for each change, with event, pool and key as its arguments and"
        " the value in HV_KVP_VALUE",
    )
    arguments.add_pool_dir(parser)
    arguments.add_json(parser)


def _program(name: str) -> str:
    """Return the path of a program; without a slash in its name it is looked for in PATH."""
    import shutil  # noqa: PLC0415 - only --exec needs it

    path = shutil.which(name)
    if path is None:
        raise argparse.ArgumentTypeError(f"{name!r} is no program that can be run")
    return path


def _watch(options: argparse.Namespace) -> int:
    if options.exec is None:
        come = _follow(options, wait_readable, lambda each: _show(each, as_json=options.json))
        return _status(options, come=come)
    if options.json:
        raise UsageError("--json is for changes that are shown; --exec gives them to a program")
    from .program_runner import Runner  # noqa: PLC0415 - only --exec needs it

    with Runner(options.exec) as runner:
        come = _follow(options, runner.wait, runner.add)
        runner.finish()
    if runner.signal:
        return 128 + runner.signal  # as a shell has it
    return _status(options, come=come) or (EXIT_UNUSABLE if runner.failed else EXIT_DONE)


def _follow(options: argparse.Namespace, wait: Wait, handle: Callable[[Event], object]) -> bool:
    """Handle the changes that the options select; return whether --until's key has come."""
    watcher = Watcher(
        arguments.directory(options),
        arguments.FILES if options.pool is None else (options.pool,),
        None if options.timeout is None else time.monotonic() + options.timeout,
        wait,
    )
    for change in watcher.changes():
        is_awaited = change.key == options.until and change.kind != "deleted"
        is_selected = options.key in {None, change.key} and (
            options.present or change.kind != "present"
        )
        if is_awaited or is_selected:
            handle(change)
        if is_awaited:
            return True
    return False


def _status(options: argparse.Namespace, *, come: bool) -> int:
    if come or options.until is None:
        return EXIT_DONE
    terminal.say(f"no key {terminal.text(options.until)} within {options.timeout:g} s")
    return EXIT_NOT_FOUND


def _show(change: Event, *, as_json: bool) -> None:
    pool = POOL_NAMES[change.pool]
    if as_json:
        jsontext.show_line(
            {"event": change.kind, "pool": pool, **jsontext.pair(change.key, change.value)}
        )
        return
    words = (_MARKS[change.kind], pool, terminal.text(change.key), terminal.text(change.value))
    if not terminal.is_terminal():
        print(*words, sep="\t", flush=True)
        return
    line = terminal.fit(
        f"{time.strftime('%H:%M:%S')} {words[0]} {pool:<8} {words[2]}  {words[3]}",
        terminal.columns(),
    )
    color = _COLORS.get(change.kind)
    print(terminal.paint(line, color) if color else line, flush=True)


class Watcher:
    """The changes of some pools of a directory, until ``deadline`` (time.monotonic).

    They also end if ``wait`` returns False before.
    """

    def __init__(
        self,
        path: str,
        numbers: tuple[int, ...],
        deadline: float | None,
        wait: Wait = wait_readable,
    ) -> None:
        self._path = path
        self._wait_readable = wait
        self._files = {os.path.basename(pool_path(path, number)): number for number in numbers}
        self._deadline = deadline
        self._known: dict[int, Values] = {}
        # Why pools could not be read, when that was last tried.
        self._failed: dict[int, str] = {}

    def changes(self) -> Iterator[Event]:
        """Yield all records that are there, as ``present``, and then what happens."""
        while (events := self._open()) is not None:
            with contextlib.closing(events):
                names, gone, retry = set(self._files), False, math.inf
                while True:
                    # "" stands for lost events.
                    for name in self._files if "" in names else names & self._files.keys():
                        yield from self._compare(self._files[name])
                    if gone:
                        break
                    retry = min(retry, time.monotonic() + _RETRY) if self._failed else math.inf
                    if not self._wait(events, retry):
                        return
                    names, gone = events.read()
                    if time.monotonic() >= retry:
                        names |= {
                            name for name, each in self._files.items() if each in self._failed
                        }
                        retry = math.inf

    def _open(self) -> inotify.Inotify | None:
        """Watch the directory as soon as it exists; None where the deadline comes first."""
        while True:
            # A dangling link (/var/lib/hyperv is one at first) names what will be made.
            path = os.path.realpath(self._path)
            place, mask = path, inotify.CHANGES | inotify.GONE | inotify.IN_ONLYDIR
            while not os.path.isdir(place):
                place = os.path.dirname(place)
                mask = (
                    inotify.IN_CREATE | inotify.IN_MOVED_TO | inotify.GONE | inotify.IN_ONLYDIR
                )
            try:
                events = inotify.Inotify(place, mask)
            except OSError as error:
                if error.errno in {errno.ENOENT, errno.ENOTDIR}:
                    continue  # removed since it was looked at
                raise
            if place == path:
                return events
            # All records are new once the directory comes.
            self._known = {number: {} for number in self._files.values()} | self._known
            with contextlib.closing(events):
                # What was made between the look and the watch causes no event.
                nearer = os.path.join(place, os.path.relpath(path, place).split(os.sep)[0])
                if not os.path.isdir(nearer) and not self._wait(events):
                    return None

    def _wait(self, events: inotify.Inotify, retry: float = math.inf) -> bool:
        """Wait for events, or until ``retry`` (time.monotonic).

        False once the deadline has passed, even if there are events.
        """
        deadline = math.inf if self._deadline is None else self._deadline
        left = min(deadline, retry) - (now := time.monotonic())
        if now >= deadline:
            return False
        return self._wait_readable(events.fileno(), left) or retry <= time.monotonic()

    def _compare(self, number: int) -> Iterator[Event]:
        new = self._read(number)
        if new is None:
            return
        first = number not in self._known
        old = self._known.get(number, {})
        self._known[number] = new
        for key in dict.fromkeys([*old, *new]):
            before, after = old.get(key, []), new.get(key, [])
            for value in before[len(after) :]:
                yield Event("deleted", number, key, value)
            for was, value in zip(before, after, strict=False):
                if was != value:
                    yield Event("changed", number, key, value)
            for value in after[len(before) :]:
                yield Event("present" if first else "added", number, key, value)

    def _read(self, number: int) -> Values | None:
        """Return the values of each key; None, and one line, if the pool cannot be read."""
        values: Values = {}
        try:
            for record in pool_files.records(self._path, number):
                values.setdefault(record.key, []).append(record.value)
        except PoolError as error:
            # The reason of a timeout has the time waited, which differs each time.
            reason = error.holders if isinstance(error, LockTimeoutError) else error.reason
            if self._failed.get(number) != reason:
                self._failed[number] = reason
                terminal.say(describe(error))
            return None
        self._failed.pop(number, None)
        return values


WATCH = Command(
    "watch", "show changes as they happen, or wait for a key", _add_arguments, _watch
)
