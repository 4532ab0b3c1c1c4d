# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The end of a process, or of the machine, in the middle of a change.

A process that is killed leaves what its system calls have done so far, and of the one
that it is in at most a beginning.  So no process needs to be killed: from a given call on,
no call is carried out, whatever the code under test tries.

A machine that loses its power leaves what was synced, and any of the sectors that were
written since.  `Disk` records both.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from hv_kvp_daemon.pools.change import PAGE, SECTOR

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from typing_extensions import Self

#: The calls that change what a restart finds.
CHANGING = (
    *("open", "pwrite", "pwritev", "ftruncate", "fdatasync", "fsync"),
    *("posix_fallocate", "fchmod", "mkdir", "chmod", "unlink"),
)


class DeadError(BaseException):
    """The process has ended; no code may catch this and go on."""


class Calls:
    """Counts the changing calls of ``os`` from `__enter__` on, and dies at the ``nth``.

    With ``torn`` that call, if it writes, writes up to the end of its first page.  The
    call of number ``refused`` fails with EIO.
    """

    def __init__(self, nth: int = 0, *, torn: bool = False, refused: int = 0) -> None:
        self.made = 0
        self._refused = refused
        self.was_torn = False
        self._nth = nth
        self._torn = torn
        self._real: dict[str, Callable[..., object]] = {}

    def __enter__(self) -> Self:
        for name in CHANGING:
            self._real[name] = getattr(os, name)
            setattr(os, name, self._counted(name))
        return self

    def __exit__(self, *_: object) -> None:
        for name, real in self._real.items():
            setattr(os, name, real)

    def _counted(self, name: str) -> Callable[..., object]:
        def call(*arguments: object, **options: object) -> object:
            if self._nth and self.made >= self._nth:
                raise DeadError
            self.made += 1
            if self.made == self._nth:
                if self._torn and name == "pwrite":
                    self._write_a_page(*arguments)  # type: ignore[arg-type]
                if self._torn and name == "pwritev":
                    fd, pieces, offset = arguments
                    self._write_a_page(fd, b"".join(pieces), offset)  # type: ignore[arg-type]
                raise DeadError
            if self.made == self._refused:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            if name in {"fdatasync", "fsync"}:
                return None  # only this machine's disk would know, and take its time
            return self._real[name](*arguments, **options)

        return call

    def _write_a_page(self, fd: int, data: bytes, offset: int) -> None:
        part = data[: PAGE - offset % PAGE]
        if len(part) < len(data):
            self.was_torn = True
            self._real["pwrite"](fd, part, offset)


def content(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return b""


class Disk(Calls):
    """As `Calls`, for a loss of power: `lose_power` leaves what the disk has then.

    Of each file that is what was synced, and of the sectors and the lengths since any that
    ``random`` chooses.
    """

    def __init__(self, directory: str, nth: int = 0, *, refused: int = 0) -> None:
        super().__init__(nth, refused=refused)
        self._directory = directory
        self._flushed: dict[str, bytes] = {}
        self._since: dict[str, list[bytes]] = {}

    def __enter__(self) -> Self:
        super().__enter__()
        for name in os.listdir(self._directory):
            path = os.path.join(self._directory, name)
            self._flushed[path] = content(path)
        return self

    def _counted(self, name: str) -> Callable[..., object]:
        call = super()._counted(name)

        def seen(*arguments: object, **options: object) -> object:
            shorter = self._cut(*arguments) if name == "ftruncate" else None  # type: ignore[arg-type]
            result = call(*arguments, **options)
            if name in {"pwrite", "pwritev", "ftruncate", "fdatasync", "posix_fallocate"}:
                path = os.readlink(f"/proc/self/fd/{arguments[0]}")
                states = self._since.setdefault(path, [])
                if name == "fdatasync":
                    self._flushed[path] = content(path)
                    states.clear()
                else:
                    states += [*([shorter] if shorter else []), content(path)]
            return result

        return seen

    def _cut(self, fd: int, length: int) -> bytes:
        """What a file can be like on the disk before its length is: its last block cleared."""
        raw = content(os.readlink(f"/proc/self/fd/{fd}"))
        if length >= len(raw):
            return raw
        end = min(-(-length // PAGE) * PAGE, len(raw))
        return raw[:length] + bytes(end - length) + raw[end:]

    def unsync(self, path: str) -> None:
        """Leave in one file what was synced, and nothing that was written since."""
        with open(path, "wb") as file:
            file.write(self._flushed[path])

    def lose_power(self, random: Random) -> None:
        """Leave in the files what the disk may have."""
        # In an order, or the same random numbers would not give the same again.
        for path in sorted({*self._since, *self._flushed}):
            states = [self._flushed.get(path, b""), *self._since.get(path, [])]
            with open(path, "r+b") as file:
                file.write(_mixed(states, random))
                file.truncate()


def _mixed(states: list[bytes], random: Random) -> bytes:
    size = len(random.choice(states))
    flushed = len(states[0])
    # Most states are equal, and most sectors of those that are not.
    states = [*dict.fromkeys(states)]
    first = states[0]
    sectors = []
    for block in range(0, size, 32 * SECTOR):
        end = min(block + 32 * SECTOR, size)
        same = first[block:end]
        if end <= flushed and all(s.startswith(same, block) for s in states):
            sectors.append(same)
            continue
        for at in range(block, end, SECTOR):
            choices = [*dict.fromkeys(s[at : at + SECTOR] for s in states if len(s) > at)]
            if at >= flushed:
                # Of what a file is longer by, the length may be there before the bytes.
                choices = [b"", *choices]
            sector = choices[0] if len(choices) == 1 else random.choice(choices)
            sectors.append(sector.ljust(min(SECTOR, size - at), b"\0"))
    return b"".join(sectors)[:size]
