# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The daemon as pip installs it costs no more than its modules."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.project.test_costs import ALLOWED

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


def imported(*program: str | Path) -> set[str]:
    """The modules that a program imports, without those of site, as -S leaves it out.

    The site-packages of a developer have .pth files, which import on their own account.
    """
    done = subprocess.run(
        [sys.executable, "-S", "-X", "importtime", *program],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = (line for line in done.stderr.splitlines() if line.startswith("import time:"))
    return {line.rpartition("|")[2].strip() for line in lines}


@pytest.mark.parametrize("name", ["hv-kvp-daemon", "hv_kvp_daemon"])
def test_the_installed_program_imports_nothing_else(name: str) -> None:
    """I9: the wrapper that pip makes for an entry point imports re."""
    found = imported(BIN / name, "--version") - imported("-c", "import os")
    ours = {module for module in found if module.split(".")[0] == "hv_kvp_daemon"}
    assert "hv_kvp_daemon.service.main" in ours
    assert found - ours <= ALLOWED


@pytest.mark.parametrize("name", ["hv-kvp-daemon", "hv_kvp_daemon"])
def test_the_installed_program_is_the_script_of_this_checkout(name: str) -> None:
    """I9: all but its first line, which names the interpreter."""
    first, _, rest = (BIN / name).read_text().partition("\n")
    assert first.startswith("#!/")
    assert rest == (ROOT / "scripts" / name).read_text().partition("\n")[2]
