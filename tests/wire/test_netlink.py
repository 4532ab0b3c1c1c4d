# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Netlink headers, control messages and dumps, and their description."""

from __future__ import annotations

import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hv_kvp_daemon.wire import connector
from hv_kvp_daemon.wire.errors import WireError
from hv_kvp_daemon.wire.message import encode_status
from hv_kvp_daemon.wire.netlink import (
    CN_MSG,
    NLMSGHDR,
    Dump,
    Message,
    RefusedError,
    align,
    describe,
    error_of,
    pack,
    split,
)
from hv_kvp_daemon.wire.uapi import (
    NLM_F_ACK,
    NLM_F_DUMP,
    NLM_F_DUMP_INTR,
    NLM_F_MULTI,
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
    NLMSG_NOOP,
    NLMSG_OVERRUN,
    RTM_GETLINK,
    RTM_NEWLINK,
)

U16 = st.integers(0, 0xFFFF)
U32 = st.integers(0, 0xFFFFFFFF)
MESSAGES = st.tuples(U16, U16, U32, U32, st.binary(max_size=40))

SEQ, PID = 7, 4711
REQUEST = NLMSGHDR.pack(32, RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, SEQ, PID)
Fields = tuple[int, int, int, int, bytes]


def fields(message: Message) -> Fields:
    return message.type, message.flags, message.seq, message.pid, bytes(message.payload)


def part(payload: bytes, *, flags: int = 0, seq: int = SEQ, pid: int = PID) -> bytes:
    return pack(RTM_NEWLINK, NLM_F_MULTI | flags, seq, pid, payload)


def done(result: int = 0, *, flags: int = 0) -> bytes:
    return pack(NLMSG_DONE, NLM_F_MULTI | flags, SEQ, PID, struct.pack("=i", result))


def error(result: int, offending: bytes = REQUEST) -> bytes:
    return pack(NLMSG_ERROR, 0, SEQ, PID, struct.pack("=i", result) + offending)


@given(st.lists(MESSAGES, max_size=4))
def test_what_is_packed_is_split_again(messages: list[Fields]) -> None:
    datagram = b"".join(pack(*message) for message in messages)
    assert len(datagram) % 4 == 0
    assert [fields(message) for message in split(datagram)] == messages


@given(MESSAGES)
def test_the_last_message_may_lack_its_padding(message: Fields) -> None:
    datagram = pack(*message)[: NLMSGHDR.size + len(message[4])]
    assert [fields(found) for found in split(datagram)] == [message]


@given(st.binary(max_size=100))
def test_arbitrary_bytes_raise_nothing_but_a_wire_error(noise: bytes) -> None:
    for datagram in (noise, part(b"link") + noise):
        try:
            messages = split(datagram)
        except WireError:
            continue
        assert sum(align(NLMSGHDR.size + len(m.payload)) for m in messages) >= len(datagram)


@given(st.sampled_from([NLMSG_ERROR, NLMSG_DONE]), st.binary(max_size=40))
def test_an_arbitrary_error_raises_nothing_but_a_wire_error(type_: int, noise: bytes) -> None:
    message = Message(type_, 0, SEQ, PID, noise)
    try:
        number, request = error_of(message)
    except WireError:
        return
    assert number == -struct.unpack_from("=i", noise)[0]
    assert 0 <= number <= 4095
    assert (request is None) == (type_ == NLMSG_DONE)


@pytest.mark.parametrize("length", [0, 15, 21, 0xFFFFFFFF])
def test_a_length_that_lies_is_refused(length: int) -> None:
    with pytest.raises(WireError, match=f"length {length} at 20, allowed 16 to 20"):
        split(part(b"link") + struct.pack("=I", length) + part(b"link")[4:])


@pytest.mark.parametrize("size", range(1, 16))
def test_less_than_a_header_after_a_message_is_refused(size: int) -> None:
    with pytest.raises(WireError, match=f"{size} bytes at 20"):
        split(part(b"link") + bytes(size))


def test_a_number_that_does_not_fit_its_field_is_refused() -> None:
    with pytest.raises(WireError, match="type 65536"):
        pack(0x10000, 0, 0, 0, b"")


def test_a_dump_gives_its_parts_from_several_datagrams_until_done() -> None:
    dump = Dump(SEQ, PID)
    assert [bytes(m.payload) for m in dump.feed(part(b"one ") + part(b"two"))] == [
        b"one ",
        b"two",
    ]
    assert not dump.done
    assert [bytes(m.payload) for m in dump.feed(part(b"three") + done())] == [b"three"]
    assert dump.done
    assert not dump.inconsistent
    assert dump.feed(part(b"late")) == []


