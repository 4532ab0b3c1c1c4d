# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""``check``: what it finds, and what ``--repair`` leaves."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from hv_kvp_daemon.cli import main as command_line
from hv_kvp_daemon.cli.pools import pool_info
from hv_kvp_daemon.pools.change import replace
from hv_kvp_daemon.pools.config import PoolConfig
from hv_kvp_daemon.pools.journal import Journal
from hv_kvp_daemon.wire.record import encode
from tests.support.command import COMMAND, Pools
from tests.support.daemon import RunningDaemon

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.command import OrdinaryUser, Terminal

UNTERMINATED = ("€" * 170 + "ab").encode() + b"v".ljust(2048, b"\0")
NO_KEY = bytes(512) + b"v".ljust(2048, b"\0")
LEFTOVERS = b"a\0rubbish".ljust(512, b"\0") + b"v".ljust(2048, b"\0")


def of_pools(pools: Pools) -> list[tuple[str, str, str]]:
    """(pool, level, finding) without what concerns this checkout's bytecode."""
    done = pools("check", "--json")
    return [
        (each["pool"], each["level"], each["finding"])
        for each in json.loads(done.out)
        if "bytecode" not in each["finding"]
    ]


@pytest.mark.parametrize(
    ("data", "level", "said"),
    [
        (encode(b"k", b"v") + b"rest", "damage", "4 bytes after record 1 are a part of one"),
        (UNTERMINATED, "damage", f"record 0 ({'€' * 37}...): a field without a NUL at its end"),
        (encode(b"k", b"v") + NO_KEY, "damage", "record 1: no key"),
        (encode(b"k", b"\xff"), "damage", "record 0 (k): not valid UTF-8"),
        (
            encode(b"k" * 255, b""),
            "note",
            f"record 0 ({'k' * 37}...): a host sees 254 UTF-16 units of a key",
        ),
        (encode(b"k", b"v" * 1023), "note", "record 0 (k): a host sees 254 UTF-16 units"),
        (LEFTOVERS, "note", "record 0 (a): bytes after the end of a text"),
        (encode(b"k", b"1") * 2, "note", "record 1 (k): equal to an earlier record"),
        (encode(b"k", b"1") + encode(b"k", b"2"), "note", "record 1 (k): another value"),
        (
            encode(b"Key", b"1") + encode(b"kEY", b"1"),
            "note",
            "record 1 (kEY): differs from an earlier key",
        ),
        (
            b"".join(encode(b"%d" % n, b"") for n in range(1025)),
            "note",
            "1025 records; Azure's host shows at most 1024",
        ),
    ],
    ids=lambda value: f"{len(value)} bytes" if isinstance(value, bytes) else None,
)
def test_each_condition_has_its_sentence(
    pools: Pools, data: bytes, level: str, said: str
) -> None:
    """Defect C3: the record has its key, by which it can be read and deleted."""
    pools.write(1, data)
    found = of_pools(pools)
    assert [each[:2] for each in found] == [("guest", level)]
    assert found[0][2].startswith(said)
    assert pools("check").status == (3 if level == "damage" else 0)


def test_a_damaged_journal_is_set_aside_by_a_repair_and_shown_until_it_is_removed(
    pools: Pools,
) -> None:
    pools.write(1, encode(b"k", b"v"))
    journal = f"{pools.path}/.hv_kvp_journal_1"
    with open(journal, "wb") as file:
        file.write(b"rubbish!" * 512)
    ((pool, level, said),) = of_pools(pools)
    assert (pool, level) == ("guest", "damage")
    assert said.startswith(f"a change was interrupted, its journal is {journal}")
    done = pools("check", "--repair", "--json")
    assert done.status == 0
    assert "its journal is damaged (unknown state b'rubbish!')" in done.err
    ((pool, level, said),) = of_pools(pools)
    assert (pool, level) == ("guest", "note")
    assert said.startswith(f"its journal was damaged and set aside as {journal}.damaged")
    os.unlink(f"{journal}.damaged")
    assert of_pools(pools) == []
    assert pools.data(1) == encode(b"k", b"v")


def test_a_clean_pool_has_no_finding(
    pools: Pools, on_terminal: Callable[..., Terminal]
) -> None:
    """Defect C3: a terminal is told."""
    pools.write(1, encode(b"k", b"v") + encode("ключ".encode(), b"1" * 1022))
    assert of_pools(pools) == []
    terminal = on_terminal("check", columns=200)
    assert terminal.end() == 0
    assert terminal.screen.splitlines()[-1] == f"no damage in the pools of {pools.path}"


def test_advice_that_is_shown_can_be_run(pools: Pools) -> None:
    """Defect C3: each command is about these pools, and ends what it is advised for."""
    directory = f"{pools.path} of a VM's"
    there = Pools(directory)
    there.write(0, encode(b"k", b"v"))
    there.write(1, encode(b"k", b"v") + b"rest")
    os.makedirs(there.file(3))
    os.utime(there.file(0), (0, 0))
    os.chmod(there.file(1), 0o666)
    os.chmod(directory, 0o777)
    found = json.loads(there("check", "--json").out)
    advice = [each["advice"].removeprefix("move it away: ") for each in found if each["advice"]]
    commands = [each for each in advice if "compileall" not in each]
    assert len(commands) == 5
    folder = os.path.dirname(COMMAND)
    # The last one also says whether there is no other damage left.
    for command in sorted(commands, key=lambda each: "--repair" in each):
        line = f"{command} --yes" if " clear " in command else command
        subprocess.run(
            ["sh", "-ec", line],
            check=True,
            env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"},
            stderr=subprocess.PIPE,
        )
    assert of_pools(there) == []


