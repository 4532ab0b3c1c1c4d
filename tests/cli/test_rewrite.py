"""Kills and full disks in the middle of import, set --split and check --repair."""

from __future__ import annotations

import errno
import os
import random
from typing import TYPE_CHECKING

import pytest

from hv_kvp_daemon.cli import check, parts, rewrite
from hv_kvp_daemon.pools import journal
from hv_kvp_daemon.pools.errors import PoolError
from hv_kvp_daemon.wire.record import encode
from tests.pools.crash import Calls, DeadError, Disk
from tests.pools.trial import Trial, key_of, records

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Records = list[bytes]

BEFORE = records(40)
DAMAGED = [
    *(encode(b"a", b"1"), encode(b"a", b"1")),
    bytes(512) + b"v".ljust(2048, b"\0"),
    encode(b"long", b"\xff" * 1700),
    *(encode(b"b", b"2"), encode(b"a", b"3"), encode(b"b", b"2")),
]
REPAIRED = [
    encode(b"a", b"1"),
    encode(b"long", b"\xef\xbf\xbd" * 682),
    *(encode(b"b", b"2"), encode(b"a", b"3")),
]


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    return Trial(str(tmp_path))


def imported(merge: bool) -> Callable[[str], None]:
    new = [
        *(encode(b"new 1", b"n" * 1500), encode(b"key 7", b"short")),
        *(encode(b"thrice", b"t" * 1800), encode(b"key 9", b"9" * 2000)),
        *(encode(b"new 2", b""), encode(b"new 2", b"second")),
    ]
    wanted = new if merge else [*new, *(r for r in BEFORE[10:] if key_of(r) != b"thrice")]
    theirs = {key_of(record) for record in new}

    def do(directory: str) -> None:
        rewrite.change(
            directory,
            1,
            lambda old: rewrite.towards(old, wanted, lambda key: not merge or key in theirs),
        )

    return do


def split(directory: str) -> None:
    new = [encode(*record) for record in parts.split(b"key 12", b"x" * 3000)]
    rewrite.change(
        directory,
        1,
        lambda old: rewrite.towards(old, new, lambda key: parts.is_part(key, b"key 12")),
    )


def repair(directory: str) -> None:
    check._repair(directory, 1)


CASES: dict[str, tuple[Records, Callable[[str], None]]] = {
    "import": (BEFORE, imported(merge=False)),
    "import --merge": (BEFORE, imported(merge=True)),
    "set --split": (BEFORE, split),
    "check --repair": (DAMAGED, repair),
}


def die(trial: Trial, name: str, calls: Calls) -> bool:
    before, do = CASES[name]
    trial.prepare(before)
    try:
        with calls:
            do(trial.directory)
    except DeadError:
        return False
    return True


def check_states(before: Records, after: Records, found: Records) -> None:
    """Each record is one of before or after; what stays is there once, in its order."""
    assert set(found) <= {*before, *after}
    stays = [record for record in dict.fromkeys(before) if record in after]
    assert [record for record in dict.fromkeys(found) if record in stays] == stays
    for key in {key_of(r) for r in before} & {key_of(r) for r in after}:
        of_key = [record for record in found if key_of(record) == key]
        numbers = [len([r for r in state if key_of(r) == key]) for state in (before, after)]
        assert min(numbers) <= len(of_key) <= max(numbers), key


@pytest.mark.parametrize("torn", [False, True], ids=["between calls", "within a write"])
@pytest.mark.parametrize("name", CASES)
def test_a_kill_leaves_every_record_old_or_new_and_no_key_missing(
    trial: Trial, name: str, torn: bool
) -> None:
    before = CASES[name][0]
    assert die(trial, name, Calls())
    after = trial.found()
    if before is DAMAGED:
        assert after == REPAIRED
    nth, survived = 0, False
    while not survived:
        nth += 1
        survived = die(trial, name, Calls(nth, torn=torn))
        check_states(before, after, trial.found())
    assert nth > 10
    assert trial.found() == after


@pytest.mark.parametrize("name", CASES)
def test_a_power_cut_leaves_every_record_old_or_new_and_no_key_missing(
    trial: Trial, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, do = CASES[name]
    assert die(trial, name, Calls())
    after = trial.found()
    chance = random.Random(name)
    nth, survived = 0, False
    while not survived:
        nth += 1
        trial.prepare(before)
        disk = Disk(trial.directory, nth)
        try:
            with disk:
                do(trial.directory)
            survived = True
        except DeadError:
            pass
        disk.lose_power(chance)
        monkeypatch.setattr(journal, "boot", lambda: 2)
        found = trial.found()
        monkeypatch.undo()
        check_states(before, after, found)
    assert trial.found() == after


def test_a_kill_leaves_what_get_join_finds_whole_where_one_record_becomes_parts(
    trial: Trial,
) -> None:
    old = BEFORE[12][512:].rstrip(b"\0")
    values = set()
    nth, survived = 0, False
    while not survived:
        nth += 1
        survived = die(trial, "set --split", Calls(nth, torn=True))
        trial.found()
        pool = trial.open()
        values.add(parts.joined(pool.records(), b"key 12"))
        pool.close()
    assert values == {old, b"x" * 3000}


def test_an_import_that_finds_no_room_changes_nothing(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial.prepare(BEFORE)
    real = os.pwrite
    end = len(BEFORE) * 2560

    def pwrite(fd: int, data: bytes, offset: int) -> int:
        if os.readlink(f"/proc/self/fd/{fd}") == trial.path and offset > end:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(fd, data, offset)

    monkeypatch.setattr(os, "pwrite", pwrite)
    with pytest.raises(PoolError, match="No space left"):
        imported(merge=False)(trial.directory)
    monkeypatch.undo()
    assert trial.found() == BEFORE
