# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""``make bench``: this daemon beside Debian's C daemon, on the same machine, in the same run.

Prints a table, and writes all figures as JSON and a chart as SVG.  The exit status is 0 when
everything was measured, whether or not the targets are met: times depend on the machine.

    make bench                                  five rounds, here and in the VM
    make bench ARGS='--quick'                   one short round, to see that all works
    make bench ARGS='--native --rounds 9'       without the VM
    make bench ARGS='--calls'                   Python functions of a request; needs no root
    make bench ARGS='--fleet 100'               a hundred of each at once: docs/fleet.md
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys

from benchmarks import calls, vm
from benchmarks.chart import Series, draw
from benchmarks.measure import Figure
from benchmarks.native import C_DAEMON
from benchmarks.report import dump, summary, text
from benchmarks.targets import Table

ROUNDS = 5
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_THEIRS, _OURS = "#b35900", "#0969da"


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one short round of each")
    parser.add_argument("--native", action="store_true", help="on this machine only")
    parser.add_argument("--vm", action="store_true", help="in the driver VM only")
    parser.add_argument("--calls", action="store_true", help="count Python functions only")
    parser.add_argument("--fleet", type=int, metavar="N", help="N daemons of each at once only")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="at least 5 for figures")
    parser.add_argument("--json", default="build/bench.json", help="default: %(default)s")
    parser.add_argument("--svg", default="build/bench.svg", help="default: %(default)s")
    options = parser.parse_args()
    if options.calls:
        return calls.main()
    if options.quick:
        options.rounds = 1
    if os.geteuid() != 0:
        print("make bench needs root: mount namespaces, and the C daemon", file=sys.stderr)
        return 1
    _install_c_daemon()
    if options.fleet:
        daemons = ("--daemons", str(options.fleet))
        print(_unshared("benchmarks.fleet", *daemons, rounds=options.rounds), end="")
        return 0
    figures = []
    if options.native or not options.vm:
        figures += _native(options.rounds, quick=options.quick)
    if options.vm or not options.native:
        figures += vm.figures(options.rounds, quick=options.quick)
    table = Table(figures)
    rows = table.rows()
    _write(options.json, dump(figures, rows, vars(options)))
    if options.native or not options.vm:
        _write(options.svg, _chart(table))
    print(text(rows))
    print(summary(rows))
    return 0


def _install_c_daemon() -> None:
    if not os.path.exists(C_DAEMON):
        # At run level 1 the package does not start its service, where there is a device.
        install = ["apt-get", "install", "--yes", "--no-install-recommends", "hyperv-daemons"]
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
        subprocess.run(install, check=True, env=environment, stdout=sys.stderr)


def _native(rounds: int, *, quick: bool) -> list[Figure]:
    out = _unshared("benchmarks.native", *(["--quick"] if quick else []), rounds=rounds)
    return [Figure(**fields) for fields in json.loads(out)]


def _unshared(module: str, *options: str, rounds: int) -> str:
    """Run a module in a mount namespace of its own, and return what it writes."""
    command = ["unshare", "--mount", "--propagation", "private", sys.executable, "-m", module]
    command += [*options, "--rounds", str(rounds)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def _chart(table: Table) -> str:
    lines = [
        Series(f"{name}, {workload}", points, colour, dashed=workload == "modify")
        for workload in ("enumerate", "modify")
        for name, daemon, colour in (
            ("C daemon", "C", _THEIRS),
            ("hv-kvp-daemon", "ours", _OURS),
        )
        if (points := table.series("native", daemon, workload))
    ]
    return draw(
        "CPU time of one request",
        "Both daemons on one machine, in one run; medians. Both axes are logarithmic.",
        lines,
    )


def _write(path: str, content: str) -> None:
    path = os.path.join(ROOT, path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(content)


if __name__ == "__main__":
    sys.exit(main())
