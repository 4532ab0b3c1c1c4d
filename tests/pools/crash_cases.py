# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Changes of a pool, other programs that come after a kill, and what must be found then.

Shared by the tests here, which only simulate a kill, and by those of ``tests/soak``.
"""

from __future__ import annotations

import itertools
import os
import tempfile
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

import pytest

from hv_kvp_daemon.pools import journal
from hv_kvp_daemon.pools.pool import PoolFile
from hv_kvp_daemon.wire.record import RECORD_SIZE, encode
from tests.pools.crash import Calls, DeadError, Disk, content

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

Records = list[bytes]


def records(count: int) -> Records:
    """Records of all kinds: short and long, with rubbish, and one key three times."""
    made = []
    for number in range(count):
        key = b"key %d" % number
        value = b"%d " % number * (1 + 97 * number % 500)
        made.append(encode(key, value[:2047]))
        if number % 7 == 3:
            made[-1] = (key + b"\0").ljust(512, b"\xaa") + (b"v\0").ljust(2048, b"\xbb")
    for number in (2, count // 2, count - 2):
        if count > 20:
            made[number] = encode(b"thrice", b"%d" % number * 300)
    return made


def key_of(record: bytes) -> bytes:
    return record[:512].partition(b"\0")[0]


def after_set(before: Records, key: bytes, value: bytes) -> Records:
    """The first record with the key has the value, and there is no other."""
    after = set_first(before, key, value)
    at = [key_of(record) for record in after].index(key)
    return [*after[: at + 1], *after_delete(after[at + 1 :], key)]


def set_first(before: Records, key: bytes, value: bytes) -> Records:
    """What another program leaves that sets a value."""
    for index, record in enumerate(before):
        if key_of(record) == key:
            return [
                *before[:index],
                record[:512] + encode(key, value)[512:],
                *before[index + 1 :],
            ]
    return [*before, encode(key, value)]


def after_delete(before: Records, key: bytes) -> Records:
    return [record for record in before if key_of(record) != key]


# What is done: set or delete, a key, a value; `BATCH` is a row of such.
CHANGES: dict[str, tuple[str, bytes, bytes]] = {
    "new": ("store", b"new", b"value"),
    "new long": ("store", b"new", b"v" * 2047),
    "modify": ("store", b"key 0", b"new"),
    "modify long": ("store", b"key 0", b"n" * 2047),
    "modify far": ("store", b"key 57", b"n" * 1800),
    "modify three": ("store", b"thrice", b"n" * 1200),
    "modify three shortly": ("store", b"thrice", b"n" * 100),
    "modify none of three": ("store", b"thrice", b"2" * 300),
    "delete first": ("delete", b"key 0", b""),
    "delete middle": ("delete", b"key 31", b""),
    "delete three": ("delete", b"thrice", b""),
    "delete last": ("delete", b"key 59", b""),
    "delete very last": ("delete", b"key 299", b""),
}
BATCH = [
    ("store", b"key 3", b"short"),
    ("store", b"imported 1", b"i" * 1500),
    ("store", b"thrice", b"t" * 1500),
    ("store", b"imported 2", b""),
    ("delete", b"key 5", b""),
    ("store", b"imported 1", b"again"),
]
SIZES = (0, 1, 60, 300)


def steps(name: str) -> list[tuple[str, bytes, bytes]]:
    return BATCH if name == "batch" else [CHANGES[name]]


def change(pool: PoolFile, name: str) -> None:
    for kind, key, value in steps(name):
        if kind == "store":
            pool.store(key, value)
        else:
            pool.delete(key)


def states(before: Records, name: str) -> list[Records]:
    """The states that a change goes through: before, and after each of its steps."""
    found = [before]
    for kind, key, value in steps(name):
        if kind == "store":
            found.append(after_set(found[-1], key, value))
        else:
            found.append(after_delete(found[-1], key))
    return found


def put(path: str, raw: bytes) -> None:
    with open(path, "r+b" if os.path.exists(path) else "wb") as file:
        file.write(raw)
        file.truncate()


def whole(raw: bytes) -> Records:
    return [
        raw[at : at + RECORD_SIZE] for at in range(0, len(raw) - RECORD_SIZE + 1, RECORD_SIZE)
    ]


# Neighbours between the kill and the restart, none of which knows of a journal: what
# each does to the file, and to the records that it should have seen.

EVENT = encode(b"CLOUD_INIT|event", b"{}" * 700)


def append_event(path: str, number: int = 3) -> None:
    with open(path, "ab") as file:
        file.write(EVENT * number)


def delete_as_c_does(key: bytes) -> Callable[[str], None]:
    def delete(path: str) -> None:
        kept = whole(content(path))
        for index, record in enumerate(kept):
            if key_of(record) == key:
                del kept[index]
                break
        put(path, b"".join(kept))

    return delete


def truncate(path: str) -> None:
    with open(path, "wb"):
        pass


#: More than one change of the journal's moves.
MANY = 140

NEIGHBOURS: dict[str, tuple[Callable[[str], None], Callable[[Records], Records]]] = {
    "nobody": (lambda _: None, lambda seen: seen),
    "appends": (append_event, lambda seen: [*seen, EVENT, EVENT, EVENT]),
    "deletes before": (delete_as_c_does(b"key 1"), lambda seen: after_delete(seen, b"key 1")),
    "deletes behind": (delete_as_c_does(b"key 40"), lambda seen: after_delete(seen, b"key 40")),
    "appends many": (
        lambda path: append_event(path, MANY),
        lambda seen: [*seen, *[EVENT] * MANY],
    ),
    "truncates": (truncate, lambda _: []),
}


class Trial:
    """One pool, put in its state before, and changed until death."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.path = os.path.join(directory, ".kvp_pool_1")
        self.reports: list[str] = []

    def open(self, *, sync: bool = False) -> PoolFile:
        return PoolFile(1, self.path, report=self.reports.append, sync=sync)

    def prepare(self, before: Records) -> None:
        """Leave nothing but the pool with these records."""
        for entry in os.listdir(self.directory):
            os.unlink(os.path.join(self.directory, entry))
        put(self.path, b"".join(before))

    def die(self, before: Records, name: str, calls: Calls, *, sync: bool = False) -> bool:
        """Change the pool under ``calls``; tell whether that was survived."""
        self.prepare(before)
        pool = self.open(sync=sync)
        pool.open()
        try:
            with calls:
                change(pool, name)
        except DeadError:
            return False
        else:
            return True
        finally:
            pool.close()

    def found(self, calls: Calls | None = None, *, sync: bool = False) -> Records:
        """Restart, look, and return what is in the file then; with ``calls``, die in that."""
        pool = self.open(sync=sync)
        try:
            with calls or nullcontext():
                pool.count()
        except DeadError:
            return []
        finally:
            pool.close()
        raw = content(self.path)
        assert len(raw) % RECORD_SIZE == 0
        return whole(raw)


