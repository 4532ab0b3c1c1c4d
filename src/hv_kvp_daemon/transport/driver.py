# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Whether the KVP driver is loaded, and whether it is ready for a daemon.

The driver can be reached before it is ready.  `hvutil_transport_init` registers the
character device and then the connector callback, but hv_kvp.c stores the pointer through
which it answers (`hvt`) only after that function has returned.  If a daemon opens the
device or sends a registration in between, the kernel dereferences a NULL pointer: the
daemon is killed while it holds the driver's lock, KVP does not work until a reboot, and
with panic_on_oops the machine crashes (measured on 6.1, 6.12 and 7.3).  Before 6.13 and
its stable updates, the channel's ring buffer is missing at that moment, too.

The window lasts some microseconds, or as long as the hypervisor does not run the virtual
CPU.  The kernel does not announce its end, so the daemon waits `SETTLE` seconds after the
driver has appeared.  It learns that time from the uevent that announces the device or, at
start, from the ctime of the device node: devtmpfs creates a new node for each registration.
While the module is being initialized (`initstate` is "coming"), the driver is not ready,
whatever the age of the node.
"""

from __future__ import annotations

import os
import time

DEVICE = "/dev/vmbus/hv_kvp"

#: Seconds to wait after the driver has appeared.
SETTLE = 1.0

# sysfs has the misc device under this name, also without devtmpfs.
_CLASS = "sys/class/misc"
_SYSFS_NODE = f"{_CLASS}/vmbus!hv_kvp"
_INITSTATE = "sys/module/hv_utils/initstate"


class Driver:
    """The driver's state as /dev and /sys below ``root`` show it."""

    def __init__(self, root: str = "/") -> None:
        self._root = root
        self._node: tuple[int, int] | None = None
        self._seen = 0.0
        self._announced = False

    def appeared(self) -> None:
        """Store that the kernel has just announced the device."""
        self._node = self._find()[0]
        self._seen = time.monotonic()
        self._announced = True

    def delay(self) -> float | None:
        """Return the seconds until the driver is ready, 0.0 if it is; None without a driver.

        Call this right before opening the device or registering: the driver may have been
        reloaded since the last call.
        """
        node, changed = self._find()
        now = time.monotonic()
        if node != self._node:
            self._node, self._seen, self._announced = node, now, False
        if node is None:
            return None
        if self._is_coming():
            return SETTLE
        age = now - self._seen
        if not self._announced:
            # A ctime in the future means that the clock has been set back.
            age = max(age, time.time() - changed)
        return max(0.0, SETTLE - age)

    def _find(self) -> tuple[tuple[int, int] | None, float]:
        """Return the identity of the device node, or None, and its ctime.

        If there is no node (no devtmpfs), the device's directory in sysfs takes its place.
        Without sysfs the driver's presence is unknown: it counts as present since the
        first call.
        """
        for path in (DEVICE, _SYSFS_NODE):
            try:
                status = os.stat(os.path.join(self._root, path.lstrip("/")))
            except OSError:
                continue
            # sysfs creates its inodes at the first lookup, so their ctime is not the driver's.
            changed = status.st_ctime if path == DEVICE else time.time()
            return (status.st_dev, status.st_ino), changed
        if os.path.isdir(os.path.join(self._root, _CLASS)):
            return None, 0.0
        return (0, 0), time.time()

    def _is_coming(self) -> bool:
        try:
            with open(os.path.join(self._root, _INITSTATE), encoding="ascii") as file:
                return file.read() == "coming\n"
        except OSError:
            return False  # built in, or no sysfs: only the age counts
