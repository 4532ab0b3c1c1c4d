# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from hv_kvp_daemon.netconfig.answer import ip_info, subnet_text
from hv_kvp_daemon.wire.ipinfo import decode_ip, encode_ip_reply
from hv_kvp_daemon.wire.message import MESSAGE_SIZE

from .network import config

if TYPE_CHECKING:
    from hv_kvp_daemon.netconfig.config import AdapterConfig

ADAPTER = b"00:15:5D:00:00:01"

v4 = st.tuples(
    st.just(int(socket.AF_INET)),
    st.ip_addresses(v=4).map(str),
    st.integers(min_value=0, max_value=32),
)
v6 = st.tuples(
    st.just(int(socket.AF_INET6)),
    st.ip_addresses(v=6).map(str),
    st.integers(min_value=0, max_value=128),
)
texts = st.lists(st.ip_addresses().map(str), max_size=120)


@st.composite
def configs(draw: st.DrawFn) -> AdapterConfig:
    made = config()
    made.addresses = draw(st.lists(v4 | v6, max_size=120))
    made.gateways = draw(texts)
    made.dns = draw(texts)
    made.dhcp = draw(st.booleans())
    return made


def items(field: bytes) -> list[str]:
    return field.decode().split(";") if field else []


@given(configs())
def test_fields_hold_the_first_whole_addresses_that_fit(made: AdapterConfig) -> None:
    message = encode_ip_reply(ip_info(made, ADAPTER))
    assert len(message) == MESSAGE_SIZE
    assert message[:4] == bytes(4)
    info = decode_ip(message)
    assert info == ip_info(made, ADAPTER)
    assert info.adapter_id == ADAPTER
    assert info.dhcp_enabled == made.dhcp
    for field, all_of_them, limit in (
        (info.ip_addr, [text for _, text, _ in made.addresses], 1022),
        (info.gate_way, made.gateways, 510),
        (info.dns_addr, made.dns, 1022),
    ):
        assert len(field) <= limit
        assert items(field) == all_of_them[: len(items(field))]
    # No more would have fitted.
    for field, all_of_them, limit in (
        (info.gate_way, made.gateways, 510),
        (info.dns_addr, made.dns, 1022),
    ):
        assert len(items(field)) == len(all_of_them) or (
            len(field) + 1 + len(all_of_them[len(items(field))]) > limit
        )


@given(configs())
def test_addresses_and_masks_are_pairs(made: AdapterConfig) -> None:
    info = ip_info(made, ADAPTER)
    addresses, masks = items(info.ip_addr), items(info.sub_net)
    assert len(addresses) == len(masks)
    assert len(info.sub_net) <= 1022
    families = 0
    for text, mask, (_, _, length) in zip(addresses, masks, made.addresses, strict=False):
        address = ipaddress.ip_address(text)
        families |= 1 if address.version == 4 else 2
        if address.version == 6:
            assert mask == f"/{length}"
        else:
            assert ipaddress.ip_network(f"{text}/{mask}", strict=False).prefixlen == length
    assert info.addr_family == families


def test_the_masks_of_short_addresses_decide_as_well() -> None:
    made = config()
    made.addresses = [(int(socket.AF_INET), "1.1.1.1", 30)] * 100
    info = ip_info(made, ADAPTER)
    assert len(items(info.ip_addr)) == len(items(info.sub_net)) == 1023 // 16
    assert set(items(info.sub_net)) == {"255.255.255.252"}


def test_masks_of_both_families() -> None:
    assert [subnet_text(socket.AF_INET, length) for length in (0, 8, 25, 32)] == [
        "0.0.0.0", "255.0.0.0", "255.255.255.128", "255.255.255.255",
    ]  # fmt: skip
    assert subnet_text(socket.AF_INET6, 64) == "/64"
