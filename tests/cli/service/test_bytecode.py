# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Modules without bytecode."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import hv_kvp_daemon
from hv_kvp_daemon.cli.service import bytecode

if TYPE_CHECKING:
    import pytest

PACKAGE = Path(hv_kvp_daemon.__file__).parent


def test_what_is_missing_is_counted_and_the_command_makes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PACKAGE / "wire", tmp_path / "wire", ignore=ignored)
    monkeypatch.setattr(bytecode, "_PACKAGE", str(tmp_path))
    assert bytecode.missing() == len(list((tmp_path / "wire").glob("*.py")))
    command = bytecode.COMMAND.replace(str(PACKAGE), str(tmp_path))
    subprocess.run(["sh", "-c", command], check=True)
    assert bytecode.missing() == 0
