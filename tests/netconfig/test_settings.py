# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The settings of a request: a table of what hosts send, and text of any other kind."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hv_kvp_daemon.netconfig.answer import ip_info
from hv_kvp_daemon.netconfig.settings import (
    AUTOMATIC,
    RequestError,
    Settings,
    from_document,
    parse,
    to_document,
)
from hv_kvp_daemon.wire.ipinfo import IpInfo
from hv_kvp_daemon.wire.uapi import HV_INVALIDARG

from .injected import static
from .network import config

MASK = "255.255.255.0"


def request(
    family: int, dhcp: int, ip: str = "", mask: str = "", gw: str = "", dns: str = ""
) -> IpInfo:
    return IpInfo(b"{guid}", family, dhcp, *(text.encode() for text in (ip, mask, gw, dns)))


def parsed(*fields: object) -> Settings:
    return parse(request(*fields), lambda _: None)  # type: ignore[arg-type]


BOTH = Settings(static("10.0.0.5/24"), static("2001:db8::5/64"))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        # Microsoft's own example has the gateway outside the subnet.
        ((1, 0, "192.168.1.1", MASK, "192.168.31.1"),
         Settings(static("192.168.1.1/24", "192.168.31.1"), None)),
        ((1, 0, "10.1.0.1;10.1.0.2", f"{MASK};{MASK}", "10.1.0.254", "10.0.0.1;10.0.0.2"),
         Settings(static("10.1.0.1/24 10.1.0.2/24", "10.1.0.254", "10.0.0.1 10.0.0.2"), None)),
        ((3, 0, "10.0.0.5;2001:db8::5", f"{MASK};64", "10.0.0.1;fe80::1",
          "10.0.0.53;2001:db8::53"),
         Settings(static("10.0.0.5/24", "10.0.0.1", "10.0.0.53"),
                  static("2001:db8::5/64", "fe80::1", "2001:db8::53"))),
        ((3, 0, "10.0.0.5;2001:db8::5", f"{MASK};/64"), BOTH),
        # Without a family: what the lists have.
        ((0, 0, "10.0.0.5;2001:db8::5", f"{MASK};/64"), BOTH),
        ((0, 0, "10.0.0.5", MASK), Settings(static("10.0.0.5/24"), None)),
        # The cmdlet sets DHCP for IPv6 alone.  The zone is Windows' own index.
        ((2, 1, "2001:db8::5", "64", "fe80::1%5"),
         Settings(None, static("2001:db8::5/64", "fe80::1"))),
        ((2, 0, "2001:db8::5", "64", "", "fe80::53%12"),
         Settings(None, static("2001:db8::5/64", "", "fe80::53"))),
        # A script has changed the family of what GET answered.
        ((1, 0, "10.0.0.5", MASK, "10.0.0.1;fe80::1", "10.0.0.53;2001:db8::53"),
         Settings(static("10.0.0.5/24", "10.0.0.1", "10.0.0.53"), None)),
        ((1, 0, "10.0.0.5;2001:db8::5;fe80::5", f"{MASK};/64;/64"),
         Settings(static("10.0.0.5/24"), None)),
        ((3, 0, "10.0.0.5;fe80::5", f"{MASK};/64", "", "127.0.0.53"),
         Settings(static("10.0.0.5/24"), AUTOMATIC)),
        ((1, 1), Settings(AUTOMATIC, None)),
        ((0, 1), Settings(AUTOMATIC, AUTOMATIC)),
        ((2, 1), Settings(None, AUTOMATIC)),
        ((1, 1, "10.0.0.77", MASK, "10.0.0.1", "10.0.0.53"), Settings(AUTOMATIC, None)),
        ((0, 1, "10.0.0.77", MASK), Settings(AUTOMATIC, None)),
        ((3, 1, "10.0.0.77;2001:db8::5", f"{MASK};64", "10.0.0.1"),
         Settings(AUTOMATIC, static("2001:db8::5/64"))),
        ((1, 0, " 10.0.0.5;", f"{MASK};"), Settings(static("10.0.0.5/24"), None)),
        ((1, 0, "10.0.0.5;10.0.0.5", f"{MASK};{MASK}", "10.0.0.1;10.0.0.1"),
         Settings(static("10.0.0.5/24", "10.0.0.1"), None)),
        ((1, 0, "10.0.0.5;10.0.0.4", "255.255.255.255;255.255.255.254"),
         Settings(static("10.0.0.5/32 10.0.0.4/31"), None)),
    ],
)  # fmt: skip
def test_what_hosts_send(fields: tuple[object, ...], expected: Settings) -> None:
    settings = parsed(*fields)
    assert settings == expected
    assert from_document(json.loads(json.dumps(to_document(settings)))) == settings


HOSTILE = (
    "$(reboot)",
    "`id`",
    "10.0.0.5\nDHCP=yes",
    "10.0.0.5\r",
    "10.0.0.5\t",
    "10.0.0.5 10.0.0.6",
    "10.0.0.5,10.0.0.6",
    "10.0.0.5#",
    "1" * 1000,
    "\u0661\u0660.0.0.5",
    "\ufffd",
    "[Match]",
    "%i",
    "../../etc",
    "-",
    "'",
    '"',
    "eth0",
)


