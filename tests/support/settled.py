# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Waits until the next write of a file is certain to change its times."""

from __future__ import annotations

import os
import time

from hv_kvp_daemon.pools.file_version import RACY_NS
from tests.support.process import wait_for


def wait_until_settled(path: str) -> None:
    """Wait until the file's times are older than a clock tick; ctime cannot be set back."""
    wait_for(f"{path} to settle", lambda: time.time_ns() - os.stat(path).st_ctime_ns > RACY_NS)
