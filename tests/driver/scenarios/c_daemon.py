# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Tests of the lab itself: Debian's C daemon serves a host through the driver.

Everything on which other scenarios rely is used here once with a daemon whose behavior is
known: the ten automatic keys, changes on disk, an unbind that waits for the daemon,
hibernation, reloading.
"""

from __future__ import annotations

import os
import platform
import signal

from tests.driver import guest
from tests.driver.guest import wait_for
from tests.driver.lab import hvhost
from tests.driver.lab.hvhost import AUTO, AUTO_KEYS, E_FAIL, EXTERNAL, S_CONT, S_OK, Host

POOL_0 = os.path.join(guest.C_POOL_DIR, ".kvp_pool_0")


def check_the_ten_automatic_keys_are_in_order() -> None:
    guest.c_daemon()
    with Host() as host:
        assert host.negotiate() == S_OK
        items = list(host.items(AUTO))
    assert [key for key, _ in items] == AUTO_KEYS
    values = dict(items)
    assert values["FullyQualifiedDomainName"] == "kvp-guest.example.com"
    assert values["IntegrationServicesVersion"] == "3.1"
    assert values["OSBuildNumber"] == platform.release()
    assert values["ProcessorArchitecture"] == "x86_64"


def check_its_log_and_its_name_are_seen() -> None:
    with guest.Syslog() as log:
        daemon = guest.c_daemon()
        assert guest.pids() == {daemon.pid}
        wait_for("its first line", lambda: [x for x in log.lines() if "KVP starting" in x])


def check_set_enumerate_and_delete_reach_the_file() -> None:
    guest.c_daemon()
    with Host() as host:
        assert host.negotiate() == S_OK
        assert host.set(EXTERNAL, "ключ", "value \U0001f511") == S_OK
        assert host.set(EXTERNAL, "number", 4_000_000_000, hvhost.REG_U32) == S_OK
        assert host.set(EXTERNAL, "long", 1 << 63, hvhost.REG_U64) == S_OK
        expected = [
            ("ключ", "value \U0001f511"),
            ("number", "4000000000"),
            ("long", "9223372036854775808"),
        ]
        assert guest.records(POOL_0) == expected
        assert list(host.items(EXTERNAL)) == expected
        assert host.delete(EXTERNAL, "number") == S_OK
        assert host.delete(EXTERNAL, "number") == S_CONT
        assert host.enumerate(EXTERNAL, 2)[0] == S_CONT
        assert guest.records(POOL_0) == [expected[0], expected[2]]


def check_unbind_waits_for_the_daemon_and_bind_serves_the_next() -> None:
    first = guest.c_daemon()
    with Host() as host:
        assert host.negotiate() == S_OK
        first.freeze()
        guest.control("unbind")
        assert guest.driver_state() == "unbinding"
        assert os.path.exists(guest.DEVICE)
        first.send(signal.SIGCONT)
        # poll reports the unbind; the daemon closes the device, and exits when it cannot
        # reopen it.
        assert first.wait() == 1
        wait_for("driver unbound", lambda: guest.driver_state() == "unbound")
        assert not os.path.exists(guest.DEVICE)
        _assert_raises(OSError, host.negotiate)
        guest.control("bind")
        assert guest.driver_state() == "bound"
        _assert_raises(OSError, lambda: guest.control("bind"))
        second = guest.c_daemon()
        assert host.negotiate() == S_OK
        assert dict(host.items(AUTO))["IntegrationServicesVersion"] == "3.1"
        assert second.stop() == -signal.SIGTERM
    # If no process has the device open, there is nothing to wait for.
    guest.unbind()
    guest.control("bind")


def check_a_hibernation_costs_the_daemon_its_answer() -> None:
    daemon = guest.c_daemon()
    with Host() as host:
        assert host.negotiate() == S_OK
        daemon.freeze()
        request = host.post(hvhost.ENUMERATE, AUTO, bytes(4))
        guest.control("suspend")
        assert guest.driver_state() == "suspended"
        guest.control("resume")
        daemon.send(signal.SIGCONT)
        # The driver itself answers this request.  It refuses the daemon's late reply, at
        # which the daemon reopens the device and registers.
        assert host.negotiate() == S_OK
        wait_for("ten keys again", lambda: len(list(host.items(AUTO))) == 10)
        _assert_raises(hvhost.NoAnswerError, lambda: host.receive(request, timeout=0))
    assert daemon.status is None


def check_a_killed_daemon_fails_its_request_and_its_successor_serves() -> None:
    daemon = guest.c_daemon()
    with Host() as host:
        assert host.negotiate() == S_OK
        daemon.freeze()
        request = host.post(hvhost.ENUMERATE, AUTO, bytes(4))
        daemon.stop(signal.SIGKILL)
        assert host.receive(request)[0] == E_FAIL
        guest.c_daemon()
        assert len(list(host.items(AUTO))) == 10


def check_the_driver_can_be_reloaded() -> None:
    guest.unload_driver()
    assert not os.path.exists(guest.DEVICE)
    guest.load_driver()
    guest.c_daemon()
    with Host() as host:
        assert host.negotiate() == S_OK
        assert len(list(host.items(AUTO))) == 10


def _assert_raises(kind: type[Exception], function: object) -> None:
    assert callable(function)
    try:
        function()
    except kind:
        return
    raise AssertionError(f"{kind.__name__} was not raised")
