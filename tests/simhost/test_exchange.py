# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Requests with their answers, and the comparison with what is expected."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hv_kvp_daemon.simhost import exchange
from hv_kvp_daemon.simhost.exchange import Exchange
from hv_kvp_daemon.simhost.simulated_host import HostIpInfo
from hv_kvp_daemon.wire.uapi import (
    HV_E_FAIL,
    HV_S_CONT,
    HV_S_OK,
    KVP_AUTO_KEYS,
    KVP_OP_DELETE,
    KVP_OP_ENUMERATE,
    KVP_OP_GET,
    KVP_OP_SET,
    KVP_OP_SET_IP_INFO,
    KVP_POOL_AUTO,
    KVP_POOL_EXTERNAL,
    REG_U32,
)

if TYPE_CHECKING:
    from hv_kvp_daemon.simhost.simulated_host import SimulatedHost

GOT = Exchange(KVP_OP_GET, 0, "key", HV_S_OK, "value")
LISTED = Exchange(KVP_OP_ENUMERATE, 0, "3 a key", HV_S_OK, "value")
FAILED = Exchange(KVP_OP_GET, 0, "key", HV_E_FAIL)


@pytest.mark.parametrize(
    ("answer", "expected", "mismatch"),
    [
        (GOT, None, ""),
        (GOT, "HV_S_OK", ""),
        (GOT, "value", ""),
        (GOT, "other", "'other' was expected, 'value' came"),
        (GOT, "HV_S_CONT", "'HV_S_CONT' was expected, 'HV_S_OK' came"),
        (LISTED, "a key", ""),
        (LISTED, "value", "'value' was expected, 'a key' came"),
        (FAILED, "HV_E_FAIL", ""),
        (FAILED, None, "'HV_S_OK' was expected, 'HV_E_FAIL' came"),
        (FAILED, "value", "'value' was expected, 'HV_E_FAIL' came"),
    ],
)
def test_an_answer_is_compared_with_a_status_or_else_a_text(
    answer: Exchange, expected: str | None, mismatch: str
) -> None:
    assert answer.mismatch(expected) == mismatch


def test_each_request_returns_its_subject_and_its_answer(host: SimulatedHost) -> None:
    pool = KVP_POOL_EXTERNAL
    answers = [
        exchange.set_key(host, pool, "k", 7, REG_U32),
        exchange.get_key(host, pool, "k"),
        exchange.enumerate_index(host, pool, 0),
        exchange.walk(host, pool),
        exchange.delete_key(host, pool, "k"),
        exchange.get_key(host, pool, "k"),
    ]
    assert answers == [
        (KVP_OP_SET, pool, "k", HV_S_OK, "7", None),
        (KVP_OP_GET, pool, "k", HV_S_OK, "7", None),
        (KVP_OP_ENUMERATE, pool, "0 k", HV_S_OK, "7", None),
        (KVP_OP_ENUMERATE, pool, "all", HV_S_OK, "1 records", [("k", "7")]),
        (KVP_OP_DELETE, pool, "k", HV_S_OK, "", None),
        (KVP_OP_GET, pool, "k", HV_S_CONT, "", None),
    ]


def test_a_walk_of_the_auto_pool_has_its_keys(host: SimulatedHost) -> None:
    pairs = exchange.walk(host, KVP_POOL_AUTO).pairs
    assert [key.encode() for key, _ in pairs or ()] == list(KVP_AUTO_KEYS)


def test_an_adapter_that_is_not_there_has_no_pairs(host: SimulatedHost) -> None:
    answer = exchange.get_ip_info(host, "00:00:00:00:00:01")
    assert answer.status != HV_S_OK
    assert answer.pairs is None


def test_a_configuration_goes_with_its_adapter(host: SimulatedHost) -> None:
    answer = exchange.set_ip_info(host, HostIpInfo("{guid}", ip="192.0.2.1"))
    assert answer[:3] == (KVP_OP_SET_IP_INFO, 0, "{guid}")
