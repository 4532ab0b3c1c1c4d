# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The host sets one key and reads it back, over the netlink connector."""

from __future__ import annotations

from tests.driver import guest
from tests.driver.lab.hvhost import EXTERNAL, S_CONT, S_OK, Host


def check_a_key_that_the_host_sets_is_on_disk_and_is_enumerated() -> None:
    daemon = guest.daemon(
        "--foreground", "--transport", "netlink", "--pool-dir", guest.POOL_DIR
    )
    with Host(watch=daemon.must_run) as host:
        assert host.negotiate() == S_OK
        assert host.set(EXTERNAL, "first key", "first välue") == S_OK
        assert host.enumerate(EXTERNAL, 0) == (S_OK, "first key", "first välue")
        assert host.enumerate(EXTERNAL, 1) == (S_CONT, "", "")
    assert guest.records(guest.pool(EXTERNAL)) == [("first key", "first välue")]
    assert daemon.status is None
    assert daemon.stop() == 0
    assert "Traceback" not in daemon.stderr
