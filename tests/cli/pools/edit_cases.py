# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Commands that change many records of a pool, and what may be found where one was killed.

In: the records before.  Out: the command line, and the states that it goes through.
Shared by the tests here, which only act as if they died, and by those of ``tests/soak``.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from hv_kvp_daemon.cli import main as command_line
from hv_kvp_daemon.pools import edit
from hv_kvp_daemon.wire.record import decode, encode
from tests.pools.crash_cases import Records, key_of, records

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Case:
    """A command, and the edit that it is to make of ``before``.

    ``added`` come one by one, then the ``changed`` in the order of the file, then those
    of the first group of ``removed`` indices go, then those of the next.
    """

    def __init__(
        self,
        before: Records,
        words: Iterable[str],
        *,
        added: Iterable[bytes] = (),
        changed: dict[int, bytes],
        removed: Iterable[list[int]],
        document: Records | None = None,
        is_large: bool = False,
    ) -> None:
        self.before = before
        self.states = [before]
        self._words = words
        self._document = document
        self._is_large = is_large
        for record in added:
            self.states.append([*self.states[-1], record])
        for index, record in sorted(changed.items()):
            if before[index] != record:
                last = self.states[-1]
                self.states.append([*last[:index], record, *last[index + 1 :]])
        self._full = self.states[-1]
        self._groups = [group for group in removed if group]
        gone: set[int] = set()
        for index in (index for group in self._groups for index in group):
            gone.add(index)
            self.states.append([r for at, r in enumerate(self._full) if at not in gone])

    def run(self, directory: str) -> None:
        """Give the command, in this process."""
        words = [*self._words, "--pool-dir", directory]
        if self._document is not None:
            # Not in the directory itself, which has nothing but the pools.
            words.insert(1, f"{directory}.json")
            if not os.path.exists(words[1]):
                _write(words[1], self._document)
        with pytest.MonkeyPatch.context() as patch:
            if self._is_large:
                patch.setattr(edit, "_BATCH", 2)
                patch.setattr(edit, "_LONGEST_HOLD", 0)
                patch.setattr(edit, "_PAUSE", 0)
            status = command_line.main(words)
        assert status == 0, status

    def may_follow_a_power_cut(self, found: Records) -> bool:
        """Whether this is one of the states, or one in the middle of a group."""
        gone: set[int] = set()
        for group in self._groups:
            rest = iter([*found, b""])
            record = next(rest)
            for at, expected in enumerate(self._full):
                if at in gone:
                    continue
                if record == expected:
                    record = next(rest)
                elif at not in group:
                    break
            else:
                if record == b"":
                    return True
            gone |= {*group}
        return found in self.states


def _write(path: str, document: Records) -> None:
    pairs = [decode(record) for record in document]
    with open(path, "w", encoding="ascii") as file:
        members = [{"key": p.key.decode(), "value": p.value.decode()} for p in pairs]
        json.dump({"version": 1, "pools": {"guest": {"records": members}}}, file)


def _clean(record: bytes) -> bytes:
    pair = decode(record)
    return encode(pair.key, pair.value)


def _edit(
    before: Records, new: Records, may_go: Callable[[bytes], bool]
) -> tuple[list[bytes], dict[int, bytes], list[int], list[int]]:
    """What is added and changed, what goes first, and what goes last.

    Of the records of a key that go the first stays until the others have gone, so that
    nobody reads a value that had been behind it.
    """
    changed, added = {}, list(new)
    goes: tuple[list[int], list[int]] = ([], [])
    for key in dict.fromkeys(map(key_of, before)):
        places = [at for at, record in enumerate(before) if key_of(record) == key]
        mine = [record for record in new if key_of(record) == key][: len(places)]
        for at, record in zip(places, mine, strict=False):
            changed[at] = record
            added.remove(record)
        if may_go(key):
            for at in places[len(mine) :]:
                goes[at == places[0]].append(at)
    return added, changed, sorted(goes[0]), sorted(goes[1])


def import_(size: int, *, merge: bool, is_large: bool = False) -> Case:
    """Of keys that are there, that are new, and that are there several times.

    As if it were large: two records are added in one hold, or one is changed.
    """
    before = records(size)
    new = [
        *(encode(b"new 1", b"n" * 1500), encode(b"key 7", b"short")),
        *(encode(b"thrice", b"t" * 1800), encode(b"key 9", b"9" * 2000)),
        *(encode(b"new 2", b""), encode(b"new 2", b"second")),
    ]
    theirs = {key_of(record) for record in new}
    if not merge:
        # Whoever put the odd ones there wrote some with rubbish, and they become clean.
        for number, record in enumerate(before):
            if number % 2 and key_of(record) not in theirs:
                new.append(_clean(record))
    may_go: Callable[[bytes], bool] = theirs.__contains__ if merge else lambda _: True
    added, changed, first, last = _edit(before, new, may_go)
    words = ("import", "--merge") if merge else ("import", "--yes")
    return Case(
        before,
        words,
        document=new,
        added=added,
        changed=changed,
        removed=[first, last],
        is_large=is_large,
    )


def import_nothing(size: int) -> Case:
    """Everything goes, also what is there several times."""
    before = records(size)
    added, changed, first, last = _edit(before, [], lambda _: True)
    return Case(
        before,
        ("import", "--yes"),
        document=[],
        added=added,
        changed=changed,
        removed=[first, last],
    )


def split(size: int) -> Case:
    """The key stands before a part of an earlier value, and is what readers look for first."""
    before = records(size)
    places: dict[bytes, list[int]] = {b"k": [], b"k.0": [], b"k.7": []}
    if size > 20:
        for at, key in ((3, b"k"), (5, b"k.0"), (12, b"k.7"), (15, b"k.7"), (17, b"k")):
            before[at] = encode(key, b"former %d " % at * 100)
            places[key].append(at)
    value = b"x" * 3000
    new = [encode(b"k.%d" % n, value[n * 1022 :][:1022]) for n in range(3)]
    return Case(
        before,
        ("set", "k", value.decode(), "--split"),
        added=new[len(places[b"k.0"]) :],
        changed=dict(zip(places[b"k.0"], new, strict=False)),
        removed=[
            sorted(places[b"k.7"][1:] + places[b"k"][1:]),
            places[b"k.7"][:1],
            places[b"k"][:1],
        ],
    )


def repair(size: int) -> Case:
    """Rubbish, no key, no UTF-8, and what is there already, before and among other records."""
    before = [
        *(encode(b"a", b"1"), encode(b"a", b"1")),
        bytes(512) + b"v".ljust(2048, b"\0"),
        encode(b"long", b"\xff" * 1700),
        *(encode(b"b", b"2"), encode(b"a", b"3"), encode(b"b", b"2")),
        *records(size),
    ]
    changed = {at: _clean(record) for at, record in enumerate(before) if record[0]}
    changed[3] = encode(b"long", b"\xef\xbf\xbd" * 682)
    return Case(before, ("check", "--repair"), changed=changed, removed=[[1, 2, 6]])


#: Each by the number of records of the usual kinds.
CASES: dict[str, Callable[[int], Case]] = {
    "import": lambda size: import_(size, merge=False),
    "import --merge": lambda size: import_(size, merge=True),
    "import in several holds": lambda size: import_(size, merge=False, is_large=True),
    "import of nothing": import_nothing,
    "set --split": split,
    "check --repair": repair,
}