def test_a_dump_leaves_out_answers_to_others_and_noop() -> None:
    dump = Dump(SEQ, PID)
    foreign = part(b"1", seq=SEQ + 1) + part(b"2", pid=PID + 1)
    noop = pack(NLMSG_NOOP, 0, SEQ, PID, b"")
    other_end = pack(NLMSG_DONE, NLM_F_MULTI, SEQ + 1, PID, bytes(4))
    found = dump.feed(foreign + noop + other_end + part(b"mine"))
    assert [bytes(m.payload) for m in found] == [b"mine"]
    assert not dump.done


@pytest.mark.parametrize(
    "datagram",
    [
        part(b"x", flags=NLM_F_DUMP_INTR) + done(),
        part(b"x") + done(flags=NLM_F_DUMP_INTR),
        part(b"x") + pack(NLMSG_OVERRUN, 0, SEQ, PID, b""),
    ],
    ids=["interrupted", "interrupted at its end", "overrun"],
)
def test_a_dump_with_lost_or_mixed_parts_is_marked_so(datagram: bytes) -> None:
    dump = Dump(SEQ, PID)
    dump.feed(datagram)
    assert dump.done
    assert dump.inconsistent


def test_an_error_ends_a_dump_and_carries_errno_and_the_refused_header() -> None:
    dump = Dump(SEQ, PID)
    with pytest.raises(RefusedError, match="EPERM") as caught:
        dump.feed(error(-errno.EPERM))
    assert caught.value.errno == errno.EPERM
    request = caught.value.request
    assert request is not None
    assert fields(request) == (RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, SEQ, PID, b"")
    assert dump.done


def test_errno_0_is_an_acknowledgement() -> None:
    dump = Dump(SEQ, PID)
    assert dump.feed(error(0)) == []
    assert dump.done
    assert not dump.inconsistent


def test_the_end_of_a_dump_may_carry_an_errno() -> None:
    with pytest.raises(RefusedError) as caught:
        Dump(SEQ, PID).feed(part(b"x") + done(-errno.EMSGSIZE))
    assert caught.value.errno == errno.EMSGSIZE
    assert caught.value.request is None


@pytest.mark.parametrize(
    "datagram",
    [error(1), error(-4096), error(-(2**31)), error(-1, b""), error(-1, REQUEST[:15]), done(1)],
)
def test_an_error_that_is_none_is_malformed(datagram: bytes) -> None:
    with pytest.raises(WireError) as caught:
        Dump(SEQ, PID).feed(datagram)
    assert not isinstance(caught.value, RefusedError)


@given(st.binary(max_size=120))
def test_any_bytes_are_described_in_one_line(noise: bytes) -> None:
    line = describe(noise)
    assert line.isascii()
    assert line.isprintable()


@pytest.mark.parametrize(
    ("datagram", "line"),
    [
        (b"", "0 bytes, no netlink header"),
        (bytes(15), "15 bytes, no netlink header"),
        (part(b"x"), "type 16 flags=MULTI seq=7 pid=4711 len=17"),
        (part(b"x") + done(), "type 16 flags=MULTI seq=7 pid=4711 len=17 (+20 bytes)"),
        (
            part(b"abcd")[:19],
            "type 16 flags=MULTI seq=7 pid=4711 len=20 (wrong, the datagram has 19 bytes)",
        ),
        (REQUEST + bytes(16), "type 18 flags=REQUEST|0x300 seq=7 pid=4711 len=32"),
        (done(), "DONE flags=MULTI seq=7 pid=4711 len=20 errno=0"),
        (error(-1), "ERROR flags=0x0 seq=7 pid=4711 len=36 errno=EPERM"),
        (error(-4000), "ERROR flags=0x0 seq=7 pid=4711 len=36 errno=4000"),
        (pack(NLMSG_OVERRUN, NLM_F_ACK, 0, 0, b""), "OVERRUN flags=ACK seq=0 pid=0 len=16"),
    ],
    ids=lambda value: f"{len(value)} bytes" if isinstance(value, bytes) else None,
)
def test_a_description_has_type_flags_and_the_fields_of_a_control_message(
    datagram: bytes, line: str
) -> None:
    assert describe(datagram) == line


def test_a_description_shows_the_connector_id_and_nothing_of_the_message() -> None:
    frame = connector.pack_header() + encode_status(0)[:16] + (b"secret" * 1236)[:7416]
    line = describe(frame)
    assert line == "DONE flags=0x0 seq=0 pid=0 len=7468 connector={9, 1} data=7432"
    empty = pack(NLMSG_DONE, 0, 0, 0, CN_MSG.pack(9, 1, 0, 0, 0, 0))
    assert describe(empty) == "DONE flags=0x0 seq=0 pid=0 len=36 connector={9, 1} data=0"
