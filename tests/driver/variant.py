"""The daemon over the transport of a scenario's variant, ``TRANSPORT`` in its ``VARIANTS``.

In: the environment of the VM.  Out: a daemon that the driver knows, and a host
that it serves.  Runs in the VM as `guest` does.
"""

from __future__ import annotations

import os
import shutil

from tests.driver import guest
from tests.driver.lab.hvhost import S_OK, Host


def start() -> guest.Process:
    """Start the daemon on the pools that are there, and wait until the driver knows it."""
    return guest.registered("--transport", os.environ["TRANSPORT"])


def fresh() -> tuple[guest.Process, Host]:
    """The daemon on new pools, and a host that has negotiated."""
    shutil.rmtree(guest.POOL_DIR, ignore_errors=True)
    daemon = start()
    host = Host(watch=daemon.must_run)
    assert host.negotiate() == S_OK
    return daemon, host
