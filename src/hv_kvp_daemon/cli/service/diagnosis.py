# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""A diagnosis of `doctor`: a sentence, and the command that fixes what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from .unit_files import MANAGERS, UNIT

if TYPE_CHECKING:
    from .system_facts import Facts

#: The states of a diagnosis: as it must be, not so, not so after an event that may come, or
#: not known.
GOOD: Final = "ok"
BAD: Final = "problem"
WARNING: Final = "warning"
UNKNOWN: Final = "unknown"

#: The command that makes this installation the machine's service.
INSTALL: Final = "hv-kvp install-service"


class Diagnosis(NamedTuple):
    """One sentence, with the command that fixes the problem if there is one."""

    state: str
    text: str
    command: str = ""


def reinstall(facts: Facts) -> str:
    """Return the command that brings back what a package had brought; nothing if unknown."""
    command = MANAGERS.get(facts.units.package_manager)
    return f"{command} hv-kvp-daemon python3-hv-kvp-daemon" if command else ""


def restart(facts: Facts) -> str:
    """Return the command that ends the daemon and, as systemd's service, starts it again."""
    if facts.daemon_unit == UNIT:
        return f"systemctl restart {UNIT}"
    return f"kill {facts.daemon_pid}" if facts.daemon_pid else start(facts)


def start(facts: Facts) -> str:
    """Return the command that starts the daemon; nothing if its unit has to be put right."""
    if not facts.units.systemd:
        return "hv-kvp-daemon"
    ours = facts.units.ours
    return f"systemctl start {UNIT}" if ours and ours.active == "inactive" else ""
