# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Locks that are held for a minute: how long the host waits, and what the log says."""

from __future__ import annotations

import os
import select
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from hv_kvp_daemon.pools.config import LOCK_WAIT
from hv_kvp_daemon.wire.uapi import (
    HV_E_FAIL,
    HV_S_OK,
    KVP_OP_DELETE,
    KVP_OP_ENUMERATE,
    KVP_OP_GET,
    KVP_OP_SET,
)
from tests.pools.conftest import HOLD, Holder, start
from tests.support.process import RunningDaemon

if TYPE_CHECKING:
    from collections.abc import Callable

SECONDS = 60.0

#: What is held, whether by nobody's process, and whether the host is served beside it.
HOLDERS = [
    ("flock", True, True),
    ("flock shared", True, True),
    ("posix shared", True, True),
    ("ofd shared", True, True),
    ("posix", False, True),
    ("ofd", False, True),
    ("flock+posix shared", True, False),
    ("flock+posix", False, False),
    ("flock+ofd", False, False),
]


def test_the_host_waits_no_longer_than_the_bound(tell: Callable[[str], None]) -> None:
    """P15: all holders at the same time, each beside a daemon of its own."""
    with ThreadPoolExecutor(len(HOLDERS)) as pool:
        lines = list(pool.map(lambda held: beside(*held), HOLDERS))
    for line in lines:
        tell(line)


def beside(kinds: str, unprivileged: bool, served: bool) -> str:
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        with RunningDaemon(Path(directory), "--no-sync") as daemon:
            return _beside(daemon, kinds, unprivileged, served)


def _beside(daemon: RunningDaemon, kinds: str, unprivileged: bool, served: bool) -> str:
    peer = daemon.connect()
    for key in ("a", "b"):
        assert peer.ask(KVP_OP_SET, 1, key, "1" * 1500).status == HV_S_OK
    cpu = _cpu(daemon.pid)
    process = start(HOLD, str(daemon.pool(1)), kinds, "1" if unprivileged else "")
    with process:
        holder = Holder(process)
        longest, requests = 0.0, 0
        ends = time.monotonic() + SECONDS
        while time.monotonic() < ends:
            requests += 1
            began = time.monotonic()
            statuses = [
                peer.ask(KVP_OP_SET, 1, "a", str(requests % 10) * 1500).status,
                peer.ask(KVP_OP_ENUMERATE, 1, index=0).status,
            ]
            longest = max(longest, time.monotonic() - began)
            began = time.monotonic()
            statuses += [peer.ask(KVP_OP_GET, 1, "b").status]
            if requests % 10 == 0:
                peer.ask(KVP_OP_SET, 1, "c", "1")
                statuses.append(peer.ask(KVP_OP_DELETE, 1, "c").status)
            longest = max(longest, time.monotonic() - began)
            # A host does not ask all the time.
            select.select([], [], [], 0.05)
            if served:
                assert set(statuses) == {HV_S_OK}, (kinds, statuses)
            else:
                assert statuses[0] == HV_E_FAIL, (kinds, statuses)
        used = _cpu(daemon.pid) - cpu
        log = daemon.stderr
        holder.end()
    assert longest < LOCK_WAIT + 1
    waits = [line for line in log.splitlines() if " lock within " in line]
    if longest > 1:
        # Once, not with each request; and who it is, where the kernel tells.
        assert 1 <= len(waits) <= 8, log
        assert ("ofd" in kinds) or f"pid {process.pid}" in log, log
    assert peer.ask(KVP_OP_SET, 1, "a", "free").status == HV_S_OK
    return (
        f"{kinds} held {SECONDS:.0f} s by {'nobody' if unprivileged else 'root'}: longest wait"
        f" {longest:.2f} s, {requests} rounds, {used / SECONDS:.2%} CPU"
    )


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
