# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""``hv-kvp`` without a command."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from hv_kvp_daemon.cli.main import main
from hv_kvp_daemon.wire.record import encode
from tests.support.command import run
from tests.support.daemon import RunningDaemon
from tests.support.emulator import require_own_process_image

if TYPE_CHECKING:
    import pytest

    from tests.support.command import Pools

COUNTS = ["external\t1", "guest\t2", "host\t0", "internal\t0"]


def test_the_overview_has_the_daemon_and_the_counts() -> None:
    require_own_process_image()
    with RunningDaemon() as daemon:
        for key in (b"a", b"b"):
            daemon.pool(1).store(key, b"v")
        words = ("--transport", f"loopback:{daemon.path}", "--pool-dir", daemon.pool_dir)
        with daemon.host() as host:
            host.set(0, "secret-key", "secret-value")
            status, out, _ = run("overview", *words)
            document = json.loads(run("--json", "overview", *words).out)
    lines = out.splitlines()
    assert status == 0
    assert lines[0].startswith("      Daemon: serving, hv-kvp-daemon")
    assert lines[1].startswith("   Transport: loopback")
    assert lines[2].startswith("    Requests: ")
    assert lines[3] == f"       Pools: {daemon.pool_dir}"
    assert lines[4:] == COUNTS
    assert "secret" not in out
    assert document["status"]["serving"] is True
    assert document["pool_dir"] == daemon.pool_dir
    assert [pool["records"] for pool in document["pools"]] == [1, 2, 0, 0]


def test_hv_kvp_alone_is_the_overview() -> None:
    """Of the machine's daemon, if there is one."""
    status, out, _ = run()
    document = json.loads(run("--json").out)
    assert (status == 0) == document["status"]["serving"]
    assert out.startswith("      Daemon: ")
    assert f"\n       Pools: {document['pool_dir']}" in out
    counts = [f"{pool['pool']}\t{pool['records']}" for pool in document["pools"]]
    assert out.splitlines()[-4:] == counts


def test_without_a_daemon_the_overview_says_so_and_shows_the_pools(
    pools: Pools, capsys: pytest.CaptureFixture[str]
) -> None:
    pools.write(0, encode(b"k", b"v"))
    pools.write(1, encode(b"k", b"v") * 2)
    words = ["overview", "--run-dir", pools.path, "--pool-dir", pools.path]
    assert main(words) == 3
    first, second, *counts = capsys.readouterr().out.splitlines()
    assert first.startswith("      Daemon: not running")
    assert first.endswith("see: hv-kvp doctor")
    assert (second, counts) == (f"       Pools: {pools.path}", COUNTS)


def test_a_page_that_cannot_be_read_and_a_missing_directory_are_said(
    pools: Pools, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkdir(pools.path)
    with open(f"{pools.path}/status", "wb") as page:
        page.write(b"no page")
    words = ["overview", "--run-dir", pools.path, "--pool-dir", f"{pools.path}/none"]
    assert main(words) == 3
    out = capsys.readouterr().out
    assert f"Daemon: {pools.path}/status is not a status page" in out
    assert f"Pools: {pools.path}/none (missing)" in out
