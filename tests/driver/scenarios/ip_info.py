# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""GET_IP_INFO as a host sees it, over each transport, compared with the C daemon's answer.

There are links of every kind that may share a MAC, routes of every kind, and scripts of
every kind.  Where a difference between the two daemons is intended, the check gives the
reason.
"""

from __future__ import annotations

import ipaddress
import os
import shutil
import tempfile
import time

from tests.driver import guest
from tests.driver.deadline import LESS_THAN_DRIVER, Deadline
from tests.driver.guest import run, wait_for
from tests.driver.lab.hvhost import (
    AUTO,
    E_FAIL,
    ENUMERATE,
    GET_IP_INFO,
    GUID_NOTFOUND,
    INVALIDARG,
    S_OK,
    Host,
    IpInfo,
)
from tests.driver.variant import start

VARIANTS = {
    "netlink": {"TRANSPORT": "netlink"},
    "chardev": {"TRANSPORT": "chardev"},
}
SECONDS = 300
CHECK_SECONDS = 90

SCRIPTS = "/usr/libexec/hypervkvpd"
ETH0 = "00:15:5D:00:00:01"
V4, V6 = 1, 2
GUID = "{f8615163-df3e-46c5-913f-f2d2f965ed0e}"

# The driver turns UTF-16 into UTF-8, drops halves of surrogate pairs, and cuts what is long.
HOSTILE = (
    *("$(touch /tmp/owned)", "192.0.2.9\n[Match]\nName=*", "fe80::1%`touch${IFS}/tmp/owned`"),
    *("1" * 1024, ";;\ud800;\u00e9"),
)


def setup() -> None:
    for module in ("veth", "bonding", "bridge", "8021q", "vrf"):
        run("modprobe", module)
    os.rename(SCRIPTS, SCRIPTS + ".debian")
    # Without addresses that the kernel adds itself, at an unknown time.
    sysctl("ipv6/conf/default/addr_gen_mode", "1")
    sysctl("ipv6/conf/default/accept_dad", "0")


def sysctl(name: str, value: str) -> None:
    with open(f"/proc/sys/net/{name}", "w", encoding="ascii") as file:
        file.write(value)


def ip(words: str) -> None:
    run("ip", *words.split())


def veth(name: str, mac: str, *addresses: str) -> None:
    """A link that is up, with its other end; ``drop`` removes it."""
    if os.path.exists(f"/sys/class/net/{name}"):
        drop(name)  # a check before this one failed
    ip(f"link add {name} type veth peer name {name}p")
    ip(f"link set {name} address {mac} up")
    ip(f"link set {name}p up")
    for address in addresses:
        ip(f"addr add {address} dev {name}")


def drop(*names: str) -> None:
    for name in names:
        ip(f"link del {name}")


def ask(mac: str, family: int = 0) -> tuple[int, IpInfo]:
    daemon = start()
    with Host(watch=daemon.must_run) as host:
        assert host.negotiate() == S_OK
        answer = host.get_ip_info(mac, family)
    assert daemon.stop() == 0
    return answer


def ours(mac: str) -> IpInfo:
    status, info = ask(mac)
    assert status == S_OK, hex(status)
    assert info.adapter == mac
    addresses, masks = info.ip.split(";"), info.subnet.split(";")
    assert len(addresses) == len(masks), info
    for field in (info.ip, info.gateway, info.dns):
        for address in field.split(";") if field else ():
            ipaddress.ip_address(address)
    return info


def theirs(mac: str) -> IpInfo:
    status, info = their_answer(mac)
    assert status == S_OK, hex(status)
    return info


def their_answer(mac: str) -> tuple[int, IpInfo]:
    daemon = guest.c_daemon()
    with Host(watch=daemon.must_run) as host:
        assert host.negotiate() == S_OK
        # The driver has answered that for a netlink daemon that has ended.
        wait_for("service", lambda: host.kvp(ENUMERATE, AUTO, bytes(4))[0] == S_OK)
        answer = host.get_ip_info(mac)
    daemon.stop()
    return answer


def install_samples() -> None:
    """Debian's scripts, as the C daemon needs them."""
    shutil.copytree(SCRIPTS + ".debian", SCRIPTS, dirs_exist_ok=True)


