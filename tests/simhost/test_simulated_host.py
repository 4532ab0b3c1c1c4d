# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""A simulated host and the real daemon: writes, reads, and values that a host cannot send."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hv_kvp_daemon.simhost.errors import BadReplyError
from hv_kvp_daemon.simhost.simulated_host import (
    HOST_KEY_UNITS,
    HOST_VALUE_UNITS,
    SimulatedHost,
    Status,
)
from hv_kvp_daemon.simhost.utf16 import to_utf8, to_utf16, wide
from hv_kvp_daemon.wire.message import MESSAGE_SIZE
from hv_kvp_daemon.wire.uapi import (
    HV_E_FAIL,
    HV_S_CONT,
    HV_S_OK,
    KVP_POOL_AUTO_INTERNAL,
    KVP_POOL_EXTERNAL,
    KVP_POOL_GUEST,
    REG_SZ,
    REG_U32,
    REG_U64,
)

if TYPE_CHECKING:
    from tests.support.daemon import RunningDaemon

EXTERNAL, GUEST, INTERNAL = KVP_POOL_EXTERNAL, KVP_POOL_GUEST, KVP_POOL_AUTO_INTERNAL
STORED = (0, 1, 3, 4)


@pytest.mark.parametrize("pool", STORED)
def test_what_is_set_can_be_read_until_it_is_deleted(host: SimulatedHost, pool: int) -> None:
    assert host.set(pool, "key", "value") == HV_S_OK
    assert host.get(pool, "key") == (HV_S_OK, "value")
    assert host.enumerate(pool, 0) == (HV_S_OK, "key", "value")
    assert host.set(pool, "key", "other") == HV_S_OK
    assert list(host.items(pool)) == [("key", "other")]
    assert host.delete(pool, "key") == HV_S_OK
    assert host.get(pool, "key") == (HV_S_CONT, "")
    assert host.enumerate(pool, 0) == (HV_S_CONT, "", "")


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        ("", REG_SZ, ""),
        ("a\nb\tc", REG_SZ, "a\nb\tc"),
        (0, REG_U32, "0"),
        (2**32 - 1, REG_U32, "4294967295"),
        (2**64 - 1, REG_U64, "18446744073709551615"),
        ("naïve 𝄞 🐧 \U0010ffff", REG_SZ, "naïve 𝄞 🐧 \U0010ffff"),
    ],
)
def test_each_type_arrives_as_text(
    common: RunningDaemon, host: SimulatedHost, value: str | int, kind: int, text: str
) -> None:
    assert host.set(EXTERNAL, "key", value, kind) == HV_S_OK
    assert host.get(EXTERNAL, "key") == (HV_S_OK, text)
    assert common.records(EXTERNAL) == [(b"key", text.encode())]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        pytest.param("k" * 254, "v" * 1022, id="ASCII"),
        pytest.param("ü" * 254, "ü" * 1022, id="two bytes"),
        pytest.param("\U0001f427" * 127, "\U0001f427" * 511, id="pairs"),
    ],
)
def test_the_longest_key_and_value_are_returned_in_full(
    host: SimulatedHost, key: str, value: str
) -> None:
    assert host.set(GUEST, key, value) == HV_S_OK
    assert host.get(GUEST, key) == (HV_S_OK, value)
    assert host.enumerate(GUEST, 0) == (HV_S_OK, key, value)
    assert host.delete(GUEST, key) == HV_S_OK


def test_the_last_unit_that_a_host_can_send_is_stored_but_not_returned(
    common: RunningDaemon, host: SimulatedHost
) -> None:
    """The driver accepts 255 and 1023 units and returns 254 and 1022."""
    key, value = "k" * HOST_KEY_UNITS, "v" * HOST_VALUE_UNITS
    assert host.set(EXTERNAL, key, value) == HV_S_OK
    assert host.get(EXTERNAL, key) == (HV_S_OK, "v" * 1022)
    assert host.enumerate(EXTERNAL, 0) == (HV_S_OK, "k" * 254, "v" * 1022)
    assert common.records(EXTERNAL) == [(key.encode(), value.encode())]


def test_what_has_too_many_bytes_is_cut_at_a_character(
    common: RunningDaemon, host: SimulatedHost
) -> None:
    key, value = "\u4e2d" * HOST_KEY_UNITS, "\u4e2d" * HOST_VALUE_UNITS
    assert host.set(EXTERNAL, key, value) == HV_S_OK
    assert host.get(EXTERNAL, key) == (HV_S_OK, "\u4e2d" * 682)
    assert common.records(EXTERNAL) == [(b"\xe4\xb8\xad" * 170, b"\xe4\xb8\xad" * 682)]


def test_120_records_are_enumerated_to_the_end(
    common: RunningDaemon, host: SimulatedHost
) -> None:
    written = [(f"key {number}", "v" * number) for number in range(120)]
    for key, value in written:
        assert host.set(EXTERNAL, key, value) == HV_S_OK
    assert list(host.items(EXTERNAL)) == written
    assert host.enumerate(EXTERNAL, 120) == (HV_S_CONT, "", "")
    assert host.delete(EXTERNAL, "key 60") == HV_S_OK
    del written[60]
    assert list(host.items(EXTERNAL)) == written


