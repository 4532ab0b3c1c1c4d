# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""An ordinary user of the guest, who does to the daemon's files what the kernel lets him.

`test_holders` has the locks, and the scenario ``hostile_guest`` the driver.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hv_kvp_daemon.wire.uapi import (
    HV_E_FAIL,
    HV_S_OK,
    HV_UTIL_TIMEOUT,
    KVP_OP_DELETE,
    KVP_OP_ENUMERATE,
    KVP_OP_GET,
    KVP_OP_SET,
)
from tests.driver.ordinary_user import OPEN
from tests.pools.conftest import HOLD, Holder, start
from tests.support.process import Peer, RunningDaemon

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

USER = Path(__file__).parents[1] / "driver/ordinary_user.py"
LOCKS, WATCHES, KEYS = 200_000, 100, 50
#: Holds locks on files of his own: a thousand each.
_LOCKS = """
import tempfile
count = int(sys.argv[1])
become_nobody()
files = [tempfile.TemporaryFile() for _ in range(count // 1000)]
for file in files:
    for number in range(1000):
        fcntl.lockf(file, fcntl.LOCK_EX, 1, 2 * number)
print("held", flush=True)
sys.stdin.read()
"""

#: Watches a directory and its files, for all events.
_WATCHES = """
import ctypes
become_nobody()
libc = ctypes.CDLL(None)
for _ in range(int(sys.argv[2])):
    fd = libc.inotify_init1(0)
    assert libc.inotify_add_watch(fd, os.fsencode(sys.argv[1]), 0xFFF) > 0
    for entry in os.scandir(sys.argv[1]):
        libc.inotify_add_watch(fd, os.fsencode(entry.path), 0xFFF)
print("held", flush=True)
sys.stdin.read()
"""

#: Fills a directory's file system until nothing more fits.
_FILLS = """
become_nobody()
with open(sys.argv[1] + "/filled", "wb", buffering=0) as file:
    for size in (1 << 20, 4096, 1):
        try:
            while True:
                file.write(bytes(size))
        except OSError as error:
            assert error.errno == errno.ENOSPC
    print("held", flush=True)
    sys.stdin.read()
    file.truncate(0)
"""


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A directory that every user can write, on a file system of its own."""
    where = Path(tempfile.mkdtemp())
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "soak", where], check=True)
    where.chmod(0o1777)
    yield where
    subprocess.run(["umount", "--lazy", where], check=True)
    where.rmdir()


@contextmanager
def served(directory: Path) -> Iterator[tuple[RunningDaemon, Peer]]:
    """A daemon in a directory of root's, and its host, which has set some keys."""
    own = directory / "root"
    own.mkdir(mode=0o755)
    with RunningDaemon(own, "--no-sync") as daemon:
        peer = daemon.connect()
        for number in range(KEYS):
            assert peer.ask(KVP_OP_SET, 1, f"key {number}", "v" * 1500).status == HV_S_OK
        yield daemon, peer


def rounds(peer: Peer, letter: str) -> float:
    """Set, read and enumerate every key; return the longest wait."""
    longest = 0.0
    for number in range(KEYS):
        for operation, value in ((KVP_OP_SET, letter * 1500), (KVP_OP_GET, "")):
            began = time.monotonic()
            reply = peer.ask(operation, 1, f"key {number}", value)
            longest = max(longest, time.monotonic() - began)
            assert reply.status == HV_S_OK
            assert operation == KVP_OP_SET or reply.value == letter.encode() * 1022
        assert peer.ask(KVP_OP_ENUMERATE, 1, index=number).status == HV_S_OK
    return longest


def test_an_ordinary_user_has_the_ways_that_are_documented(small: Path) -> None:
    with served(small) as (daemon, peer):
        before = daemon.pool(1).read_bytes()
        # Over the loopback the status page is beside the socket, and there is no lock.
        words = str(daemon.pool_dir), str(small / "root"), str(daemon.pid), "0"
        done = subprocess.run([sys.executable, USER, *words], capture_output=True, check=True)
        outcomes: dict[str, str] = json.loads(done.stdout)
        assert {name for name, error in outcomes.items() if not error} <= OPEN, outcomes
        assert outcomes["read a pool"] == ""
        assert outcomes["plant a FIFO"]
        assert daemon.pool(1).read_bytes() == before
        rounds(peer, "w")


def test_watches_and_a_full_disk_cost_no_more_than_new_keys(
    small: Path, tell: Callable[[str], None]
) -> None:
    with served(small) as (daemon, peer), ExitStack() as stack:
        for directory in (daemon.pool_dir, small / "root"):
            watcher = stack.enter_context(start(_WATCHES, str(directory), str(WATCHES // 2)))
            stack.callback(Holder(watcher).end)
        filler = stack.enter_context(start(_FILLS, str(small)))
        full = Holder(filler)
        longest = rounds(peer, "x")
        # The page in which the pool ends has room for one or two.
        new = [peer.ask(KVP_OP_SET, 1, f"new {number}", "v").status for number in range(3)]
        assert new[-1] == HV_E_FAIL
        longest = max(longest, rounds(peer, "y"))
        assert peer.ask(KVP_OP_DELETE, 1, f"key {KEYS - 1}").status == HV_S_OK
        full.end()
        assert peer.ask(KVP_OP_SET, 1, f"key {KEYS - 1}", "again").status == HV_S_OK
        assert peer.ask(KVP_OP_SET, 1, "new 2", "v" * 1500).status == HV_S_OK
        longest = max(longest, rounds(peer, "z"))
        assert daemon.stop() == 0
    tell(f"full disk and {WATCHES} watchers: longest wait {longest:.2f} s")


def test_locks_on_other_files_do_not_add_to_the_wait(
    small: Path, tell: Callable[[str], None]
) -> None:
    """P15: the holder of one lock was looked for among all, for minutes."""
    with served(small) as (daemon, peer), ExitStack() as stack:
        others = stack.enter_context(start(_LOCKS, str(LOCKS)))
        stack.callback(Holder(others).end)
        reader = stack.enter_context(start(HOLD, str(daemon.pool(1)), "posix shared", "1"))
        stack.callback(Holder(reader).end)
        longest = rounds(peer, "x")
        assert "no fcntl lock within 5.0 s" in daemon.stderr
        assert longest < HV_UTIL_TIMEOUT
    tell(f"a lock on the pool, {LOCKS} on other files: longest wait {longest:.2f} s")
