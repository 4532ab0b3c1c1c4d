# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""``status``, beside a daemon that serves a simulated host."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from binascii import crc32
from collections.abc import Callable

import pytest

from hv_kvp_daemon.cli.main import main
from hv_kvp_daemon.pools.directory import pool_path
from hv_kvp_daemon.service.status import DaemonStatus, find
from hv_kvp_daemon.service.status_page import (
    ABOUT,
    CHECKSUM,
    CHECKSUM_OFFSET,
    IDENTITY,
    STATE,
    StatusPage,
    start_ticks,
)
from hv_kvp_daemon.simhost.simulated_driver import SimulatedDriver
from hv_kvp_daemon.wire.message import Request, encode_request, encode_status
from hv_kvp_daemon.wire.uapi import HV_E_FAIL, HV_S_OK, KVP_OP_ENUMERATE, KVP_OP_SET
from tests.support.command import run
from tests.support.daemon import RunningDaemon
from tests.support.emulator import require_own_process_image
from tests.support.process import DEADLINE
from tests.support.run_forked import Done

Capture = pytest.CaptureFixture[str]


def call(capsys: Capture, *words: str) -> Done:
    """Run a command in this process."""
    status = main(words)
    return Done(status, *capsys.readouterr())


def until(daemon: RunningDaemon, condition: Callable[[DaemonStatus], bool]) -> None:
    """Wait until the daemon's page says so."""
    deadline = time.monotonic() + DEADLINE
    while (status := find(f"{daemon.path}.status")) is None or not condition(status):
        assert time.monotonic() < deadline


def test_status_says_how_a_daemon_fares() -> None:
    require_own_process_image()
    with RunningDaemon() as daemon:
        transport = f"--transport=loopback:{daemon.path}"
        waiting = json.loads(run("status", "--json", transport).out)
        assert waiting["serving"] is False
        assert run("status", transport).status == 3
        with daemon.host() as host:
            host.set(0, "secret-key", "secret-value")
            list(host.items(0))
            # A reload ends the row of requests that are counted together.
            os.kill(daemon.pid, signal.SIGHUP)
            until(daemon, lambda status: status.requests.get(KVP_OP_ENUMERATE) == 2)
            done = run("status", "--json", transport)
            page = run("status", transport)
    assert done.status == 0
    facts = json.loads(done.out)
    assert facts["pid"] == daemon.pid
    assert facts["driver_version"] == "3.1"
    assert facts["transport"] == "loopback"
    assert facts["requests"] == {"SET": 1, "ENUMERATE": 2}
    assert facts["last_request"]["operation"] == "ENUMERATE"
    assert abs(facts["last_request"]["time"] - time.time()) < DEADLINE
    assert abs(facts["since"] - time.time()) < DEADLINE
    assert facts["records"] == {"external": 1, "guest": 0, "host": 0, "internal": 0}
    assert facts["private_bytes"] < facts["resident_bytes"] < 64 << 20
    assert 3 < facts["descriptors"] < 64
    assert "Requests: 1 SET, 2 ENUMERATE" in page.out
    assert "secret" not in page.out + done.out


