# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""SET_IP_INFO with each network manager, in a booted guest."""

from __future__ import annotations

import itertools
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from hv_kvp_daemon.wire.ipinfo import IpInfo, encode_ip_request
from hv_kvp_daemon.wire.uapi import (
    ADDR_FAMILY_IPV6,
    HV_GUID_NOTFOUND,
    HV_INVALIDARG,
    HV_S_OK,
    KVP_OP_SET_IP_INFO,
)
from tests.support.process import wait_for

from .container import ADAPTER, DAEMON, GUESTS
from .managers import CLOUD_INIT, NET, ROUTER

if TYPE_CHECKING:
    from .container import Container

UNIT = "hv-kvp-ip.service"

V4 = IpInfo(ADAPTER, 1, 0, b"192.0.2.5", b"255.255.255.0", b"192.0.2.1", b"192.0.2.54")
V6 = IpInfo(ADAPTER, 2, 1, b"2001:db8:1::5", b"64", b"fe80::1", b"2001:db8:1::53")
BOTH = IpInfo(
    ADAPTER, 3, 0, b"192.0.2.5;2001:db8:1::5", b"255.255.255.0;/64", b"192.0.2.1;2001:db8:1::1"
)
TWO = IpInfo(
    *(ADAPTER, 1, 0, b"192.0.2.6;192.0.2.5", b"255.255.255.0;255.255.255.0"),
    *(b"192.0.2.1;192.0.2.2", b"192.0.2.54;192.0.2.53"),
)
FAR = IpInfo(ADAPTER, 1, 0, b"10.0.0.5", b"255.255.255.0", b"10.99.0.1")
DHCP = IpInfo(ADAPTER, 1, 1)

# What a host, or somebody who uses it, might try in a field that is text.
HOSTILE = (
    *(b"$(touch /tmp/owned)", b"`touch /tmp/owned`", b"; touch /tmp/owned", b"| reboot"),
    *(b"192.0.2.9\n[Match]\nName=*", b"192.0.2.9\r\nGateway=192.0.2.66", b"%n%s%p", b"''\""),
    *(b"1" * 1024, b"fe80::1%$(touch${IFS}/tmp/owned)", b"../../etc/passwd", b"\xed\xa0\x80"),
)


def completed(guest: Container) -> int:
    """How often the unit has logged since the boot that stored settings hold."""
    return guest.log(UNIT).count("stored before: holds")


def items(raw: bytes, *, ipv6: bool) -> list[str]:
    return [each for each in raw.decode().split(";") if each and (":" in each) == ipv6]


def assert_set(guest: Container, info: IpInfo) -> None:
    """Check that the guest has what a request has set, and that GET answers it."""
    # NetworkManager sets an address again when a router advertises another one.
    wanted_addresses = {*info.ip_addr.decode().split(";")}
    wait_for(
        "the addresses",
        lambda: {each.partition("/")[0] for each in guest.addresses()} >= wanted_addresses,
    )
    assert guest.gateways() >= {*filter(None, info.gate_way.decode().split(";"))}
    wait_for("GET's answer", lambda: is_answered(guest, info))


def is_answered(guest: Container, info: IpInfo) -> bool:
    """Whether GET answers what a request has set, in the same order."""
    answer = guest.get_ip()
    for ipv6 in (False, True):
        if not items(info.ip_addr, ipv6=ipv6):
            continue
        # Addresses that a router advertises may stand between them.
        has_dns = guest.manager.dns_beside_dhcp or info.addr_family != ADDR_FAMILY_IPV6
        for name in ("ip_addr", "gate_way", *(["dns_addr"] if has_dns else [])):
            wanted = items(getattr(info, name), ipv6=ipv6)
            found = items(getattr(answer, name), ipv6=ipv6)
            if [each for each in found if each in wanted] != wanted:
                return False
    own, asked = (items(each.ip_addr, ipv6=False) for each in (answer, info))
    return not asked or (len(own) == len(asked) and answer.dhcp_enabled == 0)


@pytest.mark.parametrize(
    "info", [V4, V6, BOTH, TWO, FAR], ids=["v4", "v6", "both", "two", "far"]
)
def test_addresses_are_set_and_undone(guest: Container, info: IpInfo) -> None:
    before = guest.addresses(), guest.gateways()
    assert guest.set_ip(info) == HV_S_OK
    assert_set(guest, info)
    if info is V6:
        # dhcp_enabled is about IPv4, which is not named.  networkd may ask for it anew.
        wait_for("the lease", guest.has_lease)
    logged = f"set by {guest.manager.backend}"
    wait_for("the log", lambda: logged in guest.run("journalctl --output=cat -p info..6"))
    holds = f"by {guest.manager.backend}: holds"
    wait_for("the end of DAD", lambda: holds in guest.run("hv-kvp ip eth0"))
    assert "mtu 1400" in guest.run("ip link show eth0")
    assert f"{NET} via {ROUTER} " in guest.run("ip route show dev eth0")
    guest.run("hv-kvp ip --forget eth0")
    wait_for("the former addresses", lambda: (guest.addresses(), guest.gateways()) == before)
    assert guest.record() == {}
    assert "host set" not in guest.run("hv-kvp ip eth0")


