# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""``list --info``: the files of the pools, without their records."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

from hv_kvp_daemon.cli.main import main
from hv_kvp_daemon.cli.pools import pool_info
from hv_kvp_daemon.pools.stale import boot_time
from hv_kvp_daemon.wire.record import encode

if TYPE_CHECKING:
    import pytest

    from tests.support.command import Pools

LIMITS = {
    "key": {"utf16_units": 254, "bytes": 511},
    "value": {"utf16_units": 1022, "bytes": 2047},
}


def filled(pools: Pools) -> None:
    pools.write(0, encode(b"k", b"v"))
    os.utime(pools.file(0), ns=(0, boot_time("/proc/stat") - 1))
    os.chmod(pools.file(0), 0o640)
    pools.write(1, encode(b"k", b"v") * 2 + b"odd")
    os.chmod(pools.file(1), 0o644)
    pools.write(3, b"")
    os.mkdir(pools.file(4), 0o755)


def test_list_info_is_a_table_of_the_pools(pools: Pools) -> None:
    filled(pools)
    status, out, _ = pools("list", "--info")
    limits = "254/511\t1022/2047"
    assert out.splitlines() == [
        f"external\t1\t2560\t0640\tyes\t{limits}\t{pools.file(0)}",
        f"guest\t2\t5123\t0644\t-\t{limits}\t{pools.file(1)}",
        f"host\t0\t0\t0644\tno\t{limits}\t{pools.file(3)}",
        f"internal\tunusable\t-\t0755\t-\t{limits}\t{pools.file(4)}",
    ]
    assert status == 3


def test_list_info_as_json(pools: Pools, capsys: pytest.CaptureFixture[str]) -> None:
    filled(pools)
    words = ["list", "--info", "--json", "--pool-dir", pools.path]
    assert main([*words, "external"]) == 0
    assert json.loads(capsys.readouterr().out) == [
        {
            "pool": "external",
            "number": 0,
            "path": pools.file(0),
            "mode": "0640",
            "records": 1,
            "size": 2560,
            "stale": True,
            "limits": LIMITS,
        }
    ]
    assert main([*words, "auto"]) == 2
    assert "the auto pool has no file" in capsys.readouterr().err


def test_a_pool_that_is_missing_and_one_of_this_boot(
    pools: Pools, monkeypatch: pytest.MonkeyPatch
) -> None:
    pools.write(0, encode(b"k", b"v"))
    assert time.time_ns() > boot_time("/proc/stat")
    written, missing = pool_info.collect(pools.path, (0, 3))
    assert written["stale"] is False
    assert (missing["mode"], missing["records"], missing["stale"]) == (None, 0, None)

    def boot_time_unknown(_: str) -> int:
        raise OSError

    monkeypatch.setattr(pool_info, "boot_time", boot_time_unknown)
    (written,) = pool_info.collect(pools.path, (0,))
    assert written["stale"] is None


def test_a_file_below_something_else_than_a_directory_is_unusable(pools: Pools) -> None:
    pools.write(0, b"")
    (below,) = pool_info.collect(pools.file(0), (1,))
    assert (below["records"], below["size"], below["mode"]) == (None, None, None)
