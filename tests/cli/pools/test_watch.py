# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""``watch``: as it happens, without polling."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import json
import os
import shutil
import signal
import struct
import subprocess
import time
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from hv_kvp_daemon.cli import main as command_line
from hv_kvp_daemon.cli.pools import pool_files
from hv_kvp_daemon.cli.pools import watch as watch_module
from hv_kvp_daemon.cli.pools.watch import Watcher
from hv_kvp_daemon.guest.child import wait_readable
from hv_kvp_daemon.pools.pool import PoolFile
from hv_kvp_daemon.transport.inotify import CHANGES, Inotify
from hv_kvp_daemon.wire.record import encode
from tests.support.command import COMMAND, Pools, Terminal
from tests.support.daemon import RunningDaemon
from tests.support.process import DEADLINE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

OFD_LOCK = struct.Struct("hhqqi0q")  # struct flock


class Watch:
    """A running ``hv-kvp watch --json`` whose lines can be waited for."""

    def __init__(self, *words: str) -> None:
        self.process = subprocess.Popen(
            [COMMAND, "watch", "--json", *words], stdout=subprocess.PIPE, text=True
        )

    def next(self) -> tuple[str, str, str, str]:
        assert self.process.stdout is not None
        line = json.loads(self.process.stdout.readline())
        return line["event"], line["pool"], line["key"], line["value"]


def wait_until_it_watches(watch: subprocess.Popen[Any]) -> None:
    """The pools have been read, and the directory is watched, when it sleeps in poll."""
    process = psutil.Process(watch.pid)
    while not (inotify(watch.pid) and process.status() == psutil.STATUS_SLEEPING):
        assert watch.poll() is None


def inotify(pid: int) -> bool:
    try:
        links = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
    except FileNotFoundError:
        return False
    return "anon_inode:inotify" in links


@pytest.fixture
def watch() -> Iterator[Callable[..., Watch]]:
    started: list[Watch] = []

    def start(*words: str) -> Watch:
        started.append(Watch(*words))
        wait_until_it_watches(started[-1].process)
        return started[-1]

    yield start
    for each in started:
        each.process.kill()
        each.process.wait()
        assert each.process.stdout is not None
        each.process.stdout.close()


def test_what_a_host_does_is_shown(watch: Callable[..., Watch]) -> None:
    with RunningDaemon() as daemon, daemon.host() as host:
        host.set(0, "old", "there before")
        seen = watch("--pool-dir", daemon.pool_dir)
        host.set(0, "k", "1")
        assert seen.next() == ("added", "external", "k", "1")
        host.set(0, "k", "2")
        assert seen.next() == ("changed", "external", "k", "2")
        host.delete(0, "k")
        assert seen.next() == ("deleted", "external", "k", "2")


def test_only_the_pool_that_is_named_is_shown(
    pools: Pools, watch: Callable[..., Watch]
) -> None:
    os.mkdir(pools.path)
    seen = watch("guest", "--pool-dir", pools.path)
    pools("set", "k", "not shown", "--pool", "external")
    pools("set", "k", "shown")
    assert seen.next() == ("added", "guest", "k", "shown")


def test_a_file_that_is_removed_takes_its_records_along(
    pools: Pools, watch: Callable[..., Watch]
) -> None:
    pools.write(1, encode(b"a", b"1") + encode(b"a", b"2"))
    seen = watch("--pool-dir", pools.path)
    os.unlink(pools.file(1))
    assert seen.next() == ("deleted", "guest", "a", "1")
    assert seen.next() == ("deleted", "guest", "a", "2")


def test_a_directory_that_is_not_there_yet_is_waited_for(
    tmp_path: object, watch: Callable[..., Watch]
) -> None:
    pools = Pools(f"{tmp_path}/a/b/pools")
    seen = watch("--pool-dir", pools.path)
    pools("set", "k", "v")
    assert seen.next() == ("added", "guest", "k", "v")
    shutil.rmtree(pools.path)
    assert seen.next() == ("deleted", "guest", "k", "v")
    pools("set", "k", "again")
    assert seen.next() == ("added", "guest", "k", "again")


def test_the_end_of_a_dangling_link_is_waited_for(
    tmp_path: object, watch: Callable[..., Watch]
) -> None:
    os.symlink(f"{tmp_path}/target", f"{tmp_path}/link")
    seen = watch("--until", "k", "--pool-dir", f"{tmp_path}/link")
    Pools(f"{tmp_path}/target")("set", "k", "v")
    assert seen.next()[2:] == ("k", "v")
    assert seen.process.wait(DEADLINE) == 0


def test_until_ends_with_the_key(pools: Pools, watch: Callable[..., Watch]) -> None:
    os.mkdir(pools.path)
    seen = watch("external", "--until", "token", "--timeout", "60", "--pool-dir", pools.path)
    pools("set", "other", "1", "--pool", "external")
    assert seen.next() == ("added", "external", "other", "1")
    pools("set", "token", "2", "--pool", "external")
    assert seen.next() == ("added", "external", "token", "2")
    assert seen.process.wait(DEADLINE) == 0


def test_until_ends_at_once_if_the_key_is_there(pools: Pools) -> None:
    pools.write(0, encode(b"token", b"2"))
    assert pools("watch", "--until", "token") == (0, "=\texternal\ttoken\t2\n", "")


