# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""A booted Debian with this project installed from a directory, for `test_doctor`.

Its root directory is one of the network tests' lab.  It has no Hyper-V.  So a device node
stands in for the driver's, and a drop-in lets the unit serve a simulated host, which asks for
something ten times a second.
"""

from __future__ import annotations

import json
import shutil
import time
from typing import Any, Final, final

from tests.network.container import DAEMON, HERE, HOST, SOURCES, Container
from tests.support.external import run
from tests.support.process import wait_for

UNIT: Final = DAEMON
#: A copy, unlike the project's own directory, to be damaged.
HOME: Final = "/opt/hv-home"
_SUITE: Final = "bookworm"
_SECONDS: Final = 60.0

_DROP_IN: Final = f"""\
[Service]
ExecStart=
ExecStart={HOME}/bin/hv_kvp_daemon -n --clear-stale --transport loopback:{HOST}
ExecStartPost=ln -f {HOST}.status /run/hv-kvp-daemon/status
"""

_HOST_PROGRAM: Final = f"""\
import sys
import time
sys.path.insert(0, '{HOME}/lib')
from hv_kvp_daemon.simhost.errors import HostError
from hv_kvp_daemon.simhost.simulated_driver import SimulatedDriver
from hv_kvp_daemon.simhost.simulated_host import SimulatedHost
while True:
    try:
        with SimulatedHost(SimulatedDriver({HOST!r}, 20.0)) as host:
            while True:
                host.set(0, "asked", "value")
                time.sleep(0.1)
    except (HostError, OSError):
        time.sleep(0.1)
"""


@final
class Booted(Container):
    """``with Booted() as machine``: it has booted, the service is installed and serves."""

    hyperv = False

    def __init__(self) -> None:
        run(HERE / "setup", _SUITE)
        self._suite = _SUITE

    def run(self, command: str, *, check: bool = True) -> str:
        """Run a shell script in the machine as root; return its output."""
        path = f"PATH={HOME}/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return self.execute("env", path, "sh", "-euc", command, check=check)

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

    def _install(self) -> None:
        # Debian's python3 has the version of the machine, not that of this interpreter.
        package = self.root / HOME.lstrip("/") / "lib/hv_kvp_daemon"
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(SOURCES / "src/hv_kvp_daemon", package, ignore=ignored)
        for source, name in ("systemd",) * 2, ("completions",) * 2, ("docs/man", "man"):
            shutil.copytree(SOURCES / source, package / "data" / name)
        for name, module in (
            ("hv-kvp", "cli.main"),
            ("hv-kvp-daemon", "service.main"),
            ("hv_kvp_daemon", "service.main"),
        ):
            program = (
                f"#!{HOME}/bin/python3\nimport sys\nsys.path.insert(0, '{HOME}/lib')\n"
                f"from hv_kvp_daemon.{module} import main\nsys.exit(main())\n"
            )
            self.write(f"{HOME}/bin/{name}", program, 0o755)
        (self.root / HOME.lstrip("/") / "bin/python3").symlink_to("/usr/bin/python3")

    def _when_booted(self) -> None:
        self.run(f"python3 -m compileall -q {HOME}/lib")
        self.run("mkdir -p /dev/vmbus && mknod /dev/vmbus/hv_kvp c 1 3")
        self.write(f"/etc/systemd/system/{UNIT}.d/host.conf", _DROP_IN)
        self.write(f"{HOME}/host.py", _HOST_PROGRAM)
        self.run("hv-kvp install-service --yes")
        self.run(f"systemd-run --quiet --unit=host python3 {HOME}/host.py")
        self.wait_until_healthy()