def script(name: str, text: str) -> str:
    os.makedirs(SCRIPTS, exist_ok=True)
    path = f"{SCRIPTS}/{name}"
    with open(path, "w", encoding="utf-8") as file:
        file.write("#!/bin/sh\n" + text)
    os.chmod(path, 0o755)
    return path


def check_a_plain_guest_gets_the_c_daemons_answer() -> None:
    install_samples()
    other = theirs(ETH0)
    shutil.rmtree(SCRIPTS)
    info = ours(ETH0)
    assert info == IpInfo(
        ETH0,
        V4 | V6,
        0,
        "192.0.2.10;2001:db8::10;" + info.ip.rpartition(";")[2],
        "255.255.255.0;/64;/64",
        "192.0.2.1",
        "192.0.2.53",
    )
    # The C daemon puts a ; after the last gateway and server; hosts accept that.
    assert info == other._replace(
        gateway=other.gateway.rstrip(";"), dns=other.dns.rstrip(";")
    ), (info, other)


def check_the_adapter_is_found_in_any_spelling_and_otherwise_fails() -> None:
    daemon = start()
    with Host(watch=daemon.must_run) as host:
        assert host.negotiate() == S_OK
        for mac in (ETH0, ETH0.lower(), ETH0.replace(":", "-")):
            for family in (0, V4, V6):
                status, info = host.get_ip_info(mac, family)
                assert (status, info.adapter, info.family) == (S_OK, mac, V4 | V6)
        for mac in ("", "00:15:5D:00:00:99", "00:00:00:00:00:00", "eth0", "00155D000001"):
            assert host.get_ip_info(mac)[0] == E_FAIL, mac
    assert daemon.stop() == 0


def check_hostile_text_in_any_field_of_set_ip_info_is_refused() -> None:
    """N1: it went into a file that a shell reads."""
    with tempfile.TemporaryDirectory() as device:
        os.mkdir(f"{device}/eth0")
        os.mkdir(f"{device}/eth0/device")
        with open(f"{device}/eth0/device/device_id", "w", encoding="ascii") as file:
            file.write(GUID)
        # Only a VMBus device has that file.
        run("mount", "--bind", device, "/sys/class/net")
        before = run("ip", "addr"), run("ip", "route")
        daemon = start()
        with Host(watch=daemon.must_run) as host:
            assert host.negotiate() == S_OK
            assert host.set_ip_info(IpInfo(ETH0, V4, 1)) == GUID_NOTFOUND
            assert host.set_ip_info(IpInfo("$(touch /tmp/owned)", V4, 1)) == GUID_NOTFOUND
            other = GUID.replace("f86", "f87")
            assert host.set_ip_info(IpInfo(other, V4, 1)) == GUID_NOTFOUND
            static = IpInfo(
                GUID, V4, 0, "192.0.2.5", "255.255.255.0", "192.0.2.1", "192.0.2.53"
            )
            for field in ("ip", "subnet", "gateway", "dns"):
                for text in HOSTILE:
                    info = IpInfo(**{**static._asdict(), field: text})
                    assert host.set_ip_info(info) == INVALIDARG, (field, text)
            assert host.set_ip_info(static._replace(family=4)) == INVALIDARG
            assert host.set_ip_info(static._replace(dhcp=2)) == INVALIDARG
            assert len(list(host.items(AUTO))) == 10
        assert daemon.stop() == 0
        assert (run("ip", "addr"), run("ip", "route")) == before
        assert not os.path.exists("/tmp/owned")
        assert not os.path.exists("/etc/systemd/network/05-hv-kvp-eth0.network")
        run("umount", "/sys/class/net")


def check_eth1_is_not_eth10() -> None:
    """O8: the C daemon compares only the beginning of the name."""
    macs = {"eth1": "00:15:5D:00:01:01", "eth10": "00:15:5D:00:01:10"}
    veth("eth1", macs["eth1"], "198.51.100.1/24")
    veth("eth10", macs["eth10"], "203.0.113.10/25")
    install_samples()
    other = theirs(macs["eth1"])
    assert other.ip == "198.51.100.1;203.0.113.10", other
    shutil.rmtree(SCRIPTS)
    assert ours(macs["eth1"])[3:5] == ("198.51.100.1", "255.255.255.0")
    assert ours(macs["eth10"])[3:5] == ("203.0.113.10", "255.255.255.128")
    drop("eth1", "eth10")


