# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The statuses that a host gets, as in the table of service/dispatch.py, and the auto pool."""

from __future__ import annotations

import os
import platform
import struct
from typing import TYPE_CHECKING

import pytest

from hv_kvp_daemon.simhost.errors import EnumerationError
from hv_kvp_daemon.simhost.simulated_host import (
    HostIpInfo,
    SimulatedHost,
    key_body,
    value_body,
)
from hv_kvp_daemon.wire.message import MESSAGE_SIZE
from hv_kvp_daemon.wire.uapi import (
    HV_E_FAIL,
    HV_ERROR_NOT_SUPPORTED,
    HV_S_CONT,
    HV_S_OK,
    KVP_OP_DELETE,
    KVP_OP_GET,
    KVP_OP_SET,
    KVP_POOL_AUTO,
    KVP_POOL_EXTERNAL,
    KVP_POOL_GUEST,
)

if TYPE_CHECKING:
    from tests.support.daemon import RunningDaemon

EXTERNAL, GUEST, AUTO = KVP_POOL_EXTERNAL, KVP_POOL_GUEST, KVP_POOL_AUTO
STORED = (0, 1, 3, 4)
REG_BINARY = 3
RECORD = 2560


def test_the_auto_pool_has_ten_items(host: SimulatedHost) -> None:
    items = dict(host.items(AUTO))
    assert len(items) == 10
    assert items["IntegrationServicesVersion"] == "3.1"
    assert items["OSBuildNumber"] == platform.release()
    assert items["ProcessorArchitecture"] == platform.machine()
    assert items["FullyQualifiedDomainName"]
    assert host.enumerate(AUTO, 10) == (HV_S_CONT, "", "")


def test_the_auto_pool_answers_get(host: SimulatedHost) -> None:
    assert host.get(AUTO, "ProcessorArchitecture") == (HV_S_OK, platform.machine())
    assert host.get(AUTO, "processorarchitecture") == (HV_S_CONT, "")


@pytest.mark.parametrize("pool", STORED)
def test_what_is_not_there_is_hv_s_cont(host: SimulatedHost, pool: int) -> None:
    assert host.get(pool, "key") == (HV_S_CONT, "")
    assert host.delete(pool, "key") == HV_S_CONT
    assert host.enumerate(pool, 0) == (HV_S_CONT, "", "")


