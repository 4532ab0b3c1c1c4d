# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Whether a process can run: stopped, traced, frozen, stuck in the kernel, or ended.

The status page of a process that cannot run looks like that of an idle daemon, so the state
comes from /proc/PID/status and from the freezer of its cgroup.
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Iterator
from typing import Final, NamedTuple

# The mount points of the freezer, by the field of /proc/PID/cgroup that has its path: the
# unified hierarchy (cgroup-v2.rst), and version 1 (freezer-subsystem.rst).  Then the file
# that says whether this cgroup itself is frozen, and what thaws it.
_FREEZERS: Final = {
    "": ("/sys/fs/cgroup", "cgroup.freeze", "echo 0 >{}/cgroup.freeze"),
    "freezer": (
        "/sys/fs/cgroup/freezer",
        "freezer.self_freezing",
        "echo THAWED >{}/freezer.state",
    ),
}

# Seconds that one uninterruptible wait must last to count as a stall.  Each read of a slow
# disk is such a wait, too, and a healthy process has many of them.
_LONG_WAIT: Final = 1.0
_LOOK: Final = 0.05


class Stall(NamedTuple):
    """Why a process does not run, as a predicate, and the command that lets it run.

    The command is empty if there is none.
    """

    text: str
    command: str = ""


def find_stall(pid: int) -> Stall | None:
    """Return why a process does not run; None if it may, or if this user may not see it."""
    status = _status(pid)
    state = status.get("State", "")[:1]
    if state == "T":
        return Stall("is stopped (SIGSTOP)", f"kill -CONT {pid}")
    if state == "t":
        tracer = status["TracerPid"]
        return Stall(f"is stopped by a debugger (pid {tracer})", f"kill {tracer}")
    if state == "Z":
        return Stall(f"has ended, but its parent (pid {status['PPid']}) has not reaped it")
    if frozen := _frozen_cgroup(pid):
        return Stall(*frozen)
    if state == "D" and _waits_on(pid, status):
        return Stall("waits in the kernel, for a disk or the driver, without end")
    return None


def parent(pid: int) -> int:
    """Return the parent of a process, or 0."""
    return int(_status(pid).get("PPid", 0))


def cgroups(pid: int) -> Iterator[tuple[str, str]]:
    """Yield the controllers and the path of each cgroup of a process (cgroups(7)).

    The unified hierarchy has no controllers.  A process that has ended has no cgroup.
    """
    for line in _lines(f"/proc/{pid}/cgroup"):
        _, controllers, path = line.split(":", 2)
        yield controllers, path


def _status(pid: int) -> dict[str, str]:
    """Return the fields of /proc/PID/status; none if it cannot be read."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            return {name: text.strip() for name, _, text in (x.partition(":") for x in file)}
    except OSError:
        return {}


def _waits_on(pid: int, before: dict[str, str]) -> bool:
    """Whether a process stays in the uninterruptible wait in which it was seen."""
    ends = time.monotonic() + _LONG_WAIT
    switches = "voluntary_ctxt_switches"
    while time.monotonic() < ends:
        time.sleep(_LOOK)
        now = _status(pid)
        if now.get("State", "")[:1] != "D" or now.get(switches) != before.get(switches):
            return False
    return True


def _frozen_cgroup(pid: int) -> tuple[str, str] | None:
    """Return which cgroup of a process is frozen, as a predicate, and what thaws it."""
    for controllers, path in cgroups(pid):
        if controllers not in _FREEZERS:
            continue
        mount, switch, thaw = _FREEZERS[controllers]
        place = path
        while place.strip("/"):
            if _lines(f"{mount}{place}/{switch}") == ["1"]:
                command = thaw.format(shlex.quote(mount + place))
                return f"is frozen with its cgroup {place}", command
            place = os.path.dirname(place)
    return None


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().splitlines()
    except OSError:
        return []  # no such hierarchy here, or no such process
