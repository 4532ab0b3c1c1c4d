"""``doctor``: why a host sees nothing of this guest, and the commands that fix it.

The diagnoses go from the host inwards.  Where the host, the bus or the driver is missing,
the rest would look broken for that reason alone, and is left out.  No key and no value is
shown.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

from hv_kvp_daemon import __version__
from hv_kvp_daemon.cli import arguments, jsontext, terminal
from hv_kvp_daemon.cli.command import EXIT_DONE, EXIT_UNUSABLE, Command
from hv_kvp_daemon.pools.place import OTHER_DIRECTORY
from hv_kvp_daemon.service.status import DaemonStatus, operation_name
from hv_kvp_daemon.transport.driver import DEVICE
from hv_kvp_daemon.wire.message import status_name
from hv_kvp_daemon.wire.uapi import CN_KVP_IDX

from . import bytecode
from .system_facts import Facts, Rival, gather
from .unit_files import OTHER_UNITS, UNIT, other_directory_link

if TYPE_CHECKING:
    from .unit_facts import Unit

#: The states of a diagnosis: as it must be, not so, or hidden from this user.
GOOD: Final = "ok"
BAD: Final = "problem"
UNKNOWN: Final = "unknown"

# Seconds within which a daemon has published its status page: it may wait for the locks of
# five pools before, 5 s for each.  Then seconds within which it has registered.
_STARTS_WITHIN: Final = 60
_REGISTERS_WITHIN: Final = 10

_INSTALL: Final = "hv-kvp install-service"

_COLORS: Final = {GOOD: terminal.GREEN, BAD: terminal.RED, UNKNOWN: terminal.YELLOW}


class Diagnosis(NamedTuple):
    """One sentence, with the command that fixes the problem if there is one."""

    state: str
    text: str
    command: str = ""


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    arguments.add_pool_dir(parser)
    arguments.add_run_dir(parser)
    arguments.add_json(parser)


def _doctor(options: argparse.Namespace) -> int:
    with terminal.Progress("asking systemd and the journal"):
        found = list(
            diagnose(gather(arguments.directory(options), arguments.status_page(options)))
        )
    if options.json:
        jsontext.show(
            [
                {"state": each.state, "finding": each.text, "command": each.command or None}
                for each in found
            ]
        )
    else:
        for each in found:
            mark = terminal.paint(f"{each.state:<8}", _COLORS[each.state])
            print(mark, terminal.safe(each.text))
            if each.command:
                print(f"         {terminal.safe(each.command)}")
    return EXIT_UNUSABLE if any(each.state == BAD for each in found) else EXIT_DONE


def diagnose(facts: Facts) -> Iterator[Diagnosis]:
    """Yield all diagnoses, or those up to the first that makes the others pointless."""
    for outside in _OUTSIDE:
        for diagnosis in outside(facts):
            yield diagnosis
            if diagnosis.state == BAD:
                return
    for inside in _INSIDE:
        yield from inside(facts)


def _guest(facts: Facts) -> Iterator[Diagnosis]:
    if not facts.hyperv:
        yield Diagnosis(
            BAD,
            "this is not a Hyper-V guest: there is no host",
            "to try the daemon without one: hv-kvp host intrinsic",
        )
    elif not facts.vmbus:
        yield Diagnosis(BAD, "the bus to the host (VMBus) is missing", "modprobe hv_vmbus")
    else:
        yield Diagnosis(GOOD, "this is a Hyper-V guest")


def _driver(facts: Facts) -> Iterator[Diagnosis]:
    if facts.driver_fault:
        yield Diagnosis(
            BAD,
            f"the driver has crashed, and only a reboot brings it back: {facts.driver_fault}",
            "systemctl reboot",
        )
    elif not facts.offered:
        yield Diagnosis(
            BAD,
            "the host does not offer Key-Value Pair Exchange to this guest",
            "on the host: Enable-VMIntegrationService -VMName NAME"
            ' -Name "Key-Value Pair Exchange"',
        )
    elif not facts.driver:
        yield Diagnosis(BAD, "the driver is not loaded", "modprobe hv_utils")
    elif not facts.device:
        yield Diagnosis(
            BAD,
            f"the driver is loaded, but {DEVICE} is missing",
            "udevadm trigger --settle --subsystem-match=misc",
        )
    else:
        yield Diagnosis(GOOD, "the driver is loaded, and the host offers the service")


def _netlink(facts: Facts) -> Iterator[Diagnosis]:
    """Yield what a daemon over netlink lacks; with ``auto`` the device serves instead."""
    transport = facts.daemon.transport if facts.daemon else None
    if transport in {"chardev", "loopback"}:
        return
    if not facts.connector:
        yield Diagnosis(
            BAD if transport == "netlink" else UNKNOWN,
            "no netlink connector in this kernel or network namespace; the char device needs"
            " none",
            f"{_INSTALL} --transport chardev",
        )
    if facts.other_namespace is None:
        yield Diagnosis(UNKNOWN, "only root can see the network namespace of the daemon")
    elif facts.other_namespace:
        who = "the daemon" if facts.daemon else "this command"
        yield Diagnosis(
            BAD,
            f"{who} runs in another network namespace than the driver",
            f"{_INSTALL} --transport chardev",
        )


def _rivals(facts: Facts) -> Iterator[Diagnosis]:
    # The driver sends nothing over netlink while the device is open.
    on_device = facts.daemon is not None and facts.daemon.transport == "chardev"
    rivals = [each for each in facts.rivals if not (on_device and each.listens)]
    for rival in rivals:
        unit = f" of {rival.unit}" if rival.unit else ""
        yield Diagnosis(
            BAD,
            f"{rival.name} (pid {rival.pid}{unit}) {rival.way}; two daemons answer each"
            " other's requests",
            _end(rival),
        )
    if not rivals and facts.root:
        yield Diagnosis(
            GOOD, f"no other process has {DEVICE} open or is in netlink group {CN_KVP_IDX}"
        )
    elif not facts.root:
        yield Diagnosis(UNKNOWN, "only root can see what else talks to the driver")


def _end(rival: Rival) -> str:
    """Return the command after which a process is no rival of the daemon any more.

    Only the unit of a KVP daemon is replaced.  A service that only listens is let alone,
    and the daemon uses the device.
    """
    if rival.unit in {UNIT, *OTHER_UNITS}:
        return _INSTALL
    if not rival.unit:
        return f"kill {rival.pid}"
    return f"{_INSTALL} --transport chardev" if rival.listens else ""


def _units(facts: Facts) -> Iterator[Diagnosis]:
    if not facts.units.systemd:
        return
    for unit in facts.units.units.values():
        starts = unit.file_state in {"enabled", "static", "indirect", "generated", "alias"}
        if unit.load == "loaded" and not unit.is_ours and (starts or unit.active == "active"):
            yield Diagnosis(
                BAD,
                f"{unit.name} starts another daemon: {unit.command or 'unknown'}",
                _INSTALL,
            )
    ours = facts.units.units.get(UNIT)
    if ours is None:
        yield Diagnosis(BAD, "the service is not installed", _INSTALL)
    elif ours.load == "masked":
        yield Diagnosis(BAD, f"{UNIT} is masked", f"systemctl unmask {UNIT}")
    elif ours.is_ours:
        yield _our_unit(facts, ours)


def _our_unit(facts: Facts, unit: Unit) -> Diagnosis:
    said = f": {facts.units.last_line}" if facts.units.last_line else ""
    if facts.units.program_fault:
        return Diagnosis(BAD, f"{UNIT} cannot start: {facts.units.program_fault}", _INSTALL)
    if unit.active == "failed":
        return Diagnosis(
            BAD,
            f"{UNIT} has failed{said}; to see more: journalctl --unit {UNIT}",
            f"systemctl restart {UNIT}",
        )
    if unit.active == "activating" and unit.restarts:
        # Another daemon, which was started by hand, has the lock.
        has_rival = facts.daemon_pid and facts.daemon_unit != UNIT
        return Diagnosis(
            BAD,
            f"{UNIT} ends and is started again, {unit.restarts} times until now{said}; to see"
            f" more: journalctl --unit {UNIT}",
            f"kill {facts.daemon_pid}" if has_rival else "",
        )
    if unit.file_state == "disabled":
        return Diagnosis(BAD, f"{UNIT} is not enabled", f"systemctl enable --now {UNIT}")
    state = GOOD if unit.active in {"active", "inactive"} else UNKNOWN
    return Diagnosis(state, f"{UNIT} is installed and {unit.active}")


def _daemon(facts: Facts) -> Iterator[Diagnosis]:
    yield _process(facts)
    if facts.daemon:
        yield from _other_version(facts, facts.daemon)
        for operation in facts.daemon.failing:
            yield _failing(facts.daemon, operation)


def _process(facts: Facts) -> Diagnosis:
    daemon, who = facts.daemon, f"the daemon (pid {facts.daemon_pid})"
    if facts.stall:
        return Diagnosis(
            BAD, f"{who} {facts.stall.text}", facts.stall.command or _restart(facts)
        )
    if facts.page_fault:
        return Diagnosis(BAD, facts.page_fault, _restart(facts))
    if facts.daemon_unknown:
        return Diagnosis(UNKNOWN, f"the daemon's state: {facts.daemon_unknown}")
    if daemon is None:
        return _without_page(facts)
    if daemon.overdue:
        text = f"{who} has been handling one request for {daemon.overdue} s"
        return Diagnosis(BAD, text, _restart(facts))
    if not daemon.serving and facts.daemon_age < _REGISTERS_WITHIN:
        return Diagnosis(UNKNOWN, f"{who} is starting: {daemon.state}")
    if not daemon.serving:
        return Diagnosis(BAD, f"{who} does not serve: {daemon.state}", _restart(facts))
    return Diagnosis(GOOD, f"{who} serves")


def _without_page(facts: Facts) -> Diagnosis:
    who = f"the daemon (pid {facts.daemon_pid})"
    if not facts.daemon_pid:
        return Diagnosis(BAD, "the daemon is not running", _start(facts))
    if facts.daemon_age < _STARTS_WITHIN:
        return Diagnosis(UNKNOWN, f"{who} is starting")
    return Diagnosis(BAD, f"{who} runs, but has no status page", _restart(facts))


def _start(facts: Facts) -> str:
    """Return the command that starts the daemon; nothing if its unit has to be put right."""
    if not facts.units.systemd:
        return "hv-kvp-daemon"
    ours = facts.units.ours
    return f"systemctl start {UNIT}" if ours and ours.active == "inactive" else ""


def _restart(facts: Facts) -> str:
    return (
        f"systemctl restart {UNIT}"
        if facts.daemon_unit == UNIT
        else (f"kill {facts.daemon_pid}" if facts.daemon_pid else _start(facts))
    )


def _other_version(facts: Facts, daemon: DaemonStatus) -> Iterator[Diagnosis]:
    if daemon.version != __version__:
        yield Diagnosis(
            BAD,
            f"the daemon (pid {daemon.pid}) is version {daemon.version}, this hv-kvp is"
            f" {__version__}",
            _restart(facts),
        )


def _failing(daemon: DaemonStatus, operation: int) -> Diagnosis:
    last = daemon.last_failure
    why = ""
    if last and last.operation == operation:
        why = f" ({status_name(last.status)}): {last.text or 'no reason was given'}"
    when = terminal.ago(int(daemon.failed[operation]))
    return Diagnosis(BAD, f"the host's last {operation_name(operation)} failed {when}{why}")


def _pools(facts: Facts) -> Iterator[Diagnosis]:
    pools = facts.pools
    if pools.is_replaced:
        yield Diagnosis(
            BAD,
            f"{pools.path} was removed or replaced while the daemon ran, which cannot write it"
            " now",
            _restart(facts),
        )
    if pools.read_only_mount:
        # The mounts of the unit's sandbox are copies, which stay read-only.
        again = f" && {_restart(facts)}" if facts.daemon_unit == UNIT else ""
        yield Diagnosis(
            BAD,
            f"{pools.path} is on a read-only file system",
            f"mount -o remount,rw {shlex.quote(pools.read_only_mount)}{again}",
        )
    if pools.space_left is not None:
        text = f"the disk with {pools.path} is full: {pools.space_left} bytes are left"
        yield Diagnosis(BAD, text)
    for path, finding in pools.not_pools.items():
        name = shlex.quote(path)
        yield Diagnosis(BAD, finding, f"mv {name} {name}.old")
    for holder in pools.lock_holders:
        who = f"{holder.name} (pid {holder.pid})" if holder.pid else "a process"
        yield Diagnosis(
            BAD,
            f"{who} holds a lock ({holder.lock}) on {holder.path}, for which each change waits"
            " or fails",
            f"kill {holder.pid}" if holder.pid else "",
        )
    if pools.others_dir is None or pools.others_dir == pools.path:
        if not (pools.is_replaced or pools.read_only_mount):
            yield Diagnosis(GOOD, f"the pools are in {pools.path}")
    else:
        records = ", which has records, too" if pools.others_have_records else ""
        yield Diagnosis(
            BAD,
            f"the pools are in {pools.path}, but cloud-init and others use"
            f" {OTHER_DIRECTORY}{records}: the host and they see nothing of each other",
            _unite(pools.path, records=pools.others_have_records),
        )


def _unite(pool_dir: str, *, records: bool) -> str:
    """Return the command that makes the others' directory a link to the served one.

    It takes over the records of the guest's pool, which the others write.  Those of the
    host's pools are of an earlier daemon.
    """
    served = shlex.quote(pool_dir)
    take_over = (
        f"hv-kvp export guest --pool-dir {OTHER_DIRECTORY}"
        f" | hv-kvp import --merge --yes --pool-dir {served} && "
        if records
        else ""
    )
    return (
        f"{take_over}mv {OTHER_DIRECTORY} {OTHER_DIRECTORY}.old"
        f" && ln -s {shlex.quote(other_directory_link(pool_dir))} {OTHER_DIRECTORY}"
    )


def _denials(facts: Facts) -> Iterator[Diagnosis]:
    for line in facts.units.denials:
        if "apparmor=" in line:
            profile = line.partition('profile="')[2].partition('"')[0]
            command = f"aa-complain {shlex.quote(profile)}"
        else:
            command = (
                "ausearch -m avc -c hv_kvp_daemon | audit2allow -M hv_kvp_local"
                " && semodule -i hv_kvp_local.pp"
            )
        yield Diagnosis(BAD, f"denied by the security module: {line}", command)


def _bytecode(facts: Facts) -> Iterator[Diagnosis]:
    if facts.missing_bytecode:
        yield Diagnosis(
            BAD,
            f"{facts.missing_bytecode} modules without bytecode: {bytecode.WHY}",
            bytecode.COMMAND,
        )


_OUTSIDE: Final = (_guest, _driver)
_INSIDE: Final = (_rivals, _units, _daemon, _netlink, _pools, _denials, _bytecode)

DOCTOR = Command(
    "doctor", "find out why a host sees nothing of this guest", _add_arguments, _doctor
)
