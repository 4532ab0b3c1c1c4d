# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""A booted Debian with one network manager, and the daemon as its service.

systemd-nspawn boots a root directory of the lab (``setup``) below an overlay, so the root
stays as it is.  The daemon runs under its own unit, with its sandbox and the units beside it,
but with a simulated host; that, the driver's device, which is an empty file, and ``device_id``
of eth0, which sysfs has for VMBus devices only, are all that is different from a guest.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from hv_kvp_daemon.wire.ipinfo import IpInfo, decode_ip, encode_ip_request
from hv_kvp_daemon.wire.message import decode_reply
from hv_kvp_daemon.wire.uapi import HV_S_OK, KVP_OP_SET_IP_INFO
from tests.support.external import run
from tests.support.process import Peer, connect, wait_for

from .managers import MAC, MANAGERS

if TYPE_CHECKING:
    from typing_extensions import Self

    from .managers import Manager

HERE = Path(__file__).parent
SOURCES = HERE.parents[1]
LAB = Path(
    os.environ.get("HVNETWORK_DIR")
    or f"{os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache'}/hv-kvp-network-lab"
)
SUITES = ("bookworm", "trixie")

#: The arguments of each `Container`; one worker of pytest-xdist has all tests of it.
GUESTS = [
    pytest.param(
        (suite, manager),
        id=f"{suite}-{manager.name}",
        marks=pytest.mark.xdist_group(f"{suite}-{manager.name}"),
    )
    for suite in SUITES
    for manager in MANAGERS
]

GUID = "f8615163-df3e-46c5-913f-f2d2f965ed0e"
ADAPTER = f"{{{GUID.upper()}}}".encode()
HOST = "/run/hv-kvp-daemon/host"
DEVICE = "/dev/vmbus/hv_kvp"
RECORD = f"/var/lib/hv-kvp-daemon/ip/{GUID}.json"
DAEMON = "hv-kvp.service"

# A container that boots beside busy neighbours.
BOOT = 180.0

# The exit status of systemd-nspawn.
_REBOOT = 133

_NET = "BindReadOnlyPaths=/var/lib/lab/net:/sys/class/net\n"
# The first argument are directories of control groups, the others a command.
_IN_GROUPS = """
for group in $1; do mkdir -p "$group" && echo $$ >"$group/cgroup.procs" || exit; done
shift
exec "$@"
"""

_PROGRAM = """#!/usr/bin/python3
import sys
sys.path.insert(0, "/opt/hv-kvp/src")
from hv_kvp_daemon.{module}.main import main
sys.exit(main())
"""
_FILES = {
    "/var/lib/lab/net/eth0/device/device_id": f"{{{GUID}}}\n",
    f"/etc/systemd/system/{DAEMON}.d/lab.conf": (
        "[Service]\nExecStart=\nExecStart=/usr/bin/hv_kvp_daemon -n --clear-stale"
        f" --transport loopback:{HOST} --ip-backend auto\n{_NET}"
    ),
    "/etc/systemd/system/hv-kvp-ip.service.d/lab.conf": f"[Service]\n{_NET}",
    "/etc/systemd/system/lan.service": (
        "[Unit]\nDefaultDependencies=no\nWants=network-pre.target\n"
        f"After=local-fs.target\nBefore=network-pre.target {DAEMON}\n"
        "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/usr/local/sbin/lan\n"
    ),
}