def test_repair_keeps_a_copy_and_the_inode(pools: Pools) -> None:
    good = encode(b"k", b"v")
    data = good + NO_KEY + UNTERMINATED + LEFTOVERS + good + b"rest"
    pools.write(1, data)
    os.chmod(pools.file(1), 0o600)
    inode = os.stat(pools.file(1)).st_ino
    status, _, err = pools("check", "--repair")
    assert status == 0
    copies = [name for name in os.listdir(pools.path) if name.startswith("hv-kvp-backup")]
    assert len(copies) == 1
    copy = f"{pools.path}/{copies[0]}"
    assert f"pool guest: the former bytes are in {copy}" in err
    with open(copy, "rb") as file:
        assert file.read() == data
    assert stat.S_IMODE(os.stat(copy).st_mode) == 0o600
    assert pools.data(1) == good + encode(("€" * 170 + "a").encode(), b"v") + encode(b"a", b"v")
    assert os.stat(pools.file(1)).st_ino == inode


def test_repair_of_what_is_clean_writes_nothing(pools: Pools) -> None:
    pools.write(1, encode(b"k", b"1") + encode(b"k", b"2"))
    assert pools("check", "--repair").status == 0
    assert os.listdir(pools.path) == [".kvp_pool_1"]


def test_a_daemon_goes_on_serving_a_repaired_pool() -> None:
    with RunningDaemon() as daemon, daemon.host() as host:
        pools = Pools(daemon.pool_dir)
        host.set(0, "k", "v")
        pools.write(0, pools.data(0) + NO_KEY)
        assert pools("check", "--repair").status == 0
        assert list(host.items(0)) == [("k", "v")]
        assert host.set(0, "k2", "v2") == 0
        assert pools.data(0) == encode(b"k", b"v") + encode(b"k2", b"v2")


def test_a_file_that_others_can_write_is_damage_with_a_command(pools: Pools) -> None:
    pools.write(1, encode(b"k", b"v"))
    os.chmod(pools.file(1), 0o666)
    status, out, _ = pools("check")
    assert status == 3
    assert f"    chmod go-w {pools.file(1)}\n" in out


def test_what_is_no_file_is_damage(pools: Pools) -> None:
    os.makedirs(pools.file(3))
    assert of_pools(pools) == [("host", "damage", "is a directory, not a regular file")]
    assert pools("check", "--repair").status == 3


def test_records_from_before_this_boot_are_noted_where_a_host_writes(pools: Pools) -> None:
    for number in (0, 1, 3):
        pools.write(number, encode(b"k", b"v"))
        os.utime(pools.file(number), (0, 0))
    found = of_pools(pools)
    assert [each[0] for each in found] == ["external", "host"]
    assert all("written before this boot" in each[2] for each in found)
    now = time.time()
    os.utime(pools.file(0), (now, now))
    assert [each[0] for each in of_pools(pools)] == ["host"]


def test_an_interrupted_change_is_damage_that_repair_finishes(pools: Pools) -> None:
    old, new = b"1" * 2000, b"2" * 2000
    pools.write(1, encode(b"k", old))
    journal = Journal(PoolConfig(1, pools.file(1), report=print, sync=False))
    before, after = encode(b"k", old), encode(b"k", new)
    journal.write(replace(0, before, after))
    journal.close()
    torn = after[:1024] + before[1024:]
    pools.write(1, torn)
    assert of_pools(pools)[0][:2] == ("guest", "damage")
    assert "a change was interrupted" in of_pools(pools)[0][2]
    assert pools("check", "--repair").status == 0
    assert pools.data(1) == after
    assert of_pools(pools) == [("guest", "note", of_pools(pools)[0][2])]


def test_a_name_that_looks_like_a_pool_is_noted(pools: Pools) -> None:
    pools.write(1, b"")
    with open(f"{pools.path}/.kvp_pool_1.bak", "wb"):
        pass
    assert ".kvp_pool_1.bak, which some tools take for pools" in of_pools(pools)[0][2]


def test_an_ordinary_user_is_told_what_was_not_looked_at(user: OrdinaryUser) -> None:
    if os.geteuid():
        pytest.skip("needs a file that is another user's")
    user.pools.write(1, encode(b"secret", b"value"))
    os.chmod(user.pools.file(1), 0o600)
    os.chmod(user.pools.path, 0o755)
    status, out, _ = user("check")
    assert "pool guest: not checked: only its owner may read it" in out
    assert status == 0
    assert "secret" not in out


def test_without_the_time_of_the_boot_the_age_is_not_checked(
    pools: Pools, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def boot_time(path: str) -> int:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)

    pools.write(0, encode(b"k", b"v"))
    monkeypatch.setattr(pool_info, "boot_time", boot_time)
    assert command_line.main(["check", "--pool-dir", pools.path]) == 0
    assert "not checked whether it is older than this boot" in capsys.readouterr().out