def test_a_kind_of_request_that_fails_is_shown_until_one_succeeds() -> None:
    """D3: three of four SETs failed, and status was 0."""
    require_own_process_image()
    with RunningDaemon() as daemon, daemon.host() as host:
        command = ("status", f"--transport=loopback:{daemon.path}")
        path = pool_path(daemon.pool_dir, 0)
        host.set(0, "secret-key", "secret-value")
        os.rename(path, f"{path}.old")
        os.mkdir(path)
        for _ in range(3):
            assert host.set(0, "secret-key", "secret-value") == HV_E_FAIL
        failing = run(*command)
        facts = json.loads(run(*command, "--json").out)
        os.rmdir(path)
        host.set(0, "secret-key", "secret-value")
        until(daemon, lambda status: not status.failing)
        again = run(*command)
    assert (failing.status, again.status) == (3, 0)
    assert "serving, but the last SET failed" in failing.out
    assert "serving, hv-kvp-daemon" in again.out
    for out in failing.out, again.out:
        assert "Failures: 3 SET (3 x HV_E_FAIL)\n" in out
        assert f"ago), HV_E_FAIL: pool 0 ({path}): is a directory, not a regular file\n" in out
    assert facts["serving"] is True
    assert facts["failing"] == ["SET"]
    assert facts["failures"] == {"SET": 3}
    assert facts["statuses"] == {"HV_E_FAIL": 3}
    failure = facts["last_failure"]
    assert (failure["operation"], failure["status"]) == ("SET", "HV_E_FAIL")
    assert abs(failure["time"] - time.time()) < DEADLINE
    assert "is a directory" in failure["reason"]
    assert "secret" not in failing.out + json.dumps(facts)


def test_a_stopped_daemon_does_not_serve(capsys: Capture) -> None:
    """D1: status said "serving", and 0."""
    require_own_process_image()
    request = encode_request(Request(KVP_OP_SET, 0, b"key", b"value"))
    with RunningDaemon() as daemon, SimulatedDriver(daemon.path, DEADLINE) as driver:
        assert driver.exchange(request) == encode_status(HV_S_OK)
        command = ("status", f"--transport=loopback:{daemon.path}")
        os.kill(daemon.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, daemon.pid, os.WSTOPPED | os.WNOWAIT)
        page, facts = call(capsys, *command), json.loads(call(capsys, *command, "--json").out)
        driver._send(request)
        os.kill(daemon.pid, signal.SIGCONT)
        assert page.status == 3
        assert "Daemon: not serving (is stopped (SIGSTOP)), hv-kvp-daemon" in page.out
        assert (facts["serving"], facts["trouble"]) == (False, "is stopped (SIGSTOP)")
        # It cannot know how long this request has waited.
        assert driver._receive(time.monotonic() + DEADLINE) == encode_status(HV_E_FAIL)
        assert "HV_E_FAIL: SET refused: it may have" in call(capsys, *command).out
        assert driver.exchange(request) == encode_status(HV_S_OK)
        assert call(capsys, *command).status == 0


def test_a_request_that_takes_longer_than_the_driver_waits_is_shown(
    tmp_path: object, capsys: Capture
) -> None:
    """D1."""
    path = f"{tmp_path}/host.status"
    page = StatusPage(path, pool_dir="/p", addresses="rtnetlink", report=pytest.fail)
    page.set_driver(serving=True, transport="netlink", version=b"3.1", state="serving")
    page.publish()
    command = ("status", f"--transport=loopback:{tmp_path}/host")
    # tests/service/test_status.py has the limit itself.
    page.busy[0] = time.monotonic() - 15.0
    assert call(capsys, *command).status == 0
    page.busy[0] = time.monotonic() - 40.0
    done = call(capsys, *command)
    assert done.status == 3
    assert "not serving (has been handling one request for 4" in done.out


def test_a_daemon_without_a_host_is_not_said_to_have_no_answer(capsys: Capture) -> None:
    """D6: it was a driver that "has not answered"."""
    require_own_process_image()
    with RunningDaemon() as daemon:
        out = call(capsys, "status", f"--transport=loopback:{daemon.path}").out
        assert "Driver: simulated, none now" in out
        with daemon.host() as host:
            host.set(0, "key", "value")
            out = call(capsys, "status", f"--transport=loopback:{daemon.path}").out
            assert "Driver: simulated, version 3.1" in out


