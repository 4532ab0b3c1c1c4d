# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Boots the driver VM with the benchmark in it, and collects the figures from its console.

Needs root, as building the VM does.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile

from benchmarks.guest import MARK
from benchmarks.measure import Figure
from tests.driver import machine

HERE = os.path.dirname(os.path.abspath(__file__))
#: Limits after which the VM is stopped: for its boot, and for one round of three daemons.
BOOT_SECONDS, ROUND_SECONDS = 120, 400
RUN = """\
for command in /payload/bin/*; do ln -s "$command" /usr/local/bin/; done
export PYTHONPATH=/payload/src:/payload
exec python3 -u -m benchmarks.guest {arguments}
"""


def figures(rounds: int, *, quick: bool) -> list[Figure]:
    """Run all rounds in one VM.

    :raises machine.LabError: the VM could not be built, or did not finish.
    """
    machine.build()
    found = []
    with tempfile.TemporaryDirectory(prefix="hvlab-") as work:
        payload = os.path.join(work, "payload")
        machine.pack(machine.Scenario(name="bench"), payload)
        skip = shutil.ignore_patterns("__pycache__")
        shutil.copytree(HERE, os.path.join(payload, "benchmarks"), ignore=skip)
        arguments = f"{rounds} quick" if quick else str(rounds)
        with open(os.path.join(payload, "run"), "w", encoding="utf-8") as file:
            file.write(RUN.format(arguments=arguments))
        vm = subprocess.Popen(
            [
                *machine.VM_COMMAND,
                payload,
                str(BOOT_SECONDS + ROUND_SECONDS * rounds),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            errors="replace",
            env={**os.environ, "TMPDIR": work},
            start_new_session=True,
        )
        with vm:
            try:
                for line in vm.stdout or ():
                    if line.startswith(MARK):
                        found.append(Figure(**json.loads(line.removeprefix(MARK))))
                    else:
                        print(f"vm: {line}", end="", file=sys.stderr, flush=True)
                status = vm.wait()
            finally:
                machine.stop(vm)
    if status:
        raise machine.LabError(f"the VM ended with status {status}")
    return found