def test_what_a_program_of_the_guest_writes_is_seen_at_once(
    common: RunningDaemon, host: SimulatedHost
) -> None:
    pool = common.pool(GUEST)
    assert list(host.items(GUEST)) == []
    pool.append(b"state", b"starting")
    assert host.get(GUEST, "state") == (HV_S_OK, "starting")
    pool.store(b"state", b"ready")
    pool.append(b"more", b"")
    assert list(host.items(GUEST)) == [("state", "ready"), ("more", "")]
    pool.close()


def test_a_record_with_bytes_that_are_no_text_hides_nothing(
    common: RunningDaemon, host: SimulatedHost
) -> None:
    with open(f"{common.pool_dir}/.kvp_pool_1", "wb") as pool:
        pool.write(b"bad \xff".ljust(512, b"\0") + b"\xf0\x9f".ljust(2048, b"\0"))
        pool.write(b"k" * 512 + b"v" * 2048)
        pool.write(b"good".ljust(512, b"\0") + b"seen".ljust(2048, b"\0"))
    assert list(host.items(GUEST)) == [
        ("bad \ufffd", "\ufffd"),
        ("k" * 254, "v" * 1022),
        ("good", "seen"),
    ]


@given(
    # The driver skips unpaired surrogates, and a key of nothing else is empty: HV_E_FAIL.
    st.text(
        st.characters(exclude_characters="\0"), min_size=1, max_size=HOST_KEY_UNITS // 2
    ).filter(lambda key: to_utf8(wide(key), 511)),
    st.text(max_size=HOST_VALUE_UNITS // 2),
)
def test_any_text_is_returned_as_the_driver_cuts_it(
    module_daemon: RunningDaemon, key: str, value: str
) -> None:
    stored_key, stored = to_utf8(wide(key), 511), to_utf8(wide(value), 2047)
    shown_key = to_utf16(stored_key, 254).decode("utf-16-le")
    shown = to_utf16(stored, 1022).decode("utf-16-le")
    with module_daemon.host() as host:
        assert host.set(INTERNAL, key, value) == HV_S_OK
        assert host.enumerate(INTERNAL, 0) == (HV_S_OK, shown_key, shown)
        assert host.get(INTERNAL, key) == (HV_S_OK, shown)
        assert host.delete(INTERNAL, key) == HV_S_OK


def test_a_key_of_unpaired_surrogates_is_empty_and_refused(host: SimulatedHost) -> None:
    assert host.set(INTERNAL, "\ud800", "value") == HV_E_FAIL


def test_a_key_that_is_too_long_is_refused_with_the_limit(host: SimulatedHost) -> None:
    for call in (host.get, host.delete):
        with pytest.raises(ValueError, match=r"key of 256 UTF-16 units; .* at most 255"):
            call(EXTERNAL, "k" * 256)
    with pytest.raises(ValueError, match=r"key of 256 UTF-16 units; .* at most 255"):
        host.set(EXTERNAL, "\U0001f427" * 128, "value")


def test_a_value_that_is_too_long_is_refused_with_the_limit(host: SimulatedHost) -> None:
    with pytest.raises(ValueError, match=r"value of 1024 UTF-16 units; .* at most 1023"):
        host.set(EXTERNAL, "key", "\U0001f427" * 512)
    assert host.get(EXTERNAL, "key") == (HV_S_CONT, "")


@pytest.mark.parametrize(
    ("number", "kind", "bits"), [(2**32, REG_U32, 32), (2**64, REG_U64, 64), (-1, REG_U32, 32)]
)
def test_a_number_that_does_not_fit_is_refused(
    host: SimulatedHost, number: int, kind: int, bits: int
) -> None:
    with pytest.raises(ValueError, match=f"is not an unsigned number of {bits} bits"):
        host.set(EXTERNAL, "key", number, kind)


def test_an_adapter_that_is_too_long_is_refused_with_the_limit(host: SimulatedHost) -> None:
    with pytest.raises(ValueError, match=r"adapter of 128 UTF-16 units; .* at most 127"):
        host.get_ip_info("a" * 128)


def test_a_status_shows_its_name() -> None:
    assert f"{Status(HV_S_CONT)} {Status(0x80070050)!r}" == "HV_S_CONT 0x80070050"
    assert Status(HV_S_CONT) == 0x80070103


class OddDriver:
    """A driver with a malformed answer to ENUMERATE."""

    def __init__(self, kind: int, key_size: int, value_size: int, key: bytes = b"") -> None:
        self._sizes = struct.pack("<III", kind, key_size, value_size)
        self._key = key

    def carry(self, packet: bytes) -> tuple[int, bytes]:
        answer = packet[:8] + self._sizes + self._key
        return HV_S_OK, answer.ljust(MESSAGE_SIZE, b"\0")


@pytest.mark.parametrize(
    ("driver", "text"),
    [
        (OddDriver(REG_U32, 2, 2), "value of type 4 and 2 bytes"),
        (OddDriver(REG_SZ, 3, 2), "key of type 1 and 3 bytes"),
        (OddDriver(REG_SZ, 2, 0), "value of type 1 and 0 bytes"),
        (OddDriver(REG_SZ, 4, 2, wide("long")), "a NUL at the end"),
        (OddDriver(REG_SZ, 4, 2, wide("\ud83d")), "key is not UTF-16"),
    ],
)
def test_an_answer_that_a_host_would_not_take_is_reported(driver: OddDriver, text: str) -> None:
    host = SimulatedHost(driver)  # type: ignore[arg-type]  # stands in for a SimulatedDriver
    with pytest.raises(BadReplyError, match=text):
        host.enumerate(EXTERNAL, 0)
