# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Another process opens the device, or uses the netlink group, while a netlink daemon serves.

An open of the device makes the driver change from netlink to the device, and the close
resets it to its initial state.  It then ignores a netlink daemon until one registers again,
and sends nothing.
"""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator

from tests.driver import guest
from tests.driver.deadline import LESS_THAN_DRIVER, Deadline
from tests.driver.guest import Process, wait_for
from tests.driver.lab.hvhost import AUTO, EXTERNAL, S_OK, Host

VARIANTS = {"auto": {"TRANSPORT": "auto"}, "netlink": {"TRANSPORT": "netlink"}}
SECONDS = 300
CHECK_SECONDS = 90

TRANSPORT = os.environ.get("TRANSPORT", "auto")
NETLINK_CONNECTOR = 11


def open_and_close() -> int:
    """Let another process open and close the device; return its exit status."""
    code = f"import os; os.close(os.open({guest.DEVICE!r}, os.O_RDWR))"
    return subprocess.run([sys.executable, "-c", code], check=False, timeout=30).returncode


def is_registered(daemon: Process, times: int) -> bool:
    return daemon.stderr.count("registered over") == times


def holds_device(process: Process) -> bool:
    return guest.DEVICE in guest.open_files(process.pid)


def is_served_within(host: Host, seconds: float, key: str) -> None:
    # A request without an answer takes 30 s.
    deadline = Deadline(seconds, LESS_THAN_DRIVER)
    wait_for("service", lambda: host.set(EXTERNAL, key, "value") == S_OK, seconds)
    assert not deadline.passed(), deadline
    assert host.enumerate(AUTO, 9)[:2] == (S_OK, "ProcessorArchitecture")


def check_a_device_that_was_opened_and_closed_does_not_silence_it() -> None:
    daemon = guest.registered("--transport", TRANSPORT)
    with Host(watch=daemon.must_run) as host:
        assert host.negotiate() == S_OK
        assert host.set(EXTERNAL, "before", "value") == S_OK
        for number in range(3):
            if TRANSPORT == "auto" and number:
                assert holds_device(daemon)
                assert open_and_close() != 0, "the device is not held"
            else:
                assert open_and_close() == 0
                new = functools.partial(is_registered, daemon, number + 2)
                wait_for("a new registration", new, 5.0)
            is_served_within(host, 5.0, f"after {number}")
        assert guest.DEVICE in daemon.stderr
    assert daemon.stop() == 0


def check_the_c_daemon_that_ran_for_a_while_is_named_and_followed() -> None:
    daemon = guest.registered("--transport", TRANSPORT)
    with Host(watch=daemon.must_run) as host:
        assert host.negotiate() == S_OK
        assert host.set(EXTERNAL, "before", "value") == S_OK
        if TRANSPORT == "auto" and holds_device(daemon):
            raise AssertionError("auto begins with netlink")
        other = guest.c_daemon()
        name = f"hv_kvp_daemon (pid {other.pid})"
        wait_for("its name in the log", lambda: name in daemon.stderr)
        other.stop()
        wait_for("registration", lambda: is_registered(daemon, 2), 5.0)
        assert holds_device(daemon) == (TRANSPORT == "auto")
        is_served_within(host, 5.0, "after")
    assert daemon.stop() == 0


def check_another_sender_in_the_group_ends_netlink_under_auto() -> None:
    is_noticed(speak, "another process sends messages of the driver's kind")


def check_another_member_of_the_group_ends_netlink_under_auto() -> None:
    """The daemon checks for other members at the first request, and then once a minute."""
    is_noticed(listen, "has another member")


def is_noticed(act: Callable[[], contextlib.AbstractContextManager[None]], text: str) -> None:
    daemon = guest.registered("--transport", TRANSPORT)
    with Host(watch=daemon.must_run) as host:
        assert host.negotiate() == S_OK
        with act():
            wait_for("a line", lambda: asks(host) and text in daemon.stderr)
            if TRANSPORT == "auto":
                wait_for("the device", lambda: holds_device(daemon))
            is_served_within(host, 5.0, "beside")
    assert daemon.stop() == 0


def asks(host: Host) -> bool:
    """Send a request; it may be the one that fails because the transport changes."""
    host.enumerate(AUTO, 9)
    return True


@contextlib.contextmanager
def speak() -> Iterator[None]:
    """Send a request to the members of the group, which takes CAP_NET_ADMIN."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, NETLINK_CONNECTOR) as sock:
        sock.bind((0, 0))
        header = struct.pack("=IHHIIIIIIHH", 7468, 3, 0, 0, 0, 9, 1, 0, 0, 7432, 0)
        sock.sendto(header + bytes([1, 0]) + bytes(7430), (0, 1 << 8))
        yield


@contextlib.contextmanager
def listen() -> Iterator[None]:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, NETLINK_CONNECTOR) as sock:
        sock.bind((0, 1 << 8))
        yield
