# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Facts about systemd's units that start a KVP daemon, and about its journal.

Nothing is changed.  Without systemd there are none.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Final

from hv_kvp_daemon.service.options import PROGRAM
from hv_kvp_daemon.service.program import PROCESS_NAME, is_script

from .process_state import cgroups
from .unit_files import MANAGERS, OTHER_UNITS, UNIT, is_packaged, replacing_paths

# Seconds for systemctl and journalctl each.
_PATIENCE: Final = 15

# A query of this boot's journal; a later option replaces an earlier one.
_JOURNAL: Final = ("journalctl", "--boot", "--output=cat", "-q")

# Longer than the first line of a script that the kernel reads (BINPRM_BUF_SIZE, 256).
_MOST_SHEBANG: Final = 512

# Denials by SELinux and AppArmor that name a KVP daemon or its files.
_DENIAL: Final = r"(avc: +denied|apparmor=.DENIED).*(hv.kvp|hyperv|kvp_pool)"


@dataclass
class Unit:
    """A unit of systemd, with properties from ``systemctl show``."""

    name: str
    load: str = "not-found"
    active: str = "inactive"
    file_state: str = ""
    command: str = ""
    restarts: int = 0
    main_pid: int = 0
    #: Whether a package has brought it.
    is_packaged: bool = False
    #: Whether a package of this project keeps it from starting.
    is_replaced: bool = False

    @property
    def is_ours(self) -> bool:
        """Whether it starts this project's daemon.

        A program called hv_kvp_daemon may be the C daemon, which is no script.  A unit of
        this name whose program is missing is one of ours whose installation was removed.
        """
        name = os.path.basename(self.command)
        is_present = os.path.lexists(self.command)
        return name == PROGRAM or (
            name == PROCESS_NAME and (is_script(self.command) or not is_present)
        )


@dataclass
class UnitFacts:
    """The units of one machine."""

    #: Whether systemd runs here.
    systemd: bool = True
    units: dict[str, Unit] = field(default_factory=dict)
    #: Why our unit's program cannot be executed, if that is so.
    program_fault: str = ""
    #: The package manager of this machine, if it is one of `MANAGERS`.
    package_manager: str = ""
    #: Whether our unit starts the daemon of another installation than this command's.
    is_of_another: bool = False
    #: The last line of our unit in the journal, where the unit has trouble.
    last_line: str = ""
    denials: list[str] = field(default_factory=list)

    @property
    def ours(self) -> Unit | None:
        """Our unit, if it is installed and starts our daemon."""
        unit = self.units.get(UNIT)
        return unit if unit and unit.is_ours else None


def gather_units() -> UnitFacts:
    """Return the facts about this machine's units."""
    facts = UnitFacts(systemd=os.path.isdir("/run/systemd/system"))
    if not facts.systemd:
        return facts
    facts.units = units()
    facts.denials = output(*_JOURNAL, "--lines=3", "--grep", _DENIAL).splitlines()
    ours = facts.ours
    if ours:
        facts.program_fault = program_fault(ours.command)
        facts.package_manager = package_manager()
        own = os.path.join(os.path.dirname(os.path.abspath(sys.argv[0])), PROCESS_NAME)
        facts.is_of_another = os.path.realpath(ours.command) != os.path.realpath(own)
        if ours.active not in {"active", "inactive"}:
            # Written by its process; systemd's own lines only say that it has ended.
            lines = journal("--lines=1", f"_SYSTEMD_UNIT={UNIT}")
            facts.last_line = lines[-1] if lines else ""
    return facts


def package_manager(directory: str = "/usr/bin") -> str:
    """Return the name of the package manager in a directory, or nothing."""
    return next((name for name in MANAGERS if os.path.exists(f"{directory}/{name}")), "")


def program_fault(path: str) -> str:
    """Return why a program cannot be executed; nothing if it can.

    The interpreter of a script is missing where a virtual environment was moved, or the
    Python of which it was made was removed.
    """
    if not os.access(path, os.X_OK):
        return f"{path} is missing or not executable"
    with open(path, "rb") as file:
        first = os.fsdecode(file.readline(_MOST_SHEBANG)).split()
    interpreter = " ".join(first)[2:].split()[:1] if first and first[0][:2] == "#!" else []
    if interpreter and not os.access(interpreter[0], os.X_OK):
        return f"{interpreter[0]}, the interpreter of {path}, is missing or not executable"
    return ""


def unit_of(pid: int) -> str:
    """Return the service below system.slice that a process belongs to, or nothing.

    Other slices hold names that are not the system's: any user may call a service of his
    own ``ssh.service``.
    """
    for _, path in cgroups(pid):
        names = path.split("/")[1:]
        if len(names) > 1 and names[0] == "system.slice" and names[1].endswith(".service"):
            return names[1]
    return ""


def units() -> dict[str, Unit]:
    """Return the known units that start a KVP daemon, ours and other projects'."""
    states = ("LoadState", "ActiveState", "UnitFileState")
    paths = ("FragmentPath", "DropInPaths")
    properties = f"--property=Id,ExecStart,NRestarts,MainPID,{','.join(states + paths)}"
    text = output("systemctl", "show", properties, UNIT, *OTHER_UNITS)
    found = {}
    for block in text.split("\n\n"):
        values = dict(line.partition("=")[::2] for line in block.splitlines())
        name = values.get("Id", "")
        if name and values.get("LoadState") != "not-found":
            command = values.get("ExecStart", "").partition("path=")[2].partition(" ;")[0]
            load, active, file_state = (values.get(state, "") for state in states)
            unit = found[name] = Unit(name, load, active, file_state, command)
            unit.restarts = int(values.get("NRestarts", 0))
            unit.main_pid = int(values.get("MainPID", 0))
            fragment, drop_ins = (values.get(path, "") for path in paths)
            unit.is_packaged = is_packaged(fragment)
            unit.is_replaced = not {*replacing_paths(name)}.isdisjoint(drop_ins.split())
    return found


def journal(*query: str) -> list[str]:
    """Return lines of this boot's journal, but none that the daemon has logged of a request.

    With --foreground or --debug it logs each (`service.trace`), with the key and the value.
    """
    return [line for line in output(*_JOURNAL, *query).splitlines() if " -> " not in line]


def output(*argv: str) -> str:
    """Return what a command writes; nothing where it is missing or takes too long."""
    try:
        done = subprocess.run(  # noqa: S603 - the commands above
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_PATIENCE,
            check=False,
            env={**os.environ, "LC_ALL": "C", "SYSTEMD_PAGER": ""},
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", "replace")