@pytest.mark.parametrize("index", [11, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
@pytest.mark.parametrize("pool", range(5))
def test_an_index_beyond_the_end_is_hv_s_cont(
    host: SimulatedHost, pool: int, index: int
) -> None:
    host.set(EXTERNAL, "key", "value")
    assert host.enumerate(pool, index) == (HV_S_CONT, "", "")


@pytest.mark.parametrize("pool", [5, 77, 255])
def test_a_pool_that_does_not_exist(
    common: RunningDaemon, host: SimulatedHost, pool: int
) -> None:
    assert host.enumerate(pool, 0) == (HV_S_CONT, "", "")
    assert host.set(pool, "key", "value") == HV_E_FAIL
    assert host.get(pool, "key") == (HV_E_FAIL, "")
    assert host.delete(pool, "key") == HV_E_FAIL
    pools = [name for name in os.listdir(common.pool_dir) if name.startswith(".kvp_pool_")]
    assert sorted(pools) == [f".kvp_pool_{n}" for n in range(5)]


def test_the_auto_pool_cannot_be_changed(common: RunningDaemon, host: SimulatedHost) -> None:
    assert host.set(AUTO, "OSName", "value") == HV_E_FAIL
    assert host.delete(AUTO, "OSName") == HV_E_FAIL
    assert common.records(AUTO) == []


@pytest.mark.parametrize("pool", range(5))
def test_an_empty_key_is_refused(common: RunningDaemon, host: SimulatedHost, pool: int) -> None:
    assert host.set(pool, "", "value") == HV_E_FAIL
    assert host.get(pool, "") == (HV_E_FAIL, "")
    assert host.delete(pool, "") == HV_E_FAIL
    assert host.set(pool, "\ud83d", "a key of one unpaired surrogate") == HV_E_FAIL
    assert common.records(pool) == []


@pytest.mark.parametrize(
    ("operation", "sizes"),
    [
        (KVP_OP_SET, (0, 6)),
        (KVP_OP_SET, (513, 6)),
        (KVP_OP_SET, (0xFFFFFFFF, 6)),
        (KVP_OP_SET, (4, 2049)),
        (KVP_OP_SET, (4, 0xFFFFFFFF)),
        (KVP_OP_GET, (513, 0)),
        (KVP_OP_DELETE, (513, 0)),
    ],
)
def test_a_size_beyond_its_field_is_refused(
    common: RunningDaemon, host: SimulatedHost, operation: int, sizes: tuple[int, int]
) -> None:
    """The driver never sends such a size; the daemon must not rely on that."""
    host.set(EXTERNAL, "key", "value")
    if operation == KVP_OP_DELETE:
        body = key_body(b"key", sizes[0])
    else:
        body = value_body(b"key", b"value", 0, sizes)
    message = (bytes([operation, 0, 0, 0]) + body).ljust(MESSAGE_SIZE, b"\0")
    reply = host.driver.exchange(message)
    assert reply[:4] == struct.pack("<I", HV_E_FAIL)
    assert common.records(EXTERNAL) == [(b"key", b"value")]


@pytest.mark.parametrize("kind", [0, REG_BINARY, 7, 0xFFFFFFFF])
def test_a_value_of_unknown_type_is_refused_and_the_old_one_stays(
    host: SimulatedHost, kind: int
) -> None:
    host.set(EXTERNAL, "key", "old")
    assert host.set(EXTERNAL, "key", "new", kind) == HV_E_FAIL
    assert host.get(EXTERNAL, "key") == (HV_S_OK, "old")


def test_a_pool_that_cannot_be_used_fails_until_it_is_repaired(
    common: RunningDaemon, host: SimulatedHost
) -> None:
    path = f"{common.pool_dir}/.kvp_pool_0"
    host.set(EXTERNAL, "key", "value")
    os.rename(path, f"{path}.old")
    os.mkdir(path)
    assert host.set(EXTERNAL, "key", "value") == HV_E_FAIL
    assert host.get(EXTERNAL, "key") == (HV_E_FAIL, "")
    assert host.delete(EXTERNAL, "key") == HV_E_FAIL
    assert host.enumerate(EXTERNAL, 0) == (HV_E_FAIL, "", "")
    with pytest.raises(EnumerationError, match="pool 0 ended with HV_E_FAIL at index 0"):
        list(host.items(EXTERNAL))
    assert host.set(GUEST, "other", "pool") == HV_S_OK
    os.rmdir(path)
    os.rename(f"{path}.old", path)
    assert list(host.items(EXTERNAL)) == [("key", "value")]


def test_a_write_that_the_system_refuses_changes_nothing(daemon: RunningDaemon) -> None:
    with daemon.host() as host:
        host.set(EXTERNAL, "first", "1")
        host.set(EXTERNAL, "second", "2")
        daemon.limit_file_size(2 * RECORD + 700)
        assert host.set(EXTERNAL, "third", "3") == HV_E_FAIL
        assert list(host.items(EXTERNAL)) == [("first", "1"), ("second", "2")]
        assert os.path.getsize(f"{daemon.pool_dir}/.kvp_pool_0") == 2 * RECORD
        assert host.set(EXTERNAL, "second", "changed") == HV_S_OK
        assert host.delete(EXTERNAL, "first") == HV_S_OK
        assert host.set(EXTERNAL, "third", "3") == HV_S_OK
        assert list(host.items(EXTERNAL)) == [("second", "changed"), ("third", "3")]


@pytest.mark.parametrize("operation", [6, 99, 100, 255])
@pytest.mark.parametrize("pool", [0, 2, 77])
def test_an_unknown_operation_is_not_supported(
    host: SimulatedHost, operation: int, pool: int
) -> None:
    assert host.kvp(operation, pool)[0] == HV_ERROR_NOT_SUPPORTED
    assert host.get(AUTO, "IntegrationServicesVersion") == (HV_S_OK, "3.1")


def test_an_adapter_that_is_not_there_has_no_configuration(host: SimulatedHost) -> None:
    status, info = host.get_ip_info("00:15:5D:00:00:00")
    assert status != HV_S_OK
    assert info == HostIpInfo()


def test_a_configuration_cannot_be_set_yet(host: SimulatedHost) -> None:
    """SET_IP_INFO is not implemented."""
    assert host.set_ip_info(HostIpInfo("{guid}", ip="192.0.2.1")) == HV_ERROR_NOT_SUPPORTED
