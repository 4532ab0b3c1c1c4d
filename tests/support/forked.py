# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The daemon's main() in a forked child, in which a test has replaced parts of the guest.

For example, the resolver hangs, or the network managers are those of another root
directory.  `tests.support.process` runs the daemon as a program instead.
"""

from __future__ import annotations

import functools
import os
import signal
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, final

from hv_kvp_daemon.netconfig import injection
from hv_kvp_daemon.netconfig.config import adapter_config
from hv_kvp_daemon.service import dispatch
from hv_kvp_daemon.service.main import main
from tests.support.process import connect

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

    from tests.support.process import Peer


@final
class ForkedDaemon:
    """``with ForkedDaemon(prepare) as daemon``; ``prepare`` runs in the child.

    The programs and files of network managers are those below ``root``.  Leaving the context
    ends the daemon, which must exit with status 0.
    """

    def __init__(
        self, prepare: Callable[[], None] = lambda: None, *, options: tuple[str, ...] = ()
    ) -> None:
        # Not pytest's tmp_path: with a long test name a socket's path is too long.
        self._directory = tempfile.TemporaryDirectory(prefix="hv-kvp-test-")
        self.root = Path(self._directory.name)
        self._log = self.root / "log"
        self._prepare = prepare
        self._options = options
        self._ended = False

    def __enter__(self) -> Self:
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                os.dup2(os.open(self._log, os.O_CREAT | os.O_WRONLY | os.O_APPEND), 2)
                self._prepare()
                root = str(self.root)
                for name, function in (
                    ("adapter_config", adapter_config),
                    ("set_ip_info", injection.set_ip_info),
                ):
                    setattr(dispatch, name, functools.partial(function, root=root))
                injection.resume = functools.partial(injection.resume, root=root)
                words = ["-n", "--transport", f"loopback:{root}/host", *self._options]
                status = main([*words, "--pool-dir", f"{root}/pools"])
            finally:
                os._exit(status)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if not self._ended:
                assert self.stop() == 0, self.logged
        finally:
            self._directory.cleanup()

    def connect(self) -> closing[Peer]:
        """Wait until the daemon listens, and return a connected host."""
        return closing(connect(f"{self.root}/host"))

    @property
    def logged(self) -> str:
        return self._log.read_text()

    def stop(self) -> int:
        """Send SIGTERM; return the exit status."""
        os.kill(self.pid, signal.SIGTERM)
        self._ended = True
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
