# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Pools longer than the memory: of a sparse file the kernel gives any length."""

from __future__ import annotations

import os
import resource
from typing import TYPE_CHECKING

import pytest

from hv_kvp_daemon.pools.directory import PoolDirectory
from hv_kvp_daemon.pools.stale import clear_stale
from hv_kvp_daemon.wire.record import RECORD_SIZE, encode
from tests.support.run_forked import run_forked

if TYPE_CHECKING:
    from tests.support.command import Pools

RECORDS = (1 << 40) // RECORD_SIZE
RECORD = encode(b"k", b"v")


@pytest.fixture(params=["a hole at its end", "a record at its end"])
def long(pools: Pools, request: pytest.FixtureRequest) -> Pools:
    """Pools whose external one has a terabyte, and is of an earlier boot."""
    pools.write(0, RECORD)
    with open(pools.file(0), "r+b") as file:
        file.truncate(RECORDS * RECORD_SIZE)
        if request.param == "a record at its end":
            file.seek(-RECORD_SIZE, os.SEEK_END)
            file.write(RECORD)
    os.utime(pools.file(0), (0, 0))
    return pools


def little_memory() -> None:
    with open("/proc/self/statm", encoding="ascii") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20), -1))


@pytest.mark.parametrize(
    "words",
    [
        "list",
        "get k",
        "get k --join",
        "export",
        "check",
        "check --repair",
        "import -",
        "import - --merge",
        "import - --exact --yes",
        "set k v --pool external --split",
        "watch external --timeout 0",
    ],
)
def test_what_would_read_all_of_it_is_an_error(long: Pools, words: str) -> None:
    """Defect C4."""
    document = b'{"version": 1, "pools": {"external": {"records": []}}}'
    done = run_forked([*words.split(), "--pool-dir", long.path], little_memory, stdin=document)
    assert (
        f"{RECORDS * RECORD_SIZE} bytes long, at most 268435456 are read" in done.out + done.err
    )
    assert done.status == (0 if "watch" in words else 3)
    assert os.stat(long.file(0)).st_size == RECORDS * RECORD_SIZE


def test_clear_and_set_read_little_of_it(long: Pools) -> None:
    """Defect C4."""
    directory = ("--pool-dir", long.path)
    done = run_forked(["set", "k", "w", "--pool", "external", *directory], little_memory)
    assert done.status == 0
    with open(long.file(0), "rb") as file:
        assert file.read(RECORD_SIZE) == encode(b"k", b"w")
    assert run_forked(["clear", "external", "--yes", *directory], little_memory).status == 0
    assert os.stat(long.file(0)).st_size == 0


def test_clear_stale_does_not_read_it(long: Pools) -> None:
    """Defect C4: as at the start of the daemon."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            little_memory()
            clear_stale(PoolDirectory(long.path, report=print), print)
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert os.stat(long.file(0)).st_size == 0
