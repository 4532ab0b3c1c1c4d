# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Of a dump's datagrams only the default routes are decoded."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from hv_kvp_daemon.wire import netlink, rtattr, uapi
from hv_kvp_daemon.wire.errors import WireError
from hv_kvp_daemon.wire.route import RTMSG, is_past_defaults, without_specific

DONE = netlink.pack(uapi.NLMSG_DONE, uapi.NLM_F_MULTI, 1, 2, bytes(4))


def route(length: int, destination: bytes = b"", *, flags: int = 0, family: int = 2) -> bytes:
    payload = RTMSG.pack(family, length, 0, 0, 254, 3, 0, 1, 0)
    if destination:
        payload += rtattr.pack(uapi.RTA_DST, destination)
    return netlink.pack(uapi.RTM_NEWROUTE, uapi.NLM_F_MULTI | flags, 1, 2, payload)


def reduced(*messages: bytes) -> bytes:
    return without_specific(memoryview(b"".join(messages)))


def test_default_routes_and_other_messages_stay() -> None:
    near, default = route(24, b"\x0a\0\0\0"), route(0)
    assert reduced(near, default, near, DONE) == default + DONE
    assert reduced(near) == b""
    assert reduced(route(8)) == b""  # 0.0.0.0/8 has no RTA_DST


def test_a_message_without_a_payload_does_not_hide_what_follows() -> None:
    empty, near = netlink.pack(uapi.NLMSG_NOOP, 0, 1, 2, b""), route(24, b"\x0a\0\0\0")
    assert reduced(empty, near, DONE) == empty + DONE


def test_a_sign_of_an_inconsistent_dump_stays() -> None:
    near = route(24, b"\x0a\0\0\0", flags=uapi.NLM_F_DUMP_INTR)
    assert reduced(near, DONE) == near + DONE


@given(st.lists(st.binary(max_size=40) | st.sampled_from([route(0), route(8), DONE])))
@example([bytes(40)])  # after a message of length 0 comes no other
def test_what_is_malformed_stays_so(parts: list[bytes]) -> None:
    whole = b"".join(parts)

    def outcome(datagram: bytes) -> list[bytes] | None:
        try:
            found = netlink.split(datagram)
        except WireError:
            return None
        return [
            bytes(each.payload)
            for each in found
            if each.type != uapi.RTM_NEWROUTE or len(each.payload) < 2 or not each.payload[1]
        ]

    assert outcome(without_specific(memoryview(whole))) == outcome(whole)


def test_a_dump_is_past_the_default_routes_with_the_first_later_destination() -> None:
    for last, past in (
        (route(0), False),
        (route(8), False),
        (route(24, b"\0\0\1\0"), True),
        (route(48, bytes(15) + b"\1", family=uapi.AF_INET6), False),
        (DONE, False),
    ):
        assert is_past_defaults(memoryview(route(0) + last)) is past
