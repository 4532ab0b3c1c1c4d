# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from hv_kvp_daemon.pools.directory import pool_path
from tests.simhost.fake import FakeDaemon
from tests.support.daemon import RunningDaemon

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hv_kvp_daemon.simhost.simulated_host import SimulatedHost


@pytest.fixture
def daemon() -> Iterator[RunningDaemon]:
    """A daemon for one test, which may kill or disturb it."""
    with RunningDaemon() as running:
        yield running


@pytest.fixture(scope="module")
def module_daemon() -> Iterator[RunningDaemon]:
    with RunningDaemon("--no-sync") as running:
        yield running


@pytest.fixture
def common(module_daemon: RunningDaemon) -> RunningDaemon:
    """A daemon that serves all tests of a module, with empty pools."""
    for number in range(5):
        os.truncate(pool_path(module_daemon.pool_dir, number), 0)
    return module_daemon


@pytest.fixture
def host(common: RunningDaemon) -> Iterator[SimulatedHost]:
    """A host of the common daemon."""
    with common.host() as host:
        yield host


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A path for a socket."""
    return str(tmp_path / "host")


@pytest.fixture
def fake(path: str) -> Iterator[FakeDaemon]:
    with ThreadPoolExecutor(1) as pool:
        fake = FakeDaemon(path, pool)
        yield fake
        fake.close()
