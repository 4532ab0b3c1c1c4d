# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The daemon does not use a driver that has just appeared until it is ready.

The driver can be reached as soon as it has registered its device and its connector
callback, but it stores its own pointer to them only afterwards.  If a process opens the
device or sends a registration in between, the kernel dereferences a NULL pointer: the
process is killed while it holds a lock, and KVP does not work until a reboot.  The runner
fails the scenario if the kernel log has such a fault.
"""

from __future__ import annotations

import os

from tests.driver import guest
from tests.driver.guest import Process, wait_for
from tests.driver.lab.hvhost import AUTO, EXTERNAL, S_OK, Host

APPEND = "hvlab.manual"
VARIANTS = {"netlink": {"TRANSPORT": "netlink"}, "chardev": {"TRANSPORT": "chardev"}}
SECONDS = 600
CHECK_SECONDS = 500

#: `make soak` sets 40.
RELOADS = int(os.environ.get("RELOADS", "6"))
TRANSPORT = os.environ.get("TRANSPORT", "auto")

# As long as a hypervisor may not run a virtual CPU; the driver sleeps twice.
STRETCHED_MS = 150


def unload() -> None:
    """Unload the driver; a daemon that has its device open must close it first."""
    guest.unbind()
    guest.unload_driver()


def is_served(daemon: Process, key: str) -> None:
    with Host(watch=daemon.must_run) as host:
        assert host.negotiate() == S_OK
        wait_for("service", lambda: host.set(EXTERNAL, key, "value") == S_OK)
        assert host.enumerate(AUTO, 9)[:2] == (S_OK, "ProcessorArchitecture")
    assert not guest.kernel_faults()


def start(transport: str = TRANSPORT) -> Process:
    return guest.daemon("-n", "--transport", transport, "--pool-dir", guest.POOL_DIR)


def check_a_driver_that_is_loaded_again_and_again_is_served_each_time() -> None:
    daemon = start()
    for number in range(RELOADS):
        guest.load_driver(slow_ms=STRETCHED_MS * (number % 2))
        is_served(daemon, f"key {number}")
        unload()
    assert daemon.stop() == 0


def check_a_driver_that_is_bound_again_is_served() -> None:
    guest.load_driver(slow_ms=STRETCHED_MS)
    daemon = guest.registered("--transport", TRANSPORT)
    for number in range(3):
        guest.unbind()
        guest.control("bind")
        is_served(daemon, f"bound {number}")
    assert daemon.stop() == 0
    unload()


def check_a_daemon_that_starts_while_the_driver_is_loaded_waits_for_it() -> None:
    loading = Process(["modprobe", "hvlab", f"slow_ms={STRETCHED_MS}"])
    wait_for("the device", lambda: os.path.exists(guest.DEVICE))
    daemon = start()
    assert loading.wait() == 0
    is_served(daemon, "early")
    assert daemon.stop() == 0
    unload()


def check_auto_waits_for_the_device_when_it_changes_over() -> None:
    """In another network namespace, so that netlink cannot serve."""
    daemon = Process(
        [
            *("unshare", "--net", "hv-kvp-daemon", "-n", "--transport", "auto"),
            *("--pool-dir", guest.POOL_DIR),
        ]
    )
    guest.load_driver(slow_ms=STRETCHED_MS)
    is_served(daemon, "auto")
    assert daemon.stop() == 0
