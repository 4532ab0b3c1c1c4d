# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Builds the lab, packs a scenario, runs it in the VM, and evaluates its outcome.

A scenario is a file of ``scenarios/``.  It passes if the VM's status is 0 and exactly the
checks that the file defines were reported ``ok``.  So a scenario that ends early, or runs
no check, fails.

A scenario can set these constants.  They must be literals, since they are read here
without importing the file:

    APPEND = "hvlab.manual"     kernel arguments (hvlab.manual, hvlab.systemd)
    SECONDS = 120               bound on the whole scenario, from the end of the boot
    CHECK_SECONDS = 60          bound on one check, in the guest
    DISK_MIB = 64               an empty disk; `modprobe virtio_pci virtio_blk`, /dev/vda
    VARIANTS = {"netlink": {"TRANSPORT": "netlink"}, …}
                                one VM for each, with these environment variables
"""

from __future__ import annotations

import ast
import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
SCENARIOS = os.path.join(HERE, "scenarios")
#: 6.1, 6.12 or backports; `lab/setup` says what they are.
KERNEL = os.environ.get("KERNEL", "6.1")
CACHE = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
LAB = os.path.join(
    os.environ.get("HVLAB_DIR") or os.path.join(CACHE, "hv-kvp-driver-lab"), KERNEL
)
# A VM does not outlive the process, or the thread, that has started it.
VM_COMMAND = ("setpriv", "--pdeathsig=KILL", os.path.join(HERE, "lab", "vm"), LAB)
LAUNCHER = """\
#!/usr/bin/python3 -I
import sys
sys.path[:0] = ["/payload/src", "/payload/site"]
from {module} import main
raise SystemExit(main())
"""
COMMANDS = {
    "hv-kvp": "hv_kvp_daemon.cli.main",
    "hv-kvp-daemon": "hv_kvp_daemon.service.main",
    "hv_kvp_daemon": "hv_kvp_daemon.service.main",
}
RUN = """\
for command in /payload/bin/*; do ln -s "$command" /usr/local/bin/; done
set -a; . ./environment; set +a
exec python3 -u -m tests.driver.runner {name}
"""

# Compiles the modules of a directory with the guest's Python and for their place in the guest,
# which would take ten times as long.  The times of its files are others than here.
COMPILE = """\
mount --bind "$1" "$2/mnt"
set -- "$2" python3 -m compileall -q -s /mnt -p "$3" /mnt
exec chroot "$@" --invalidation-mode=unchecked-hash
"""

# What the guest imports, beside the scenarios.
MODULES = (
    *("asserts.py", "deadline.py", "guest.py", "hostile.py", "intruder.py"),
    *("ordinary_user.py", "runner.py", "variant.py", "lab/hvhost.py"),
)

# Seconds until a VM has booted, however busy the machine is; a scenario's own bound counts
# from then on.
BOOT_SECONDS = 600

VM = subprocess.Popen[str]


class LabError(Exception):
    """The lab could not be built; the text has the output of the build."""


@dataclass(frozen=True)
class Scenario:
    """One scenario file with one set of environment variables."""

    name: str
    variant: str = ""
    append: str = ""
    seconds: int = 120
    disk_mib: int = 0
    environment: dict[str, str] = field(default_factory=dict)
    checks: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        return f"{self.name}@{self.variant}" if self.variant else self.name


@dataclass(frozen=True)
class Outcome:
    """The outcome of one run, with the guest's console; ``problems`` is empty if it passed."""

    scenario: Scenario
    status: int
    console: str

    @property
    def problems(self) -> list[str]:
        found = [] if self.status == 0 else [f"the VM ended with status {self.status}"]
        found += re.findall(r"^FAIL .+$", self.console, re.MULTILINE)
        passed = re.findall(r"^ok (check_\w+)", self.console, re.MULTILINE)
        if sorted(passed) != sorted(self.scenario.checks):
            missing = sorted(set(self.scenario.checks) - set(passed))
            found.append(
                f"{len(passed)} checks passed of {len(self.scenario.checks)} defined; "
                f"not reported ok: {', '.join(missing) or 'none, but one was reported twice'}"
            )
        if not self.scenario.checks:
            found.append("the scenario defines no check")
        return found

    def report(self) -> str:
        head = [f"{self.scenario.id}:", *self.problems, "--- console of the guest"]
        return "\n".join([*head, self.console])


def scenarios() -> list[Scenario]:
    """All scenarios with all their variants, sorted by name."""
    names = sorted(name[:-3] for name in os.listdir(SCENARIOS) if name.endswith(".py"))
    return [scenario for name in names for scenario in read_scenario(name)]


def read_scenario(name: str) -> Iterator[Scenario]:
    """Read the constants of a scenario and the names of its checks from its source."""
    path = os.path.join(SCENARIOS, name + ".py")
    with open(path, encoding="utf-8") as file:
        tree = ast.parse(file.read(), path)
    constants: dict[str, Any] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            key = node.targets[0].id
            if key in {"APPEND", "SECONDS", "DISK_MIB", "VARIANTS"}:
                constants[key] = ast.literal_eval(node.value)
    checks = tuple(
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("check_")
    )
    for variant, environment in constants.get("VARIANTS", {"": {}}).items():
        yield Scenario(
            name=name,
            variant=variant,
            append=constants.get("APPEND", ""),
            seconds=constants.get("SECONDS", 120),
            disk_mib=constants.get("DISK_MIB", 0),
            environment=environment,
            checks=checks,
        )


def build() -> None:
    """Build the parts of the lab that are missing or out of date.  Needs root."""
    _say_what_failed([os.path.join(HERE, "lab", "setup"), LAB, KERNEL])
    _install_requirements()


def _install_requirements() -> None:
    """Install the project's dependencies for the guest's own Python."""
    with open(os.path.join(ROOT, "pyproject.toml"), encoding="utf-8") as file:
        match = re.search(r"^dependencies = (\[.*?\])", file.read(), re.MULTILINE | re.DOTALL)
    if not match:
        raise LabError("pyproject.toml: no list of dependencies found")
    requirements: list[str] = ast.literal_eval(match[1])
    site, stamp = os.path.join(LAB, "site"), os.path.join(LAB, "site.stamp")
    python = os.readlink(os.path.join(LAB, "rootfs/usr/bin/python3"))
    wanted = "\n".join([python, COMPILE, *requirements])
    if os.path.exists(stamp):
        with open(stamp, encoding="utf-8") as file:
            if file.read() == wanted:
                return
    # First the stamp: this may be killed halfway.
    with contextlib.suppress(FileNotFoundError):
        os.unlink(stamp)
    shutil.rmtree(site, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--target", site]
    version = python.removeprefix("python")
    target = ["--only-binary=:all:", "--implementation=cp", f"--python-version={version}"]
    _say_what_failed([*pip, *target, *requirements])
    _compile(site, "/payload/site")
    with open(stamp, "w", encoding="utf-8") as file:
        file.write(wanted)


def _compile(directory: str, place: str) -> None:
    shell = ("unshare", "--mount", "sh", "-euc", COMPILE, "sh")
    _say_what_failed([*shell, directory, os.path.join(LAB, "rootfs"), place])


def _say_what_failed(argv: list[str]) -> None:
    done = subprocess.run(
        argv, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode:
        raise LabError(f"status {done.returncode}: {shlex.join(argv)}\n{done.stdout}")


def pack(scenario: Scenario, payload: str) -> None:
    """Fill the directory that the guest gets as /payload."""
    skip = shutil.ignore_patterns("__pycache__")
    driver = os.path.join(payload, "tests", "driver")
    os.makedirs(os.path.join(driver, "lab"))
    for name in MODULES:
        shutil.copy(os.path.join(HERE, name), os.path.join(driver, name))
    shutil.copytree(SCENARIOS, os.path.join(driver, "scenarios"), ignore=skip)
    shutil.copytree(os.path.join(ROOT, "src"), os.path.join(payload, "src"), ignore=skip)
    _compile(os.path.join(payload, "src"), "/payload/src")
    shutil.copytree(os.path.join(LAB, "site"), os.path.join(payload, "site"))
    # `hv-kvp install-service` installs files from these directories.
    for folder in ("systemd", "docs", "completions"):
        shutil.copytree(os.path.join(ROOT, folder), os.path.join(payload, folder))
    os.mkdir(os.path.join(payload, "bin"))
    for command, module in COMMANDS.items():
        path = os.path.join(payload, "bin", command)
        _write(path, LAUNCHER.format(module=module))
        os.chmod(path, 0o755)
    environment = {**scenario.environment, "CHECKS": " ".join(scenario.checks)}
    lines = (f"{name}={shlex.quote(value)}\n" for name, value in environment.items())
    _write(os.path.join(payload, "environment"), "".join(lines))
    _write(os.path.join(payload, "run"), RUN.format(name=scenario.name))


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def run(
    scenario: Scenario,
    on_line: Callable[[str], None] = lambda line: None,
    on_start: Callable[[VM], None] = lambda vm: None,
) -> Outcome:
    """Run a scenario in a VM of its own.

    ``on_line`` is called with each line of the console, and ``on_start`` with the VM, for
    use with `stop`.
    """
    with tempfile.TemporaryDirectory(prefix="hvlab-") as work:
        payload = os.path.join(work, "payload")
        pack(scenario, payload)
        environment = {**os.environ, "APPEND": scenario.append, "TMPDIR": work}
        if scenario.disk_mib:
            disk = os.path.join(work, "disk")
            _write(disk, "")
            os.truncate(disk, scenario.disk_mib << 20)
            environment["QEMU_EXTRA"] = f"-drive file={disk},if=virtio,format=raw"
        vm = subprocess.Popen(
            [*VM_COMMAND, payload, str(BOOT_SECONDS * 100)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=environment,
            start_new_session=True,
        )
        on_start(vm)
        lines = []
        bound = Bound(scenario.seconds)
        timer = threading.Thread(target=_stop_at, args=(vm, bound), daemon=True)
        timer.start()
        with vm:
            try:
                for line in vm.stdout or ():
                    lines.append(line)
                    bound.see(line)
                    on_line(line)
                status = vm.wait()
            finally:
                stop(vm)
                timer.join()
        if bound.passed():
            lines.append(f"=== stopped: {bound}\n")
        return Outcome(scenario, status, "".join(lines))


class Bound:
    """The time limit of one VM: BOOT_SECONDS to boot, then the scenario's own seconds.

    The guest reports how many times slower than a quiet machine it is; the scenario's
    seconds are multiplied by the highest number.
    """

    def __init__(self, seconds: int) -> None:
        self._seconds = seconds
        self._slowness = 0.0
        self._started = time.monotonic()
        self._end = self._started + BOOT_SECONDS

    def see(self, line: str) -> None:
        """Take a line of the console into account; systemd may have written into its end."""
        if match := re.match(r"slowness (\d+\.\d)", line):
            if not self._slowness:
                self._started = time.monotonic()
            self._slowness = max(self._slowness, float(match[1]))
            self._end = self._started + self._seconds * self._slowness

    def passed(self) -> bool:
        return time.monotonic() > self._end

    def __str__(self) -> str:
        if not self._slowness:
            return f"no boot within {BOOT_SECONDS} s"
        return f"{self._seconds} s on a machine that is {self._slowness} times slower"


def _stop_at(vm: VM, bound: Bound) -> None:
    while not bound.passed():
        with contextlib.suppress(subprocess.TimeoutExpired):
            vm.wait(1)
            return
    stop(vm)


def stop(vm: VM) -> None:
    """Kill a VM that still runs, with the process group that it leads."""
    if vm.poll() is None:
        os.killpg(vm.pid, signal.SIGKILL)
        vm.wait()
