# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""SET_IP_INFO from the host's packet to the kernel's addresses, by the installed service.

eth0 has no network manager, then networkd starts and has eth1, a bond and a VLAN.  The units
and their sandbox are those that `hv-kvp install-service` writes.  Only ``device_id`` of the
adapters is not real, as sysfs has it for VMBus devices only.
"""

from __future__ import annotations

import os
import re
import subprocess

from tests.driver import guest
from tests.driver.guest import run, wait_for
from tests.driver.lab.hvhost import AUTO, GUID_NOTFOUND, INVALIDARG, S_OK, Host, IpInfo
from tests.driver.scenarios.service import registered, systemctl, violations, write

APPEND = "hvlab.systemd hvlab.manual"
SECONDS = 400
CHECK_SECONDS = 180

UNIT = "hv-kvp-ip.service"
ETH0, ETH1 = "00:15:5D:00:00:01", "00:15:5D:00:00:02"
GUIDS = {f"eth{n}": f"{{f8615163-df3e-46c5-913f-f2d2f965ed0{n}}}" for n in range(4)}
NET = "/var/lib/lab/net"
HIGHER, OURS, THEIRS = (
    f"/etc/systemd/network/{name}.network"
    for name in ("01-higher", "05-hv-kvp-eth1", "20-wired")
)
BEFORE = "[Match]\nName=eth1\n[Network]\nAddress=198.51.100.10/24\nLinkLocalAddressing=no\n"
# Interfaces above eth2 and eth3, and the addresses that they have, or have not, before.
ABOVE = {
    "eth2.network": "[Match]\nName=eth2\n[Network]\nBond=bond0\n",
    "bond0.netdev": "[NetDev]\nName=bond0\nKind=bond\n[Bond]\nMIIMonitorSec=0.1\n",
    "bond0.network": "[Match]\nName=bond0\n[Network]\nLinkLocalAddressing=no\n",
    "eth3.network": "[Match]\nName=eth3\n[Network]\nVLAN=eth3.5\nLinkLocalAddressing=no\n",
    "eth3.5.netdev": "[NetDev]\nName=eth3.5\nKind=vlan\n[VLAN]\nId=5\n",
    "eth3.5.network": "[Match]\nName=eth3.5\n[Network]\nAddress=198.51.100.13/24\n",
}

DIRECT = IpInfo(
    *(GUIDS["eth0"], 3, 0, "203.0.113.5;2001:db8:5::5", "255.255.255.0;64"),
    *("203.0.113.1;2001:db8:5::1", "203.0.113.53;2001:db8:5::53"),
)
NETWORKD = IpInfo(
    *(GUIDS["eth1"], 1, 0, "10.0.0.6;10.0.0.5", "255.255.255.0;255.255.255.0"),
    *("10.0.0.1;10.99.0.1", "10.0.0.53;10.0.0.54"),
)

# The driver turns UTF-16 into UTF-8, drops halves of surrogate pairs, and cuts what is long.
HOSTILE = (
    *("$(touch /tmp/owned)", "192.0.2.9\n[Match]\nName=*", "192.0.2.9\r\nDHCP=yes", "%n;;%s"),
    *("1" * 1024, ";;\ud800;\u00e9", "fe80::1%`touch${IFS}/tmp/owned`"),
)


def setup() -> None:
    for module in ("veth", "bonding", "8021q"):
        run("modprobe", module)
    for number in range(1, 4):
        mac = f"00:15:5D:00:00:0{number + 1}"
        run(*f"ip link add eth{number} address {mac} type veth peer name far{number}".split())
        run("ip", "link", "set", f"far{number}", "up")
    for name, guid in GUIDS.items():
        write(f"{NET}/{name}/device/device_id", f"{guid}\n")
    bind = f"[Service]\nBindReadOnlyPaths={NET}:/sys/class/net\n"
    write(f"/etc/systemd/system/{UNIT}.d/lab.conf", bind)
    run("hv-kvp", "install-service", "--yes")
    guest.load_driver()
    registered()


def set_ip(host: Host, info: IpInfo) -> None:
    """Set addresses; a request that is too late is sent again.

    The emulator needs longer to start the unit's Python than the daemon waits for it.
    """
    systemctl("restart", UNIT)
    wait_for("success", lambda: host.set_ip_info(info) == S_OK, seconds=60)


def addresses(name: str) -> set[str]:
    text = run("ip", "-brief", "address", "show", "scope", "global", "dev", name)
    return set(text.split()[2:])


def gateways(name: str) -> set[str]:
    found = set()
    for family in "-4", "-6":
        text = run("ip", family, "route", "show", "default", "dev", name)
        found |= {*re.findall(r"via (\S+)", text)}
    return found


def doctor() -> str:
    """What doctor prints, whatever its status: it finds more that is not as on Hyper-V."""
    script = f"mount --bind {NET} /sys/class/net && exec hv-kvp doctor"
    argv = ["unshare", "--mount", "sh", "-c", script]
    return subprocess.run(argv, check=False, capture_output=True, text=True).stdout


def check_direct_sets_what_the_host_says_and_can_undo_it() -> None:
    before = addresses("eth0"), gateways("eth0"), guest.read_text("/etc/resolv.conf")
    with Host() as host:
        assert host.negotiate() == S_OK
        # The driver ends each text at a NUL.
        set_ip(host, DIRECT._replace(dns=f"{DIRECT.dns}\0;$(touch /tmp/owned)"))
        assert addresses("eth0") == {"203.0.113.5/24", "2001:db8:5::5/64"}
        assert gateways("eth0") == {"203.0.113.1", "2001:db8:5::1"}
        status, info = host.get_ip_info(ETH0)
        # The kernel's own address is the last.
        ip, subnet = (text.rpartition(";")[0] for text in (info.ip, info.subnet))
        wanted = DIRECT._replace(adapter=ETH0, subnet="255.255.255.0;/64")
        assert (status, info._replace(ip=ip, subnet=subnet)) == (S_OK, wanted), info
        assert "host set" in run("hv-kvp", "ip", "eth0")
        run("hv-kvp", "ip", "--forget", "eth0")
        after = addresses("eth0"), gateways("eth0"), guest.read_text("/etc/resolv.conf")
        assert after == before, after


def check_networkd_sets_what_the_host_says_and_can_undo_it() -> None:
    write(THEIRS, BEFORE)
    systemctl("start", "systemd-networkd")
    wait_for("its own address", lambda: addresses("eth1") == {"198.51.100.10/24"})
    with Host() as host:
        assert host.negotiate() == S_OK
        set_ip(host, NETWORKD)
        assert addresses("eth1") == {"10.0.0.5/24", "10.0.0.6/24"}
        assert gateways("eth1") == {"10.0.0.1", "10.99.0.1"}
        status, info = host.get_ip_info(ETH1)
        assert (status, info) == (S_OK, NETWORKD._replace(adapter=ETH1)), info
        systemctl("restart", "systemd-networkd")
        wait_for("them again", lambda: addresses("eth1") == {"10.0.0.5/24", "10.0.0.6/24"})
        assert f"by networkd; {OURS} overrides {THEIRS}\n" in doctor()
        write(HIGHER, BEFORE.replace("100.10/", "100.11/"))
        systemctl("restart", "systemd-networkd")
        wait_for("what is higher", lambda: addresses("eth1") == {"198.51.100.11/24"})
        assert f"eth1: {HIGHER} overrides {OURS}, which the host has set\n" in doctor()
        os.unlink(HIGHER)
        systemctl("restart", "systemd-networkd")
        run("hv-kvp", "ip", "--forget", "eth1")
        wait_for("its own address", lambda: addresses("eth1") == {"198.51.100.10/24"})
    assert not os.path.exists(OURS)


def check_of_bond_vlan_and_port_the_one_with_the_addresses_is_set() -> None:
    for name, text in ABOVE.items():
        write(f"/etc/systemd/network/30-{name}", text)
    systemctl("restart", "systemd-networkd")
    wait_for("the bond", lambda: "bond0" in run("ip", "link", "show", "dev", "eth2"))
    wait_for("the VLAN", lambda: os.path.exists("/sys/class/net/eth3.5"))
    wait_for("its address", lambda: addresses("eth3.5") == {"198.51.100.13/24"})
    with Host() as host:
        assert host.negotiate() == S_OK
        for number, (adapter, above) in enumerate((("eth2", "bond0"), ("eth3", "eth3.5")), 2):
            static = IpInfo(GUIDS[adapter], 1, 0, f"10.0.{number}.5", "255.255.255.0")
            set_ip(host, static)
            assert addresses(above) == {f"10.0.{number}.5/24"}
            assert not addresses(adapter)
            info = host.get_ip_info(f"00:15:5D:00:00:0{number + 1}")[1]
            assert info.ip.split(";")[0] == static.ip, info
            run("hv-kvp", "ip", "--forget", above)
    wait_for("its own address", lambda: addresses("eth3.5") == {"198.51.100.13/24"})
    assert not addresses("bond0")


def check_hostile_text_in_any_field_changes_nothing() -> None:
    before = addresses("eth0"), addresses("eth1"), run("ip", "route")
    with Host() as host:
        assert host.negotiate() == S_OK
        for field in ("ip", "subnet", "gateway", "dns"):
            for text in HOSTILE:
                info = IpInfo(**{**NETWORKD._asdict(), field: text})
                assert host.set_ip_info(info) == INVALIDARG, (field, text)
        for text in HOSTILE:
            assert host.set_ip_info(NETWORKD._replace(adapter=text)) == GUID_NOTFOUND, text
        assert host.set_ip_info(NETWORKD._replace(family=7)) == INVALIDARG
        assert host.set_ip_info(NETWORKD._replace(dhcp=9)) == INVALIDARG
        assert len(list(host.items(AUTO))) == 10
    assert (addresses("eth0"), addresses("eth1"), run("ip", "route")) == before
    assert not os.path.exists("/tmp/owned")
    assert not os.path.exists(OURS)


def check_the_journal_has_no_violation_of_the_sandbox() -> None:
    found = violations()
    assert found == []
