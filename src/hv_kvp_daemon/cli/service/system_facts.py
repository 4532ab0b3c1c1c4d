"""Facts about this machine and its processes that matter to the KVP service.

They come from /sys, /proc, systemd and the journal; nothing is changed.  What this user may
not see is None.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass, field
from typing import Final

from hv_kvp_daemon.pools.place import (
    OTHER_DIRECTORY,
    POOL_DIRECTORY,
    has_records,
    is_read_only,
)
from hv_kvp_daemon.service.options import PROGRAM
from hv_kvp_daemon.service.program import PROCESS_NAME, is_script
from hv_kvp_daemon.service.status import DaemonStatus, StatusError, find
from hv_kvp_daemon.service.status_page import PATH
from hv_kvp_daemon.transport.driver import DEVICE
from hv_kvp_daemon.transport.holders import (
    device_holders,
    group_inodes,
    holders,
    process_name,
)
from hv_kvp_daemon.wire.uapi import CN_KVP_IDX

from . import bytecode
from .unit_files import OTHER_UNITS, UNIT

_VENDOR: Final = "/sys/class/dmi/id/sys_vendor"

# The GUID of Key-Value Pair Exchange (HV_KVP_GUID in linux/hyperv.h).
_KVP_CLASS: Final = "{a9a0f4e7-5a45-4d96-b827-8a841e8c03e6}"

# Seconds for systemctl and journalctl each.
_PATIENCE: Final = 15

_JOURNAL: Final = ("journalctl", "--boot", "--output=cat", "--lines=3", "-q")

# Where a fault happened in the driver's code: x86 writes "RIP: 0010:name+0x1c/0x90 [hv_utils]",
# arm64 "pc : name+0x1c/0x90 [hv_utils]".
_DRIVER_FAULT: Final = re.compile(r"\b(?:RIP|pc) ?: .*?\b(?:hvutil|hvt|kvp|hv_kvp)_\w+\+0x")

# Longer than any record of /dev/kmsg (kernel/printk/printk.c, CONSOLE_EXT_LOG_MAX).
_KMSG_RECORD: Final = 8192

# Denials by SELinux and AppArmor that name a KVP daemon or its files.
_DENIAL: Final = r"(avc: +denied|apparmor=.DENIED).*(hv.kvp|hyperv|kvp_pool)"


@dataclass
class Unit:
    """A unit of systemd, with properties from ``systemctl show``."""

    name: str
    load: str = "not-found"
    active: str = "inactive"
    file_state: str = ""
    command: str = ""

    @property
    def is_ours(self) -> bool:
        """Whether it starts this project's daemon.

        A program called hv_kvp_daemon may be the C daemon, which is no script.
        """
        name = os.path.basename(self.command)
        return name == PROGRAM or (name == PROCESS_NAME and is_script(self.command))


@dataclass
class Rival:
    """A process that talks to the driver and is not our daemon; ``way`` says how."""

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
    #: The line of the kernel's log that says that the driver has crashed since the boot.
    driver_fault: str = ""
    connector: bool = True
    #: Whether the daemon, or else this process, has another network namespace than init.
    other_namespace: bool | None = False
    daemon: DaemonStatus | None = None
    #: Why the daemon's state is unknown, if it is.
    daemon_unknown: str = ""
    rivals: list[Rival] = field(default_factory=list)
    systemd: bool = True
    units: dict[str, Unit] = field(default_factory=dict)
    pool_dir: str = POOL_DIRECTORY
    #: Where OTHER_DIRECTORY leads; None where it does not exist.
    others_dir: str | None = POOL_DIRECTORY
    others_have_records: bool = False
    #: Whether the daemon sees another directory there than this process, or a read-only one.
    pool_dir_replaced: bool = False
    denials: list[str] = field(default_factory=list)
    missing_bytecode: int = 0


def gather(pool_dir: str, status_page: str = PATH) -> Facts:
    """Return the facts about this machine, and the daemon whose status page this is."""
    facts = Facts(root=os.geteuid() == 0, pool_dir=os.path.realpath(pool_dir))
    # Where the device exists, so do the bus, the offer and the driver.
    facts.device = os.path.exists(DEVICE)
    facts.vmbus = facts.device or os.path.isdir("/sys/bus/vmbus")
    facts.hyperv = facts.vmbus or _read(_VENDOR) == "Microsoft Corporation"
    facts.offered = facts.device or _offered()
    facts.driver = facts.device or os.path.isdir("/sys/bus/vmbus/drivers/hv_utils")
    facts.driver_fault = driver_fault()
    facts.connector = os.path.exists("/proc/net/connector")
    try:
        facts.daemon = find(status_page)
    except OSError as error:
        facts.daemon_unknown = f"{error.filename}: {error.strerror}"
    except StatusError as error:
        facts.daemon_unknown = str(error)
    if facts.daemon:
        facts.pool_dir_replaced = pool_dir_replaced(facts.daemon.pid, facts.daemon.pool_dir)
    ours = facts.daemon.pid if facts.daemon else 0
    facts.other_namespace = _other_namespace(ours)
    facts.rivals = _rivals(ours)
    facts.systemd = os.path.isdir("/run/systemd/system")
    if facts.systemd:
        facts.units = units()
        facts.denials = _output(*_JOURNAL, "--grep", _DENIAL).splitlines()
    other = OTHER_DIRECTORY
    facts.others_dir = os.path.realpath(other) if os.path.isdir(other) else None
    facts.others_have_records = has_records(other)
    facts.missing_bytecode = bytecode.missing()
    return facts


def _read(path: str) -> str:
    """Return the text of a small file, empty where it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""


