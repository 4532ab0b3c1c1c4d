# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hv_kvp_daemon.wire import rtattr, uapi
from hv_kvp_daemon.wire.errors import WireError
from hv_kvp_daemon.wire.nexthop import NEXTHOP_GRP, NHMSG, decode_nexthop

HEADER = NHMSG.pack(uapi.AF_INET, 0, 4, 0, 0)
OIF = rtattr.pack(uapi.NHA_OIF, struct.pack("=I", 3))


def test_an_object_is_one_hop_with_or_without_a_gateway() -> None:
    gateway = rtattr.pack(uapi.NHA_GATEWAY, b"\x0a\0\0\1")
    (hop,) = decode_nexthop(HEADER + OIF + gateway).hops
    assert (hop.index, hop.gateway) == (3, b"\x0a\0\0\1")
    (hop,) = decode_nexthop(HEADER + OIF).hops
    assert (hop.index, hop.gateway) == (3, b"")


def test_a_group_has_members_whatever_their_weight() -> None:
    rows = b"".join(NEXTHOP_GRP.pack(number) for number in (7, 70000))
    rows = rows[:4] + b"\xff" * 4 + rows[8:]
    found = decode_nexthop(HEADER + rtattr.pack(uapi.NHA_GROUP, rows))
    assert (found.members, found.hops) == ([7, 70000], [])


def test_a_blackhole_leads_nowhere() -> None:
    found = decode_nexthop(HEADER + rtattr.pack(4, b""))
    assert (found.members, found.hops) == ([], [])


@given(st.binary(max_size=60), st.sampled_from([b"", HEADER, HEADER + OIF]))
def test_arbitrary_bytes_raise_nothing_but_a_wire_error(noise: bytes, start: bytes) -> None:
    with contextlib.suppress(WireError):
        decode_nexthop(start + noise)
    with contextlib.suppress(WireError):
        decode_nexthop(HEADER + rtattr.pack(uapi.NHA_GROUP, noise))


def test_half_a_member_is_refused() -> None:
    with pytest.raises(WireError, match="12 bytes, a member has 8"):
        decode_nexthop(HEADER + rtattr.pack(uapi.NHA_GROUP, bytes(12)))
