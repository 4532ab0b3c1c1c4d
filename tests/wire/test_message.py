# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""hv_kvp_msg: round trips, sizes, and arbitrary bytes."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hv_kvp_daemon.wire import ipinfo, message
from hv_kvp_daemon.wire.errors import WireError
from hv_kvp_daemon.wire.ipinfo import IpInfo, decode_ip, encode_ip_reply, encode_ip_request
from hv_kvp_daemon.wire.message import (
    MESSAGE_SIZE,
    FieldError,
    Request,
    answers_old_register,
    decode_reply,
    decode_request,
    decode_version,
    encode_pair,
    encode_record,
    encode_register,
    encode_request,
    encode_status,
    status_name,
)
from hv_kvp_daemon.wire.record import encode
from hv_kvp_daemon.wire.uapi import (
    HV_S_CONT,
    HV_S_OK,
    KVP_OP_DELETE,
    KVP_OP_ENUMERATE,
    KVP_OP_GET,
    KVP_OP_REGISTER,
    KVP_OP_REGISTER1,
    KVP_OP_SET,
    REG_SZ,
)

LAYOUT = Path(__file__).parent / "layout.tsv"

pools = st.integers(0, 255)
keys = st.binary(min_size=1, max_size=511).filter(lambda key: 0 not in key)
values = st.binary(max_size=2047).filter(lambda value: 0 not in value)

requests = st.one_of(
    st.builds(Request, st.just(KVP_OP_SET), pools, keys, values),
    st.builds(Request, st.sampled_from([KVP_OP_GET, KVP_OP_DELETE]), pools, keys),
    st.builds(
        lambda pool, index: Request(KVP_OP_ENUMERATE, pool, index=index),
        pools,
        st.integers(0, 2**32 - 1),
    ),
    st.builds(Request, st.integers(4, 255), pools),
)


def layout() -> dict[str, list[int]]:
    """The committed table: name -> numbers (offset and size, or one value)."""
    table = {}
    for line in LAYOUT.read_text().splitlines():
        if line and not line.startswith("#"):
            name, *numbers = line.split("\t")
            table[name] = [int(number, 0) for number in numbers]
    return table


@given(requests)
def test_a_request_is_decoded_as_it_was_encoded(request: Request) -> None:
    encoded = encode_request(request)
    assert len(encoded) == MESSAGE_SIZE
    assert decode_request(encoded) == request


@given(st.binary(max_size=600), st.integers(0, 7432))
def test_arbitrary_bytes_raise_nothing_but_the_codecs_error(noise: bytes, size: int) -> None:
    for data in (noise, noise.ljust(MESSAGE_SIZE, b"\xff"), (noise * 20)[:size]):
        for decode in (decode_request, decode_reply, decode_ip):
            try:
                decode(data)
            except WireError:
                continue
            assert len(data) == MESSAGE_SIZE


@given(keys, values, st.integers(0, 2**32 - 1))
def test_a_pair_is_read_back_by_the_drivers_rules(key: bytes, value: bytes, index: int) -> None:
    reply = decode_reply(encode_pair(key, value, index))
    assert reply.status == HV_S_OK
    assert reply.key.decode()
    assert len(reply.key.decode().encode("utf-16-le")) <= 2 * 254
    assert len(reply.value.decode().encode("utf-16-le")) <= 2 * 1022


@given(keys, values, st.integers(0, 2**32 - 1))
def test_a_record_that_is_copied_gives_the_same_reply_as_its_pair(
    key: bytes, value: bytes, index: int
) -> None:
    is_plain = (key + value).isascii() and len(key) <= 254 and len(value) <= 1022
    reply = encode_record(encode(key, value), index)
    assert reply == (encode_pair(key, value, index) if is_plain else None)


@given(st.text("abc", min_size=1, max_size=300), st.text("abc", max_size=1100))
def test_nearly_every_record_is_copied_unchanged(key: str, value: str) -> None:
    reply = encode_record(encode(key.encode(), value.encode()), 7)
    assert (reply is not None) == (len(key) <= 254 and len(value) <= 1022)


@pytest.mark.parametrize(
    "data",
    [
        bytes(512) + b"value".ljust(2048, b"\0"),
        b"k" * 512 + b"value".ljust(2048, b"\0"),
        b"key".ljust(512, b"\0") + b"v" * 2048,
        b"key\0left".ljust(512, b"\0") + bytes(2048),
        b"key".ljust(512, b"\0") + b"\0left".ljust(2048, b"\0"),
        b"key".ljust(512, b"\0") + bytes(2047) + b"x",
    ],
)
def test_a_record_with_an_empty_key_or_an_unusual_end_of_a_text_is_not_copied(
    data: bytes,
) -> None:
    assert encode_record(data, 0) is None


