# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Runs one scenario inside the VM: ``python3 -m tests.driver.runner NAME``.

A scenario is a module of ``tests.driver.scenarios`` with functions ``check_…`` and
optionally ``setup`` and ``teardown``, which run once, before and after all checks.  The
checks named in the environment's CHECKS run.  The runner prints ``ok NAME`` or
``FAIL NAME`` and a traceback for each check.  A fault in the kernel log fails the scenario,
too.  Outside the VM, ``machine.py`` compares the reported names with those in the file.
"""

from __future__ import annotations

import contextlib
import importlib
import math
import os
import signal
import sys
import traceback
from collections.abc import Callable
from types import FrameType, ModuleType

from tests.driver import asserts, guest
from tests.driver.deadline import Deadline, boot_slowness, report


def main(name: str) -> int:
    asserts.install()
    scenario = importlib.import_module(f"tests.driver.scenarios.{name}")
    seconds: int = getattr(scenario, "CHECK_SECONDS", 60)
    chosen = os.environ["CHECKS"].split()
    checks = [check for check in defined(scenario) if check.__name__ in chosen]
    report(boot_slowness())

    failed = 0
    setup: Callable[[], None] | None = getattr(scenario, "setup", None)
    teardown: Callable[[], None] | None = getattr(scenario, "teardown", None)
    if setup and not attempt("setup", setup, seconds):
        return 1
    for check in checks:
        failed += not _attempt_alone(check, seconds)
    if teardown:
        failed += not attempt("teardown", teardown, seconds)
    faults = guest.kernel_faults()
    if faults:
        print(f"FAIL kernel: {faults[0]}\n{guest.kernel_log()}", flush=True)
    print(f"{len(checks)} checks, {failed} failed", flush=True)
    return 1 if failed or faults or not checks else 0


def defined(scenario: ModuleType) -> list[Callable[[], None]]:
    """The scenario's own checks, in the order of the file."""
    return [
        value
        for key, value in vars(scenario).items()
        if key.startswith("check_") and getattr(value, "__module__", "") == scenario.__name__
    ]


def attempt(name: str, function: Callable[[], None], seconds: int) -> bool:
    """Run one function within ``seconds`` (see `deadline`) and report it."""
    deadline = Deadline(seconds)

    def look(_signal: int, _frame: FrameType | None) -> None:
        left = deadline.left()
        if left <= 0:
            raise TimeoutError(f"out of its time (CHECK_SECONDS) {deadline}")
        signal.alarm(math.ceil(left))

    signal.signal(signal.SIGALRM, look)
    signal.alarm(math.ceil(deadline.left()))
    try:
        function()
    # Any exception of a check is its failure; the next check still runs.
    except Exception:  # noqa: BLE001
        signal.alarm(0)
        print(f"FAIL {name}\n{traceback.format_exc()}", flush=True)
        for process in guest.Process.alive:
            print(f"-- {process}\n{process.stdout}{process.stderr}", flush=True)
        print("-- end of the kernel log", *guest.kernel_log().splitlines()[-10:], sep="\n")
        return False
    finally:
        signal.alarm(0)
    print(f"ok {name} ({deadline.elapsed:.1f} s)", flush=True)
    return True


def _attempt_alone(check: Callable[[], None], seconds: int) -> bool:
    """Run a check, and kill the processes that it has started and not ended."""
    before = list(guest.Process.alive)
    daemons = guest.pids()
    passed = attempt(check.__name__, check, seconds)
    for process in [p for p in guest.Process.alive if p not in before]:
        process.send(signal.SIGCONT)
        process.stop(signal.SIGKILL)
    for pid in guest.pids() - daemons:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return passed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
