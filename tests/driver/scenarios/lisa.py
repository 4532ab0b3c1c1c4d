# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The checks of LISA's and LISAv2's KVP suites that need no Windows, by their names.

`verify_kvp` is LISA's; the others are LISAv2's and, before it, those of lis-test.  The host
of the lab takes the place of PowerShell and WMI, and `append` that of their ``kvp_client``.
``tests/driver/README.md`` lists what is not here.
"""

from __future__ import annotations

import fcntl
import functools
import os
import stat

from tests.driver import guest
from tests.driver.guest import run, wait_for
from tests.driver.lab.hvhost import AUTO, AUTO_EXTERNAL, EXTERNAL, GUEST, S_CONT, S_OK, Host
from tests.driver.scenarios.booted import ETH0, TRANSPORT, is_ready
from tests.driver.scenarios.booted import setup as install
from tests.driver.scenarios.service import UNIT, active, main_pid, systemctl, violations

APPEND = "hvlab.systemd hvlab.manual"
VARIANTS = {"netlink": {"TRANSPORT": "netlink"}, "chardev": {"TRANSPORT": "chardev"}}
SECONDS = 420
CHECK_SECONDS = 200

POOLS = [f"/var/lib/hyperv/.kvp_pool_{number}" for number in range(5)]
# What a host sets by itself when a guest has booted: eleven items.
FROM_HOST = (
    *("HostName", "HostingSystemEditionId", "HostingSystemNestedLevel"),
    *("HostingSystemOsMajor", "HostingSystemOsMinor", "HostingSystemProcessorArchitecture"),
    *("HostingSystemProcessorIdleStateMax", "HostingSystemProcessorThrottleMax"),
    *("HostingSystemProcessorThrottleMin", "HostingSystemSpMajor", "VirtualMachineName"),
)
INTRINSIC = (
    *("OSVersion", "OSName", "ProcessorArchitecture", "IntegrationServicesVersion"),
    *("FullyQualifiedDomainName", "NetworkAddressIPv4", "NetworkAddressIPv6"),
)


def setup() -> None:
    install()
    guest.load_driver()
    wait_for("a start by udev", active)
    is_ready()
    with connected() as host:
        for key in FROM_HOST:
            assert host.set(AUTO_EXTERNAL, key, f"of {key}") == S_OK


def connected() -> Host:
    host = Host(timeout=20)
    assert host.negotiate() == S_OK
    return host


def is_served(host: Host) -> bool:
    return host.enumerate(AUTO, 0)[0] == S_OK


def append(path: str, key: str, value: str) -> None:
    """Append as kvp_client does: under a POSIX read lock, and without clearing the record."""
    record = bytearray(b"\xa5" * 2560)
    for at, text in ((0, key), (512, value)):
        raw = text.encode() + b"\0"
        record[at : at + len(raw)] = raw
    with open(path, "a+b") as file:
        fcntl.lockf(file, fcntl.LOCK_SH)
        file.write(record)


def check_verify_kvp() -> None:
    assert all(os.path.exists(path) for path in POOLS)
    assert not os.path.exists("/var/lib/hyperv/.kvp_pool_5")
    assert [stat.S_IMODE(os.stat(path).st_mode) for path in POOLS] == [0o644] * 5
    assert run("pgrep", "hypervkvpd|hv_kvp_daemon").split() == [str(main_pid())]
    # The fourth is that of the char device, which a daemon has not open over netlink.
    assert (guest.DEVICE in guest.open_files(main_pid())) == (TRANSPORT == "chardev")
    assert os.path.getsize(POOLS[3]) > 0
    assert len(guest.records(POOLS[3])) >= 11


def check_lis_check_hypervdaemons_files_status() -> None:
    for name in ("hypervkvpd.service", "hv_kvp_daemon.service"):
        assert "/hv_kvp_daemon -n" in systemctl("cat", name)
        assert systemctl("is-active", name) == "active\n"


def check_kvp_basic_checks() -> None:
    """Beside those of verify_kvp: no descriptor is leaked, here by requests, not by time."""
    with connected() as host:
        before = guest.open_files(main_pid())
        for number in range(120):
            assert host.enumerate(AUTO_EXTERNAL, number % 11)[0] == S_OK
            assert host.enumerate(AUTO, number % 10)[0] == S_OK
        assert guest.open_files(main_pid()) == before


def check_kvp_intrinsic() -> None:
    with connected() as host:
        items = dict(host.items(AUTO))
    assert all(items[name] for name in INTRINSIC), items


def check_kvp_add_key_values() -> None:
    with connected() as host:
        assert host.set(EXTERNAL, "EEE", "555") == S_OK
    assert guest.records(POOLS[0]) == [("EEE", "555")]


def check_kvp_modify_key_values() -> None:
    with connected() as host:
        assert host.set(EXTERNAL, "FFF", "1") == S_OK
        assert host.set(EXTERNAL, "EEE", "999") == S_OK
    assert guest.records(POOLS[0]) == [("EEE", "999"), ("FFF", "1")]


def check_kvp_remove_key_values() -> None:
    with connected() as host:
        for key in ("EEE", "FFF"):
            assert host.delete(EXTERNAL, key) == S_OK
    assert guest.records(POOLS[0]) == []


def check_kvp_push_key_values() -> None:
    with connected() as host:
        assert list(host.items(GUEST)) == []
        append(POOLS[1], "BBB", "111")
        assert list(host.items(GUEST)) == [("BBB", "111")]


def check_kvp_delete_non_exist_kvp_on_guest() -> None:
    """A host from build 9600 on makes its ErrorCode 0 of this status."""
    with connected() as host:
        assert host.delete(EXTERNAL, "never there") == S_CONT
        assert host.enumerate(AUTO, 0)[0] == S_OK


def check_kvp_test_kvp_get() -> None:
    with connected() as host:
        status, info = host.get_ip_info(ETH0)
    assert status == S_OK
    assert "192.0.2.10" in info.ip.split(";")


def check_kvp_max_read() -> None:
    os.truncate(POOLS[1], 0)
    expected = [(f"test{number}", f"value{number}") for number in range(251)]
    pid = main_pid()
    with connected() as host:
        for key, value in expected:
            append(POOLS[1], key, value)
        assert active()
        assert list(host.items(GUEST)) == expected
    assert main_pid() == pid


def check_kvp_test_rescind() -> None:
    """A host that disables its service rescinds the channel; the driver is unbound."""
    for _ in range(20):
        guest.unbind()
        guest.control("bind")
        with connected() as host:
            wait_for("service", functools.partial(is_served, host))
        assert systemctl("is-active", UNIT) == "active\n"
    assert violations() == []