@pytest.mark.parametrize(
    ("operation", "size_at", "size"),
    [
        (KVP_OP_SET, 8, 0),
        (KVP_OP_SET, 8, 513),
        (KVP_OP_SET, 8, 0xFFFFFFFF),
        (KVP_OP_GET, 8, 513),
        (KVP_OP_DELETE, 4, 0),
        (KVP_OP_DELETE, 4, 0xFFFFFFFF),
        (KVP_OP_SET, 12, 0),
        (KVP_OP_SET, 12, 2049),
    ],
)
def test_a_size_beyond_its_field_is_refused(operation: int, size_at: int, size: int) -> None:
    """P7, P8: a key_size of 0 matched the first record, a large one was read past its end."""
    data = bytearray(encode_request(Request(operation, 1, b"key", b"value")))
    struct.pack_into("=I", data, size_at, size)
    with pytest.raises(FieldError):
        decode_request(data)


def test_a_key_or_value_without_a_nul_in_its_field_is_refused() -> None:
    longest = encode_request(Request(KVP_OP_SET, 1, b"k" * 511, b"v" * 2047))
    assert decode_request(longest) == Request(KVP_OP_SET, 1, b"k" * 511, b"v" * 2047)
    for at, size in ((message.EXCHANGE_KEY, 512), (message.EXCHANGE_VALUE, 2048)):
        data = bytearray(longest)
        data[at + size - 1] = ord("x")
        with pytest.raises(FieldError, match=f"{size} bytes, at most {size - 1}"):
            decode_request(data)


def test_a_value_may_be_empty_when_its_size_counts_the_nul() -> None:
    assert decode_request(encode_request(Request(KVP_OP_SET, 1, b"key"))).value == b""


def test_a_reply_whose_string_has_no_nul_would_be_a_kernel_bug() -> None:
    data = bytearray(encode_pair(b"key", b"value"))
    data[message.ENUMERATE_VALUE : message.ENUMERATE_VALUE + 2048] = b"v" * 2048
    with pytest.raises(WireError, match="no NUL within the 2048 bytes at offset 532"):
        decode_reply(data)


def test_a_status_takes_the_place_of_operation_and_pool() -> None:
    reply = encode_status(HV_S_CONT)
    assert reply[:4] == bytes.fromhex("03010780")
    assert decode_reply(reply).status == HV_S_CONT
    assert status_name(HV_S_CONT) == "HV_S_CONT"
    assert status_name(0x12345678) == "0x12345678"


def test_only_an_operation_100_with_a_version_is_the_handshake() -> None:
    assert decode_version(encode_register(b"3.1")) == b"3.1"
    assert decode_version(encode_register()) == b""
    assert decode_version(encode_request(Request(KVP_OP_SET, 0, b"k", b"v"))) == b""


@pytest.mark.parametrize(
    ("operation", "version", "answers"),
    [
        (KVP_OP_REGISTER, b"3.1", True),
        (KVP_OP_REGISTER, b"", False),
        (KVP_OP_REGISTER, b"3.", False),
        (KVP_OP_REGISTER, b".1", False),
        # GET_IP_INFO's adapter.
        (KVP_OP_REGISTER, b"00:15:5d:00:00:01", False),
        (KVP_OP_REGISTER1, b"3.1", False),
    ],
)
def test_only_an_operation_4_with_a_version_answers_an_old_registration(
    operation: int, version: bytes, *, answers: bool
) -> None:
    assert answers_old_register(encode_register(version, operation)) is answers


def test_a_version_without_a_nul_ends_with_its_field() -> None:
    """T15: strlen() ran past the 512 bytes of a version."""
    assert decode_version(encode_register(b"x" * 600)) == b"x" * 512


