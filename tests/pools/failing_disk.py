# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""A disk that fails: ``os`` calls that are refused, done in part, or the process's last.

`Disk` stands between the code under test and the calls of ``os`` that reach a directory,
by path or by descriptor.  It asks its ``decide`` what becomes of each; all other calls,
and those for other files, are not seen.  A write is short only where the page cache would
make it so: at a multiple of 4096 in the file.

Nothing waits for a real disk: fsync and fdatasync are made to succeed or fail, no more.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, NamedTuple

from tests.pools.crash import DeadError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from typing_extensions import Self

PAGE = 4096

#: Every call of ``os`` by which a file is read, written, made, removed or looked at.
READS = ("read", "readv", "pread", "preadv")
WRITES = ("write", "writev", "pwrite", "pwritev")
SYNCS = ("fsync", "fdatasync")
SIZES = ("ftruncate", "truncate", "posix_fallocate")
LOOKS = ("stat", "lstat", "fstat")
NAMES = (
    *("open", "rename", "replace", "link", "unlink", "remove", "mkdir"),
    *("utime", "chmod", "fchmod", "chown", "fchown"),
)

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_READ_ONLY = (errno.EIO, errno.EROFS)


class Call(NamedTuple):
    """A call that reaches the directory.

    ``errors`` are those that it may fail with; ``parts`` how many bytes it may transfer
    if it is short, which for a write are those up to the end of a page.
    """

    name: str
    file: str
    errors: Sequence[int]
    parts: Sequence[int]


class Refuse(NamedTuple):
    """The call fails; nothing is done, unless ``is_done``.

    ext4 sets a file's length, for one, before it frees the blocks behind that.
    """

    error: int
    is_done: bool = False


class Short(NamedTuple):
    """The call is done for as many bytes, which it returns."""

    size: int


class Die(NamedTuple):
    """The process ends in this call; of a write as many bytes are done."""

    size: int = 0


Fault = Refuse | Short | Die


class Disk:
    """Decides what becomes of each call for a directory, from `__enter__` to `__exit__`.

    ``decide`` gets the call, and returns its fault, or None if it is carried out.  After a
    death no call is carried out until `revive`.  ``faults`` counts what went wrong, and
    ``calls`` all; ``story`` has a line for each fault.
    """

    def __init__(self, directory: str, decide: Callable[[Call], Fault | None]) -> None:
        self.calls = 0
        self.faults = 0
        self.story: list[str] = []
        self._decide = decide
        self._directory = os.path.realpath(directory)
        self._is_dead = False
        self._real: dict[str, Callable[..., Any]] = {}

    def __enter__(self) -> Self:
        for name in (*READS, *WRITES, *SYNCS, *SIZES, *LOOKS, *NAMES):
            self._real[name] = getattr(os, name)
            setattr(os, name, self._between(name))
        return self

    def __exit__(self, *_: object) -> None:
        for name, real in self._real.items():
            setattr(os, name, real)

    def revive(self) -> None:
        """Another process: calls are carried out again."""
        self._is_dead = False

    def _between(self, name: str) -> Callable[..., Any]:
        real = self._real[name]

        def call(*arguments: Any, **options: Any) -> Any:
            path = self._path(*arguments, **options)
            if not f"{path}/".startswith(f"{self._directory}/"):
                return real(*arguments, **options)
            if self._is_dead:
                raise DeadError
            self.calls += 1
            parts = self._parts(name, arguments)
            fault = self._decide(
                Call(name, os.path.basename(path), _errors(name, arguments), parts)
            )
            if fault is not None:
                self.faults += 1
                self.story.append(f"    {name} {os.path.basename(path)}: {_say(fault)}")
            if isinstance(fault, Refuse):
                if fault.is_done:
                    real(*arguments, **options)
                raise OSError(fault.error, os.strerror(fault.error))
            if isinstance(fault, Die):
                if fault.size:
                    self._transfer(name, arguments, fault.size)
                self._is_dead = True
                raise DeadError
            if isinstance(fault, Short):
                return self._transfer(name, arguments, fault.size)
            return None if name in SYNCS else real(*arguments, **options)

        return call

    def _path(self, file: Any, *_: object, dir_fd: int | None = None, **__: object) -> str:
        if isinstance(file, int):
            return os.readlink(f"/proc/self/fd/{file}")
        above = "" if dir_fd is None else os.readlink(f"/proc/self/fd/{dir_fd}")
        return os.path.abspath(os.path.join(above, os.fsdecode(file)))

    def _parts(self, name: str, arguments: Sequence[Any]) -> Sequence[int]:
        if name in READS:
            size = arguments[1] if name in {"read", "pread"} else sum(map(len, arguments[1]))
            return range(1, size)
        if name in WRITES:
            size = len(_data(name, arguments))
            at = self._offset(name, arguments)
            return range(-at % PAGE or PAGE, size, PAGE)
        return ()

    def _offset(self, name: str, arguments: Sequence[Any]) -> int:
        if name.startswith("p"):
            return int(arguments[2])
        return os.lseek(arguments[0], 0, os.SEEK_CUR)

    def _transfer(self, name: str, arguments: Sequence[Any], size: int) -> Any:
        """Do a call for ``size`` bytes of those that it was asked for."""
        fd, what, *rest = arguments
        if name in WRITES:
            part = _data(name, arguments)[:size]
            return self._real[name](fd, [part] if name.endswith("v") else part, *rest)
        if name.endswith("v"):
            left, buffers = size, []
            for buffer in what:
                buffers.append(memoryview(buffer)[:left])
                left -= len(buffers[-1])
            return self._real[name](fd, buffers, *rest)
        return self._real[name](fd, size, *rest)


def _data(name: str, arguments: Sequence[Any]) -> bytes:
    return b"".join(arguments[1]) if name.endswith("v") else bytes(arguments[1])


def _errors(name: str, arguments: Sequence[Any]) -> Sequence[int]:
    if name in READS or name in LOOKS:
        return (errno.EIO,)
    if name in SYNCS:
        return (errno.EIO, *_NO_ROOM)
    if name == "open":
        flags = arguments[1]
        made = _NO_ROOM if flags & os.O_CREAT else ()
        return (*(_READ_ONLY if flags & os.O_ACCMODE else (errno.EIO,)), *made)
    return (*_READ_ONLY, *_NO_ROOM)


def _say(fault: Fault) -> str:
    if isinstance(fault, Refuse):
        return f"{errno.errorcode[fault.error]}{', though done' if fault.is_done else ''}"
    if isinstance(fault, Short):
        return f"{fault.size} bytes"
    return f"killed after {fault.size} bytes" if fault.size else "killed"
