# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""What is made of systemctl's output, and which programs of units can be executed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hv_kvp_daemon.cli.service import process_state, unit_facts
from hv_kvp_daemon.cli.service.unit_facts import Unit, program_fault
from hv_kvp_daemon.cli.service.unit_files import UNIT


def test_units_are_read_as_systemctl_shows_them(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open(f"{tmp_path}/systemctl", "w", encoding="ascii") as script:
        script.write(
            "#!/bin/sh\n"
            "cat <<'END'\n"
            "Id=hv-kvp.service\nLoadState=loaded\nActiveState=active\n"
            "UnitFileState=enabled\nExecStart={ path=/usr/bin/hv-kvp-daemon ;"
            " argv[]=/usr/bin/hv-kvp-daemon -n ; ignore_errors=no }\n\n"
            "Id=hypervkvpd.service\nLoadState=not-found\nActiveState=inactive\n\n"
            "Id=hv-kvp.service\nLoadState=loaded\nActiveState=active\n"
            "NRestarts=3\nMainPID=7\n"
            "UnitFileState=static\nExecStart={ path=/usr/bin/hv-kvp-daemon ; }\n"
            "FragmentPath=/usr/lib/systemd/system/hv-kvp.service\nDropInPaths=\n\n"
            "Id=hv-kvp-daemon.service\nLoadState=loaded\nActiveState=inactive\n"
            "UnitFileState=enabled\nExecStart={ path=/usr/sbin/hv_kvp_daemon ; }\n"
            "FragmentPath=/usr/lib/systemd/system/hv-kvp-daemon.service\n"
            "DropInPaths=/etc/systemd/system/hv-kvp-daemon.service.d/a.conf"
            " /usr/lib/systemd/system/hv-kvp-daemon.service.d/hv-kvp.conf\n"
            "END\n"
        )
    os.chmod(f"{tmp_path}/systemctl", 0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert unit_facts.units() == {
        UNIT: Unit(
            *(UNIT, "loaded", "active", "static", "/usr/bin/hv-kvp-daemon", 3, 7),
            is_packaged=True,
        ),
        "hv-kvp-daemon.service": Unit(
            *("hv-kvp-daemon.service", "loaded", "inactive", "enabled"),
            *("/usr/sbin/hv_kvp_daemon",),
            is_packaged=True,
            is_replaced=True,
        ),
    }


def test_a_unit_is_ours_if_its_program_is_a_script(tmp_path: Path) -> None:
    """The C daemon's file has the same name."""
    program = tmp_path / "hv_kvp_daemon"
    unit = Unit(UNIT, "loaded", "active", "static", str(program))
    # Of a removed installation; that of the C daemon is never removed without its unit.
    assert unit.is_ours
    program.write_bytes(b"\x7fELF")
    assert not unit.is_ours
    program.write_text("#!/usr/bin/python3\nimport hv_kvp_daemon.service.main\n")
    assert unit.is_ours


def test_a_missing_systemctl_is_no_unit(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert unit_facts.units() == {}


@pytest.mark.parametrize(
    ("path", "unit"),
    [
        ("/system.slice/hypervkvpd.service", "hypervkvpd.service"),
        ("/system.slice/hypervkvpd.service/a.service", "hypervkvpd.service"),
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/ssh.service", ""),
        ("/machine.slice/x.scope/system.slice/ssh.service", ""),
        ("/user.slice/session-1.scope", ""),
        ("/system.slice", ""),
        ("/", ""),
    ],
)
def test_a_unit_is_directly_below_the_systems_slice(
    path: str, unit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D4: a user's own ssh.service was taken for the system's."""
    monkeypatch.setattr(process_state, "_lines", lambda _: ["1:name=systemd:/", f"0::{path}"])
    assert unit_facts.unit_of(7) == unit


def test_a_process_that_has_ended_has_no_unit() -> None:
    assert unit_facts.unit_of(2**22 + 1) == ""


@pytest.mark.parametrize(
    ("first", "mode", "fault"),
    [
        ("#!/bin/sh", 0o755, ""),
        ("#! /bin/sh -e", 0o755, ""),
        ("\x7fELF", 0o755, ""),
        ("", 0o755, ""),
        ("#!/gone/bin/python3 -I", 0o755, "/gone/bin/python3, the interpreter of PROGRAM, is"),
        ("#!/bin/sh", 0o644, "PROGRAM is missing or not executable"),
    ],
)
def test_a_program_that_cannot_be_executed_is_known(
    tmp_path: Path, first: str, mode: int, fault: str
) -> None:
    """D6: 203/EXEC of a broken virtual environment."""
    program = tmp_path / "hv_kvp_daemon"
    assert program_fault(str(program)) == f"{program} is missing or not executable"
    program.write_text(f"{first}\nexit\n")
    program.chmod(mode)
    found = program_fault(str(program))
    assert found.startswith(fault.replace("PROGRAM", str(program)))
    assert bool(found) == bool(fault)
