# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""``doctor``: why a host sees nothing of this guest, and the commands that fix it.

The diagnoses go from the host inwards.  Where the host, the bus or the driver is missing,
the rest would look broken for that reason alone, and is left out.  No key and no value is
shown, so that ``--report`` can be attached to an issue.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterable, Iterator
from typing import Final

from hv_kvp_daemon.cli import arguments, jsontext, terminal
from hv_kvp_daemon.cli.command import EXIT_DONE, EXIT_UNUSABLE, Command
from hv_kvp_daemon.service.options import UsageError
from hv_kvp_daemon.transport.driver import DEVICE

from . import bytecode, report
from .address_diagnosis import addresses
from .diagnosis import BAD, GOOD, INSTALL, UNKNOWN, WARNING, Diagnosis
from .pool_diagnosis import pools
from .service_diagnosis import daemon, rivals, units
from .system_facts import Facts, gather

_COLORS: Final = {
    GOOD: terminal.GREEN,
    BAD: terminal.RED,
    WARNING: terminal.YELLOW,
    UNKNOWN: terminal.YELLOW,
}


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    arguments.add_pool_dir(parser)
    arguments.add_run_dir(parser)
    arguments.add_json(parser)
    parser.add_argument(
        "--report",
        action="store_true",
        help="write a text to attach to an issue: versions, findings, state, log; no pairs",
    )


def _doctor(options: argparse.Namespace) -> int:
    if options.json and options.report:
        raise UsageError("--json and --report exclude each other")
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
    elif options.report:
        report.write(options, lines(found))
    else:
        for line in lines(found, color=True):
            print(line)
    return EXIT_UNUSABLE if any(each.state == BAD for each in found) else EXIT_DONE


def lines(found: Iterable[Diagnosis], *, color: bool = False) -> Iterator[str]:
    """Yield the lines that show diagnoses; with ``color``, for a terminal."""
    for each in found:
        mark = f"{each.state:<8}"
        if color:
            mark = terminal.paint(mark, _COLORS[each.state])
        yield f"{mark} {terminal.safe(each.text)}"
        if each.command:
            yield f"         {terminal.safe(each.command)}"


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
            f"{INSTALL} --transport chardev",
        )
    if facts.other_namespace is None:
        yield Diagnosis(UNKNOWN, "only root can see the network namespace of the daemon")
    elif facts.other_namespace:
        who = "the daemon" if facts.daemon else "this command"
        yield Diagnosis(
            BAD,
            f"{who} runs in another network namespace than the driver",
            f"{INSTALL} --transport chardev",
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
_INSIDE: Final = (rivals, units, daemon, _netlink, pools, addresses, _denials, _bytecode)

DOCTOR = Command(
    "doctor", "find out why a host sees nothing of this guest", _add_arguments, _doctor
)
