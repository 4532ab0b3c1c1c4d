"""Whether the KVP driver is there, and whether it may be spoken to yet.

The driver can be reached before it is ready: `hvutil_transport_init` registers the
character device and then the connector callback, but the pointer by which the driver
answers (`hvt` in hv_kvp.c) is stored only after it has returned.  A daemon that opens
the device or sends a registration in between makes the kernel follow a NULL pointer.
The daemon is killed with the driver's lock held, KVP is dead until a reboot, and with
panic_on_oops the machine goes down (measured on 6.1, 6.12 and 7.3; before 6.13 and its
stable updates the channel's ring buffer is missing at that moment, too).

The window is some microseconds wide, or as long as the hypervisor takes the virtual CPU
away.  The kernel does not say when it is over, so a driver is left alone for `SETTLE`
seconds after it appeared.  That is known from the uevent that announces the device, or,
at start, from the ctime of its node: devtmpfs makes a new node for each registration.
While the module's own initialization has not ended (`initstate` is "coming"), the driver
is not ready however old the node is.
"""

from __future__ import annotations

import os
import time

DEVICE = "/dev/vmbus/hv_kvp"

#: Seconds to leave a new driver alone.
SETTLE = 1.0

# The device is a misc device of this name, also where there is no devtmpfs.
_CLASS = "sys/class/misc"
_SYSFS_NODE = f"{_CLASS}/vmbus!hv_kvp"
_INITSTATE = "sys/module/hv_utils/initstate"


class Driver:
    """The driver as the file system shows it; ``root`` is where /dev and /sys are."""

    def __init__(self, root: str = "/") -> None:
        self._root = root
        self._node: tuple[int, int] | None = None
        self._seen = 0.0
        self._announced = False

    def appeared(self) -> None:
        """Note that the kernel has just announced the device."""
        self._node = self._find()[0]
        self._seen = time.monotonic()
        self._announced = True

    def delay(self) -> float | None:
        """Seconds until the driver may be spoken to, 0.0 for now; None: it is not there.

        Ask right before opening the device or registering: the driver may have been
        loaded again since the last time.
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
            # A ctime in the future says only that the clock has been set back.
            age = max(age, time.time() - changed)
        return max(0.0, SETTLE - age)

    def _find(self) -> tuple[tuple[int, int] | None, float]:
        """What the node is known by, and its ctime.

        Without a node (no devtmpfs) sysfs shows the device; without that as well, its
        presence cannot be told, and it counts as present since the first look.
        """
        for path in (DEVICE, _SYSFS_NODE):
            try:
                status = os.stat(os.path.join(self._root, path.lstrip("/")))
            except OSError:
                continue
            # sysfs makes its inodes when somebody looks, so their ctime is not the driver's.
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
            return False  # built in, or no sysfs: the age has to do
