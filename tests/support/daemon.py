# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""A daemon process over loopback, with its own pool directory, for tests of any room."""

from __future__ import annotations

import resource
import tempfile
from typing import final

from hv_kvp_daemon.pools.directory import pool_path
from hv_kvp_daemon.pools.pool import PoolFile
from hv_kvp_daemon.simhost.daemon_process import DaemonProcess
from hv_kvp_daemon.simhost.simulated_driver import SimulatedDriver
from hv_kvp_daemon.simhost.simulated_host import SimulatedHost
from tests.support.process import DEADLINE


@final
class RunningDaemon(DaemonProcess):
    """``with RunningDaemon() as daemon``: started, listening at ``path``.

    ``directory`` is removed at the end; ``pool_dir`` is in it.  The other methods are those
    of `DaemonProcess`: start, stop (returns the exit status), kill, pid, stderr.  To test
    what happens before READY=1, use `tests.support.process`.
    """

    def __init__(self, *options: str) -> None:
        # Not pytest's tmp_path: with a long test name a socket's path is too long.
        self._directory = tempfile.TemporaryDirectory(prefix="hv-kvp-test-")
        self.directory = self._directory.name
        self.path = f"{self.directory}/host"
        self.pool_dir = f"{self.directory}/pools"
        transport = f"loopback:{self.path}"
        super().__init__(
            "-n",
            "--transport",
            transport,
            "--pool-dir",
            self.pool_dir,
            *options,
            timeout=DEADLINE,
        )

    def close(self) -> None:
        try:
            super().close()
        finally:
            self._directory.cleanup()

    def host(self, timeout: float = DEADLINE) -> SimulatedHost:
        """A connected host; ``timeout`` is in seconds, for each reply."""
        return SimulatedHost(SimulatedDriver(self.path, timeout))

    def pool(self, number: int) -> PoolFile:
        """A pool as a program of the guest uses it; its warnings are errors."""
        return PoolFile(number, pool_path(self.pool_dir, number), report=_fail, sync=False)

    def records(self, number: int) -> list[tuple[bytes, bytes]]:
        """The keys and values in a pool's file."""
        pool = self.pool(number)
        try:
            return [(record.key, record.value) for record in pool.records()]
        finally:
            pool.close()

    def limit_file_size(self, size: int) -> None:
        """Let the kernel refuse the daemon's writes beyond an offset (EFBIG)."""
        _, hard = resource.prlimit(self.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (size, hard))


def _fail(report: str) -> None:
    raise AssertionError(report)
