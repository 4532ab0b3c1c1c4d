"""What this machine is and what runs on it, as far as the KVP service goes.

In: /sys, /proc, systemd, the journal.  Out: `Facts`, without any judgement.
Rule: what this user may not see is None, not "no"; nothing is changed.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field
from typing import Final

from hv_kvp_daemon.cli import arguments
from hv_kvp_daemon.service.options import POOL_DIRECTORY
from hv_kvp_daemon.service.status import DaemonStatus, StatusError, find
from hv_kvp_daemon.transport.chardev import DEVICE
from hv_kvp_daemon.transport.holders import device_holders, holders, process_name
from hv_kvp_daemon.wire.uapi import CN_KVP_IDX, NETLINK_CONNECTOR

from . import bytecode

# The GUID of Key-Value Pair Exchange (HV_KVP_GUID in linux/hyperv.h).
_KVP_CLASS: Final = "{a9a0f4e7-5a45-4d96-b827-8a841e8c03e6}"

#: Our unit; Debian's has the same name.  The others are RHEL's, Ubuntu's and SUSE's.
UNIT: Final = "hv-kvp-daemon.service"
_UNITS: Final = (
    UNIT,
    "hypervkvpd.service",
    "hv_kvp_daemon.service",
    "hyperv-daemons.hv-kvp-daemon.service",
)

# Seconds for systemctl and journalctl each.
_PATIENCE: Final = 15

# Denials of SELinux and AppArmor that name a daemon of ours or its files.
_DENIAL: Final = r"(avc: +denied|apparmor=.DENIED).*(hv.kvp|hyperv|kvp_pool)"


@dataclass
class Unit:
    """A unit of systemd as ``systemctl show`` has it."""

    name: str
    load: str = "not-found"
    active: str = "inactive"
    file_state: str = ""
    command: str = ""

    @property
    def is_ours(self) -> bool:
        """Whether it starts this project's daemon; the C daemon is ``hv_kvp_daemon``."""
        return os.path.basename(self.command) == "hv-kvp-daemon"


@dataclass
class Rival:
    """A process that talks to the driver and is not our daemon."""

    pid: int
    name: str
    way: str
    unit: str = ""


@dataclass
class Facts:
    """One machine at one moment."""

    root: bool = True
    hyperv: bool = True
    vmbus: bool = True
    offered: bool = True
    driver: bool = True
    device: bool = True
    connector: bool = True
    #: Whether the daemon (or, without one, this process) is outside the first namespace.
    other_namespace: bool | None = False
    daemon: DaemonStatus | None = None
    #: Why the daemon's state is unknown, if it is.
    daemon_unknown: str = ""
    rivals: list[Rival] = field(default_factory=list)
    systemd: bool = True
    units: dict[str, Unit] = field(default_factory=dict)
    pool_dir: str = POOL_DIRECTORY
    #: Where the other programs' name for the pools leads; None where it does not exist.
    others_dir: str | None = POOL_DIRECTORY
    denials: list[str] = field(default_factory=list)
    missing_bytecode: int = 0


def survey(pool_dir: str) -> Facts:
    """The facts of this machine."""
    facts = Facts(root=os.geteuid() == 0, pool_dir=os.path.realpath(pool_dir))
    # Where the device is there, the bus, the offer and the driver are.
    facts.device = os.path.exists(DEVICE)
    facts.vmbus = facts.device or os.path.isdir("/sys/bus/vmbus")
    facts.hyperv = facts.vmbus or _dmi("sys_vendor") == "Microsoft Corporation"
    facts.offered = facts.device or _offered()
    facts.driver = facts.device or os.path.isdir("/sys/bus/vmbus/drivers/hv_utils")
    facts.connector = os.path.exists("/proc/net/connector")
    try:
        facts.daemon = find()
    except OSError as error:
        facts.daemon_unknown = f"{error.filename}: {error.strerror}"
    except StatusError as error:
        facts.daemon_unknown = str(error)
    ours = facts.daemon.pid if facts.daemon else 0
    facts.other_namespace = _other_namespace(ours)
    facts.rivals = _rivals(ours)
    facts.systemd = os.path.isdir("/run/systemd/system")
    if facts.systemd:
        facts.units = units()
        facts.denials = _denials()
    if os.path.isdir(arguments.OTHER_DIRECTORY):
        facts.others_dir = os.path.realpath(arguments.OTHER_DIRECTORY)
    else:
        facts.others_dir = None
    facts.missing_bytecode = bytecode.missing()
    return facts


