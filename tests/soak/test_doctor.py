# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Each situation that doctor knows of, on a booted machine: its command ends it.

Two need what is not there: a driver (`tests/cli/service/test_doctor.py` has their commands),
and a host's consent.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.support.process import wait_for

from .booted import HOME, UNIT, Booted

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = f"{HOME}/lib/hv_kvp_daemon"
POOLS = "/var/opt/hyperv"
OTHERS = "/var/lib/hyperv"
INSTALLED = f"/etc/systemd/system/{UNIT}"
MAIN_PID = f"$(systemctl show --value -p MainPID {UNIT})"
HOLD = (
    "import sys, fcntl, time; file = open(sys.argv[1]);"
    " fcntl.flock(file, fcntl.LOCK_EX); time.sleep(999)"
)
#: Joins group 9, as any program may.
LISTEN = (
    "import socket, time; s = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 11);"
    " s.bind((0, 256)); time.sleep(999)"
)
FAILING = f"until hv-kvp status | grep -q 'last SET failed'; do sleep 0.1; done; [ -e {POOLS} ]"


class Situation(NamedTuple):
    """How it comes about, what doctor says of it, and how its command begins.

    ``command`` is None if there is none; then ``ends`` is what an administrator does.
    """

    begin: str
    said: str
    command: str | None
    ends: str = ""


SITUATIONS = {
    "stopped": Situation(f"kill -STOP {MAIN_PID}", "is stopped (SIGSTOP)", "kill -CONT"),
    "not running": Situation(f"systemctl stop {UNIT}", "is not running", "systemctl start"),
    "masked": Situation(
        f"rm {INSTALLED}; systemctl mask --now {UNIT}", "is masked", "systemctl unmask"
    ),
    "not installed": Situation(
        f"systemctl stop {UNIT}; rm {INSTALLED}; systemctl daemon-reload",
        "the service is not installed",
        "hv-kvp install-service",
    ),
    "failed": Situation(
        f"chmod -x {HOME}/bin/hv_kvp_daemon; systemctl restart {UNIT} || :;"
        f" until systemctl is-failed -q {UNIT}; do sleep 0.1; done;"
        f" chmod +x {HOME}/bin/hv_kvp_daemon",
        f"{UNIT} has failed",
        "systemctl restart",
    ),
    "a broken environment": Situation(
        f"mkdir -p /opt/hv-gone; sed 's,^#!.*,#!/opt/hv-gone/python3,' {HOME}/bin/hv_kvp_daemon"
        " >/opt/hv-gone/hv_kvp_daemon; chmod +x /opt/hv-gone/hv_kvp_daemon;"
        f" sed -i 's,^ExecStart=[^ ]*,ExecStart=/opt/hv-gone/hv_kvp_daemon,' {INSTALLED};"
        f" mv {INSTALLED}.d /tmp/drop-ins; systemctl daemon-reload",
        "/opt/hv-gone/python3, the interpreter of /opt/hv-gone/hv_kvp_daemon, is missing",
        "hv-kvp install-service",
        f"mv /tmp/drop-ins {INSTALLED}.d; systemctl daemon-reload; systemctl restart {UNIT}",
    ),
    "a restart loop": Situation(
        f"systemctl stop {UNIT}; rm -r {POOLS}; touch {POOLS};"
        f" systemctl start {UNIT} || :;"
        f" until [ $(systemctl show --value -p NRestarts {UNIT}) -ge 2 ]; do sleep 0.1; done",
        f" times: pool directory ({POOLS}): Not a directory",
        None,
        f"rm {POOLS}",
    ),
    "another daemon's unit": Situation(
        "printf '[Service]\\nExecStart=/bin/sleep 999\\n' >/etc/hypervkvpd;"
        " rm /usr/local/lib/systemd/system/hypervkvpd.service;"
        " mv /etc/hypervkvpd /usr/lib/systemd/system/hypervkvpd.service;"
        " systemctl daemon-reload; systemctl start hypervkvpd",
        "hypervkvpd.service starts another daemon: /bin/sleep",
        "hv-kvp install-service",
    ),
    "a rival": Situation(
        "systemd-run -q --scope --slice=user sleep 999 </dev/vmbus/hv_kvp >/dev/null 2>&1 &"
        " until pidof sleep; do sleep 0.1; done",
        "holds /dev/vmbus/hv_kvp; two daemons",
        "kill ",
    ),
    "a rival by a user's name": Situation(
        f"systemd-run -q --slice=user --unit=ssh python3 -c '{LISTEN}'",
        "listens to netlink group 9; two daemons",
        "kill ",
    ),
    "a service that listens": Situation(
        f"systemd-run -q --unit=walinuxagent python3 -c '{LISTEN}'",
        "listens to netlink group 9, in walinuxagent.service",
        "hv-kvp install-service --transport chardev",
        "systemctl stop walinuxagent",
    ),
    # With the next request that changes a pool, the daemon would end by itself.
    "removed": Situation(
        f"systemctl kill -s STOP host; rm -r {POOLS}",
        "was removed or replaced",
        "systemctl restart",
        "systemctl kill -s CONT host",
    ),
    "replaced": Situation(
        f"systemctl kill -s STOP host; mv {POOLS} {POOLS}.1; mkdir {POOLS}",
        "was removed or replaced",
        "systemctl restart",
        "systemctl kill -s CONT host",
    ),
    "read-only": Situation(
        f"mount --bind {POOLS} {POOLS}; mount -o remount,bind,ro {POOLS};"
        f" systemctl restart {UNIT}; {FAILING}",
        "is on a read-only file system",
        "mount -o remount,rw",
    ),
    "full": Situation(
        f"mount -t tmpfs -o size=4m none {POOLS}; cat /dev/zero >{POOLS}/full || :;"
        f" systemctl restart {UNIT}",
        "is full: 0 bytes are left",
        None,
        f"rm {POOLS}/full",
    ),
    "no pool": Situation(
        f"rm {POOLS}/.kvp_pool_0; mkdir {POOLS}/.kvp_pool_0; {FAILING}",
        "is a directory, not a regular file",
        "mv ",
    ),
    "locked": Situation(
        f"systemd-run -q --uid=nobody --unit=holder python3 -c '{HOLD}' {POOLS}/.kvp_pool_0",
        "holds a lock (FLOCK WRITE)",
        "kill ",
    ),
    "two directories": Situation(
        f"hv-kvp set ours 1; rm {OTHERS}; mkdir {OTHERS};"
        f" hv-kvp set theirs 2 --pool-dir {OTHERS}",
        f"cloud-init and others use {OTHERS}, which has records, too",
        "hv-kvp export guest",
    ),
    "another version": Situation(
        f"sed -i 's/^__version__ = .*/__version__ = \"9.9\"/' {PACKAGE}/__init__.py",
        "this hv-kvp is 9.9",
        "systemctl restart",
    ),
    "a page of another layout": Situation(
        "printf '\\377' | dd of=/run/hv-kvp-daemon/status bs=1 seek=8 conv=notrunc 2>&1",
        "has layout version 255",
        "systemctl restart",
    ),
    "no bytecode": Situation(
        f"rm -r {PACKAGE}/wire/__pycache__",
        "modules without bytecode",
        f"{HOME}/bin/python3 -I -m compileall",
    ),
}