def driver_fault(path: str = "/dev/kmsg") -> str:
    """Return the kernel's line about a fault in the KVP driver, if its log has one.

    Nothing as well where this user may not read the log.  A driver that has crashed holds
    its lock for ever, so that nothing but a reboot brings the service back.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        while True:
            try:
                record = os.read(fd, _KMSG_RECORD)
            except BlockingIOError:
                return ""  # the end of the log
            except BrokenPipeError:
                continue  # the next record was overwritten; the one after it is read next
            if not record:
                return ""
            for line in record.decode("utf-8", "replace").splitlines():
                if _DRIVER_FAULT.search(line):
                    return line.partition(";")[2] or line
    finally:
        os.close(fd)


def pool_dir_replaced(pid: int, pool_dir: str) -> bool:
    """Whether a daemon cannot reach its pool directory any more.

    In its mount namespace another directory is at the path, or what is there is read-only
    and is not so here.  False as well if this user may not look.
    """
    seen = f"/proc/{pid}/root{os.path.realpath(pool_dir)}"
    try:
        same = os.path.samestat(os.stat(seen), os.stat(pool_dir))
    except OSError:
        return False
    return not same or (is_read_only(seen) and not is_read_only(pool_dir))


def _offered() -> bool:
    """Return whether the host offers the service to this guest."""
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
    for pid in holders({f"socket:[{inode}]" for inode in group_inodes(CN_KVP_IDX)}):
        found.setdefault(
            pid, Rival(pid, process_name(pid), f"listens to netlink group {CN_KVP_IDX}")
        )
    found.pop(ours, None)
    for rival in found.values():
        rival.unit = unit_of(rival.pid)
    return list(found.values())


def unit_of(pid: int) -> str:
    """Return the unit that a process belongs to, or nothing."""
    for line in _read(f"/proc/{pid}/cgroup").splitlines():
        name = line.rpartition("/")[2]
        if name.endswith(".service"):
            return name
    return ""


def units() -> dict[str, Unit]:
    """Return the known units that start a KVP daemon, ours and other projects'."""
    states = ("LoadState", "ActiveState", "UnitFileState")
    properties = f"--property=Id,ExecStart,{','.join(states)}"
    text = _output("systemctl", "show", properties, UNIT, *OTHER_UNITS)
    found = {}
    for block in text.split("\n\n"):
        values = dict(line.partition("=")[::2] for line in block.splitlines())
        name = values.get("Id", "")
        if name and values.get("LoadState") != "not-found":
            command = values.get("ExecStart", "").partition("path=")[2].partition(" ;")[0]
            load, active, file_state = (values.get(state, "") for state in states)
            found[name] = Unit(name, load, active, file_state, command)
    return found


def _output(*argv: str) -> str:
    """Return what a command writes; nothing where it is missing or takes too long."""
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
