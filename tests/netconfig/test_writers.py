# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""All writers: no line of a file stands there that the settings did not intend."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hv_kvp_daemon.netconfig.settings import Family, RequestError, Settings, parse, to_document
from hv_kvp_daemon.netconfig.writer import WriterError
from hv_kvp_daemon.netconfig.writers import WRITERS
from hv_kvp_daemon.service.options import OPTIONS
from hv_kvp_daemon.wire.ipinfo import IpInfo

from .injected import written
from .network import Machine

#: How each writer writes a value of the settings: all lines that may be in its files besides
#: comments and these fixed ones.
FIXED = {
    "networkd": {
        "", "[Match]", "Name=eth0", "[Network]", "[Route]", "GatewayOnLink=yes",
        "DHCP=no", "DHCP=yes", "DHCP=ipv4", "DHCP=ipv6",
        *(f"Metric={32768 + number}" for number in range(200)),
    },
    "networkmanager": {
        "", "[connection]", "id=hv-kvp-eth0", "type=ethernet", "interface-name=eth0",
        "autoconnect-priority=999", "[ipv4]", "[ipv6]", "method=auto", "method=manual",
        "ra-timeout=2147483647", "uuid=ea97f635-95c2-5a62-8e6e-b4594ca55524",
        *(f"route{number}_options=onlink=true" for number in range(200)),
    },
    "ifupdown": {
        "", "mapping eth0", "    script /etc/network/hv-kvp-eth0.mapping", "auto eth0",
        "echo hvkvp-eth0", "    accept_ra 1",
        *(
            f"iface hvkvp-eth0 {each}"
            for each in ("inet static", "inet dhcp", "inet6 static", "inet6 auto")
        ),
    },
    "script": {
        "", "DEVICE=eth0", "BOOTPROTO=dhcp", "BOOTPROTO=none", "[connection]", "[ipv4]",
        "[ipv6]", "interface-name=eth0", "method=auto", "method=manual",
        "ra-timeout=2147483647",
        *(f"route{number}_options=onlink=true" for number in range(200)),
    },
}  # fmt: skip


def networkd(family: Family) -> set[str]:
    return {
        *(f"Address={each}" for each in family.addresses),
        *(f"Gateway={each}" for each in family.gateways),
        *(f"DNS={each}" for each in family.dns),
        *(f"DNS={each}%eth0" for each in family.dns if each.is_link_local),
        *nameservers(family),
    }


def networkmanager(family: Family) -> set[str]:
    default = {4: "0.0.0.0/0", 6: "::/0"}
    return {
        *(f"address{number}={each}" for number, each in enumerate(family.addresses, 1)),
        *(f"gateway={each}" for each in family.gateways[:1]),
        *(
            f"route{number}={default[each.version]},{each},{32768 + number}"
            for number, each in enumerate(family.gateways[1:], 1)
        ),
        "dns=" + "".join(f"{each};" for each in family.dns),
    }


def ifupdown(family: Family) -> set[str]:
    return {
        *(f"    address {each}" for each in family.addresses),
        *(f"    gateway {each}" for each in family.gateways[:1]),
        *(
            f"    up ip -{each.version} route replace default via {each} dev $IFACE"
            f" metric {32768 + number} onlink"
            for number, each in enumerate(family.gateways[1:], 1)
        ),
        "    dns-nameservers " + " ".join(map(str, family.dns)),
        *nameservers(family),
    }


def nameservers(family: Family) -> set[str]:
    return {
        *(f"nameserver {each}" for each in family.dns),
        *(f"nameserver {each}%eth0" for each in family.dns if each.is_link_local),
    }


def script(family: Family) -> set[str]:
    lines = networkmanager(family)
    for index, each in enumerate(family.addresses):
        suffix = f"_{index}" if index else ""
        lines |= (
            {f"IPADDR{index}={each.ip}", f"NETMASK{index}={each.netmask}"}
            if each.version == 4
            else {
                f"IPV6ADDR{suffix}={each.ip}",
                f"IPV6NETMASK{suffix}={each.network.prefixlen}",
            }
        )
    for index, gateway in enumerate(family.gateways):
        suffix = f"_{index}" if index else ""
        lines.add(
            f"GATEWAY{index or ''}={gateway}"
            if gateway.version == 4
            else f"IPV6_DEFAULTGW{suffix}={gateway}"
        )
    return lines | {f"DNS{index}={each}" for each in family.dns for index in range(1, 200)}