@pytest.fixture(scope="module")
def machine() -> Iterator[Booted]:
    with Booted() as machine:
        yield machine


@pytest.mark.parametrize("name", SITUATIONS)
def test_the_command_ends_the_situation(machine: Booted, name: str) -> None:
    """D1, D2, D3, D4, D5, D6, D7."""
    machine.wait_until_healthy()
    situation = SITUATIONS[name]
    machine.run(situation.begin)

    def found() -> list[dict[str, Any]]:
        return [
            each
            for each in machine.problems()
            if situation.said in each["finding"]
            and (each["command"] is None) == (situation.command is None)
        ]

    # It may come late.
    ends = time.monotonic() + 60.0
    while not (problems := found()):
        assert time.monotonic() < ends, machine.problems()
    command = problems[0]["command"]
    if situation.command is not None:
        assert command.startswith(situation.command)
        machine.run(_answered(command))
    if situation.ends:
        machine.run(situation.ends)
    wait_for("its end", lambda: not found())
    _follow(machine)
    machine.wait_until_healthy()


def test_no_key_is_lost_where_two_directories_become_one(machine: Booted) -> None:
    """D5: after the command that was advised, all keys were gone from view."""
    keys = machine.run("hv-kvp list guest --json")
    assert '"ours"' in keys
    assert '"theirs"' in keys


def test_a_program_that_cannot_be_executed_is_not_started_again(machine: Booted) -> None:
    """D6: 112 lines of the journal a minute."""
    program = f"{HOME}/bin/hv_kvp_daemon"
    machine.run(f"chmod -x {program}; systemctl restart {UNIT} || :")
    wait_for(
        "its failure", lambda: machine.run(f"systemctl is-failed {UNIT} || :") == "failed\n"
    )
    assert machine.run(f"systemctl show --value -p NRestarts {UNIT}") == "0\n"
    machine.run(f"chmod +x {program}; systemctl restart {UNIT}")
    machine.wait_until_healthy()


def _answered(command: str) -> str:
    """Answer the question that a command asks on a terminal."""
    return f"{command} --yes" if command.startswith("hv-kvp install-service") else command


def _follow(machine: Booted) -> None:
    """Run the commands of what the situation has left, such as a stopped daemon."""
    for problem in machine.problems():
        if problem["command"]:
            machine.run(_answered(problem["command"]))
