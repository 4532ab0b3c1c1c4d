"""``status``, beside a daemon that serves a simulated host."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable

import pytest

from hv_kvp_daemon.service.status import DaemonStatus, find
from hv_kvp_daemon.service.status_page import StatusPage, start_ticks
from hv_kvp_daemon.wire.uapi import KVP_OP_ENUMERATE
from tests.support.command import PATIENCE, run
from tests.support.daemon import RunningDaemon


def until(daemon: RunningDaemon, condition: Callable[[DaemonStatus], bool]) -> None:
    """Wait until the daemon's page says so."""
    deadline = time.monotonic() + PATIENCE
    while (status := find(f"{daemon.path}.status")) is None or not condition(status):
        assert time.monotonic() < deadline


def test_status_says_how_a_daemon_fares() -> None:
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
    assert abs(facts["last_request"]["time"] - time.time()) < PATIENCE
    assert abs(facts["since"] - time.time()) < PATIENCE
    assert facts["records"] == {"external": 1, "guest": 0, "host": 0, "internal": 0}
    assert facts["private_bytes"] < facts["resident_bytes"] < 64 << 20
    assert 3 < facts["descriptors"] < 64
    assert "Requests: 1 SET, 2 ENUMERATE" in page.out
    assert "secret" not in page.out + done.out


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
