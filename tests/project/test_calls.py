# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""``make bench ARGS=--calls`` counts the functions of each kind of request."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from benchmarks.targets import CALLS

ROOT = Path(__file__).parents[2]


def test_each_kind_of_request_has_a_count() -> None:
    command = [sys.executable, "-m", "benchmarks", "--calls"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    counts = re.findall(r"^(\w.*?)  +(\d+) +(\d+) +\d+", done.stdout, re.MULTILINE)
    assert len(counts) == 8
    for _, calls, modules in counts:
        assert 0 < int(modules) <= int(calls)
    assert CALLS.keys() <= {name for name, _, _ in counts}