def test_offsets_and_sizes_are_the_compilers() -> None:
    table = layout()
    assert table["hv_kvp_msg"][-1] == MESSAGE_SIZE
    ours = {
        "hv_kvp_msg.body.kvp_enum_data.index": message.ENUMERATE_INDEX,
        "hv_kvp_msg.body.kvp_enum_data.data.key": message.ENUMERATE_KEY,
        "hv_kvp_msg.body.kvp_enum_data.data.value": message.ENUMERATE_VALUE,
        "hv_kvp_msg.body.kvp_set.data.key_size": message.EXCHANGE_KEY_SIZE,
        "hv_kvp_msg.body.kvp_set.data.value_size": message.EXCHANGE_VALUE_SIZE,
        "hv_kvp_msg.body.kvp_set.data.key": message.EXCHANGE_KEY,
        "hv_kvp_msg.body.kvp_set.data.value": message.EXCHANGE_VALUE,
        "hv_kvp_msg.body.kvp_delete.key_size": message.DELETE_KEY_SIZE,
        "hv_kvp_msg.body.kvp_delete.key": message.DELETE_KEY,
        "hv_kvp_msg.body.kvp_register.version": message.REGISTER_VERSION,
    }
    assert {name: table[name][0] for name in ours} == ours
    assert table["hv_kvp_ipaddr_value"][-1] == ipinfo.IPADDR_VALUE.size


def test_constants_are_the_headers() -> None:
    from hv_kvp_daemon.wire import uapi

    named = {name: numbers[0] for name, numbers in layout().items() if len(numbers) == 1}
    known = {name: value for name, value in vars(uapi).items() if name in named}
    assert known == {name: named[name] for name in known}
    wanted = {
        "KVP_OP_SET",
        "HV_E_FAIL",
        "CN_KVP_IDX",
        "KVP_POOL_COUNT",
        "NLMSG_DONE",
        "MAX_GATEWAY_SIZE",
    }
    assert wanted <= known.keys()


def test_the_drivers_view_of_a_pair() -> None:
    reply = encode_pair(b"name", b"text", 7)
    assert struct.unpack_from("=IIIII", reply) == (HV_S_OK, 7, REG_SZ, 5, 5)
    assert reply[20:25] == b"name\0"
    assert reply[532:537] == b"text\0"
    assert KVP_OP_REGISTER1 == 100


texts = st.binary(max_size=60).filter(lambda text: 0 not in text)


@given(
    st.builds(
        IpInfo, texts, st.integers(0, 255), st.integers(0, 255), texts, texts, texts, texts
    )
)
def test_an_adapters_configuration_is_decoded_as_it_was_encoded(info: IpInfo) -> None:
    encoded = encode_ip_request(info)
    assert len(encoded) == MESSAGE_SIZE
    assert decode_ip(encoded) == info


@given(
    st.builds(
        IpInfo,
        *[st.binary(max_size=3000)]
        + [st.integers(0, 255)] * 2
        + [st.binary(max_size=3000)] * 4,
    )
)
def test_an_ip_reply_can_be_read_by_strlen(info: IpInfo) -> None:
    reply = encode_ip_reply(info)
    _, _, _, *texts = ipinfo.IPADDR_VALUE.unpack_from(reply, 4)
    for text in (reply[4:260], *texts):
        assert b"\0" in text
        text.partition(b"\0")[0].decode()


@pytest.mark.parametrize(
    ("character", "counts"),
    [
        # What the host takes; and of three bytes each, what fits in the field with its NUL.
        ("x", (126, 1022, 1022, 510, 1022)),
        ("€", (85, 682, 682, 341, 682)),
    ],
)
def test_an_ip_reply_has_of_each_text_as_much_as_fits(
    character: str, counts: tuple[int, ...]
) -> None:
    text = (character * 3000).encode()
    found = decode_ip(encode_ip_reply(IpInfo(text, 1, 1, text, text, text, text)))
    texts = found.adapter_id, found.ip_addr, found.sub_net, found.gate_way, found.dns_addr
    assert texts == tuple((character * count).encode() for count in counts)


def test_a_request_shows_what_it_holds() -> None:
    request = Request(KVP_OP_SET, 1, b"k", b"v")
    assert repr(request) == r"Request(index=0, key=b'k', operation=1, pool=1, value=b'v')"
    assert repr(IpInfo(b"{A}", 1)).startswith(r"IpInfo(adapter_id=b'{A}', addr_family=1,")


def test_an_ip_reply_fills_each_field_to_the_last_byte_before_its_nul() -> None:
    limits = (255, 2047, 2047, 1023, 2047)
    first, *rest = (("€" * (limit // 3) + "x" * 9).encode() for limit in limits)
    found = decode_ip(encode_ip_reply(IpInfo(first, 1, 1, *rest)))
    texts = found.adapter_id, found.ip_addr, found.sub_net, found.gate_way, found.dns_addr
    assert texts == tuple(
        text[:limit] for text, limit in zip((first, *rest), limits, strict=True)
    )
