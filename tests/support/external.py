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


def install(*packages: str) -> None:
    """Install Debian packages where they are missing; needs root."""
    if subprocess.run(["dpkg", "-s", *packages], check=False, capture_output=True).returncode:
        # apt may know no package yet, or versions that are gone.
        apt = ("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-y", "-q")
        run(*apt, "update")
        run(*apt, "install", "--no-install-recommends", *packages)
