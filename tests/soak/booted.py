# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""A Debian machine that is booted by systemd-nspawn, with this project installed.

It is made by debootstrap once, and kept in the cache of `tools`.  It has a network of its
own and no Hyper-V.  So a device node stands in for the driver's, and a drop-in lets the unit
serve a simulated host, which asks for something ten times a second.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, Final, final

from tests.support.process import wait_for

from . import tools

if TYPE_CHECKING:
    from typing_extensions import Self

SUITE: Final = "bookworm"
UNIT: Final = "hv-kvp.service"
HOME: Final = "/opt/hv-kvp"
_SECONDS: Final = 60.0
_SOCKET: Final = "/run/hv-kvp-daemon/host"
_ENVIRONMENT: Final = {
    "PATH": f"{HOME}/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C.UTF-8",
    "TERM": "dumb",
}

# systemd-nspawn expects /run to be a tmpfs, which it is not in every container.
_NSPAWN: Final = (
    "mkdir -p /run/systemd && mount -t tmpfs none /run/systemd"
    ' && exec systemd-nspawn --quiet --register=no --keep-unit --private-network "$@"'
)

_DROP_IN: Final = f"""\
[Service]
ExecStart=
ExecStart={HOME}/bin/hv_kvp_daemon -n --clear-stale --transport loopback:{_SOCKET}
ExecStartPost=ln -f {_SOCKET}.status /run/hv-kvp-daemon/status
"""

_HOST: Final = f"""\
import time
from hv_kvp_daemon.simhost.errors import HostError
from hv_kvp_daemon.simhost.simulated_driver import SimulatedDriver
from hv_kvp_daemon.simhost.simulated_host import SimulatedHost
while True:
    try:
        with SimulatedHost(SimulatedDriver({_SOCKET!r}, 20.0)) as host:
            while True:
                host.set(0, "asked", "value")
                time.sleep(0.1)
    except (HostError, OSError):
        time.sleep(0.1)
"""


@final
class Booted:
    """``with Booted() as machine``: booted, the service installed and serving."""

    def __init__(self) -> None:
        self.root = tools.debian(SUITE, "python3", "python3-psutil", "procps")
        self._process: subprocess.Popen[bytes] | None = None
        self._init = 0

    def __enter__(self) -> Self:
        self._make()
        self._process = subprocess.Popen(
            [
                "unshare",
                "--mount",
                "sh",
                "-c",
                _NSPAWN,
                "sh",
                "-D",
                self.root,
                "--boot",
                "--console=pipe",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_for("the boot", self._is_up, _SECONDS)
            self._set_up()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def run(self, script: str, *, check: bool = True) -> str:
        """Run a shell script in the machine as root; return its standard output."""
        done = subprocess.run(
            ["nsenter", "--target", str(self._init), "--all", "sh", "-euc", script],
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            env=_ENVIRONMENT,
        )
        if check:
            assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
        return done.stdout

    def write(self, path: str, text: str) -> None:
        """Write a file of the machine."""
        os.makedirs(os.path.dirname(self.root + path), exist_ok=True)
        with open(self.root + path, "w", encoding="utf-8") as file:
            file.write(text)

    def problems(self) -> list[dict[str, Any]]:
        """What ``hv-kvp doctor`` calls a problem, in the form of its JSON."""
        found = json.loads(self.run("hv-kvp doctor --json", check=False))
        return [each for each in found if each["state"] == "problem"]

    def wait_until_healthy(self) -> None:
        """Wait until doctor finds nothing, and the host's requests succeed."""
        ends = time.monotonic() + _SECONDS
        while problems := self.problems():
            assert time.monotonic() < ends, problems
        wait_for("status 0", lambda: "Daemon: serving, hv" in self.run("hv-kvp status || :"))

    def _make(self) -> None:
        for state in ("etc/systemd/system", "etc/udev/rules.d", "etc/tmpfiles.d", "opt"):
            _empty(f"{self.root}/{state}", "hv")
        _empty(f"{self.root}/usr/lib/systemd/system", "hypervkvpd")
        for state in ("var/opt", "var/lib", "usr/local/lib/systemd/system"):
            _empty(f"{self.root}/{state}", "hyperv", "hv")
        # Debian's python3 has the version of the machine, not that of this interpreter.
        package = f"{self.root}{HOME}/lib/hv_kvp_daemon"
        shutil.copytree(
            os.path.join(tools.ROOT, "src/hv_kvp_daemon"),
            package,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        for name in ("systemd", "completions"):
            shutil.copytree(os.path.join(tools.ROOT, name), f"{package}/data/{name}")
        shutil.copytree(os.path.join(tools.ROOT, "docs/man"), f"{package}/data/man")
        for name, module in (
            ("hv-kvp", "cli.main"),
            ("hv-kvp-daemon", "service.main"),
            ("hv_kvp_daemon", "service.main"),
        ):
            self.write(
                f"{HOME}/bin/{name}",
                f"#!{HOME}/bin/python3\nimport sys\nsys.path.insert(0, '{HOME}/lib')\n"
                f"from hv_kvp_daemon.{module} import main\nsys.exit(main())\n",
            )
            os.chmod(f"{self.root}{HOME}/bin/{name}", 0o755)
        os.symlink("/usr/bin/python3", f"{self.root}{HOME}/bin/python3")

    def _is_up(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "it has ended"
        children = f"/proc/{self._process.pid}/task/{self._process.pid}/children"
        with open(children, encoding="ascii") as file:
            pids = file.read().split()
        if not pids:
            return False
        self._init = int(pids[0])
        state = self.run("systemctl is-system-running || :", check=False)
        return state.strip() in {"running", "degraded"}

    def _set_up(self) -> None:
        self.run(f"python3 -m compileall -q {HOME}/lib")
        self.run("mkdir -p /dev/vmbus && mknod /dev/vmbus/hv_kvp c 1 3")
        self.write(f"/etc/systemd/system/{UNIT}.d/host.conf", _DROP_IN)
        self.write(f"{HOME}/host.py", f"import sys\nsys.path.insert(0, '{HOME}/lib')\n{_HOST}")
        self.run("hv-kvp install-service --yes")
        self.run(f"systemd-run --quiet --unit=host python3 {HOME}/host.py")
        self.wait_until_healthy()


def _empty(directory: str, *prefixes: str) -> None:
    """Remove what earlier runs have left."""
    for name in os.listdir(directory) if os.path.isdir(directory) else ():
        if name.startswith(prefixes):
            path = os.path.join(directory, name)
            if os.path.islink(path) or not os.path.isdir(path):
                os.unlink(path)
            else:
                shutil.rmtree(path)


if __name__ == "__main__":
    with Booted() as booted:
        print(booted.run(" ".join(sys.argv[1:]) or "hv-kvp doctor; hv-kvp status"))
