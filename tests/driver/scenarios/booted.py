# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The installed service on a booted Debian, over each transport.

`hv-kvp install-service` installs it, udev starts it when the driver's device appears, and
it serves each operation inside its sandbox, through restarts, kills and reloads of the
driver.  `service` has what does not depend on the transport.
"""

from __future__ import annotations

import functools
import os
import subprocess
import time

from tests.driver import guest
from tests.driver.deadline import LESS_THAN_DRIVER, Deadline
from tests.driver.guest import run, wait_for
from tests.driver.lab.hvhost import (
    AUTO,
    AUTO_EXTERNAL,
    AUTO_INTERNAL,
    AUTO_KEYS,
    EXTERNAL,
    GUEST,
    GUID_NOTFOUND,
    REG_SZ,
    REG_U32,
    REG_U64,
    S_CONT,
    S_OK,
    Host,
    IpInfo,
)
from tests.driver.scenarios.service import (
    UNIT,
    active,
    main_pid,
    own_lines,
    registered,
    restarted,
    show,
    systemctl,
    violations,
    write,
)

APPEND = "hvlab.systemd hvlab.manual"
VARIANTS = {"netlink": {"TRANSPORT": "netlink"}, "chardev": {"TRANSPORT": "chardev"}}
SECONDS = 600
CHECK_SECONDS = 400

#: `make soak` sets 20.
LOADS = int(os.environ.get("LOADS", "2"))
TRANSPORT = os.environ.get("TRANSPORT", "netlink")
SERVING = {"netlink": "serving over netlink;", "chardev": "serving over the char device;"}

# As long as a hypervisor may not run a virtual CPU; the driver sleeps twice.
STRETCHED_MS = 150

ETH0 = "00:15:5D:00:00:01"
# Ordered as cloud-init's own, which does not want the daemon.
CLOUD_INIT = "cloud-init-local.service"
CLOUD_INIT_UNIT = f"""\
[Unit]
DefaultDependencies=no
After=hv_kvp_daemon.service systemd-remount-fs.service
Before=network-pre.target sysinit.target shutdown.target
Conflicts=shutdown.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=systemctl is-active {UNIT}
[Install]
WantedBy=multi-user.target
"""
VALUES: dict[int, str | int] = {REG_SZ: "välue", REG_U32: 4711, REG_U64: 1 << 40}


def setup() -> None:
    run("hv-kvp", "install-service", "--yes", "--transport", TRANSPORT)


def fresh() -> None:
    """Let the service run; the runner has killed the daemon of the check before."""
    if not os.path.exists("/dev/hvlab"):
        guest.load_driver()
    systemctl("restart", UNIT)
    is_ready()


def is_ready() -> None:
    registered()
    assert show("StatusText").startswith(SERVING[TRANSPORT])
    assert active()


def unload() -> None:
    """Unload the driver; a daemon that has its device open must close it first."""
    guest.unbind()
    guest.unload_driver()


def is_served(key: str) -> None:
    """Let a host set a key, which must not take the 30 s of a request without an answer."""
    deadline = Deadline(10, LESS_THAN_DRIVER)
    with Host() as host:
        assert host.negotiate() == S_OK
        wait_for("service", lambda: host.set(EXTERNAL, key, "value") == S_OK)
        assert not deadline.passed(), deadline
        assert host.get(EXTERNAL, key) == (S_OK, "value")
        assert host.delete(EXTERNAL, key) == S_OK
    assert not guest.kernel_faults(), guest.kernel_faults()


def check_each_driver_that_appears_starts_it() -> None:
    assert not active()
    for number in range(LOADS):
        guest.load_driver(slow_ms=STRETCHED_MS * (number % 2))
        wait_for("a start by udev", active)
        is_ready()
        is_served(f"key {number}")
        systemctl("stop", UNIT)
        unload()
    print(f"{LOADS} loads, the unit started by udev: served each time", flush=True)


def check_it_serves_each_operation_inside_its_sandbox() -> None:
    fresh()
    status = guest.read_text(f"/proc/{main_pid()}/status")
    assert "\nSeccomp:\t2\n" in status
    assert "\nNoNewPrivs:\t1\n" in status
    with Host(timeout=10) as host:
        assert host.negotiate() == S_OK
        for pool in (EXTERNAL, GUEST, AUTO_EXTERNAL, AUTO_INTERNAL):
            for kind, value in VALUES.items():
                assert host.set(pool, f"key {kind}", value, kind) == S_OK
                assert host.get(pool, f"key {kind}") == (S_OK, str(value))
            expected = [(f"key {kind}", str(value)) for kind, value in VALUES.items()]
            assert list(host.items(pool)) == expected
            assert guest.records(guest.pool(pool)) == expected
            for kind in VALUES:
                assert host.delete(pool, f"key {kind}") == S_OK
                assert host.get(pool, f"key {kind}")[0] == S_CONT
        assert [key for key, _ in host.items(AUTO)] == AUTO_KEYS
        status_of_ip, info = host.get_ip_info(ETH0)
        assert (status_of_ip, info.gateway, info.dns) == (S_OK, "192.0.2.1", "192.0.2.53")
        assert info.ip.split(";")[:2] == ["192.0.2.10", "2001:db8::10"]
        # That is a MAC address; the name of an adapter is a GUID.
        assert host.set_ip_info(IpInfo(ETH0)) == GUID_NOTFOUND


def check_it_is_served_after_a_restart_and_a_reload() -> None:
    fresh()
    for number in range(3):
        systemctl("restart", UNIT)
        is_ready()
        is_served(f"restart {number}")
    pid = main_pid()
    systemctl("reload", UNIT)
    is_served("reload")
    assert main_pid() == pid
    assert active()


def check_a_killed_daemon_is_replaced_within_three_seconds() -> None:
    """RestartSec= and a second, beside the time that a start takes in an emulator."""
    fresh()
    pid = main_pid()
    began = time.monotonic()
    systemctl("restart", UNIT)
    # With the questions that are asked below, each of which starts a program.
    assert restarted(pid)
    assert active()
    start = time.monotonic() - began
    for number in range(3):
        pid = main_pid()
        deadline = Deadline(3 + start, LESS_THAN_DRIVER)
        systemctl("kill", "--signal=KILL", UNIT)
        wait_for("another process", functools.partial(restarted, pid))
        wait_for("its start", active)
        assert not deadline.passed(), deadline
        print(f"served {deadline.elapsed:.1f} s after SIGKILL, a start: {start:.1f} s")
        is_ready()
        is_served(f"kill {number}")


def check_a_driver_that_is_loaded_again_is_served_by_the_same_process() -> None:
    fresh()
    pid = main_pid()
    for number in range(2):
        unload()
        wait_for("word of it", lambda: show("StatusText").startswith("waiting for"))
        guest.load_driver(slow_ms=STRETCHED_MS * (number % 2))
        is_ready()
        is_served(f"loaded {number}")
        assert main_pid() == pid


def check_another_target_that_is_isolated_leaves_it_running() -> None:
    fresh()
    write(
        "/etc/systemd/system/lab.target",
        "[Unit]\nRequires=basic.target\nAfter=basic.target\nAllowIsolate=yes\n",
    )
    systemctl("daemon-reload")
    pid = main_pid()
    for target in ("lab.target", "multi-user.target"):
        systemctl("isolate", target)
        assert systemctl("is-active", target) == "active\n"
        assert main_pid() == pid
        is_served(target)


def check_a_soft_reboot_keeps_the_pools_and_starts_it_before_cloud_init() -> None:
    """I16: the user space boots with the driver loaded, which udev does not announce again."""
    fresh()
    if "soft-reboot" not in systemctl("--help"):
        assert systemctl("--version").startswith("systemd 252 ")
        return
    write(f"/etc/systemd/system/{CLOUD_INIT}", CLOUD_INIT_UNIT)
    systemctl("daemon-reload")
    systemctl("enable", CLOUD_INIT)
    pools = (EXTERNAL, GUEST, AUTO_EXTERNAL, AUTO_INTERNAL)
    with Host() as host:
        assert host.negotiate() == S_OK
        assert [host.set(pool, "through", "a soft-reboot") for pool in pools] == [S_OK] * 4
    before = guest.contents()
    pid = main_pid()
    systemctl("soft-reboot")
    wait_for("another process", lambda: guest.pids() - {pid}, 60)
    wait_for("the end of the boot", has_booted, 60)
    is_ready()
    assert main_pid() != pid
    assert show("ActiveState", CLOUD_INIT) == "active"
    assert guest.contents() == before
    is_served("soft-reboot")


def has_booted() -> bool:
    """Whether the first jobs are done; systemctl fails while systemd executes itself."""
    done = subprocess.run(
        ["systemctl", "is-active", "multi-user.target"], check=False, stdout=subprocess.DEVNULL
    )
    return done.returncode == 0


def check_the_journal_has_no_violation_of_the_sandbox() -> None:
    found = violations()
    assert found == []
    # No process but the daemon has opened the device, whose node goes with the driver.
    opened = [text for _, text in own_lines() if "was opened by" in text]
    assert opened == []
