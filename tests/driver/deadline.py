# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Deadlines inside the VM, in seconds of a quiet machine.

An emulator on a busy machine is several times slower, and the load may change while a
scenario runs.  So each deadline is multiplied by the slowness of the machine: that of the
VM's boot at first, and, once the deadline has passed, what a new measurement shows.  Only
a deadline that passes costs time for measuring.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

# For a limit that shows that no request has had to expire, which takes the driver 30 s.
LESS_THAN_DRIVER = 29.0

# Seconds on a machine with two processors and two VMs; rather too short than too long.
_QUIET_BOOT = 5.0  # from the kernel's start to that of the scenario; `init` measures it
_QUIET_START = 0.2  # one start of the interpreter
_STARTS = 5


def boot_slowness() -> float:
    """How many times longer than on a quiet machine this VM has taken to boot; at least 1."""
    return max(1.0, float(os.environ.get("BOOT_SECONDS", "0")) / _QUIET_BOOT)


def current_slowness() -> float:
    """How many times longer than on a quiet machine programs take to start now; at least 1."""
    started = time.monotonic()
    for _ in range(_STARTS):
        subprocess.run([sys.executable, "-I", "-S", "-c", ""], check=True)
    return max(1.0, (time.monotonic() - started) / (_STARTS * _QUIET_START))


def slowness() -> float:
    """How many times slower than a quiet machine this one has been or is."""
    return max(boot_slowness(), current_slowness())


def report(number: float) -> None:
    """Print the slowness for ``machine.py``, which limits the time of the whole scenario."""
    print(f"slowness {number:.1f}", flush=True)


class Deadline:
    """A time limit that begins now, of ``seconds`` on a quiet machine.

    ``most`` is in real seconds: a limit of something else, such as the 30 s of the driver,
    below which the deadline must stay however slow the machine is.
    """

    def __init__(self, seconds: float, most: float = float("inf")) -> None:
        self._seconds = seconds
        self._most = most
        self._started = time.monotonic()
        self._limit = min(seconds * boot_slowness(), most)

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self._started

    def left(self) -> float:
        """The seconds left; 0 or less if it has passed, also for the machine as it is now."""
        left = self._limit - self.elapsed
        if left <= 0 < self._seconds and self._limit < self._most:
            now = slowness()
            report(now)
            self._limit = max(self._limit, min(self._seconds * now, self._most))
            left = self._limit - self.elapsed
        return left

    def passed(self) -> bool:
        return self.left() <= 0

    def __repr__(self) -> str:
        return f"<{self.elapsed:.1f} s of {self._limit:.1f} s, {self._seconds} s if quiet>"
