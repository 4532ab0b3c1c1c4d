"""``watch``: changes of the pools as they happen, and waiting for a key.

In: the pools, read again under a shared lock whenever inotify tells of their
directory.  Out: a line for each record that was added, changed or deleted.
Rule: no polling.  The watch is set up before the pools are read, so that nothing
falls in between; several changes that come at once may show as one.
"""

from __future__ import annotations

import argparse
import errno
import os
import select
import time
from typing import TYPE_CHECKING, Final

from hv_kvp_daemon.cli import arguments, jsontext, terminal
from hv_kvp_daemon.cli.command import EXIT_DONE, EXIT_NOT_FOUND
from hv_kvp_daemon.pools.directory import POOL_NAMES, pool_path
from hv_kvp_daemon.pools.errors import PoolError

from . import inotify

if TYPE_CHECKING:
    from collections.abc import Iterator

    Values = dict[bytes, list[bytes]]

_MARKS: Final = {"present": "=", "added": "+", "changed": "~", "deleted": "-"}
_COLOURS: Final = {"added": terminal.GREEN, "changed": terminal.YELLOW, "deleted": terminal.RED}


class Change:
    """One record that is not as it was: what happened, in which pool, to what."""

    __slots__ = ("key", "kind", "pool", "value")

    def __init__(self, kind: str, pool: int, key: bytes, value: bytes) -> None:
        self.kind = kind
        self.pool = pool
        self.key = key
        self.value = value


def arguments_watch(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``watch``."""
    parser.add_argument(
        "pool", nargs="?", type=arguments.file_pool, metavar="POOL", help="one pool only"
    )
    parser.add_argument(
        "--until",
        type=arguments.key,
        metavar="KEY",
        help="end as soon as there is such a key, which may be at once",
    )
    parser.add_argument(
        "--timeout",
        type=seconds,
        metavar="SECONDS",
        help="end after so long; the exit status is 1 if --until's key did not come",
    )
    arguments.add_pool_dir(parser)
    arguments.add_json(parser)


def seconds(text: str) -> float:
    """An argument that is a duration."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return value


def run_watch(options: argparse.Namespace) -> int:
    """Until a signal, the timeout, or the key."""
    watcher = Watcher(
        arguments.directory(options),
        arguments.FILES if options.pool is None else (options.pool,),
        None if options.timeout is None else time.monotonic() + options.timeout,
    )
    for change in watcher.changes():
        wanted = options.until is not None and change.key == options.until
        if change.kind == "present":
            if not wanted:
                continue
        elif wanted and change.kind == "deleted":
            wanted = False
        _show(change, as_json=options.json)
        if wanted:
            return EXIT_DONE
    if options.until is None:
        return EXIT_DONE
    terminal.say(f"no key {terminal.text(options.until)} within {options.timeout:g} s")
    return EXIT_NOT_FOUND


def _show(change: Change, *, as_json: bool) -> None:
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
    colour = _COLOURS.get(change.kind)
    print(terminal.paint(line, colour) if colour else line, flush=True)


class Watcher:
    """What happens to some pools of a directory, until ``deadline`` (time.monotonic)."""

    def __init__(self, path: str, numbers: tuple[int, ...], deadline: float | None) -> None:
        self._path = path
        self._files = {os.path.basename(pool_path(path, number)): number for number in numbers}
        self._deadline = deadline
        self._known: dict[int, Values] = {}
        self._said: dict[int, str] = {}

    def changes(self) -> Iterator[Change]:
        """First everything that is there, as ``present``, then what happens."""
        while (events := self._open()) is not None:
            with events:
                names, gone = set(self._files), False
                while True:
                    # "" stands for lost events.
                    for name in self._files if "" in names else names & self._files.keys():
                        yield from self._compare(self._files[name])
                    if gone:
                        break
                    if not self._wait(events):
                        return
                    names, gone = events.read()

    def _open(self) -> inotify.Inotify | None:
        """Watch the directory, or wait until it is there; None when the time is over."""
        while True:
            # A link whose end is missing tells what will be made.
            path = os.path.realpath(self._path)
            place, mask = path, inotify.CHANGES | inotify.GONE
            while not os.path.isdir(place):
                place = os.path.dirname(place)
                mask = inotify.IN_CREATE | inotify.IN_MOVED_TO | inotify.GONE
            try:
                events = inotify.Inotify(place, mask)
            except OSError as error:
                if error.errno in {errno.ENOENT, errno.ENOTDIR}:
                    continue  # gone in this moment
                raise
            if place == path:
                return events
            # Whatever is in it when it comes is new.
            self._known = {number: {} for number in self._files.values()} | self._known
            with events:
                # Made between the look and the watch, it is not announced any more.
                nearer = os.path.join(place, os.path.relpath(path, place).split(os.sep)[0])
                if not os.path.isdir(nearer) and not self._wait(events):
                    return None

    def _wait(self, events: inotify.Inotify) -> bool:
        poll = select.poll()
        poll.register(events.fileno(), select.POLLIN)
        if self._deadline is None:
            return bool(poll.poll())
        left = self._deadline - time.monotonic()
        return bool(poll.poll(max(0, int(left * 1000) + 1))) if left > 0 else False

    def _compare(self, number: int) -> Iterator[Change]:
        new = self._read(number)
        if new is None:
            return
        first = number not in self._known
        old = self._known.get(number, {})
        self._known[number] = new
        for key in dict.fromkeys([*old, *new]):
            before, after = old.get(key, []), new.get(key, [])
            for value in before[len(after) :]:
                yield Change("deleted", number, key, value)
            for was, value in zip(before, after, strict=False):
                if was != value:
                    yield Change("changed", number, key, value)
            for value in after[len(before) :]:
                yield Change("present" if first else "added", number, key, value)

    def _read(self, number: int) -> Values | None:
        """The values of each key, or None (and a line for the person) if it cannot be read."""
        pool = arguments.reader(self._path, number)
        values: Values = {}
        try:
            for record in pool.records():
                values.setdefault(record.key, []).append(record.value)
        except PoolError as error:
            if self._said.get(number) != error.reason:
                self._said[number] = error.reason
                terminal.say(str(error))
            return None
        finally:
            pool.close()
        self._said.pop(number, None)
        return values
