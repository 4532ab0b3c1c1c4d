# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""What is wrong with the service: other daemons, the unit, the daemon and its requests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from hv_kvp_daemon import __version__
from hv_kvp_daemon.cli import terminal
from hv_kvp_daemon.service.status import DaemonStatus, operation_name
from hv_kvp_daemon.transport.driver import DEVICE
from hv_kvp_daemon.wire.message import status_name
from hv_kvp_daemon.wire.uapi import CN_KVP_IDX

from .diagnosis import BAD, GOOD, INSTALL, UNKNOWN, Diagnosis, reinstall, restart, start
from .unit_files import OTHER_UNITS, UNIT

if TYPE_CHECKING:
    from .system_facts import Facts, Rival
    from .unit_facts import Unit

# Seconds within which a daemon has published its status page: it may wait for the locks of
# five pools before, 5 s for each.  Then seconds within which it has registered.
_STARTS_WITHIN: Final = 60
_REGISTERS_WITHIN: Final = 10


def rivals(facts: Facts) -> Iterator[Diagnosis]:
    """Yield the other processes that talk to the driver, or that there is none."""
    # The driver sends nothing over netlink while the device is open.
    on_device = facts.daemon is not None and facts.daemon.transport == "chardev"
    others = [each for each in facts.rivals if not (on_device and each.listens)]
    for rival in others:
        where = f", in {rival.unit}" if rival.unit else ""
        yield Diagnosis(
            BAD,
            f"{rival.name} (pid {rival.pid}) {rival.way}{where}; two daemons answer each"
            " other's requests",
            _end(facts, rival),
        )
    if not others and facts.root:
        yield Diagnosis(
            GOOD, f"no other process has {DEVICE} open or is in netlink group {CN_KVP_IDX}"
        )
    elif not facts.root:
        yield Diagnosis(UNKNOWN, "only root can see what else talks to the driver")


def _end(facts: Facts, rival: Rival) -> str:
    """Return the command after which a process is no rival of the daemon any more.

    Only the unit of a KVP daemon is replaced.  A service that only listens is left
    alone, and the daemon uses the device.
    """
    if rival.unit in {UNIT, *OTHER_UNITS}:
        unit = facts.units.units.get(rival.unit)
        return f"systemctl stop {rival.unit}" if unit and unit.is_replaced else INSTALL
    if not rival.unit:
        return f"kill {rival.pid}"
    return f"{INSTALL} --transport chardev" if rival.listens else ""


def units(facts: Facts) -> Iterator[Diagnosis]:
    """Yield the units that start another daemon, and the state of ours."""
    if not facts.units.systemd:
        return
    for unit in facts.units.units.values():
        starts = unit.file_state in {"enabled", "static", "indirect", "generated", "alias"}
        starts = (starts and not unit.is_replaced) or unit.active == "active"
        if unit.load == "loaded" and not unit.is_ours and starts:
            yield Diagnosis(
                BAD,
                f"{unit.name} starts another daemon: {unit.command or 'unknown'}",
                f"systemctl stop {unit.name}" if unit.is_replaced else INSTALL,
            )
    ours = facts.units.units.get(UNIT)
    if ours is None:
        yield Diagnosis(BAD, "the service is not installed", INSTALL)
    elif ours.load == "masked":
        yield Diagnosis(BAD, f"{UNIT} is masked", f"systemctl unmask {UNIT}")
    elif ours.is_ours:
        yield _our_unit(facts, ours)