def test_one_of_several_adapters_has_its_own_servers(guest: Container) -> None:
    """S3: only programs that use D-Bus know them, which the daemon cannot reach."""
    has_resolved = guest.run("systemctl is-active systemd-resolved", check=False) == "active\n"
    try:
        guest.run("ip link add eth9 type veth peer name far9")
        guest.run("ip link set eth9 up")
        guest.run("ip address add 198.51.100.9/24 dev eth9")
        if has_resolved:
            guest.run("resolvectl dns eth9 198.51.100.53")
        assert guest.get_ip().dns_addr == b"192.0.2.53"
        if guest.manager.backend == "networkmanager":
            guest.run("systemctl stop systemd-resolved")
            assert guest.get_ip().dns_addr == b"192.0.2.53"
    finally:
        guest.run("ip link delete eth9")
        if has_resolved:
            guest.run("systemctl start systemd-resolved")
    assert "/usr/bin/" not in guest.log()
    assert "no answer" not in guest.log()


def test_back_to_dhcp(guest: Container) -> None:
    assert guest.set_ip(V4) == HV_S_OK
    assert not guest.has_lease()
    assert guest.set_ip(DHCP) == HV_S_OK
    wait_for("a lease", guest.has_lease)
    assert "192.0.2.5/24" not in guest.addresses()
    assert guest.get_ip().dhcp_enabled == 1


def test_the_same_again_changes_nothing(guest: Container) -> None:
    assert guest.set_ip(BOTH) == HV_S_OK
    wait_for("the end of DAD", lambda: "holds" in guest.run("hv-kvp ip eth0"))
    record = guest.record()
    log = guest.log()
    assert guest.set_ip(BOTH) == HV_S_OK
    assert guest.record() == record
    assert guest.log() == log


def test_what_is_wrong_in_any_field_is_refused_and_changes_nothing(guest: Container) -> None:
    before = guest.addresses(), guest.gateways()
    fields = ("ip_addr", "sub_net", "gate_way", "dns_addr")
    for name, text in itertools.product(fields, HOSTILE):
        info = IpInfo(*(getattr(BOTH, each) for each in (
            "adapter_id", "addr_family", "dhcp_enabled", *fields
        )))  # fmt: skip
        setattr(info, name, text)
        assert guest.set_ip(info) == HV_INVALIDARG, (name, text)
    for text in HOSTILE:
        assert guest.set_ip(IpInfo(text[:250], 1, 1)) == HV_GUID_NOTFOUND, text
    assert guest.set_ip(IpInfo(ADAPTER, 7, 0)) == HV_INVALIDARG
    assert guest.set_ip(IpInfo(ADAPTER, 1, 9)) == HV_INVALIDARG
    # The router is heard again and again.
    wait_for("what was", lambda: (guest.addresses(), guest.gateways()) == before)
    assert guest.record() == {}
    assert not (guest.root / "tmp/owned").exists()


def test_it_survives_the_manager_s_restart_and_a_reboot(guest: Container) -> None:
    assert guest.set_ip(BOTH) == HV_S_OK
    gateways = {*BOTH.gate_way.decode().split(";")}
    guest.run(f"systemctl restart {guest.manager.unit}")
    wait_for("the addresses", lambda: "2001:db8:1::5/64" in guest.addresses())
    wait_for("the gateways", lambda: guest.gateways() >= gateways)
    assert_set(guest, BOTH)
    guest.reboot()
    wait_for("the addresses", lambda: "2001:db8:1::5/64" in guest.addresses())
    wait_for("the gateways", lambda: guest.gateways() >= gateways)
    assert_set(guest, BOTH)


def test_it_overrides_cloud_init_s_profile_also_at_the_next_boot(guest: Container) -> None:
    for path, text in guest.manager.cloud_init.items():
        guest.write(path, text)
    guest.reload()
    wait_for("cloud-init's address", lambda: CLOUD_INIT in guest.addresses())
    assert guest.set_ip(V4) == HV_S_OK
    assert CLOUD_INIT not in guest.addresses()
    guest.reload()
    wait_for("ours", lambda: "192.0.2.5/24" in guest.addresses())
    assert CLOUD_INIT not in guest.addresses()
    # cloud-init writes its file again.
    for path, text in guest.manager.cloud_init.items():
        guest.write(path, text)
    guest.reboot()
    wait_for("ours", lambda: "192.0.2.5/24" in guest.addresses())
    assert CLOUD_INIT not in guest.addresses()
    guest.run("hv-kvp ip --forget eth0")
    wait_for("cloud-init's address", lambda: CLOUD_INIT in guest.addresses())
    for path in guest.manager.cloud_init:
        guest.remove(path)
    guest.reload()
    wait_for("the lease", guest.has_lease)


