# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The two files for an installed hv_set_ifconfig, and how it is run."""

from __future__ import annotations

from pathlib import Path

import pytest

from hv_kvp_daemon.netconfig.script_writer import ScriptWriter
from hv_kvp_daemon.netconfig.settings import Settings
from hv_kvp_daemon.netconfig.target import Target
from hv_kvp_daemon.netconfig.writer import WriterError

from .injected import FORMS, GUID, V4, golden, programs, written
from .network import Machine

GOLDEN = Path(__file__).parent / "golden" / "script"
SCRIPT = "/usr/libexec/hypervkvpd/hv_set_ifconfig"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path)
    machine.script(SCRIPT, f'echo "$@" >>{tmp_path}/asked')
    # Of no interface here.
    machine.write("/sys/class/net/eth0/address", "02:15:5d:ff:ff:01")
    return machine


@pytest.mark.parametrize("name", FORMS)
def test_the_files_are_the_golden_ones(machine: Machine, name: str) -> None:
    golden(machine, ScriptWriter, FORMS[name], GOLDEN / f"{name}.files")


def test_without_a_script_it_is_an_error(machine: Machine) -> None:
    (machine.root / SCRIPT.lstrip("/")).unlink()
    with pytest.raises(WriterError, match="no hv_set_ifconfig is installed"):
        written(machine, ScriptWriter, Settings(V4, None))


def test_it_gets_the_two_files_and_again_the_former_ones(machine: Machine) -> None:
    writer = ScriptWriter(Target(GUID, "eth0", 2), programs(machine))
    directory = f"{machine.root}/var/lib/hv-kvp-daemon/script"
    line = f"{directory}/ifcfg-eth0 {directory}/eth0.nmconnection\n"
    writer.activate(Settings(V4, None))
    assert (machine.root / "asked").read_text() == line
    writer.revert()
    assert machine.reports == ["eth0: hv_set_ifconfig cannot undo what it has set"]
    machine.write("/var/lib/hv-kvp-daemon/script/ifcfg-eth0", "DEVICE=eth0")
    writer.revert()
    assert (machine.root / "asked").read_text() == line * 2