@contextmanager
def trial_in_memory() -> Iterator[Trial]:
    """A trial on a tmpfs: a kill leaves what the page cache has, and a disk only costs time."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        pools = os.path.join(directory, "pools")
        os.mkdir(pools)
        yield Trial(pools)


def spread(nth: int, every: int) -> Iterator[int]:
    """Numbers of calls, without end: the first, and one of each ``every`` after it.

    They are others after another first fault, at call ``nth``, so that all are there
    where ``nth`` takes each value.  Whoever counts goes on up to a call that is not made.
    """
    yield 1
    yield from itertools.count(2 + nth % every, every)


def killed_then_powerless(
    trial: Trial,
    before: Records,
    name: str,
    neighbour: str,
    chance: random.Random,
    every: int = 1,
) -> Iterator[tuple[tuple[int, int], Records, list[Records]]]:
    """A kill within a change, a neighbour, and a power cut while the change is put in order.

    The kill at every call, the power cut at every call or at those that `spread` gives;
    yields which, what is found after another start, and what may be.
    """
    act, seen = NEIGHBOURS[neighbour]
    allowed = [seen(state) for state in states(before, name)]
    nth, survived = 0, False
    while not survived:
        nth += 1
        for second in spread(nth, every):
            survived = trial.die(
                before, name, Calls(nth, torn=chance.random() < 0.7), sync=True
            )
            act(trial.path)
            disk = Disk(trial.directory, second)
            trial.found(disk, sync=True)
            disk.lose_power(chance)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(journal, "boot", lambda: 2)
                yield (nth, second), trial.found(), allowed
            if disk.made < second:
                break
