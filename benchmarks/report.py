# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Output of the benchmark: the table as text, and all figures as JSON."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from benchmarks.measure import Figure
    from benchmarks.targets import Row


_HEAD = ("", "workload", "daemon", "C", "ours", "", "compared", "target", "")


def text(rows: Sequence[Row]) -> str:
    """The table in Markdown, aligned for a terminal."""
    lines = [_HEAD, *map(_cells, rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(_HEAD))]
    lines.insert(1, tuple("-" * width for width in widths))
    return "\n".join(
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in lines
    )


def summary(rows: Sequence[Row]) -> str:
    judged = [row for row in rows if row.met is not None]
    missed = sum(not row.met for row in judged)
    return f"{len(judged)} targets: {len(judged) - missed} met, {missed} not met"


def _cells(row: Row) -> tuple[str, ...]:
    verdict = {None: "", True: "met", False: "NOT MET"}[row.met]
    return (
        row.place,
        row.workload,
        row.daemon,
        _number(row.base),
        _number(row.ours),
        row.unit,
        row.compared,
        row.target,
        verdict,
    )


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1f}" if value < 1000 else f"{value:,.0f}"


def dump(figures: Sequence[Figure], rows: Sequence[Row], options: dict[str, object]) -> str:
    """Rows and figures as JSON, with the machine and the options."""
    return json.dumps(
        {
            "machine": machine(),
            "options": options,
            "rows": [asdict(row) for row in rows],
            "figures": [asdict(figure) for figure in figures],
        },
        indent=1,
    )


def machine() -> dict[str, str]:
    """The machine: kernel, processor, load, and the versions of both daemons."""
    with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        models = [
            line.split(":", 1)[1].strip() for line in file if line.startswith("model name")
        ]
    package = ["dpkg-query", "--show", "--showformat", "${Version}", "hyperv-daemons"]
    return {
        "kernel": platform.release(),
        "processor": f"{os.cpu_count()} x {models[0] if models else platform.machine()}",
        "python": _output("/usr/bin/python3", "--version"),
        "hyperv-daemons": _output(*package),
        "commit": _output(
            "git", "-C", os.path.dirname(__file__), "describe", "--always", "--dirty"
        ),
        "load": " ".join(f"{load:.1f}" for load in os.getloadavg()),
    }


def _output(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return done.stdout.strip()
