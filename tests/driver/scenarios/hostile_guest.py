# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""An ordinary user of the guest: each way that it could try, and floods to the driver.

SECURITY.md says what is left to such a user.
"""

from __future__ import annotations

import json
import os

from tests.driver import guest
from tests.driver.guest import Process, wait_for
from tests.driver.lab.hvhost import GUEST, S_OK, Host
from tests.driver.ordinary_user import OPEN
from tests.driver.variant import fresh

VARIANTS = {
    "auto": {"TRANSPORT": "auto"},
    "netlink": {"TRANSPORT": "netlink"},
    "chardev": {"TRANSPORT": "chardev"},
}
SECONDS = 400
CHECK_SECONDS = 200

USER = "/payload/tests/driver/ordinary_user.py"
RUN_DIR = "/run/hv-kvp-daemon"
FLOOD_SECONDS = 10
IS_DEVICE = os.environ["TRANSPORT"] == "chardev"


def check_an_ordinary_user_has_the_ways_that_are_documented() -> None:
    daemon, host = fresh()
    for number in range(20):
        assert host.set(GUEST, f"key {number}", "v" * 1000) == S_OK
    before = guest.contents()
    user = Process(["python3", USER, guest.POOL_DIR, RUN_DIR, f"{daemon.pid}", port(daemon)])
    assert user.wait(60.0) == 0, user.stderr
    outcomes: dict[str, str] = json.loads(user.stdout)
    major, minor = map(int, os.uname().release.split(".")[:2])
    # Linux 6.6 takes the number of a group for a mask when it asks for CAP_NET_ADMIN.
    expected = OPEN if (major, minor) >= (6, 6) else OPEN - {"join the group"}
    assert {name for name, error in outcomes.items() if not error} == expected, outcomes
    assert guest.contents() == before
    wait_for("service", lambda: host.set(GUEST, "after", "value") == S_OK, 40.0)
    host.close()
    assert daemon.stop() == 0


def check_a_flood_to_the_driver_ends_nothing_and_changes_nothing() -> None:
    """Over netlink the driver takes any user's message for the daemon's reply."""
    daemon, host = fresh()
    assert host.set(GUEST, "key", "value") == S_OK
    before = guest.contents()
    flood = Process(["python3", USER, "flood", f"{FLOOD_SECONDS}"])
    answers = 0
    wrong = 0
    while flood.status is None:
        answers += 1
        wrong += host.get(GUEST, "key") != (S_OK, "value")
    assert flood.wait() == 0, flood.stderr
    assert answers
    assert not (wrong and IS_DEVICE), f"{wrong} of {answers}"
    print(
        f"{answers} answers beside {flood.stdout.strip()} messages, {wrong} wrong", flush=True
    )
    wait_for("service", lambda: served(host), 40.0)
    assert guest.contents()[GUEST][:512] == before[GUEST][:512]
    assert daemon.status is None
    host.close()
    assert daemon.stop() == 0


def served(host: Host) -> bool:
    """Whether ten answers in a row are the daemon's."""
    return all(
        host.set(GUEST, "another", str(number)) == S_OK
        and host.get(GUEST, "another") == (S_OK, str(number))
        and host.get(GUEST, "key") == (S_OK, "value")
        for number in range(10)
    )


def port(daemon: Process) -> str:
    """The port id of the daemon's socket in the driver's group, 0 without one."""
    sockets = {path for path in guest.open_files(daemon.pid) if path.startswith("socket:")}
    for line in guest.read_text("/proc/net/netlink").splitlines()[1:]:
        _, protocol, found, groups, *_, inode = line.split()
        if f"socket:[{inode}]" in sockets and protocol == "11" and int(groups, 16):
            return found
    return "0"
