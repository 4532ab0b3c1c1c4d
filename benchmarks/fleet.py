# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""A hundred C daemons and a hundred of ours at once, each with a simulated host of its own.

``make bench ARGS='--fleet 100'`` runs this module under unshare --mount, as root.  Both
fleets run at the same time, and the host goes from one daemon to the next with each
request, so a daemon's caches are cold when its turn comes, as they are where it is asked
once a minute.  It prints the tables of docs/fleet.md.

The C daemons share the one pool directory that is compiled in; each of ours has its own.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterable
from statistics import median

from benchmarks.measure import (
    ask_all,
    cpu_time,
    memory,
    packets,
    switches,
    wait_asleep,
)
from benchmarks.native import C_DAEMON, C_POOLS, NativeDaemon, Workshop
from benchmarks.workloads import POOL, a_minute, lay_out

#: Of the host's pool, which it reads once a minute with the ten keys of the auto pool.
RECORDS = 50
_MINUTES_OF_A_DAY = 24 * 60
_SECONDS_OF_A_DAY = 86400

RESIDENT, PRIVATE, A_DAY = "KiB resident", "KiB private", "s of CPU a day"

#: name of a row: its values by daemon, in the order in which they were measured
Table = dict[str, dict[str, list[float]]]


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--daemons", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    os.nice(10)
    table: Table = {}
    with tempfile.TemporaryDirectory(prefix="hv-kvp-fleet-", dir="/var/tmp") as path:
        shop = Workshop(path)
        shop.build()
        for turn in range(options.rounds):
            names = ("C", "ours")[:: -1 if turn % 2 else 1]
            _round(shop, names, options.daemons, table)
            print(f"fleet: round {turn + 1} of {options.rounds}", file=sys.stderr, flush=True)
    for line in (*_lines(table, options.daemons), "", *_sums(table)):
        print(line)
    return 0


def _round(shop: Workshop, names: Iterable[str], number: int, table: Table) -> None:
    fleets: dict[str, list[NativeDaemon]] = {}
    try:
        for name in names:
            fleets[name] = _start(shop, name, number, table)
        everyone = [daemon for fleet in fleets.values() for daemon in fleet]
        _ask(everyone)  # what is kept from one minute to the next
        _minute(fleets, table)
        for name, fleet in fleets.items():
            sizes = [memory(daemon.pid) for daemon in fleet]
            _note(table, RESIDENT, name, median(size for size, _ in sizes))
            _note(table, PRIVATE, name, median(size for _, size in sizes))
            proportional = [_proportional(daemon.pid) for daemon in fleet]
            _note(table, f"KiB of {number} on one kernel, each", name, median(proportional))
        _idle(fleets, table)
    finally:
        for fleet in fleets.values():
            for daemon in fleet:
                daemon.stop()


def _start(shop: Workshop, name: str, number: int, table: Table) -> list[NativeDaemon]:
    """Start all at once, and wait until the last one serves."""
    arguments = [_command(shop, name, each) for each in range(number)]
    started = time.monotonic()
    fleet = [NativeDaemon(name, argv, shop.shim, pools) for argv, pools in arguments]
    for daemon in fleet:
        daemon.register()
    _note(table, f"s until {number} serve that start at once", name, time.monotonic() - started)
    _note(table, "ms of CPU to start", name, median(cpu_time(each.pid) for each in fleet) / 1e6)
    return fleet


def _command(shop: Workshop, name: str, number: int) -> tuple[list[str], str]:
    """What starts one, and the directory of its pools, which are laid out."""
    if name == "C":
        argv, pools = [C_DAEMON, "-n"], C_POOLS
    else:
        pools = os.path.join(shop.path, f"pools-{number}")
        argv = [shop.launcher, "-n", "--transport", "chardev", "--pool-dir", pools]
        argv += ["--run-dir", os.path.join(shop.path, f"run-{number}")]
        os.makedirs(argv[-1], exist_ok=True)
    pool = os.path.join(pools, f".kvp_pool_{POOL}")
    if not os.path.exists(pool):
        os.makedirs(pools, exist_ok=True)
        with open(pool, "wb"):
            pass
        lay_out(pool, RECORDS)
    return argv, pools


def _minute(fleets: dict[str, list[NativeDaemon]], table: Table) -> None:
    """The CPU time of what a host asks in a minute, of each daemon."""
    everyone = [(name, daemon) for name, fleet in fleets.items() for daemon in fleet]
    before = {daemon.pid: cpu_time(daemon.pid) for _, daemon in everyone}
    _ask([daemon for _, daemon in everyone])
    for name, fleet in fleets.items():
        spent = median(cpu_time(daemon.pid) - before[daemon.pid] for daemon in fleet)
        _note(table, "ms of CPU for a minute's requests", name, spent / 1e6)
        _note(table, A_DAY, name, spent * _MINUTES_OF_A_DAY / 1e9)


def _ask(daemons: list[NativeDaemon]) -> None:
    """Each request of a host's minute, to one daemon after the other."""
    for asked in a_minute(RECORDS):
        for daemon in daemons:
            ask_all(daemon.host, packets(daemon.host, [asked]))


def _idle(fleets: dict[str, list[NativeDaemon]], table: Table) -> None:
    for fleet in fleets.values():
        for daemon in fleet:
            wait_asleep(daemon.pid)
    before = {name: [switches(each.pid) for each in fleet] for name, fleet in fleets.items()}
    time.sleep(10)
    for name, fleet in fleets.items():
        woken = sum(switches(each.pid) for each in fleet) - sum(before[name])
        _note(table, "context switches of all in 10 s without a request", name, woken)


def _proportional(pid: int) -> int:
    """KiB of a process, with its share of each page that several have mapped."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Pss:"))


def _note(table: Table, row: str, name: str, value: float) -> None:
    table.setdefault(row, {}).setdefault(name, []).append(value)


def _lines(table: Table, number: int) -> Iterable[str]:
    yield f"| median of a daemon, {number} of each at once | C | this | ratio |"
    yield "|---|---|---|---|"
    for row, values in table.items():
        theirs, ours = median(values["C"]), median(values["ours"])
        ratio = f"{ours / theirs:.2g}" if theirs else ""
        yield f"| {row} | {_short(theirs)} | {_short(ours)} | {ratio} |"


def _sums(table: Table) -> Iterable[str]:
    """A guest pays for what is between its daemon's private and its resident size."""
    yield "| guests | MiB, C | MiB, this | % of a processor, C | % of a processor, this |"
    yield "|---|---|---|---|---|"
    for guests in (1, 100, 1000):
        sizes, shares = [], []
        for name in ("C", "ours"):
            least, most = (
                median(table[row][name]) * guests / 1024 for row in (PRIVATE, RESIDENT)
            )
            sizes.append(f"{_short(least)} to {_short(most)}")
            shares.append(_short(median(table[A_DAY][name]) * guests / _SECONDS_OF_A_DAY * 100))
        yield f"| {guests:,} | {' | '.join((*sizes, *shares))} |"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    sys.exit(main())
