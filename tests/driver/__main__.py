# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Runs scenarios by hand, with their consoles on the terminal: ``python -m tests.driver NAME``.

The exit status is 0 if all passed, 1 if one failed, 2 if no scenario has that name.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys

from tests.driver import machine


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="run-scenario",
        description="Run scenarios in the driver VM, with their consoles on the terminal.",
    )
    parser.add_argument(
        "name", nargs="*", help="NAME or NAME@VARIANT; without a name, list all scenarios"
    )
    parser.add_argument(
        "-k", dest="checks", action="append", default=[], help="only this check"
    )
    parser.add_argument("-e", dest="environment", action="append", default=[], metavar="K=V")
    parser.add_argument("--append", help="kernel arguments instead of the scenario's")
    parser.add_argument("--seconds", type=int, help="bound on the VM instead of the scenario's")
    options = parser.parse_args()
    everything = machine.scenarios()
    if not options.name:
        print(*(scenario.id for scenario in everything), sep="\n")
        return 0
    chosen = [s for s in everything if s.id in options.name or s.name in options.name]
    known = {s.id for s in everything} | {s.name for s in everything}
    if unknown := [name for name in options.name if name not in known]:
        print(f"no scenario {', '.join(unknown)}", file=sys.stderr)
        return 2
    machine.build()
    problems = 0
    for scenario in chosen:
        problems += _run(scenario, options)
    return 1 if problems else 0


def _run(scenario: machine.Scenario, options: argparse.Namespace) -> int:
    changed = dataclasses.replace(
        scenario,
        append=scenario.append if options.append is None else options.append,
        seconds=options.seconds or scenario.seconds,
        environment={
            **scenario.environment,
            **dict(pair.split("=", 1) for pair in options.environment),
        },
        checks=tuple(options.checks) or scenario.checks,
    )
    print(f"=== {changed.id}", flush=True)
    outcome = machine.run(changed, on_line=lambda line: print(line, end="", flush=True))
    for problem in outcome.problems:
        print(f"!!! {problem}")
    print(f"=== {changed.id} {'failed' if outcome.problems else 'passed'}", flush=True)
    return len(outcome.problems)


if __name__ == "__main__":
    sys.exit(main())
