# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Facts about this machine and its processes that matter to the KVP service.

They come from /sys, /proc, systemd and the journal; nothing is changed.  What this user may
not see is None.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass, field
from typing import Final

from hv_kvp_daemon.service.status import DaemonStatus, StatusError, find
from hv_kvp_daemon.service.status_page import PATH, start_ticks
from hv_kvp_daemon.transport.driver import DEVICE
from hv_kvp_daemon.transport.holders import (
    device_holders,
    group_inodes,
    holders,
    process_name,
)
from hv_kvp_daemon.wire.uapi import CN_KVP_IDX

from . import bytecode
from .address_facts import AddressFacts, gather_addresses
from .pool_facts import PoolFacts, gather_pools
from .process_state import Stall, find_stall, parent
from .unit_facts import UnitFacts, gather_units, unit_of

_VENDOR: Final = "/sys/class/dmi/id/sys_vendor"

# The GUID of Key-Value Pair Exchange (HV_KVP_GUID in linux/hyperv.h).
_KVP_CLASS: Final = "{a9a0f4e7-5a45-4d96-b827-8a841e8c03e6}"

# Where a fault happened in the driver's code: x86 writes "RIP: 0010:name+0x1c/0x90 [hv_utils]",
# arm64 "pc : name+0x1c/0x90 [hv_utils]".
_DRIVER_FAULT: Final = re.compile(r"\b(?:RIP|pc) ?: .*?\b(?:hvutil|hvt|kvp|hv_kvp)_\w+\+0x")

# Longer than any record of /dev/kmsg (kernel/printk/printk.c, CONSOLE_EXT_LOG_MAX).
_KMSG_RECORD: Final = 8192


@dataclass
class Rival:
    """A process that talks to the driver and is not our daemon; ``way`` says how.

    ``listens`` if it is a member of the netlink group, not a holder of the device.
    """

    pid: int
    name: str
    way: str
    unit: str = ""
    listens: bool = False


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
    #: Why this user may not see the daemon's state, if that is so.
    daemon_unknown: str = ""
    #: Why the status page cannot be understood, if that is so.
    page_fault: str = ""
    #: The daemon's process, also where there is no page or none that can be read; or 0.
    daemon_pid: int = 0
    #: Seconds since that process started.
    daemon_age: float = 0.0
    #: The unit of that process, or nothing.
    daemon_unit: str = ""
    stall: Stall | None = None
    rivals: list[Rival] = field(default_factory=list)
    units: UnitFacts = field(default_factory=UnitFacts)
    pools: PoolFacts = field(default_factory=PoolFacts)
    addresses: AddressFacts = field(default_factory=AddressFacts)
    missing_bytecode: int = 0


def gather(pool_dir: str, status_page: str = PATH) -> Facts:
    """Return the facts about this machine, and the daemon whose status page this is."""
    facts = Facts(root=os.geteuid() == 0)
    # Where the device exists, so do the bus, the offer and the driver.
    facts.device = os.path.exists(DEVICE)
    facts.vmbus = facts.device or os.path.isdir("/sys/bus/vmbus")
    facts.hyperv = facts.vmbus or _read(_VENDOR) == "Microsoft Corporation"
    facts.offered = facts.device or _offered()
    facts.driver = facts.device or os.path.isdir("/sys/bus/vmbus/drivers/hv_utils")
    facts.driver_fault = driver_fault()
    facts.connector = os.path.exists("/proc/net/connector")
    facts.units = gather_units()
    _find_daemon(facts, status_page)
    facts.other_namespace = _other_namespace(facts.daemon_pid)
    facts.rivals = _rivals(facts.daemon_pid)
    facts.pools = gather_pools(pool_dir, facts.daemon_pid)
    facts.addresses = gather_addresses()
    facts.missing_bytecode = bytecode.missing()
    return facts


def _find_daemon(facts: Facts, status_page: str) -> None:
    """Find the daemon by its page, else by its lock or as the main process of our unit.

    A daemon takes its lock before it has a page, which it publishes once it serves.
    """
    try:
        facts.daemon = find(status_page)
    except OSError as error:
        facts.daemon_unknown = f"{error.filename}: {error.strerror}"
    except StatusError as error:
        facts.page_fault, facts.daemon_pid = str(error), error.pid
    if facts.daemon:
        facts.daemon_pid = facts.daemon.pid
    elif not facts.daemon_pid:
        # A child that looks up a name has the lock's file open, too.
        pids = {*holders({f"{os.path.dirname(os.path.realpath(status_page))}/lock"})}
        ours = facts.units.ours
        facts.daemon_pid = next(
            (pid for pid in pids if parent(pid) not in pids), ours.main_pid if ours else 0
        )
    ticks = start_ticks(facts.daemon_pid)
    if not ticks:
        facts.daemon, facts.daemon_pid = None, 0  # it has ended meanwhile
    else:
        started = ticks / os.sysconf("SC_CLK_TCK")
        facts.daemon_age = time.clock_gettime(time.CLOCK_BOOTTIME) - started
        facts.daemon_unit = unit_of(facts.daemon_pid)
        facts.stall = find_stall(facts.daemon_pid)


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
    """Return the processes that use the driver, but for the daemon and its children.

    A child that looks up a name has the daemon's descriptors.
    """
    found = {pid: Rival(pid, name, f"holds {DEVICE}") for pid, name in device_holders(DEVICE)}
    for pid in holders({f"socket:[{inode}]" for inode in group_inodes(CN_KVP_IDX)}):
        way = f"listens to netlink group {CN_KVP_IDX}"
        found.setdefault(pid, Rival(pid, process_name(pid), way, listens=True))
    for rival in found.values():
        rival.unit = unit_of(rival.pid)
    return [each for each in found.values() if not ours or ours not in _family(each.pid)]


def _family(pid: int) -> tuple[int, int]:
    return pid, parent(pid)
