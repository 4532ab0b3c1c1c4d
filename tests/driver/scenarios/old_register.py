# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""An unprivileged process floods the driver with registrations of the old protocol.

If one arrives between the reset of the driver and the daemon's registration, the driver
serves in its old mode: it ignores the status of replies, and answers each SET with
HV_S_CONT.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys

from tests.driver import guest
from tests.driver.guest import wait_for
from tests.driver.lab.hvhost import AUTO, EXTERNAL, S_OK, Host

VARIANTS = {"auto": {"TRANSPORT": "auto"}, "netlink": {"TRANSPORT": "netlink"}}
SECONDS = 300
CHECK_SECONDS = 200

RESTARTS = 8
# Until a registration came second, which depends on how the machine schedules.
MOST_RESTARTS = 40

FLOODER = """
import os, socket, struct
os.setuid(65534)
flood = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 11)
flood.bind((0, 0))
header = struct.pack("=IHHIIIIIIHH", 7468, 3, 0, 0, 0, 9, 1, 0, 0, 7432, 0)
print("floods", flush=True)
while True:
    flood.sendto(header + bytes([4]) + bytes(7431), (0, 0))
"""


def check_a_flood_of_old_registrations_leaves_the_driver_in_its_new_mode() -> None:
    """T22: in 7 of 12 restarts the driver stayed in the old mode."""
    number = preempted = 0
    while number < RESTARTS or (not preempted and number < MOST_RESTARTS):
        number += 1
        flooder = subprocess.Popen(
            [sys.executable, "-c", FLOODER], stdout=subprocess.PIPE, text=True
        )
        assert flooder.stdout is not None
        assert flooder.stdout.readline() == "floods\n"
        try:
            daemon = guest.daemon(
                "-n", "--pool-dir", guest.POOL_DIR, "--transport", os.environ["TRANSPORT"]
            )
            wait_for("registration", functools.partial(_registered, daemon), 60.0)
        finally:
            flooder.kill()
            flooder.wait()
            flooder.stdout.close()
        with Host(watch=daemon.must_run) as host:
            assert host.negotiate() == S_OK
            # The flooder may still have answered the first.
            wait_for("service", functools.partial(_version_is_known, host))
            assert host.set(EXTERNAL, "key", f"value {number}") == S_OK
            assert host.get(EXTERNAL, "key") == (S_OK, f"value {number}")
        preempted += "in the old protocol" in daemon.stderr
        assert daemon.stop() == 0
    print(f"{preempted} of {number} registrations came second")
    assert preempted, "the flood was never faster: nothing was tested"


def _registered(daemon: guest.Process) -> bool:
    daemon.must_run()
    return "driver version 3.1" in daemon.stderr


def _version_is_known(host: Host) -> bool:
    return host.enumerate(AUTO, 1)[::2] == (S_OK, "3.1")