@pytest.mark.parametrize(
    "fields",
    [
        (4, 0, "10.0.0.5", MASK),
        (255, 1),
        (1, 2),
        (1, 0),
        (0, 0),
        (2, 0),
        (3, 0, "2001:db8::5", "64"),
        *(
            (1, 0, "10.0.0.5", mask)
            for mask in ("255.0.255.0", "0.0.0.0", "24", "/24", "", "64", "0.0.0.255")
        ),
        *(
            (1, 0, ip, MASK)
            for ip in ("10.0.5", "0x0A000005", "010.0.0.5", "10.0.0.5/24", "10.0.0.5:80")
        ),
        *(
            (2, 0, ip, "64")
            for ip in ("fe80::1%4", "[2001:db8::5]", "2001:db8::5/64", "::ffff:10.0.0.5")
        ),
        *(
            (2, 0, "2001:db8::5", mask)
            for mask in ("129", "0", "+64", "064", "//64", "", MASK, "6 4")
        ),
        (1, 0, "10.0.0.5;10.0.0.6", MASK),
        (1, 0, "10.0.0.5", f"{MASK};{MASK}"),
        (1, 0, "", "", "10.0.0.1"),
        *(
            (1, 0, ip, MASK)
            for ip in (
                "0.0.0.0",
                "127.0.0.5",
                "224.0.0.1",
                "255.255.255.255",
                "10.0.0.0",
                "10.0.0.255",
            )
        ),
        *((2, 0, ip, "64") for ip in ("::", "::1", "ff02::1")),
        *(
            (1, 0, "10.0.0.5", MASK, gw)
            for gw in ("10.0.0.5", "0.0.0.0", "10.0.0.1%1", "224.0.0.1")
        ),
        *(
            (2, 0, "2001:db8::5", "64", gw)
            for gw in ("2001:db8::1%5", "fe80::1%$(id)", "fe80::1%", "::")
        ),
        (1, 0, "10.0.0.5", MASK, "", "0.0.0.0"),
        # The driver cuts a list at 1024 bytes, that of the gateways at 512.
        (1, 0, ("10.0.0.5;" * 114)[:1024], f"{MASK};" * 63),
        (1, 0, "10.0.0.5", MASK, ("10.0.0.1;" * 57)[:512]),
        (1, 0, "10.0.0.5", MASK, "", ("10.0.0.1;" * 114)[:1024]),
        *(
            fields
            for text in HOSTILE
            for fields in (
                (1, 0, text, MASK),
                (1, 0, "10.0.0.5", text),
                (1, 0, "10.0.0.5", MASK, text),
                (1, 0, "10.0.0.5", MASK, "", text),
                (1, 1, text, MASK),
                (1, 1, "", "", "", text),
            )
        ),
    ],
)
def test_anything_else_is_an_invalid_argument_with_a_short_reason(
    fields: tuple[object, ...],
) -> None:
    """N1: text of the host went into files that a shell reads."""
    with pytest.raises(RequestError) as raised:
        parsed(*fields)
    assert raised.value.status == HV_INVALIDARG
    assert 0 < len(str(raised.value)) < 200
    assert str(raised.value).isprintable()


def test_what_is_left_out_is_said() -> None:
    notes: list[str] = []
    lists = f"{MASK};/64", "10.0.0.1;fe80::1", "127.0.0.53;2001:db8::53"
    parse(request(1, 0, "10.0.0.5;fe80::5", *lists), notes.append)
    assert [note.partition(" is left out")[0] for note in notes] == [
        "the address fe80::5",
        "the DNS server 127.0.0.53",
        "the gateway fe80::1",
        "the DNS server 2001:db8::53",
    ]


fields = st.lists(
    st.text(max_size=20)
    | st.ip_addresses().map(str)
    | st.sampled_from([MASK, "64", "/64", "", *HOSTILE]),
    max_size=4,
).map(";".join)


@given(st.integers(0, 255), st.integers(0, 2), fields, fields, fields, fields)
def test_any_text_is_refused_or_becomes_addresses(
    family: int, dhcp: int, ip: str, mask: str, gw: str, dns: str
) -> None:
    info = IpInfo(
        b"", family, dhcp, *(text.encode("utf-8", "replace") for text in (ip, mask, gw, dns))
    )
    try:
        settings = parse(info, lambda _: None)
    except RequestError:
        return
    assert settings.changed()
    for version, each in settings.changed().items():
        assert each == AUTOMATIC or each.addresses
        for value in (*each.addresses, *each.gateways, *each.dns):
            assert value.version == version


@given(
    st.lists(st.ip_addresses(network="10.0.0.0/8"), min_size=1, max_size=30, unique=True),
    st.lists(st.ip_addresses(network="2001:db8::/32"), min_size=1, max_size=20, unique=True),
)
def test_what_get_answers_can_be_set(ipv4: list[object], ipv6: list[object]) -> None:
    made = config()
    made.addresses = [(2, str(each), 32) for each in ipv4] + [
        (10, str(each), 64) for each in ipv6
    ]
    made.gateways = ["172.16.0.1", "fe80::1"]
    made.dns = ["172.16.0.53"]
    settings = parse(ip_info(made, b""), lambda _: None)
    assert settings.ipv4 is not None
    assert settings.ipv6 is not None
    addresses = (*settings.ipv4.addresses, *settings.ipv6.addresses)
    count = len(addresses)
    assert [str(each.ip) for each in addresses] == [text for _, text, _ in made.addresses][
        :count
    ]
    assert settings.ipv4.dns == static("10.0.0.1/32", "", "172.16.0.53").dns