def _our_unit(facts: Facts, unit: Unit) -> Diagnosis:
    said = f": {facts.units.last_line}" if facts.units.last_line else ""
    if facts.units.program_fault:
        return Diagnosis(
            BAD,
            f"{UNIT} cannot start: {facts.units.program_fault}",
            reinstall(facts) if unit.is_packaged else INSTALL,
        )
    if unit.active == "failed":
        return Diagnosis(
            BAD,
            f"{UNIT} has failed{said}; to see more: journalctl --unit {UNIT}",
            f"systemctl restart {UNIT}",
        )
    if unit.active == "activating" and unit.restarts:
        # Another daemon, which was started by hand, has the lock.
        has_rival = facts.daemon is not None and facts.daemon_unit != UNIT
        return Diagnosis(
            BAD,
            f"{UNIT} keeps failing, and was started again {unit.restarts} times{said}; to see"
            f" more: journalctl --unit {UNIT}",
            f"kill {facts.daemon_pid}" if has_rival else "",
        )
    if unit.file_state == "disabled":
        return Diagnosis(BAD, f"{UNIT} is not enabled", f"systemctl enable --now {UNIT}")
    state = GOOD if unit.active in {"active", "inactive"} else UNKNOWN
    whose = " by a package" if unit.is_packaged else ""
    return Diagnosis(state, f"{UNIT} is installed{whose} and {unit.active}")


def daemon(facts: Facts) -> Iterator[Diagnosis]:
    """Yield whether the daemon serves, its version if it is another, and what has failed."""
    yield _process(facts)
    if facts.daemon:
        yield from _other_version(facts, facts.daemon)
        for operation in facts.daemon.failing:
            yield _failing(facts.daemon, operation)


def _process(facts: Facts) -> Diagnosis:
    daemon, who = facts.daemon, f"the daemon (pid {facts.daemon_pid})"
    if facts.stall:
        return Diagnosis(
            BAD, f"{who} {facts.stall.text}", facts.stall.command or restart(facts)
        )
    if facts.page_fault:
        return Diagnosis(BAD, facts.page_fault, restart(facts))
    if facts.daemon_unknown:
        return Diagnosis(UNKNOWN, f"the daemon's state: {facts.daemon_unknown}")
    if daemon is None:
        return _without_page(facts)
    if daemon.overdue:
        text = f"{who} has been handling one request for {daemon.overdue} s"
        return Diagnosis(BAD, text, restart(facts))
    if not daemon.serving and facts.daemon_age < _REGISTERS_WITHIN:
        return Diagnosis(UNKNOWN, f"{who} is starting: {daemon.state}")
    if not daemon.serving:
        return Diagnosis(BAD, f"{who} does not serve: {daemon.state}", restart(facts))
    return Diagnosis(GOOD, f"{who} serves")


def _without_page(facts: Facts) -> Diagnosis:
    who = f"the daemon (pid {facts.daemon_pid})"
    if not facts.daemon_pid:
        return Diagnosis(BAD, "the daemon is not running", start(facts))
    if facts.daemon_age < _STARTS_WITHIN:
        return Diagnosis(UNKNOWN, f"{who} is starting")
    return Diagnosis(BAD, f"{who} runs, but has no status page", restart(facts))


def _other_version(facts: Facts, daemon: DaemonStatus) -> Iterator[Diagnosis]:
    if daemon.version != __version__:
        yield Diagnosis(
            BAD,
            f"the daemon (pid {daemon.pid}) is version {daemon.version}, this hv-kvp is"
            f" {__version__}",
            _one_version(facts),
        )


def _one_version(facts: Facts) -> str:
    """Return the command after which daemon and command are of one installation."""
    ours = facts.units.ours
    if not facts.units.is_of_another:
        return restart(facts)
    # A package's unit is not replaced; it has a command of its own.
    packaged = ours is not None and ours.is_packaged
    return "/usr/bin/hv-kvp doctor" if packaged else INSTALL


def _failing(daemon: DaemonStatus, operation: int) -> Diagnosis:
    last = daemon.last_failure
    why = ""
    if last and last.operation == operation:
        why = f" ({status_name(last.status)}): {last.text or 'no reason was given'}"
    when = terminal.ago(int(daemon.failed[operation]))
    return Diagnosis(BAD, f"the host's last {operation_name(operation)} failed {when}{why}")