def test_without_a_carrier_it_is_stored_and_there_when_one_comes(guest: Container) -> None:
    before = completed(guest)
    guest.carrier("down")
    wait_for("no carrier", lambda: "NO-CARRIER" in guest.run("ip link show eth0"))
    assert guest.set_ip(V4) == HV_S_OK
    assert "no carrier" in guest.run("hv-kvp ip eth0")
    guest.carrier("up")
    wait_for("the address", lambda: "192.0.2.5/24" in guest.addresses())
    wait_for("the log", lambda: completed(guest) > before)
    assert "by " + guest.manager.backend + ": holds" in guest.run("hv-kvp ip eth0")
    assert_set(guest, V4)


def test_while_the_manager_is_stopped_it_is_stored(guest: Container) -> None:
    unit = guest.manager.unit
    before = completed(guest)
    # Its socket would start it again.
    sockets = guest.run(f"systemctl show --property=TriggeredBy --value {unit}").strip()
    guest.run(f"systemctl stop {sockets} {unit}")
    assert guest.set_ip(V4) == HV_S_OK
    assert "does not run yet" in guest.log()
    guest.run(f"systemctl start {sockets} {unit}")
    wait_for("the address", lambda: "192.0.2.5/24" in guest.addresses())
    wait_for("the log", lambda: completed(guest) > before)
    assert_set(guest, V4)


@pytest.mark.parametrize("unit", [UNIT, DAEMON])
def test_killed_in_the_middle_it_is_completed(guest: Container, unit: str) -> None:
    with closing(guest.connect()) as peer:
        peer.socket.send(encode_ip_request(V4, KVP_OP_SET_IP_INFO))
        wait_for("the request", lambda: guest.record().get("pending"))
        guest.run(f"systemctl kill --kill-who=main --signal=KILL {unit}")
    wait_for("its end", lambda: guest.record().get("current"))
    assert guest.record()["pending"] is None
    assert_set(guest, V4)
    guest.connect().close()


def test_a_reboot_in_the_middle_completes_it(guest: Container) -> None:
    with closing(guest.connect()) as peer:
        peer.socket.send(encode_ip_request(V4, KVP_OP_SET_IP_INFO))
        wait_for("the request", lambda: guest.record().get("pending"))
        guest.power_cut()
    wait_for("the address", lambda: "192.0.2.5/24" in guest.addresses())
    wait_for("its end", lambda: guest.record().get("current"))
    assert guest.record()["pending"] is None


def test_the_daemon_itself_can_reach_neither_systemd_nor_the_record(guest: Container) -> None:
    assert guest.set_ip(V4) == HV_S_OK
    pid = guest.run(f"systemctl show --property=MainPID --value {DAEMON}").strip()
    mounts = guest.run(f"cat /proc/{pid}/mountinfo")
    root = next(line.split() for line in mounts.splitlines() if line.split()[4] == "/")
    assert "ro" in root[5].split(",")
    assert not [
        line for line in mounts.splitlines() if line.split()[4].startswith("/var/lib/hv-kvp")
    ]
    assert "/run/systemd/private" in mounts
    assert "system_bus_socket" in guest.run("ls /run/dbus")
    assert guest.run(f"ls /proc/{pid}/root/run/dbus") == ""


@pytest.mark.parametrize(
    "container",
    [each for each in GUESTS if str(each.id).endswith("-ifupdown")],
    indirect=True,
)
def test_a_hook_of_ifupdown_that_fails_hinders_nothing(guest: Container) -> None:
    """N8."""
    (path,) = (each for each in guest.manager.files if each.endswith("/eth0"))
    before = guest.manager.files[path]
    guest.write(path, before.replace("    pre-up", "    up false\n    pre-up", 1))
    guest.run("systemctl restart networking.service", check=False)
    wait_for(
        "its failure",
        lambda: "failed" in guest.run("systemctl is-failed networking", check=False),
    )
    for info in V4, TWO, V4:
        assert guest.set_ip(info) == HV_S_OK
        assert_set(guest, info)
    assert "192.0.2.6/24" not in guest.addresses()
    guest.run("hv-kvp ip --forget eth0")
    assert "192.0.2.5/24" not in guest.addresses()
    guest.write(path, before)
    guest.run("systemctl restart networking.service")
