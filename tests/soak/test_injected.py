# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The kernel refuses: ENOSPC, EIO, EROFS at each call by strace; a disk that is full."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

import pytest

from hv_kvp_daemon.pools.errors import PoolError
from hv_kvp_daemon.pools.pool import PoolFile
from hv_kvp_daemon.wire.record import encode
from tests.pools.crash import content
from tests.pools.crash_cases import CHANGES, Trial, change, records, states, whole
from tests.soak import tools

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Calls of a change that can fail, and how often each is made at most.
CALLS = {
    "pwrite64": 9,
    "pwritev": 9,
    "fdatasync": 15,
    "fsync": 2,
    "ftruncate": 1,
    "fallocate": 1,
    "openat": 2,
    "pread64": 6,
    "preadv": 4,
}
ERRORS = ("ENOSPC", "EIO", "EROFS", "EDQUOT")

_WORKER = """
import sys
sys.path.insert(0, sys.argv[3])
from hv_kvp_daemon.pools.errors import PoolError
from hv_kvp_daemon.pools.pool import PoolFile
from tests.pools.crash_cases import change
pool = PoolFile(1, sys.argv[1], report=lambda _: None, sync=True)
pool.count()
print("ready", flush=True)
sys.stdin.readline()
try:
    change(pool, sys.argv[2])
except PoolError as error:
    print(error.reason)
else:
    print("done")
"""


@pytest.fixture
def trial() -> Iterator[Trial]:
    with tempfile.TemporaryDirectory() as directory:
        yield Trial(directory)


@pytest.mark.parametrize("size", [1, 60, 300])
@pytest.mark.parametrize("name", CHANGES)
def test_a_refusal_at_any_call_fails_the_request_and_leaves_all_as_it_was(
    trial: Trial, name: str, size: int, count: Callable[..., None]
) -> None:
    strace = tools.strace()
    before = records(size)
    after = states(before, name)[-1]
    for number, (call, most) in enumerate(CALLS.items()):
        for nth in range(1, most + 1):
            error = ERRORS[(number + nth) % len(ERRORS)]
            trial.prepare(before)
            said, hit = injected(strace, trial, name, f"{call}:error={error}:when={nth}")
            if not hit:
                break
            raw = whole(content(trial.path))
            text = os.strerror(getattr(errno, error))
            # A delete over several blocks is finished later, once it has begun, and so is
            # the removal of others.
            is_long = size == 300 or " three" in name
            undone = raw == before or (is_long and trial.found() == after)
            good = (said == "done" and raw == after) or (text in said and undone)
            again = trial.open()
            change(again, name)
            again.close()
            good = good and whole(content(trial.path)) == after
            count("refusals", points=1, broken=not good)
            assert good, (name, call, nth, error, said)


def injected(strace: str, trial: Trial, name: str, what: str) -> tuple[str, bool]:
    """Run a change with a call that fails; what came of it, and whether one did fail."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    worker = subprocess.Popen(
        [sys.executable, "-c", _WORKER, trial.path, name, root],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert worker.stdout is not None
    assert worker.stdout.readline() == "ready\n"
    call = what.partition(":")[0]
    tracer = subprocess.Popen(
        [strace, "-e", f"trace={call}", "-e", f"inject={what}", "-p", str(worker.pid)],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert tracer.stderr is not None
    assert "attached" in tracer.stderr.readline()
    said, _ = worker.communicate("go\n")
    _, trace = tracer.communicate()
    return said.strip(), "(INJECTED)" in trace


@pytest.mark.parametrize("room", range(9))
def test_a_disk_that_is_full_takes_what_needs_no_room_and_refuses_the_rest(
    room: int, count: Callable[..., None]
) -> None:
    """A tmpfs of few pages: a write is done in part, and the next one refused."""
    with tempfile.TemporaryDirectory() as mount:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1M", "soak", mount], check=True)
        try:
            _fill(mount, room, count)
        finally:
            subprocess.run(["umount", mount], check=True)


def _fill(mount: str, room: int, count: Callable[..., None]) -> None:
    pool = PoolFile(1, os.path.join(mount, ".kvp_pool_1"), report=lambda _: None, sync=True)
    expected = []
    for number in range(20):
        pool.append(b"%d" % number, b"v" * 2000)
        expected.append(encode(b"%d" % number, b"v" * 2000))
    filler = os.path.join(mount, "filler")
    with open(filler, "wb") as file:
        free = os.statvfs(mount).f_bavail
        file.write(bytes(max(free - room, 0) * 4096))
    refused = 0
    for number in range(20, 60):
        try:
            pool.append(b"%d" % number, b"v" * 2000)
        except PoolError as error:
            refused += "No space left" in error.reason
        else:
            expected.append(encode(b"%d" % number, b"v" * 2000))
        assert content(pool.path) == b"".join(expected)
    assert refused
    # Neither of these needs room.
    pool.store(b"7", b"w" * 2000)
    assert pool.delete(b"3")
    pool.append(b"3", b"again")
    os.unlink(filler)
    pool.append(b"more", b"")
    keys = [record.key for record in pool.records()]
    assert keys == [raw[:512].rstrip(b"\0") for raw in expected if raw[:2] != b"3\0"] + [
        *(b"3", b"more")
    ]
    pool.close()
    count("full disks", points=1, broken=0)
