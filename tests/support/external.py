# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Other programs of this machine that tests run."""

from __future__ import annotations

import subprocess
from pathlib import Path


def run(*argv: str | Path) -> str:
    """Run a program and return its output, which is shown if it fails."""
    done = subprocess.run(
        argv, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert done.returncode == 0, f"{argv}: {done.stdout}"
    return done.stdout