def test_until_ends_with_1_when_the_time_is_over(pools: Pools) -> None:
    os.mkdir(pools.path)
    status, out, err = pools("watch", "--until", "token", "--timeout", "0.05")
    assert (status, out) == (1, "")
    assert err == "hv-kvp: no key token within 0.05 s\n"


@pytest.mark.parametrize("seconds", ["-1", "nan", "inf", "soon"])
def test_a_timeout_is_a_number_of_seconds(pools: Pools, seconds: str) -> None:
    assert pools("watch", f"--timeout={seconds}").status == 2


def test_control_c_ends_it_without_a_traceback(
    pools: Pools, on_terminal: Callable[..., Terminal]
) -> None:
    os.mkdir(pools.path)
    terminal = on_terminal("watch", env={"NO_COLOR": "1"})
    wait_until_it_watches(terminal.process)
    pools("set", "k", "v" * 500)
    terminal.wait_for("…")
    assert terminal.screen.splitlines()[0][8:].startswith(" + guest    k  vvv")
    assert len(terminal.screen.splitlines()[0]) == 80
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.end() == 130
    assert "Traceback" not in terminal.screen


def test_it_sleeps_while_nothing_happens(pools: Pools, watch: Callable[..., Watch]) -> None:
    os.mkdir(pools.path)
    seen = watch("--pool-dir", pools.path)
    process = psutil.Process(seen.process.pid)
    before = process.num_ctx_switches().voluntary
    pools("list")  # time goes by, and reading is no change
    assert process.num_ctx_switches().voluntary - before <= 1


def test_the_timeout_ends_the_wait_although_there_are_events(tmp_path: Path) -> None:
    """A pool that changes all the time must not keep the command from ending."""
    watcher = Watcher(str(tmp_path), (1,), time.monotonic())
    with contextlib.closing(Inotify(str(tmp_path), CHANGES)) as events:
        (tmp_path / ".kvp_pool_1").write_bytes(b"")
        assert not watcher._wait(events)


def test_a_pool_that_cannot_be_read_is_reported_once_and_the_others_are_watched(
    pools: Pools, capsys: pytest.CaptureFixture[str]
) -> None:
    pools.write(0, encode(b"k", b"v"))
    os.mkdir(pools.file(1))
    watcher = Watcher(pools.path, (0, 1), time.monotonic())
    assert [change.key for change in watcher.changes()] == [b"k"]
    assert list(watcher.changes()) == []
    assert capsys.readouterr().err.count("is a directory, not a regular file") == 1
    os.rmdir(pools.file(1))
    assert list(watcher.changes()) == []
    os.mkdir(pools.file(1))
    assert list(watcher.changes()) == []
    assert "is a directory, not a regular file" in capsys.readouterr().err


def test_a_pool_that_was_locked_is_read_again_without_an_event(
    pools: Pools, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """C10."""
    monkeypatch.setattr(watch_module, "_RETRY", 0.001)
    monkeypatch.setattr(pool_files, "PoolFile", functools.partial(PoolFile, lock_wait=0.001))
    pools.write(1, encode(b"k", b"v"))
    waits = []

    def wait(fd: int, seconds: float) -> bool:
        waits.append(seconds)
        if len(waits) == 3:  # no event comes of it
            fcntl.flock(file, fcntl.LOCK_UN)
            fcntl.fcntl(file, fcntl.F_OFD_SETLK, OFD_LOCK.pack(fcntl.F_UNLCK, 0, 0, 0, 0))
        return wait_readable(fd, seconds)

    with open(pools.file(1), "r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, OFD_LOCK.pack(fcntl.F_WRLCK, 0, 0, 0, 0))
        # A signal ends the wait.
        assert list(Watcher(pools.path, (1,), None, lambda *_: False).changes()) == []
        assert "no lock within" in capsys.readouterr().err
        changes = Watcher(pools.path, (1,), time.monotonic() + DEADLINE, wait).changes()
        assert next(changes)[:3] == ("present", 1, b"k")
        assert len(waits) == 3
    assert capsys.readouterr().err.count("no lock within") == 1


def test_after_lost_events_all_pools_are_compared(
    pools: Pools, monkeypatch: pytest.MonkeyPatch
) -> None:
    pools.write(0, encode(b"k", b"v"))
    pools.write(1, encode(b"a", b"1"))
    changes = Watcher(pools.path, (0, 1), time.monotonic() + DEADLINE).changes()
    assert [next(changes).kind for _ in range(2)] == ["present"] * 2

    def overflow(_: Inotify) -> tuple[set[str], bool]:
        return {""}, False

    monkeypatch.setattr(Inotify, "read", overflow)
    pools.write(0, encode(b"k", b"w"))
    pools.write(1, b"")
    seen = [next(changes) for _ in range(2)]
    assert [(each.kind, each.pool) for each in seen] == [("changed", 0), ("deleted", 1)]


@pytest.mark.parametrize(
    ("words", "status"), [([], 0), (["--until", "none"], 1), (["--until", "k"], 0)]
)
def test_without_changes_it_ends_in_time(pools: Pools, words: list[str], status: int) -> None:
    pools.write(1, encode(b"k", b"v"))
    line = ["watch", "--timeout", "0.01", *words, "--pool-dir", pools.path]
    assert command_line.main(line) == status
