"""``doctor``: why a host sees nothing of this guest, and the commands that fix it.

The diagnoses go from the host inwards.  Where the host, the bus or the driver is missing,
the rest would look broken for that reason alone, and is left out.  No key and no value is
shown.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator
from typing import Final, NamedTuple

from hv_kvp_daemon.cli import arguments, jsontext, terminal
from hv_kvp_daemon.cli.command import EXIT_DONE, EXIT_UNUSABLE, Command
from hv_kvp_daemon.pools.place import OTHER_DIRECTORY
from hv_kvp_daemon.transport.driver import DEVICE
from hv_kvp_daemon.wire.uapi import CN_KVP_IDX

from . import bytecode
from .system_facts import Facts, gather
from .unit_files import OTHER_UNITS, UNIT, other_directory_link

#: The states of a diagnosis: as it must be, not so, or hidden from this user.
GOOD: Final = "ok"
BAD: Final = "problem"
UNKNOWN: Final = "unknown"

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
    if transport == "chardev":
        return
    if not facts.connector:
        yield Diagnosis(
            BAD if transport == "netlink" else UNKNOWN,
            "no netlink connector in this kernel or network namespace; the char device needs"
            " none",
            "hv-kvp install-service --transport chardev",
        )
    if facts.other_namespace is None:
        yield Diagnosis(UNKNOWN, "only root can see the network namespace of the daemon")
    elif facts.other_namespace:
        who = "the daemon" if facts.daemon else "this command"
        yield Diagnosis(
            BAD,
            f"{who} runs in another network namespace than the driver",
            "hv-kvp install-service --transport chardev",
        )


def _rivals(facts: Facts) -> Iterator[Diagnosis]:
    for rival in facts.rivals:
        yield Diagnosis(
            BAD,
            f"{rival.name} (pid {rival.pid}) {rival.way}; two daemons answer each other's"
            " requests",
            _replace(rival.unit) if rival.unit else f"kill {rival.pid}",
        )
    if not facts.rivals and facts.root:
        yield Diagnosis(
            GOOD, f"no other process has {DEVICE} open or is in netlink group {CN_KVP_IDX}"
        )
    elif not facts.root:
        yield Diagnosis(UNKNOWN, "only root can see what else talks to the driver")


def _replace(unit: str) -> str:
    """Return the command that keeps another daemon's unit from starting it.

    Not a mask for a name that others call this service by: ``systemctl enable`` of a masked
    unit fails.
    """
    if unit in {UNIT, *OTHER_UNITS}:
        return "hv-kvp install-service"
    return f"systemctl mask --now {unit}"


def _units(facts: Facts) -> Iterator[Diagnosis]:
    if not facts.systemd:
        return
    for unit in facts.units.values():
        starts = unit.file_state in {"enabled", "static", "indirect", "generated", "alias"}
        if unit.load == "loaded" and not unit.is_ours and (starts or unit.active == "active"):
            yield Diagnosis(
                BAD,
                f"{unit.name} starts another daemon: {unit.command or 'unknown'}",
                _replace(unit.name),
            )
    ours = facts.units.get(UNIT)
    if ours is None:
        yield Diagnosis(BAD, "the service is not installed", "hv-kvp install-service")
    elif ours.load == "masked":
        yield Diagnosis(BAD, f"{UNIT} is masked", f"systemctl unmask {UNIT}")
    elif ours.is_ours and ours.active == "failed":
        yield Diagnosis(
            BAD,
            f"{UNIT} has failed; to see why: journalctl --unit {UNIT}",
            f"systemctl restart {UNIT}",
        )
    elif ours.is_ours and ours.file_state == "disabled":
        yield Diagnosis(BAD, f"{UNIT} is not enabled", f"systemctl enable --now {UNIT}")
    elif ours.is_ours:
        yield Diagnosis(GOOD, f"{UNIT} is installed and {ours.active}")


def _daemon(facts: Facts) -> Iterator[Diagnosis]:
    if facts.daemon_unknown:
        yield Diagnosis(UNKNOWN, f"the daemon's state: {facts.daemon_unknown}")
    elif facts.daemon is None:
        start = f"systemctl start {UNIT}" if facts.systemd else "hv-kvp-daemon"
        yield Diagnosis(BAD, "the daemon is not running", start)
    elif not facts.daemon.serving:
        yield Diagnosis(
            BAD,
            f"the daemon runs (pid {facts.daemon.pid}), but does not serve:"
            f" {facts.daemon.state}",
            f"systemctl restart {UNIT}" if facts.systemd else f"kill {facts.daemon.pid}",
        )
    else:
        yield Diagnosis(GOOD, f"the daemon serves (pid {facts.daemon.pid})")


def _pools(facts: Facts) -> Iterator[Diagnosis]:
    if facts.pool_dir_replaced and facts.daemon:
        yield Diagnosis(
            BAD,
            f"{facts.pool_dir} was replaced while the daemon ran, which cannot write it now",
            f"systemctl restart {UNIT}" if facts.systemd else f"kill {facts.daemon.pid}",
        )
    if facts.others_dir is None or facts.others_dir == facts.pool_dir:
        yield Diagnosis(GOOD, f"the pools are in {facts.pool_dir}")
    else:
        records = ", which has records, too" if facts.others_have_records else ""
        yield Diagnosis(
            BAD,
            f"the pools are in {facts.pool_dir}, but cloud-init and others use"
            f" {OTHER_DIRECTORY}{records}: the host and they see nothing of each other",
            _unite(facts.pool_dir, records=facts.others_have_records),
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
    for line in facts.denials:
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
