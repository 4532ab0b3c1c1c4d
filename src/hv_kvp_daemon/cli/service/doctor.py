"""``doctor``: why a host sees nothing of this guest.

In: `system_facts.Facts`.  Out: each thing that must hold, whether it does, and if not
the one command that mends it.
Rule: from the host inwards, since what is missing further out makes the rest
look broken; no key and no value is shown.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

from hv_kvp_daemon.cli import arguments, jsontext, terminal
from hv_kvp_daemon.cli.command import EXIT_DONE, EXIT_UNUSABLE
from hv_kvp_daemon.transport.chardev import DEVICE
from hv_kvp_daemon.wire.uapi import CN_KVP_IDX

from . import bytecode
from .system_facts import UNIT, Facts, survey

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

#: What a diagnosis can be: it holds, it does not, or this user cannot be told.
GOOD: Final = "ok"
BAD: Final = "problem"
UNKNOWN: Final = "unknown"

_COLOURS: Final = {GOOD: terminal.GREEN, BAD: terminal.RED, UNKNOWN: terminal.YELLOW}


class Diagnosis:
    """One sentence, and where it tells of a problem the command that mends it."""

    __slots__ = ("command", "state", "text")

    def __init__(self, state: str, text: str, command: str = "") -> None:
        self.state = state
        self.text = text
        self.command = command


def arguments_doctor(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``doctor``."""
    arguments.add_pool_dir(parser)
    arguments.add_json(parser)


def run_doctor(options: argparse.Namespace) -> int:
    """0 when nothing is found, 3 when something is."""
    with terminal.Progress("asking systemd and the journal"):
        found = list(diagnose(survey(arguments.directory(options))))
    if options.json:
        jsontext.show(
            [
                {"state": each.state, "finding": each.text, "command": each.command or None}
                for each in found
            ]
        )
    else:
        for each in found:
            mark = terminal.paint(f"{each.state:<8}", _COLOURS[each.state])
            print(mark, terminal.safe(each.text))
            if each.command:
                print(f"         {terminal.safe(each.command)}")
    return EXIT_UNUSABLE if any(each.state == BAD for each in found) else EXIT_DONE


def diagnose(facts: Facts) -> Iterator[Diagnosis]:
    """All diagnoses, or those up to the first that makes the others moot."""
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
            "this is no Hyper-V guest: there is no host to see anything",
            "to try the daemon without one: hv-kvp host intrinsic",
        )
    elif not facts.vmbus:
        yield Diagnosis(BAD, "the bus to the host is not there", "modprobe hv_vmbus")
    else:
        yield Diagnosis(GOOD, "this is a Hyper-V guest")


def _driver(facts: Facts) -> Iterator[Diagnosis]:
    if not facts.offered:
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
            f"the driver is loaded, but {DEVICE} is not there",
            "udevadm trigger --settle --subsystem-match=misc",
        )
    else:
        yield Diagnosis(GOOD, "the driver is loaded and has the host's offer")


def _netlink(facts: Facts) -> Iterator[Diagnosis]:
    """Only what a daemon over netlink needs: ``auto`` does without."""
    transport = facts.daemon.transport if facts.daemon else None
    if transport == "chardev":
        return
    if not facts.connector:
        yield Diagnosis(
            BAD if transport == "netlink" else UNKNOWN,
            "no netlink connector: it is not in this kernel, or only in another network"
            " namespace; the char device needs none",
            "hv-kvp install-service --transport chardev",
        )
    if facts.other_namespace is None:
        yield Diagnosis(UNKNOWN, "only root is told in which network namespace it runs")
    elif facts.other_namespace:
        who = "the daemon" if facts.daemon else "this command"
        yield Diagnosis(
            BAD,
            f"{who} runs in another network namespace than the driver's netlink",
            "hv-kvp install-service --transport chardev",
        )


def _rivals(facts: Facts) -> Iterator[Diagnosis]:
    for rival in facts.rivals:
        yield Diagnosis(
            BAD,
            f"{rival.name} (pid {rival.pid}) {rival.way}; two daemons answer each other's"
            " requests",
            f"systemctl mask --now {rival.unit}" if rival.unit else f"kill {rival.pid}",
        )
    if not facts.rivals and facts.root:
        yield Diagnosis(
            GOOD, f"nobody else holds {DEVICE} or listens to netlink group {CN_KVP_IDX}"
        )
    elif not facts.root:
        yield Diagnosis(UNKNOWN, "only root is told who else talks to the driver")


def _units(facts: Facts) -> Iterator[Diagnosis]:
    if not facts.systemd:
        return
    for unit in facts.units.values():
        starts = unit.file_state in {"enabled", "static", "indirect", "generated", "alias"}
        if unit.load == "loaded" and not unit.is_ours and (starts or unit.active == "active"):
            yield Diagnosis(
                BAD,
                f"{unit.name} starts {unit.command or 'another daemon'}: the distribution's",
                "hv-kvp install-service"
                if unit.name == UNIT
                else f"systemctl mask --now {unit.name}",
            )
    ours = facts.units.get(UNIT)
    if ours is None:
        yield Diagnosis(BAD, "the service is not installed", "hv-kvp install-service")
    elif ours.load == "masked":
        yield Diagnosis(BAD, f"{UNIT} is masked", f"systemctl unmask {UNIT}")
    elif ours.is_ours and ours.active == "failed":
        yield Diagnosis(
            BAD,
            f"{UNIT} has failed; why: journalctl --unit {UNIT}",
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
    if facts.others_dir is None or facts.others_dir == facts.pool_dir:
        yield Diagnosis(GOOD, f"the pools are in {facts.pool_dir}")
    else:
        yield Diagnosis(
            BAD,
            f"the pools are in {facts.pool_dir}, but cloud-init and others use"
            f" {arguments.OTHER_DIRECTORY}",
            f"hv-kvp install-service --pool-dir {arguments.OTHER_DIRECTORY}",
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
_INSIDE: Final[tuple[Callable[[Facts], Iterator[Diagnosis]], ...]] = (
    _rivals,
    _units,
    _daemon,
    _netlink,
    _pools,
    _denials,
    _bytecode,
)