def check_an_interface_without_address_is_no_failure() -> None:
    veth("eth1", "00:15:5D:00:01:01")
    status, info = ask("00:15:5D:00:01:01")
    assert (status, info) == (S_OK, IpInfo("00:15:5D:00:01:01", dns="192.0.2.53"))
    drop("eth1")


def check_one_mac_of_bond_bridge_vlan_and_virtual_function() -> None:
    mac = "00:15:5D:00:02:01"
    veth("eth1", mac)
    ip("link add bond0 type bond mode active-backup")
    ip("link set eth1 down")
    ip("link set eth1 master bond0")
    ip("link set bond0 up")
    ip("addr add 198.51.100.2/24 dev bond0")
    assert ours(mac).ip == "198.51.100.2"
    # A port's own address hides the bond's no more than the port does.
    ip("addr add 198.51.100.99/24 dev eth1")
    assert ours(mac).ip == "198.51.100.2"
    drop("bond0", "eth1")

    veth("eth1", mac, "198.51.100.99/24")
    ip("link add br0 type bridge")
    ip(f"link set br0 address {mac} up")
    ip("link set eth1 master br0")
    # As long as the bridge has none, the port's is the adapter's.
    assert ours(mac).ip == "198.51.100.99"
    ip("addr add 198.51.100.3/24 dev br0")
    assert ours(mac).ip == "198.51.100.3"
    drop("br0", "eth1")

    veth("eth1", mac, "fe80::1/64")
    ip("link add link eth1 name eth1.5 type vlan id 5")
    ip("link set eth1.5 up")
    ip("addr add 198.51.100.4/24 dev eth1.5")
    # Its parent has a link-local address only.
    assert ours(mac).ip == "198.51.100.4"
    drop("eth1.5")
    assert ours(mac).ip == "fe80::1"
    drop("eth1")

    # SR-IOV without a bond: the virtual function has the MAC and no address.
    veth("eth1", mac)
    veth("eth2", mac, "198.51.100.5/24")
    assert ours(mac).ip == "198.51.100.5"
    drop("eth1", "eth2")


def check_every_port_of_a_bond_leads_to_the_bonds_addresses() -> None:
    """A bond gives its ports one address; a host knows those that they were made with."""
    macs = {"eth1": "00:15:5D:00:02:01", "eth2": "00:15:5D:00:02:02"}
    own = "00:15:5D:00:02:99"
    daemon = start()
    with Host(watch=daemon.must_run) as host:
        assert host.negotiate() == S_OK
        for options, expected in (
            ("mode active-backup", macs["eth1"]),
            ("mode active-backup fail_over_mac active", macs["eth1"]),
            ("mode 802.3ad", own),
        ):
            for port, mac in macs.items():
                veth(port, mac)
                ip(f"link set {port} down")
            bond(options, expected, *macs)
            for mac in {*macs.values(), expected}:
                status, info = host.get_ip_info(mac)
                found = (status, info.adapter, info.ip, info.gateway)
                assert found == (S_OK, mac, "198.51.100.2", "198.51.100.1"), options
            drop("bond0", *macs)
    assert daemon.stop() == 0


def bond(options: str, mac: str, *ports: str) -> None:
    """A bond that is up, with 198.51.100.2/24 and a gateway."""
    ip(f"link add bond0 address {mac} type bond {options}")
    for port in ports:
        ip(f"link set {port} master bond0")
    ip("link set bond0 up")
    ip("addr add 198.51.100.2/24 dev bond0")
    ip("route add default via 198.51.100.1 dev bond0 metric 10")


def check_the_gateway_of_an_interface_in_a_vrf_is_that_of_its_table() -> None:
    mac = "00:15:5D:00:04:01"
    ip("link add blue type vrf table 10")
    ip("link set blue up")
    veth("eth1", mac)
    ip("link set eth1 master blue")
    ip("addr add 198.51.100.1/24 dev eth1")
    ip("addr add 2001:db8:1::1/64 dev eth1 nodad")
    assert ours(mac).gateway == ""
    ip("route add default via 198.51.100.9 dev eth1 table 10")
    ip("-6 route add default via 2001:db8:1::9 dev eth1 table 10")
    # In another table it is a gateway of other interfaces' traffic.
    ip("route add default via 198.51.100.7 dev eth1 table 11")
    info = ours(mac)
    assert info.ip == "198.51.100.1;2001:db8:1::1"
    assert info.gateway == "198.51.100.9;2001:db8:1::9"
    # An adapter outside still has the gateway of the main table.
    assert ours(ETH0).gateway == "192.0.2.1"
    drop("eth1", "blue")


