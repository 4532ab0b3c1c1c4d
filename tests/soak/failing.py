# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""One run of the failing-disk campaign: random changes of a pool, random faults, a model.

The disk begins to fail at any call and fails for one call or for many: through a change,
its undo, the changes after it and their recovery.  Some calls are short, and any of them
can be the process's last.  At the end another process opens the pool on a healthy disk.

The model is the set of contents that the file may have.  A change that returned has
happened.  One that raised a PoolError, or in which the process was killed, has happened
or not; of an import, any number of its steps have.  The next change that returns has
finished or dropped what was in doubt before it, so the file then shows which it was.
"""

from __future__ import annotations

import random
import tempfile
import time
from binascii import crc32
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple
from unittest import mock

from hv_kvp_daemon.library import Pool
from hv_kvp_daemon.pools import edit
from hv_kvp_daemon.pools.directory import PoolDirectory
from hv_kvp_daemon.pools.errors import PoolError
from hv_kvp_daemon.wire.record import RECORD_SIZE, decode, encode
from tests.pools.crash import DeadError, content
from tests.pools.crash_cases import after_delete, after_set, key_of, put, records, whole
from tests.pools.failing_disk import (
    LOOKS,
    READS,
    SIZES,
    SYNCS,
    WRITES,
    Call,
    Die,
    Disk,
    Fault,
    Refuse,
    Short,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

COUNTS = (0, 0, 1, 2, 8, 8, 20, 60, 100, 126, 127, 128, 129, 130, 200, 257, 300)

# Seconds after which another write has another time, whatever the kernel.
_TICK = 0.025

State = tuple[bytes, ...]


class Outcome(NamedTuple):
    """``broken`` are kinds of broken promises; ``story`` says what was done, line by line."""

    seed: int
    broken: tuple[str, ...]
    story: tuple[str, ...]
    figures: Counter[str]


class Change(NamedTuple):
    """A change of the pool, and the contents that the file goes through from a given one."""

    text: str
    do: Callable[[Programs], object]
    steps: Callable[[State], Sequence[State]]


class Programs:
    """The daemon's pool and a script's, each with its own descriptors and caches."""

    def __init__(self, directory: str, number: int, *, sync: bool) -> None:
        self.directory = directory
        self.number = number
        self._sync = sync
        self.start()

    def start(self) -> None:
        self._pools = PoolDirectory(
            self.directory, report=_ignore, sync=self._sync, lock_wait=0.05
        )
        self.daemon = self._pools[self.number]
        self.script = Pool(
            self.number,
            directory=self.directory,
            report=_ignore,
            sync=self._sync,
            lock_wait=0.05,
        )
        self.path = self.daemon.path

    def close(self) -> None:
        self._pools.close()
        self.script.close()


class FaultPlan:
    """When the disk fails and for how long, when the process is killed, and at which calls.

    `begin_change` is called before each change, so that a fault begins within it or soon after:
    at any call, or at one that a change makes late, after which there is much to undo.
    """

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._wait = self._left = self._die_in = self._die_after = 0
        self._each = 1.0
        self._begins_at: tuple[str, ...] = ()
        self._only = "all"

    def begin_change(self) -> None:
        chance = self._chance
        if chance.random() < 0.3:
            self.heal()
        if not self._left and chance.random() < 0.7:
            self._wait = chance.choice((0, 0, chance.randrange(30)))
            self._begins_at = chance.choice(((), SYNCS, SIZES, WRITES))
            self._left = chance.choice((1, 2, 2, 3, 3, 4, 6, 10, 30))
            self._each = chance.choice((1.0, 0.7, 0.3))
            self._only = chance.choice(("all", "changing", "changing", "pool", "journal"))
        # At any call; or soon after the first fault, so within what is done about it.
        self._die_in = 1 + chance.randrange(45) if chance.random() < 0.15 else 0
        self._die_after = 1 + chance.randrange(6) if chance.random() < 0.2 else 0

    def heal(self) -> None:
        self._left = self._die_in = self._die_after = 0

    def __call__(self, call: Call) -> Fault | None:
        chance = self._chance
        if self._die_in:
            self._die_in -= 1
            if not self._die_in:
                writes = call.name not in READS and call.parts
                return Die(chance.choice(call.parts) if writes and chance.random() < 0.7 else 0)
        if self._wait:
            self._wait -= 1
            return None
        if not self._left or (self._begins_at and call.name not in self._begins_at):
            return None
        self._begins_at = ()
        if not self._concerns(call) or chance.random() >= self._each:
            return None
        self._left -= 1
        self._die_in, self._die_after = self._die_in or self._die_after, 0
        if call.parts and chance.random() < 0.5:
            return Short(chance.choice(call.parts))
        is_done = call.name in SIZES and chance.random() < 0.2
        return Refuse(chance.choice(call.errors), is_done)

    def _concerns(self, call: Call) -> bool:
        if self._only == "changing":
            return call.name not in {*READS, *LOOKS}
        return self._only == "all" or self._only in call.file


def run(seed: int) -> Outcome:
    """Make one run; the same for the same seed, whatever the clock says."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        campaign = _Run(seed, directory)
        with mock.patch("time.time_ns", campaign.clock):
            campaign.run()
        return Outcome(
            seed, tuple(dict.fromkeys(campaign.broken)), tuple(campaign.story), campaign.figures
        )