def test_nothing_in_a_page_reaches_the_terminal_as_it_is(
    tmp_path: object, capsys: Capture
) -> None:
    """D8: the page of ``--transport loopback:`` may be a file of another user."""
    evil = "\x1b]0;owned\x07\x1b[2J\u202e"
    path = f"{tmp_path}/host.status"
    page = StatusPage(
        path, pool_dir=f"/p{evil}", addresses="x", exclude=(evil,), report=pytest.fail
    )
    page.publish()
    page.requests[200] = page.requests[KVP_OP_ENUMERATE] = 1
    page.answered[200] = time.monotonic()
    page.failed(200, 0xDEADBEEF, page.answered[200], "reason")
    # As a writer that escapes nothing would store them.
    block = STATE.pack(1, *[evil.encode()] * 3, 200, 1, page.answered[200], evil.encode())
    with open(path, "r+b") as file:
        file.seek(IDENTITY.size)
        file.write(ABOUT.pack(evil.encode(), evil.encode()))
        file.seek(CHECKSUM_OFFSET)
        file.write(CHECKSUM.pack(crc32(block)) + block)
    transport = f"--transport=loopback:{tmp_path}/host"
    os.link(path, f"{tmp_path}/status")
    for command in (
        ("status", transport),
        ("status", transport, "--json"),
        ("auto", transport),
        ("doctor", f"--run-dir={tmp_path}"),
        ("list", "guest", f"--pool-dir=/p{evil}"),
    ):
        _, out, err = call(capsys, *command)
        assert out + err
        assert not {*"\x1b\x07\u202e"} & {*(out + err)}, command


def test_a_daemon_that_ended_is_not_running() -> None:
    with RunningDaemon() as daemon:
        daemon.stop()
        assert not os.path.exists(f"{daemon.path}.status")
        status, out, err = run("status", f"--transport=loopback:{daemon.path}")
    assert (status, out) == (3, "")
    assert "hv-kvp-daemon is not running" in err


def test_what_a_killed_daemon_left_behind_counts_for_nothing() -> None:
    with RunningDaemon() as daemon:
        daemon.kill()
        assert os.path.exists(f"{daemon.path}.status")
        assert run("status", f"--transport=loopback:{daemon.path}").status == 3


def test_a_pid_that_was_given_out_again_is_not_the_daemon(tmp_path: object) -> None:
    require_own_process_image()
    path = f"{tmp_path}/host.status"
    page = StatusPage(path, pool_dir="/p", addresses="rtnetlink", report=pytest.fail)
    page.set_driver(serving=True, transport="loopback", version=b"3.1", state="serving")
    page.publish()
    command = ("status", f"--transport=loopback:{tmp_path}/host")
    assert run(*command).status == 0
    with open(path, "r+b") as file:
        file.seek(16)
        file.write((start_ticks(os.getpid()) - 1).to_bytes(8, sys.byteorder))
    assert run(*command).status == 3


@pytest.mark.parametrize(
    ("data", "said"),
    [(b"PID=1\n", "is not a status page"), (bytes(1 << 20), "is not a status page")],
)
def test_a_file_that_is_no_page_is_said_to_be_none(
    tmp_path: object, data: bytes, said: str
) -> None:
    with open(f"{tmp_path}/host.status", "wb") as file:
        file.write(data)
    for command in ("status", "auto"):
        status, out, err = run(command, f"--transport=loopback:{tmp_path}/host")
        assert said in out + err
        assert status == (3 if command == "status" else 0)


def test_a_page_of_another_version_is_said_to_be_one(tmp_path: object) -> None:
    require_own_process_image()
    with RunningDaemon() as daemon:
        with open(f"{daemon.path}.status", "r+b") as file:
            file.seek(8)
            file.write((2).to_bytes(4, sys.byteorder))
        status, _, err = run("status", f"--transport=loopback:{daemon.path}")
    assert status == 3
    assert "has layout version 2" in err
    assert f"pid {daemon.pid}" in err


@pytest.mark.parametrize("transport", ["netlink", "loopback:", "host"])
def test_status_takes_only_a_loopback_by_name(transport: str) -> None:
    assert run("status", "--transport", transport).status == 2