def _read(path: str) -> str:
    """A small file, or nothing where it is not there."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""


def _dmi(name: str) -> str:
    return _read(f"/sys/class/dmi/id/{name}")


def _offered() -> bool:
    """Whether the host offers the service to this guest."""
    devices = "/sys/bus/vmbus/devices"
    if not os.path.isdir(devices):
        return False
    return any(
        _read(f"{devices}/{name}/class_id") == _KVP_CLASS for name in os.listdir(devices)
    )


def _other_namespace(pid: int) -> bool | None:
    try:
        ours = os.readlink(f"/proc/{pid or 'self'}/ns/net")
        return ours != os.readlink("/proc/1/ns/net")
    except OSError:
        return None  # another user's process, or it has just ended


def _rivals(ours: int) -> list[Rival]:
    found = {pid: Rival(pid, name, f"holds {DEVICE}") for pid, name in device_holders(DEVICE)}
    for pid in holders({f"socket:[{inode}]" for inode in _group_inodes()}):
        found.setdefault(
            pid, Rival(pid, process_name(pid), f"listens to netlink group {CN_KVP_IDX}")
        )
    found.pop(ours, None)
    for rival in found.values():
        rival.unit = unit_of(rival.pid)
    return list(found.values())


def _group_inodes() -> set[str]:
    """Sockets of the connector that joined the driver's group, as /proc/net/netlink has them.

    ``sk Eth Pid Groups Rmem Wmem Dump Locks Drops Inode``.
    """
    bit = 1 << CN_KVP_IDX - 1
    rows = [line.split() for line in _read("/proc/net/netlink").splitlines()[1:]]
    return {
        row[9] for row in rows if int(row[1]) == NETLINK_CONNECTOR and int(row[3], 16) & bit
    }


def unit_of(pid: int) -> str:
    """The unit that a process belongs to, or nothing."""
    for line in _read(f"/proc/{pid}/cgroup").splitlines():
        name = line.rpartition("/")[2]
        if name.endswith(".service"):
            return name
    return ""


def units() -> dict[str, Unit]:
    """The units that start a KVP daemon, ours and others', as far as they are known."""
    properties = "Id,LoadState,ActiveState,UnitFileState,ExecStart"
    text = _output("systemctl", "show", f"--property={properties}", *_UNITS)
    found = {}
    for block in text.split("\n\n"):
        values = dict(line.partition("=")[::2] for line in block.splitlines())
        name = values.get("Id", "")
        if name and values.get("LoadState") != "not-found":
            command = values.get("ExecStart", "").partition("path=")[2].partition(" ;")[0]
            found[name] = Unit(
                name,
                values.get("LoadState", ""),
                values.get("ActiveState", ""),
                values.get("UnitFileState", ""),
                command,
            )
    return found


def _denials() -> list[str]:
    text = _output("journalctl", "--boot", "--grep", _DENIAL, "--output=cat", "--lines=3", "-q")
    return text.splitlines()


def _output(*argv: str) -> str:
    """What a command writes; nothing where it is missing, fails or takes too long."""
    try:
        done = subprocess.run(  # noqa: S603 - the commands above
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_PATIENCE,
            check=False,
            env={**os.environ, "LC_ALL": "C", "SYSTEMD_PAGER": ""},
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", "replace")
