# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""A daemon over the transport of a scenario's variant, and a host that it serves.

The transport is ``TRANSPORT`` in the environment of the VM, from the scenario's
``VARIANTS``.  This module runs in the VM, like `guest`.
"""

from __future__ import annotations

import os
import shutil

from tests.driver import guest
from tests.driver.lab.hvhost import S_OK, Host


def start() -> guest.Process:
    """Start the daemon on the existing pools, and wait until it is registered."""
    return guest.registered("--transport", os.environ["TRANSPORT"])


def fresh() -> tuple[guest.Process, Host]:
    """The daemon on new pools, and a host that has negotiated."""
    shutil.rmtree(guest.POOL_DIR, ignore_errors=True)
    daemon = start()
    host = Host(watch=daemon.must_run)
    assert host.negotiate() == S_OK
    return daemon, host