def check_90_ipv6_addresses_are_cut_pairwise() -> None:
    mac = "00:15:5D:00:03:01"
    veth(
        "eth1", mac, *(f"2001:db8:1111:2222:3333:4444:5555:{n:x}/64" for n in range(4096, 4186))
    )
    info = ours(mac)
    assert len(info.ip) <= 1022
    assert info.ip.count(";") == info.subnet.count(";") == 1023 // 39 - 1
    assert set(info.subnet.split(";")) == {"/64"}
    assert info.family == V6
    # The C daemon fails at the first address for which its buffer has no room (or
    # the driver gives up, since that daemon starts four shells for each address).
    assert their_answer(mac)[0] == E_FAIL
    drop("eth1")


def check_gateways_are_those_of_this_interface_in_the_main_table() -> None:
    mac = "00:15:5D:00:04:01"
    veth("eth1", mac, "198.51.100.1/24", "2001:db8:1::1/64")
    veth("eth2", "00:15:5D:00:04:02", "203.0.113.1/24")
    ip("route add default via 198.51.100.9 dev eth1 metric 200")
    ip("route add default via 198.51.100.8 dev eth1 metric 100")
    ip("route add default via 198.51.100.7 dev eth1 table 100 metric 0")
    ip("route add default dev eth1 metric 300")
    ip("route add 10.0.0.0/8 via 198.51.100.6 dev eth1")
    ip("-6 route add default via 2001:db8:1::9 dev eth1 metric 512")
    gateways(mac, "198.51.100.8;198.51.100.9;2001:db8:1::9")
    ip(
        "route add default metric 50 nexthop via 198.51.100.4 dev eth1"
        " nexthop via 203.0.113.4 dev eth2 nexthop via 198.51.100.5 dev eth1"
    )
    ip("-4 route add default via inet6 fe80::9 dev eth1 metric 60")
    # The C daemon sees neither of the two, and "inet6" would be its gateway.
    gateways(mac, "198.51.100.4;198.51.100.5;fe80::9;198.51.100.8;198.51.100.9;2001:db8:1::9")
    gateways("00:15:5D:00:04:02", "203.0.113.4")
    drop("eth1", "eth2")


def gateways(mac: str, expected: str) -> None:
    found = ours(mac).gateway
    assert found == expected, found


def check_ipv6_alone_and_no_dns() -> None:
    mac = "00:15:5D:00:05:01"
    veth("eth1", mac, "2001:db8:2::1/64")
    ip("-6 route add default via fe80::1 dev eth1")
    os.rename("/etc/resolv.conf", "/etc/resolv.conf.kept")
    try:
        assert ours(mac) == IpInfo(mac, V6, 0, "2001:db8:2::1", "/64", "fe80::1", "")
    finally:
        os.rename("/etc/resolv.conf.kept", "/etc/resolv.conf")
    drop("eth1")


def check_tentative_and_failed_addresses_are_left_out() -> None:
    mac = "00:15:5D:00:06:01"
    veth("eth1", mac, "2001:db8:3::1/64")
    sysctl("ipv6/conf/eth1/accept_dad", "1")
    veth("eth2", "00:15:5D:00:06:02")
    # A neighbour that has the address already: duplicate address detection fails.
    ip("link add br0 type bridge")
    ip("link set br0 up")
    for port in ("eth1p", "eth2p"):
        ip(f"link set {port} master br0")
    ip("addr add 2001:db8:3::2/64 dev eth2")
    ip("addr add 2001:db8:3::2/64 dev eth1")
    wait_for("detection", lambda: "dadfailed" in run("ip", "-6", "addr", "show", "dev", "eth1"))
    assert ours(mac).ip == "2001:db8:3::1"
    # So many probes, one a second, outlast the check.
    sysctl("ipv6/conf/eth1/dad_transmits", "1000")
    ip("addr add 2001:db8:3::3/64 dev eth1")
    found = ours(mac).ip
    shown = run("ip", "-6", "addr", "show", "dev", "eth1")
    assert "tentative" in shown
    assert found == "2001:db8:3::1", (found, shown)
    drop("eth1", "eth2", "br0")


