# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Another program that does anything at all to a pool file, one thing after the other.

`ConcurrentWriter` is a process.  `do` returns when the thing is done, so a reader must see
what the file has then.  Some things are done under a lock, some under none.
"""

from __future__ import annotations

import fcntl
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import hv_kvp_daemon
from hv_kvp_daemon.wire.record import KEY_SIZE, RECORD_SIZE, decode, encode

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

#: Keys that records have, and that are asked for.
KEYS = (b"a", b"b", b"key", b"k" * 254)
_MOST_RECORDS = 90
_LONG_AGO = 1_000_000_000_000_000_005


def some_record(chance: random.Random) -> bytes:
    key = chance.choice((*KEYS, b"other %d" % chance.randrange(20), b"k" * 300, "ä".encode()))
    value = chance.choice((b"%d" % chance.randrange(10**6), b"v" * chance.randrange(1100)))
    return chance.choice((encode(key, value),) * 6 + (chance.randbytes(RECORD_SIZE),))


def _records(chance: random.Random) -> bytes:
    return b"".join(some_record(chance) for _ in range(chance.choice((0, 1, 3, 80))))


def _in_place(change: Callable[[int, int, random.Random], object]) -> Callable[..., None]:
    def do(path: str, chance: random.Random) -> None:
        fd = os.open(path, os.O_RDWR)
        try:
            if chance.random() < 0.5:
                fcntl.flock(fd, fcntl.LOCK_EX)
            change(fd, os.fstat(fd).st_size, chance)
        finally:
            os.close(fd)

    return do


def _somewhere(size: int, chance: random.Random) -> int:
    return chance.randrange(max(size // RECORD_SIZE, 1)) * RECORD_SIZE


def _rewrite(fd: int, size: int, chance: random.Random) -> None:
    del size
    os.ftruncate(fd, 0)
    os.pwrite(fd, _records(chance), 0)


def _set_and_back_date(fd: int, size: int, chance: random.Random) -> None:
    os.pwrite(fd, some_record(chance), _somewhere(size, chance))
    os.utime(fd, ns=(_LONG_AGO, _LONG_AGO))


def _replace(path: str, chance: random.Random) -> None:
    with open(f"{path}.new", "wb") as file:
        file.write(_records(chance))
    if chance.random() < 0.5:
        os.utime(file.name, ns=(_LONG_AGO, _LONG_AGO))
    os.replace(file.name, path)


def _link(path: str, chance: random.Random) -> None:
    del chance
    if os.path.exists(f"{path}.link"):
        os.unlink(f"{path}.link")
    os.link(path, f"{path}.link")


THINGS: dict[str, Callable[[str, random.Random], object]] = {
    "set": _in_place(lambda fd, size, c: os.pwrite(fd, some_record(c), _somewhere(size, c))),
    "set a part": _in_place(
        lambda fd, size, c: os.pwrite(fd, c.randbytes(c.randrange(600)), c.randrange(size + 1))
    ),
    "append": _in_place(
        lambda fd, size, c: os.pwrite(fd, some_record(c) * c.choice((1, 1, 3)), size)
    ),
    "append odd bytes": _in_place(lambda fd, size, _: os.pwrite(fd, b"odd", size)),
    "cut": _in_place(lambda fd, size, c: os.ftruncate(fd, _somewhere(size, c))),
    "empty": _in_place(lambda fd, *_: os.ftruncate(fd, 0)),
    "rewrite": _in_place(_rewrite),
    "set and back-date": _in_place(_set_and_back_date),
    "chmod": _in_place(lambda fd, _, c: os.fchmod(fd, c.choice((0o644, 0o600)))),
    "replace": _replace,
    "link": _link,
    "remove": lambda path, _: os.unlink(path),
    "rename away": lambda path, _: os.rename(path, f"{path}.away"),
    "rename back": lambda path, _: os.rename(f"{path}.away", path),
}
_NAMES = tuple(THINGS)


class ConcurrentWriter:
    """A process that does them; leaving the context ends it."""

    def __init__(self, path: str, seed: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.pools.concurrent_writer", path, str(seed)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            cwd=Path(__file__).parents[2],
            env={**os.environ, "PYTHONPATH": os.path.dirname(hv_kvp_daemon.__path__[0])},
        )

    def do(self, name: str) -> None:
        """Have one of THINGS done; where there is no file, most are nothing."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(bytes([_NAMES.index(name)]))
        assert self._process.stdout.read(1), f"the neighbour ended: {name}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


def obey(path: str, seed: int) -> None:
    """Be the neighbour: a byte in for each thing, a byte out when it is done."""
    chance = random.Random(seed)
    while order := os.read(0, 1):
        try:
            THINGS[_NAMES[order[0]]](path, chance)
        except FileNotFoundError:
            pass  # what it would have changed is not there now
        if os.path.exists(path):
            os.truncate(path, min(os.stat(path).st_size, _MOST_RECORDS * RECORD_SIZE))
        os.write(1, b"!")


def content(path: str) -> list[tuple[bytes, bytes]]:
    """The pairs that the file has, read by no code of the project but the record's.

    A record at the end whose key field is NULs is an append that was not finished.
    """
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        return []
    whole = len(data) // RECORD_SIZE * RECORD_SIZE
    while whole and not any(data[whole - RECORD_SIZE :][:KEY_SIZE]):
        whole -= RECORD_SIZE
    records = [decode(data[at : at + RECORD_SIZE]) for at in range(0, whole, RECORD_SIZE)]
    return [(record.key, record.value) for record in records]


if __name__ == "__main__":
    obey(sys.argv[1], int(sys.argv[2]))