class _Clock:
    """A clock that stands still, but for a nanosecond a reading, until `tick`.

    Whether a writer takes a file for recently written depends on the seed then, and not
    on how fast this machine is.
    """

    def __init__(self) -> None:
        self._now = time.time_ns()

    def __call__(self) -> int:
        self._now += 1
        return self._now

    def tick(self) -> None:
        time.sleep(_TICK)
        self._now = time.clock_gettime_ns(time.CLOCK_REALTIME)


class _Run:
    def __init__(self, seed: int, directory: str) -> None:
        self.clock = _Clock()
        self.broken: list[str] = []
        self.figures: Counter[str] = Counter()
        self._chance = random.Random(f"changes {seed}")
        self._faults = FaultPlan(random.Random(f"faults {seed}"))
        self._disk = Disk(directory, self._faults)
        self.story = self._disk.story
        self._directory = directory
        self._number = self._chance.choice((0, 1, 3))
        self._sync = self._chance.random() < 0.7
        self._made = 0
        before = self._records(self._chance.choice(COUNTS))
        self._states: list[State] = [before]
        self._universe = {*before}
        self._programs = Programs(directory, self._number, sync=self._sync)
        if before or self._chance.random() < 0.5:
            put(self._programs.path, b"".join(before))

    def run(self) -> None:
        records_before = len(self._states[0])
        self.story.append(f"pool {self._number}, {records_before} records, sync={self._sync}")
        for _ in range(self._chance.randint(3, 12)):
            self._faults.begin_change()
            if len(self._states) > 64:
                self._faults.heal()
            if self._chance.random() < 0.2:
                self.clock.tick()
            if self._chance.random() < 0.3:
                self._read(self._programs)
            self._change(self._some_change())
            if self.broken:
                break
        self._programs.close()
        if not self.broken:
            self._look_again()

    def _look_again(self) -> None:
        """Let another process read, change and read the pool on a healthy disk."""
        self._faults.heal()
        self.story.append("another process")
        self._programs.start()
        if self._chance.random() < 0.5:
            self._read_all()
            self._settle("after a look of another process", only_read=True)
        if not self.broken:
            self._change(self._some_change())
        if not self.broken:
            self._read_all()
        self._programs.close()

    def _change(self, change: Change) -> None:
        """Make a change under the failing disk, and see what may be there now."""
        before, disk = self._disk.faults, self._disk
        self.figures["changes"] += 1
        self.story.append(change.text)
        after = [change.steps(state) for state in self._states]
        self._universe |= {record for steps in after for state in steps for record in state}
        try:
            with disk:
                change.do(self._programs)
        except PoolError as error:
            self._refused(error)
            self.figures["refused"] += 1
            if disk.faults == before:
                self.broken.append("a change that is refused on a healthy disk")
        except DeadError:
            self.figures["killed"] += 1
            disk.revive()
            self._programs.close()
            self._programs.start()
        except Exception as error:  # noqa: BLE001  # whatever it is, it is a finding
            self.broken.append(f"an exception that is no PoolError: {error!r}")
        else:
            self.figures["acknowledged"] += 1
            self._states = [*dict.fromkeys(steps[-1] for steps in after)]
            self._settle("after an acknowledged change")
            return
        finally:
            self.figures["faults"] += disk.faults - before
        self._states = [*dict.fromkeys(state for steps in after for state in steps)]

    def _settle(self, when: str, *, only_read: bool = False) -> None:
        """Compare the file with those that there may be; the one found is that which is.

        What an append that was not finished left behind the last record is empty, and the
        next change removes it; so it may be there where somebody has only read.
        """
        raw = content(self._programs.path)
        found = tuple(whole(raw))
        while only_read and found and not key_of(found[-1]):
            found = found[:-1]
        kinds = wrong(raw, found, self._states, self._universe)
        if kinds:
            self.broken += kinds
            self.story.append(f"  {when}: {', '.join(kinds)}")
            self.story += difference(found, self._states)
        self._states = [found]

    def _read(self, programs: Programs) -> None:
        """Read from the failing disk: the reply is an error or what the file has.

        Not checked while a change is in doubt: a reader is served where recovery fails.
        """
        key = self._some_key()
        index = self._chance.randrange(310)
        known = self._states[0] if len(self._states) == 1 else None
        before = self._disk.faults
        self.story.append(f"read {key[:20]!r}, record {index}")
        try:
            with self._disk:
                value, record = programs.daemon.find(key), programs.daemon.read(index)
        except PoolError as error:
            self._refused(error)
            if self._disk.faults == before:
                self.broken.append("a read that is refused on a healthy disk")
            return
        except DeadError:
            self._disk.revive()
            self._programs.close()
            self._programs.start()
            return
        if known is None:
            return
        values = [decode(raw).value for raw in known if key_of(raw) == key]
        if value != (values[0] if values else None):
            self.broken.append("a reply that is not what the file has")
        if record != (decode(known[index]) if index < len(known) else None):
            self.broken.append("a reply that is not what the file has")

    def _read_all(self) -> None:
        """Read everything by every way; the file's bytes must say the same."""
        daemon, script = self._programs.daemon, self._programs.script
        replies = [daemon.records(), [daemon.read(at) for at in range(daemon.count())]]
        pairs = dict(script)
        raw = [decode(record) for record in whole(content(self._programs.path))]
        if replies != [raw, raw]:
            self.broken.append("a reply that is not what the file has")
        first: dict[bytes, bytes] = {}
        for record in raw:
            if record.key:
                first.setdefault(record.key, record.value)
        if {key.encode(): value.encode() for key, value in pairs.items()} != {
            key: value.decode("utf-8", "surrogateescape").encode("utf-8", "surrogateescape")
            for key, value in first.items()
        }:
            self.broken.append("a reply that is not what the file has")

    def _refused(self, error: PoolError) -> None:
        self.story.append(f"  refused: {error.reason.replace(self._directory, '')}")

    # The changes.

    def _records(self, count: int) -> State:
        made = [bytes(record) for record in records(count)]
        if count and self._chance.random() < 0.5:
            # All of them short, or all long.
            size = self._chance.choice((8, 1900))
            made = [
                encode(key_of(record), b"%d " % at * (size // 4))
                for at, record in enumerate(made)
            ]
        return tuple(made)

    def _some_key(self) -> bytes:
        if self._states[0] and self._chance.random() < 0.7:
            state = self._states[0]
            # The first ones more often: behind those more has to move.
            at = min(self._chance.randrange(len(state)), self._chance.randrange(len(state)))
            return key_of(state[at])
        return self._chance.choice((b"thrice", b"new", b"newer", b"n" * 300))

    def _some_value(self) -> bytes:
        self._made += 1
        size = self._chance.choice((1, 100, 480, 511, 600, 1500, 2047))
        return (b"v%d " % self._made).ljust(size, b"%d" % (self._made % 10))[:2047]

    def _some_change(self) -> Change:
        kind = self._chance.choices(
            ("store", "delete", "append", "import", "clear"), (35, 40, 10, 12, 3)
        )[0]
        key, value = self._some_key(), self._some_value()
        by_script = self._chance.random() < 0.4
        if kind == "import":
            return self._import()
        if kind == "store":
            return Change(
                f"store {key[:20]!r}, {len(value)} bytes, {by_script=}",
                lambda programs: store(programs, key, value, by_script=by_script),
                lambda state: [state, tuple(after_set([*state], key, value))],
            )
        if kind == "append":
            return Change(
                f"append {key[:20]!r}, {len(value)} bytes, {by_script=}",
                lambda programs: append(programs, key, value, by_script=by_script),
                lambda state: [state, (*state, encode(key, value))],
            )
        if kind == "delete":
            return Change(
                f"delete {key[:20]!r}, {by_script=}",
                lambda programs: delete(programs, key, by_script=by_script),
                lambda state: [state, tuple(after_delete([*state], key))],
            )
        return Change(
            f"clear, {by_script=}",
            lambda programs: clear(programs, by_script=by_script),
            lambda state: [state, ()],
        )

    def _import(self) -> Change:
        added = [
            encode(b"imported %d" % self._chance.randrange(50), self._some_value())
            for _ in range(self._chance.randrange(4))
        ]
        changed = {
            self._some_key(): self._some_value() for _ in range(self._chance.randrange(3))
        }
        removed = [
            [self._some_key() for _ in range(self._chance.randrange(3))] for _ in range(2)
        ]
        return Change(
            f"import: add {[key_of(record) for record in added]}, change"
            f" {[key[:20] for key in changed]}, remove"
            f" {[[key[:20] for key in group] for group in removed]}",
            lambda programs: edit.change(
                programs.number,
                programs.path,
                lambda raw, _: plan(tuple(whole(raw)), added, changed, removed),
                report=_ignore,
            ),
            lambda state: import_steps(state, plan(state, added, changed, removed)),
        )


def store(programs: Programs, key: bytes, value: bytes, *, by_script: bool) -> None:
    if by_script:
        programs.script[key.decode()] = value.decode()
    else:
        programs.daemon.store(key, value)


def append(programs: Programs, key: bytes, value: bytes, *, by_script: bool) -> None:
    if by_script:
        programs.script.append(key.decode(), value.decode())
    else:
        programs.daemon.append(key, value)


def delete(programs: Programs, key: bytes, *, by_script: bool) -> None:
    if not by_script:
        programs.daemon.delete(key)
        return
    # Not pop(), which only reads where there is no such key.
    with suppress(KeyError):
        del programs.script[key.decode()]


def clear(programs: Programs, *, by_script: bool) -> None:
    if by_script:
        programs.script.clear()
    else:
        programs.daemon.clear()


def plan(
    state: State,
    added: Iterable[bytes],
    changed: dict[bytes, bytes],
    removed: Iterable[Iterable[bytes]],
) -> edit.Edit:
    """The edit that an import makes of a file; of a key the first record is meant."""
    keys = [key_of(record) for record in state]
    made = edit.Edit()
    made.added = [*added]
    made.changed = {
        keys.index(key): state[keys.index(key)][:512] + encode(key, value)[512:]
        for key, value in changed.items()
        if key in keys
    }
    gone: set[int] = set()
    for group in removed:
        indices = [keys.index(key) for key in dict.fromkeys(group) if key in keys]
        made.removed.append([index for index in indices if index not in gone])
        gone.update(indices)
    return made


def import_steps(state: State, made: edit.Edit) -> list[State]:
    """The files that an edit goes through: see `tests.cli.edits.Case`."""
    steps = [state]
    for record in made.added:
        steps.append((*steps[-1], record))
    for index, record in made.changed.items():
        last = steps[-1]
        steps.append((*last[:index], record, *last[index + 1 :]))
    full, gone = steps[-1], set[int]()
    for index in (index for group in made.removed for index in group):
        gone.add(index)
        steps.append(tuple(record for at, record in enumerate(full) if at not in gone))
    return steps


def wrong(raw: bytes, found: State, states: Sequence[State], universe: set[bytes]) -> list[str]:
    """Name what is wrong with a file that is none of those that there may be."""
    kinds = []
    if len(raw) % RECORD_SIZE:
        kinds.append("a length that is no multiple of 2560")
    if found in states:
        return kinds
    near = nearest(found, states)
    should, there = Counter[bytes](near), Counter[bytes](found)
    if should - there:
        kinds.append("a lost record")
    for record, number in (there - should).items():
        if not key_of(record):
            kinds.append("an empty record")
        elif record not in universe:
            kinds.append("a torn record")
        elif number > 1 or should[record]:
            kinds.append("a record that is there twice")
        else:
            kinds.append("a deleted record, or an old value, that is back")
    return [*dict.fromkeys(kinds)] or ["records in another order"]


def nearest(found: State, states: Sequence[State]) -> State:
    """Of the files that there may be the one that is the most like the one found."""
    there = Counter[bytes](found)

    def distance(state: State) -> int:
        should = Counter[bytes](state)
        return (should - there).total() + (there - should).total()

    return min(states, key=distance)


def difference(found: State, states: Sequence[State]) -> list[str]:
    """Compare a file with the one, of those that there may be, that is the most like it."""
    near = nearest(found, states)
    lines = []
    for at in range(max(len(found), len(near))):
        is_, should = found[at : at + 1], near[at : at + 1]
        if is_ != should:
            lines.append(f"    record {at} is {_brief(is_)}, should be {_brief(should)}")
    return [
        f"    {len(found)} records; of {len(states)} states the nearest has {len(near)}",
        *lines[:6],
    ]


def _brief(records: State) -> str:
    return f"{key_of(records[0])[:30]!r} ({crc32(records[0]):08x})" if records else "missing"


def _ignore(_: str) -> None:
    """Drop a report: only the file and the replies are checked."""