def check_a_leased_address_means_dhcp() -> None:
    mac = "00:15:5D:00:07:01"
    veth("eth1", mac, "198.51.100.1/24")
    assert ours(mac).dhcp == 0
    ip("addr change 198.51.100.1/24 dev eth1 valid_lft 3600 preferred_lft 3600")
    assert ours(mac).dhcp == 1
    drop("eth1")


def check_a_script_gets_the_name_as_one_word_and_wins() -> None:
    mac = "00:15:5D:00:08:01"
    name = "a;echo$IFS'"
    veth("eth1", mac, "198.51.100.1/24")
    ip("link set eth1 down")
    run("ip", "link", "set", "eth1", "name", name)
    run("ip", "link", "set", name, "up")
    script("hv_get_dhcp_info", 'echo "$#:$1" >/tmp/words; echo Enabled')
    script("hv_get_dns_info", 'echo "$#:$1" >>/tmp/words; printf "192.0.2.7\\n2001:db8::7\\n"')
    info = ours(mac)
    assert (info.dhcp, info.dns) == (1, "192.0.2.7;2001:db8::7")
    with open("/tmp/words", encoding="utf-8") as file:
        assert file.read() == f"1:{name}\n" * 2
    shutil.rmtree(SCRIPTS)
    run("ip", "link", "del", name)


def check_scripts_that_fail_are_ignored() -> None:
    for text in ("exit 1", "echo Rubbish; echo 'not;an address'", "kill -9 $$", "exit 0"):
        script("hv_get_dhcp_info", text)
        script("hv_get_dns_info", text)
        info = ours(ETH0)
        # That there are no servers is an answer, if the script ends well.
        assert (info.dhcp, info.dns) == (0, "" if text == "exit 0" else "192.0.2.53"), text
    with open(script("hv_get_dhcp_info", ""), "w", encoding="utf-8") as file:
        file.write("not a program at all")
    assert ours(ETH0).dhcp == 0
    shutil.rmtree(SCRIPTS)


def check_a_slow_script_is_killed_and_ignored() -> None:
    script("hv_get_dhcp_info", "sleep 600; echo Enabled")
    script("hv_get_dns_info", "sleep 600 & wait; echo 192.0.2.7")
    daemon = start()
    with Host(watch=daemon.must_run) as host:
        assert host.negotiate() == S_OK
        started = time.monotonic()
        deadline = Deadline(8, LESS_THAN_DRIVER)
        status, info = host.get_ip_info(ETH0)
        assert (status, info.dhcp, info.dns) == (S_OK, 0, "192.0.2.53")
        # Two scripts of 2 s each, in an emulator.
        assert time.monotonic() - started > 3.9
        assert not deadline.passed(), deadline
        assert "no answer within 2 s" in daemon.stderr
        wait_for("no script is left", lambda: not guest.pids("sleep"))
        assert len(list(host.items(AUTO))) == 10
    assert daemon.stop() == 0
    shutil.rmtree(SCRIPTS)


def check_the_daemon_ends_at_once_while_a_script_runs() -> None:
    script("hv_get_dhcp_info", "sleep 600")
    daemon = start()
    with Host(watch=daemon.must_run) as host:
        assert host.negotiate() == S_OK
        body = ETH0.encode("utf-16-le")
        host.send(2, (bytes([GET_IP_INFO, 0]) + body).ljust(7428, b"\0"))
        wait_for("the script runs", lambda: guest.pids("sleep"))
        deadline = Deadline(3, LESS_THAN_DRIVER)
        assert daemon.stop() == 0
        assert not deadline.passed(), deadline
        wait_for("no script is left", lambda: not guest.pids("sleep"))
    shutil.rmtree(SCRIPTS)
    daemon = start()
    with Host(watch=daemon.must_run) as host:
        wait_for("service", lambda: host.kvp(ENUMERATE, AUTO, bytes(4))[0] == S_OK)
    assert daemon.stop() == 0
