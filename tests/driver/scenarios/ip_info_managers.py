# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""GET_IP_INFO under a booted systemd: networkd's lease, resolved's lists, the sandbox.

eth0 is configured manually, eth1 by networkd with a static address, and eth2 by networkd
with DHCP, whose server is networkd at the other end.  resolved serves all of them, and the
daemon runs as in its unit.
"""

from __future__ import annotations

import os
import shutil

from tests.driver import guest
from tests.driver.guest import run, wait_for
from tests.driver.lab.hvhost import AUTO, ENUMERATE, S_OK, Host, IpInfo

APPEND = "hvlab.systemd"
SECONDS = 240
CHECK_SECONDS = 90

SCRIPTS = "/usr/libexec/hypervkvpd"
ETH0, ETH1, ETH2 = (f"00:15:5D:00:00:0{number}" for number in (1, 2, 3))
UNIT = "hv-kvp.service"
UNITS = (UNIT, "hv-kvp-resolvectl.socket", "hv-kvp-resolvectl@.service")

NETWORKS = {
    "eth1": "[Network]\nAddress=198.51.100.1/24\nDNS=198.51.100.53\nDNS=2001:db8::53\n",
    "eth2": "[Network]\nDHCP=ipv4\nIPv6AcceptRA=no\nLinkLocalAddressing=no\n",
    "far2": "[Network]\nAddress=203.0.113.1/24\nDHCPServer=yes\nLinkLocalAddressing=no\n"
    "[DHCPServer]\nDNS=203.0.113.53\nPoolOffset=10\nPoolSize=1\nEmitNTP=no\n",
}


def write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def setup() -> None:
    shutil.rmtree(SCRIPTS)
    run("modprobe", "veth")
    for number, mac in ((1, ETH1), (2, ETH2)):
        name = f"eth{number}"
        # From the start: udev gives a link that has a random address another one.
        words = f"link add {name} address {mac} type veth peer name far{number}"
        run("ip", *words.split())
        run("ip", "link", "set", f"far{number}", "up")
    for name, text in NETWORKS.items():
        write(f"/etc/systemd/network/{name}.network", f"[Match]\nName={name}\n{text}")
    if "systemd-resolve:" not in run("cat", "/etc/passwd"):
        run("useradd", "--system", "--shell", "/usr/sbin/nologin", "systemd-resolve")
    run("systemctl", "daemon-reload")
    run("systemctl", "reload", "dbus")
    run("systemctl", "start", "systemd-networkd", "systemd-resolved")
    run("resolvectl", "dns", "eth0", "192.0.2.77")
    os.unlink("/etc/resolv.conf")
    os.symlink("/run/systemd/resolve/stub-resolv.conf", "/etc/resolv.conf")
    # If the server was not ready, the client asks again after 4, 8 and 16 s (RFC 2131, 4.1).
    leased = "203.0.113.10"
    wait_for("the lease", lambda: leased in run("ip", "addr", "show", "dev", "eth2"), 40.0)
    wait_for("its servers", lambda: "203.0.113.53" in run("resolvectl", "dns", "eth2"))
    os.symlink("/payload/bin/hv_kvp_daemon", "/usr/bin/hv_kvp_daemon")
    for name in UNITS:
        shutil.copy(f"/payload/systemd/{name}", f"/etc/systemd/system/{name}")
    os.makedirs(guest.POOL_DIR)
    run("systemctl", "daemon-reload")
    run("systemctl", "start", UNIT)


def ask(mac: str) -> IpInfo:
    with Host() as host:
        assert host.negotiate() == S_OK
        wait_for("service", lambda: host.kvp(ENUMERATE, AUTO, bytes(4))[0] == S_OK)
        status, info = host.get_ip_info(mac)
    assert status == S_OK, hex(status) + journal()
    return info


def journal() -> str:
    return run("journalctl", "--unit", UNIT, "--no-pager")


def check_a_lease_of_networkd_is_dhcp_with_its_servers() -> None:
    info = ask(ETH2)
    assert info == IpInfo(
        ETH2, 1, 1, "203.0.113.10", "255.255.255.0", "203.0.113.1", "203.0.113.53"
    ), info


def check_a_static_link_of_networkd_has_its_own_servers() -> None:
    info = ask(ETH1)
    assert (info.dhcp, info.dns) == (0, "198.51.100.53;2001:db8::53"), info
    assert info.ip.startswith("198.51.100.1")


def check_a_link_that_another_has_given_to_resolved() -> None:
    """S3: the unit can use neither resolved's directory nor D-Bus; resolvectl's unit asks."""
    info = ask(ETH0)
    assert (info.dhcp, info.dns, info.gateway) == (0, "192.0.2.77", "192.0.2.1"), info


def check_resolveds_general_servers_are_those_of_a_link_without() -> None:
    os.makedirs("/etc/systemd/resolved.conf.d", exist_ok=True)
    write("/etc/systemd/resolved.conf.d/lab.conf", "[Resolve]\nDNS=192.0.2.88\n")
    run("systemctl", "restart", "systemd-resolved")
    run("resolvectl", "revert", "eth0")
    assert ask(ETH0).dns == "192.0.2.88"


def check_a_resolved_that_hangs_costs_less_than_ten_seconds() -> None:
    pid = run("systemctl", "show", "systemd-resolved", "--property=MainPID", "--value").strip()
    run("kill", "-STOP", pid)
    try:
        with Host(timeout=10) as host:
            status, info = host.get_ip_info(ETH0)
    finally:
        run("kill", "-CONT", pid)
    assert status == S_OK
    assert "192.0.2.88" in info.dns, info


def check_without_resolved_resolv_conf_is_used() -> None:
    run("systemctl", "mask", "--now", "systemd-resolved")
    os.unlink("/etc/resolv.conf")
    write("/etc/resolv.conf", "nameserver 192.0.2.99\n")
    assert ask(ETH0).dns == "192.0.2.99"
    assert "Traceback" not in journal(), journal()
    assert run("systemctl", "show", UNIT, "--property=NRestarts", "--value") == "0\n"
