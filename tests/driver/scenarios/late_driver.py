# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The daemon starts before the driver is loaded, with each choice of transport."""

from __future__ import annotations

import functools
import socket

from tests.driver import guest
from tests.driver.deadline import LESS_THAN_DRIVER, Deadline
from tests.driver.guest import Process, wait_for
from tests.driver.lab.hvhost import AUTO, EXTERNAL, S_OK, Host

APPEND = "hvlab.manual"


def start(transport: str) -> Process:
    return guest.daemon("-n", "--transport", transport, "--pool-dir", guest.POOL_DIR)


def is_served(daemon: Process) -> None:
    """Wait until a host is served, at most 10 s."""
    deadline = Deadline(10, LESS_THAN_DRIVER)
    with Host(watch=daemon.must_run) as host:
        assert host.negotiate() == S_OK
        wait_for("service", lambda: host.set(EXTERNAL, "key", "value") == S_OK)
        assert not deadline.passed(), deadline
        assert host.enumerate(AUTO, 1)[2] == "3.1"


def check_a_late_driver_is_served() -> None:
    for transport in ("netlink", "chardev", "auto"):
        daemon = start(transport)
        wait_for(
            "a line that says what is missing", functools.partial(_asks_for_driver, daemon)
        )
        guest.load_driver()
        is_served(daemon)
        assert daemon.stop() == 0
        guest.unload_driver()


def check_a_second_daemon_is_refused_and_names_the_first() -> None:
    guest.load_driver()
    first = guest.registered("--transport", "auto")
    second = start("chardev")
    assert second.wait() == 1
    assert f"pid {first.pid}" in second.stderr
    assert first.stop() == 0
    guest.unload_driver()


def check_auto_waits_for_a_device_that_another_holds_and_names_it() -> None:
    guest.load_driver()
    other = guest.c_daemon()
    wait_for("the C daemon's registration", lambda: _holds(other))
    daemon = start("auto")
    wait_for("the holder's name", lambda: f"hv_kvp_daemon (pid {other.pid})" in daemon.stderr)
    other.stop()
    wait_for("registration", lambda: "driver version 3.1" in daemon.stderr)
    is_served(daemon)
    assert daemon.stop() == 0
    guest.unload_driver()


def check_auto_silences_another_netlink_daemon_by_the_device() -> None:
    guest.load_driver()
    rival = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 11)
    rival.bind((0, 1 << 8))
    daemon = guest.registered("--transport", "auto")
    assert "another member" in daemon.stderr
    assert _holds(daemon)
    is_served(daemon)
    rival.close()
    assert daemon.stop() == 0
    guest.unload_driver()


def check_auto_takes_the_device_in_another_network_namespace() -> None:
    guest.load_driver()
    daemon = Process(
        [
            *("unshare", "--net", "hv-kvp-daemon", "-n", "--transport", "auto"),
            *("--pool-dir", guest.POOL_DIR),
        ]
    )
    wait_for("registration", lambda: "driver version 3.1" in daemon.stderr)
    assert "using the char device" in daemon.stderr
    is_served(daemon)
    assert daemon.stop() == 0
    guest.unload_driver()


def check_auto_stays_with_netlink_when_the_driver_is_loaded_again() -> None:
    """T19: a removed device node looked like an open by another process, which ends netlink."""
    guest.load_driver()
    daemon = guest.registered("--transport", "auto")
    for number in range(2, 4):
        guest.unload_driver()
        guest.load_driver()
        again = functools.partial(_has_registered, daemon, number)
        wait_for("another registration", again)
        is_served(daemon)
    assert not _holds(daemon)
    assert "opened" not in daemon.stderr, daemon.stderr
    assert daemon.stop() == 0
    guest.unload_driver()


def _has_registered(daemon: Process, times: int) -> bool:
    return daemon.stderr.count("registered over ") == times


def _asks_for_driver(daemon: Process) -> bool:
    return "hv_utils is not loaded" in daemon.stderr


def _holds(process: Process) -> bool:
    return guest.DEVICE in guest.open_files(process.pid)
