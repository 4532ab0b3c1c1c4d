"""A driver that appears is left alone until it is ready, and then served.

The driver can be reached from the moment that it registers its device and its
connector callback, but its own pointer to them is stored only afterwards.  Opening the
device or sending a registration in between makes the kernel follow a NULL pointer: the
process is killed with its lock held, and KVP is dead until the machine reboots.  The
runner fails the scenario for anything of that kind in the kernel's log.
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

# As long as a virtual CPU may be taken away; the driver sleeps twice.
STRETCHED_MS = 150


def unload() -> None:
    """Take the driver away; a daemon that has its device open is made to close it first."""
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


def check_auto_that_goes_over_to_the_device_waits_for_it() -> None:
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
