# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Neighbours of a pool: child processes that lock, read and append as other programs do."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest

import hv_kvp_daemon
from hv_kvp_daemon.pools.pool import PoolFile
from tests.pools.crash_cases import trial_in_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.pools.crash_cases import Trial

NOBODY = 65534

# What a child needs: a lock of any kind, and to become nobody where root starts it.
PRELUDE = f"""
import errno, fcntl, os, struct, sys

def become_nobody():
    if os.geteuid() == 0:
        os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})

def ofd(fd, kind):
    fcntl.fcntl(fd, fcntl.F_OFD_SETLK, struct.pack("hhqqi0q", kind, 0, 0, 0, 0))

LOCKS = {{
    "flock": lambda fd: fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB),
    "flock shared": lambda fd: fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB),
    "posix": lambda fd: fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB),
    "posix shared": lambda fd: fcntl.lockf(fd, fcntl.LOCK_SH | fcntl.LOCK_NB),
    "ofd": lambda fd: ofd(fd, fcntl.F_WRLCK),
    "ofd shared": lambda fd: ofd(fd, fcntl.F_RDLCK),
}}

def opened(path, kind):
    # flock needs no more than read access, and neither does a shared lock.
    reads = "shared" in kind or kind == "flock"
    return os.open(path, os.O_RDONLY if reads else os.O_RDWR)
"""

HOLD = """
path, kinds, nobody = sys.argv[1], sys.argv[2].split("+"), sys.argv[3]
if nobody:
    become_nobody()
for kind in kinds:
    LOCKS[kind](opened(path, kind))
print("held", flush=True)
sys.stdin.read()
"""

# For each path that it reads: a line of the kinds, joined by commas.
_PROBE = """
for path in sys.stdin:
    free = []
    for kind, lock in LOCKS.items():
        fd = opened(path.rstrip("\\n"), kind)
        try:
            lock(fd)
        except BlockingIOError:
            pass
        else:
            free.append(kind)
        os.close(fd)
    print(*free, sep=",", flush=True)
"""


def start(script: str, *arguments: str) -> subprocess.Popen[str]:
    """Start a child that runs PRELUDE and a script, with this package importable."""
    source = os.path.dirname(os.path.dirname(hv_kvp_daemon.__file__))
    return subprocess.Popen(
        [sys.executable, "-c", PRELUDE + script, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": source},
        text=True,
    )


class Holder:
    """A process that has taken locks; it lets go when it ends."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.pid = process.pid
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"

    def end(self) -> None:
        self._process.communicate()


@pytest.fixture
def path(public: str) -> str:
    """An empty file that every user may open."""
    path = os.path.join(public, "file")
    with open(path, "w"):
        pass
    return path


@pytest.fixture
def fd(path: str) -> Iterator[int]:
    """That file, open to read and write."""
    fd = os.open(path, os.O_RDWR)
    yield fd
    os.close(fd)


@pytest.fixture
def hold() -> Iterator[Callable[..., Holder]]:
    """Let a child hold locks: kinds of `LOCKS`, joined by ``+``."""
    with ExitStack() as stack:

        def take(path: str, kinds: str, *, nobody: bool = False) -> Holder:
            process = stack.enter_context(start(HOLD, path, kinds, "1" if nobody else ""))
            holder = Holder(process)
            stack.callback(holder.end)
            return holder

        yield take


@pytest.fixture(scope="module")
def prober() -> Iterator[subprocess.Popen[str]]:
    """One process for all tests of a module, which holds no lock between them."""
    with start(_PROBE) as process:
        yield process
        process.communicate()


@pytest.fixture
def free_locks(prober: subprocess.Popen[str]) -> Callable[[str], set[str]]:
    """Tell which kinds of lock another process could take now."""
    assert prober.stdin is not None
    assert prober.stdout is not None
    requests, answers = prober.stdin, prober.stdout

    def probe(path: str) -> set[str]:
        print(path, file=requests, flush=True)
        answer = answers.readline()
        assert answer.endswith("\n")
        return {*answer.strip().split(",")} - {""}

    return probe


@pytest.fixture
def run_child() -> Callable[..., str]:
    """Run a script in a child and return what it prints."""

    def run(script: str, *arguments: str) -> str:
        child = start(script, *arguments)
        output, _ = child.communicate()
        assert child.returncode == 0
        return output

    return run


@pytest.fixture
def start_child() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a script in a child, and wait for its end after the test."""
    with ExitStack() as stack:

        def begin(script: str, *arguments: str) -> subprocess.Popen[str]:
            child = stack.enter_context(start(script, *arguments))
            stack.callback(child.communicate)
            return child

        yield begin


@pytest.fixture
def public() -> Iterator[str]:
    """Yield a directory that any user can read: pytest's own are private."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        yield directory


@pytest.fixture
def trial() -> Iterator[Trial]:
    with trial_in_memory() as trial:
        yield trial


@pytest.fixture
def reports() -> list[str]:
    return []


@pytest.fixture
def make_pool(reports: list[str], public: str) -> Iterator[Callable[..., PoolFile]]:
    """Make a pool of number 1 that appends what it reports to `reports`."""
    with ExitStack() as stack:

        def make(
            path: str = os.path.join(public, ".kvp_pool_1"), **options: object
        ) -> PoolFile:
            options.setdefault("sync", False)
            pool = PoolFile(1, path, report=reports.append, **options)  # type: ignore[arg-type]
            stack.callback(pool.close)
            return pool

        yield make


@pytest.fixture
def pool(make_pool: Callable[..., PoolFile]) -> PoolFile:
    return make_pool(lock_wait=0.05)


@pytest.fixture
def limit_file_size() -> Callable[[int], object]:
    """Let the kernel refuse writes behind an offset, and write only up to it (EFBIG)."""

    @contextmanager
    def limit(size: int) -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limit