INTENDED = {
    "networkd": networkd,
    "networkmanager": networkmanager,
    "ifupdown": ifupdown,
    "direct": nameservers,
    "script": script,
}

MASKS = ["255.255.255.0", "255.0.0.0", "64", "/48", "$(id)", "24"]
HOSTILE = [
    "$(reboot)",
    "`id`",
    "\n[Route]\n",
    "x\nDHCP=yes",
    ";;",
    "\r\n",
    "%n",
    "1" * 1024,
    "\ud800",
]
fields = st.lists(
    st.ip_addresses().map(str) | st.sampled_from(HOSTILE) | st.text(max_size=30), max_size=5
).map(";".join)


@pytest.fixture(scope="module")
def machine() -> Machine:
    machine = Machine(Path(tempfile.mkdtemp(prefix="hv-kvp-test-")))
    machine.write("/etc/network/interfaces", "source /etc/network/interfaces.d/*")
    machine.script("/usr/sbin/hv_set_ifconfig", "exit 0")
    return machine


def test_each_writer_is_a_choice_of_the_daemon_and_the_other_way_round() -> None:
    (option,) = (each for each in OPTIONS if each.name == "ip_backend")
    assert {*option.choices} == {"auto", "none", *WRITERS}
    assert WRITERS.keys() == INTENDED.keys() == {"direct", *FIXED}


@given(
    family=st.integers(0, 3),
    dhcp=st.integers(0, 1),
    pairs=st.lists(
        st.tuples(st.ip_addresses().map(str), st.sampled_from(MASKS))
        | st.tuples(fields, fields),
        max_size=4,
    ),
    gateways=fields,
    dns=fields,
)
def test_no_line_is_there_that_was_not_intended(
    machine: Machine,
    family: int,
    dhcp: int,
    pairs: list[tuple[str, str]],
    gateways: str,
    dns: str,
) -> None:
    texts = ";".join(ip for ip, _ in pairs), ";".join(mask for _, mask in pairs), gateways, dns
    info = IpInfo(b"", family, dhcp, *(text.encode("utf-8", "surrogatepass") for text in texts))
    try:
        settings = parse(info, lambda _: None)
    except RequestError:
        return
    for name in WRITERS:
        check(machine, name, settings)


addresses = st.ip_addresses(v=4).map(str) | st.ip_addresses(v=6).map(str)


@given(
    ips=st.lists(st.ip_addresses(network="10.0.0.0/8").map(str), min_size=1, max_size=9),
    gateways=st.lists(st.ip_addresses(network="10.0.0.0/8").map(str), max_size=4),
    six=st.lists(st.ip_addresses(network="2001:db8::/32").map(str), min_size=1, max_size=9),
)
def test_all_settings_are_in_the_files(
    machine: Machine, ips: list[str], gateways: list[str], six: list[str]
) -> None:
    masks = ["255.255.255.255"] * len(ips) + ["/64"] * len(six)
    gateways = [each for each in gateways if each not in ips]
    lists = (
        ";".join(each).encode()
        for each in ([*ips, *six], masks, [*gateways, "fe80::1"], gateways)
    )
    settings = parse(IpInfo(b"", 3, 0, *lists), lambda _: None)
    for name in WRITERS:
        text = check(machine, name, settings)
        for value in (*ips, *six, *gateways, "fe80::1"):
            assert value in text


def check(machine: Machine, name: str, settings: Settings) -> str:
    """Check each line of the files; return their text."""
    intended = FIXED.get(name, {json.dumps(to_document(settings))}).copy()
    for family in settings.changed().values():
        intended |= INTENDED[name](family)
    text = ""
    try:
        files = written(machine, WRITERS[name], settings)
    except WriterError:
        assert name == "direct"
        assert settings.ipv4 is not None
        assert settings.ipv4.automatic
        return text
    for file in files:
        lines = file.text.splitlines()
        assert {line for line in lines if not line.startswith("#")} <= intended
        comments = [line for line in lines if line.startswith("#")]
        assert any("hv-kvp ip --forget eth0" in line for line in comments)
        text += file.text
    return text