class Container:
    """``with Container(suite, manager) as guest``: it has booted, and the daemon serves."""

    lab = LAB
    hyperv = True

    def __init__(self, suite: str, manager: Manager) -> None:
        self.manager = manager
        self._suite = suite

    def __enter__(self) -> Self:
        self._directory = Path(tempfile.mkdtemp(prefix="hv-kvp-network-", dir="/var/tmp"))
        self._groups = _new_groups(self._directory.name)
        # A busy disk may take longer to sync a file than a host waits.
        run("mount", "-t", "tmpfs", "tmpfs", self._directory)
        self.root = self._directory / "root"
        for name in ("root", "upper", "work"):
            (self._directory / name).mkdir()
        (self._directory / "device").touch()
        layers = f"lowerdir={self.lab / self._suite},upperdir={self._directory}/upper"
        run(
            *("mount", "-t", "overlay", "overlay", self.root),
            *("-o", f"{layers},workdir={self._directory}/work"),
        )
        try:
            self._install()
            self._boot()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if hasattr(self, "_nspawn"):
            self._nspawn.terminate()  # It powers the container off.
            try:
                self._nspawn.wait(60)
            except subprocess.TimeoutExpired:
                self._nspawn.kill()
                self._nspawn.wait()
        run("umount", "--lazy", self.root)
        run("umount", "--lazy", self._directory)
        self._directory.rmdir()
        for group in self._groups:
            for directory, _names, _files in os.walk(group, topdown=False):
                # After a kill the container's processes end a moment later.
                wait_for("the end of its processes", functools.partial(_is_empty, directory))
                os.rmdir(directory)

    def _command(self, *words: str) -> list[str]:
        """Return a command that runs systemd-nspawn in control groups of its own.

        Without --register it makes the container's groups, ``payload`` and ``supervisor``, in
        that of the process that starts it.  The systemds of two containers there would remove
        each other's groups.  Killed tests leave no container: it is powered off.
        """
        device = [f"--bind={self._directory}/device:{DEVICE}"] if self.hyperv else []
        return [
            *("sh", "-c", _IN_GROUPS, "sh", " ".join(self._groups)),
            *("setpriv", "--pdeathsig=TERM"),
            *("systemd-nspawn", "--quiet", "--directory", os.fspath(self.root)),
            *("--register=no", "--keep-unit", "--private-network", "--resolv-conf=off"),
            *(f"--bind-ro={SOURCES}:/opt/hv-kvp", f"--machine=lab{os.getpid()}"),
            *device,
            *words,
        ]

    def _install(self) -> None:
        for path, text in {**_FILES, **self.manager.files}.items():
            self.write(path, text)
        for name, module in (("hv_kvp_daemon", "service"), ("hv-kvp", "cli")):
            self.write(f"/usr/bin/{name}", _PROGRAM.format(module=module), 0o755)
        self.write("/usr/local/sbin/lan", (HERE / "lan").read_text(), 0o755)
        subprocess.run(
            self._command("hv-kvp", "install-service", "--yes"), check=True, timeout=BOOT
        )
        run("systemctl", f"--root={self.root}", "enable", self.manager.unit)
        wants = self.root / "etc/systemd/system/sysinit.target.wants/lan.service"
        wants.parent.mkdir(parents=True, exist_ok=True)
        wants.symlink_to("/etc/systemd/system/lan.service")

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file of the container; for a manager's secret that others cannot read."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.is_symlink():
            file.unlink()
        file.write_text(text)
        file.chmod(0o600 if path.endswith((".yaml", ".nmconnection")) else mode)

    def remove(self, path: str) -> bool:
        """Remove a file; return whether there was one."""
        file = self.root / path.lstrip("/")
        was_there = file.exists()
        file.unlink(missing_ok=True)
        return was_there

    @property
    def _leader(self) -> str:
        pid = self._nspawn.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return children[0] if children else ""

    def run(self, command: str, *, check: bool = True) -> str:
        """Run a command, of words separated by blanks, and return its output."""
        return self.execute(*command.split(), check=check)

    def execute(self, *argv: str, check: bool = True) -> str:
        """Run a program, and return its output."""
        done = subprocess.run(
            [
                *("nsenter", "--all", "--target", self._leader, "--"),
                *("env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", *argv),
            ],
            check=False,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert not check or done.returncode == 0, f"{' '.join(argv)}: {done.stdout}"
        return done.stdout

    def _is_up(self) -> bool:
        assert self._nspawn.poll() is None, (self._directory / "console").read_text(
            errors="replace"
        )
        if not self._leader:
            return False
        state = self.run("systemctl is-system-running", check=False).strip()
        return state in {"running", "degraded"}

    def _boot(self) -> None:
        with (self._directory / "console").open("ab") as console:
            self._nspawn = subprocess.Popen(
                self._command("--boot"),
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
            )
        wait_for("the boot", self._is_up, BOOT)
        self._when_booted()

    def _when_booted(self) -> None:
        """Wait until the daemon serves."""
        self.connect().close()

    def reboot(self) -> None:
        """Boot again, and wait until the daemon serves."""
        self.run("systemctl reboot")
        # With --keep-unit it leaves the next boot to who has started it.
        assert self._nspawn.wait(BOOT) == _REBOOT
        self._boot()

    def power_cut(self) -> None:
        """Kill all at once and boot again, on the same disk."""
        os.kill(int(self._leader), signal.SIGKILL)
        self._nspawn.wait(BOOT)
        self._boot()

    def log(self, unit: str = DAEMON) -> str:
        """What a unit has logged since the boot, up to now."""
        self.run("journalctl --sync")
        return self.run(f"journalctl --boot --no-pager --output=cat --unit={unit}")

    def connect(self) -> Peer:
        """A host that is connected to the daemon."""
        return connect(f"/proc/{self._leader}/root{HOST}")

    def set_ip(self, info: IpInfo) -> int:
        """The daemon's status for SET_IP_INFO."""
        with closing(self.connect()) as peer:
            return peer.exchange(encode_ip_request(info, KVP_OP_SET_IP_INFO)).status

    def get_ip(self) -> IpInfo:
        """The daemon's answer to GET_IP_INFO."""
        with closing(self.connect()) as peer:
            peer.socket.send(encode_ip_request(IpInfo(MAC.encode())))
            reply = peer.socket.recv(9000)
        assert decode_reply(reply).status == HV_S_OK
        return decode_ip(reply)

    def addresses(self) -> set[str]:
        """The addresses of eth0 that are usable and not link-local."""
        (link,) = json.loads(self.run("ip -json address show dev eth0"))
        return {
            f"{each['local']}/{each['prefixlen']}"
            for each in link["addr_info"]
            if each["scope"] == "global" and not each.get("tentative")
        }

    def has_lease(self) -> bool:
        return any(each.startswith("192.0.2.1") for each in self.addresses())

    def is_automatic(self) -> bool:
        """Whether eth0 has what the server gives it, and nothing else."""
        has_ipv6 = any(each.startswith("2001:db8:1:") for each in self.addresses())
        return self.has_lease() and has_ipv6 and self.gateways() == {"192.0.2.1", "fe80::1"}

    def gateways(self) -> set[str]:
        found = set()
        for family in "-4", "-6":
            routes: list[dict[str, Any]] = json.loads(
                self.run(f"ip {family} -json route show default") or "[]"
            )
            # The kernel makes IPv6 routes of one metric one route.
            hops = [hop for route in routes for hop in (route, *route.get("nexthops", ()))]
            found |= {hop["gateway"] for hop in hops if "gateway" in hop}
        return found

    def carrier(self, state: str) -> None:
        """Set the other end of eth0 ``up`` or ``down``."""
        self.run(f"nsenter --net=/run/netns/lan ip link set cable {state}")

    def record(self) -> dict[str, Any]:
        path = self.root / RECORD.lstrip("/")
        return json.loads(path.read_text()) if path.exists() else {}

    def reload(self) -> None:
        """Have the manager read its files again, as an administrator does."""
        for command in self.manager.reload:
            self.run(command)


def _is_empty(group: str) -> bool:
    return not Path(group, "cgroup.procs").read_text()


def _new_groups(name: str) -> list[str]:
    """The directories of control groups below that of this process, which do not exist yet.

    One of cgroup v2 and, where it is mounted, one of systemd's hierarchy of cgroup v1.
    """
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    own = {hierarchy: path for _, hierarchy, path in (line.split(":", 2) for line in lines)}
    found = []
    for mount in psutil.disk_partitions(all=True):
        is_v1 = mount.fstype == "cgroup" and "name=systemd" in mount.opts.split(",")
        if is_v1 or mount.fstype == "cgroup2":
            path = own["name=systemd" if is_v1 else ""]
            found.append(os.path.normpath(f"{mount.mountpoint}/{path}/{name}"))
    return found
