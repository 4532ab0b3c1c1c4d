# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Known defects (docs/defects.md) that no other test would detect.

Each was found by putting the defect into the code and seeing the tests pass.
"""

from __future__ import annotations

import errno
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hv_kvp_daemon.pools.directory import PoolDirectory
from hv_kvp_daemon.pools.pool import PoolFile
from hv_kvp_daemon.transport import connector
from hv_kvp_daemon.transport.errors import TransportError
from hv_kvp_daemon.wire.message import (
    EXCHANGE_KEY_SIZE,
    EXCHANGE_VALUE,
    MESSAGE_SIZE,
    Request,
    decode_version,
    encode_request,
)
from hv_kvp_daemon.wire.record import RECORD_SIZE, encode
from hv_kvp_daemon.wire.text import FIELD_MAX_VALUE, HOST_MAX_VALUE
from hv_kvp_daemon.wire.uapi import (
    HV_E_FAIL,
    HV_ERROR_NOT_SUPPORTED,
    HV_S_CONT,
    HV_S_OK,
    KVP_OP_DELETE,
    KVP_OP_ENUMERATE,
    KVP_OP_GET,
    KVP_OP_REGISTER1,
    KVP_OP_SET,
)
from tests.support.network import connector_socket
from tests.support.process import RunningDaemon, wait_for

GUEST = 1


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[RunningDaemon]:
    with RunningDaemon(tmp_path) as daemon:
        yield daemon


@pytest.mark.usefixtures("no_garbage")
def test_a_group_that_cannot_be_joined_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """T8: a daemon that could not join served no request and reported no error."""
    # The kernel refuses an unknown option as it would refuse the membership.
    connector_socket().close()
    monkeypatch.setattr(connector, "NETLINK_ADD_MEMBERSHIP", 9999)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(TransportError, match=os.strerror(errno.ENOPROTOOPT)):
        connector.Connector(lambda reason, detail: None)
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("operation", [6, 99, 100, 255])
def test_an_unknown_operation_is_not_acknowledged(
    daemon: RunningDaemon, operation: int
) -> None:
    """T12."""
    assert daemon.connect().ask(operation, GUEST).status == HV_ERROR_NOT_SUPPORTED


@pytest.mark.parametrize("pool", [5, 77, 255])
def test_a_pool_that_does_not_exist_is_looked_for_nowhere(
    daemon: RunningDaemon, pool: int
) -> None:
    """T13: the number was an index into a table of five."""
    peer = daemon.connect()
    assert peer.ask(KVP_OP_ENUMERATE, pool).status == HV_S_CONT
    for operation in (KVP_OP_SET, KVP_OP_DELETE, KVP_OP_GET):
        assert peer.ask(operation, pool, "key", "value").status == HV_E_FAIL
    assert daemon.process.poll() is None


def test_a_version_ends_with_its_field() -> None:
    """T15: strlen() did not stop at the 512 bytes."""
    message = bytes([KVP_OP_REGISTER1, 0, 0, 0]).ljust(MESSAGE_SIZE, b"x")
    assert decode_version(message) == b"x" * 512


def test_a_daemon_that_cannot_serve_exits_with_1_and_reports_why(tmp_path: Path) -> None:
    """T17: the status was 255, and the number in the message was that of a descriptor."""
    (tmp_path / "pools").write_text("no directory")
    with RunningDaemon(tmp_path) as daemon:
        assert daemon.process.wait(60) == 1
        assert os.strerror(errno.ENOTDIR) in daemon.stderr


def test_a_daemon_without_the_module_of_its_source_says_which_package_has_it(
    tmp_path: Path,
) -> None:
    """C9."""
    code = (
        "import sys; sys.modules['netifaces'] = None;"
        "from hv_kvp_daemon.service.main import main; raise SystemExit(main(sys.argv[1:]))"
    )
    options = ("-n", "--addresses", "getifaddrs", "--pool-dir", f"{tmp_path}/pools")
    done = subprocess.run(
        [sys.executable, "-c", code, *options, "--transport", f"loopback:{tmp_path}/host"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "netifaces-plus (pip) or python3-netifaces (Debian)" in line


def test_duplicates_far_apart_are_all_deleted(daemon: RunningDaemon) -> None:
    """P10: further apart than the block that compaction moves at once."""
    peer = daemon.connect()
    others = b"".join(encode(b"other %d" % number, b"") for number in range(300))
    daemon.pool(GUEST).write_bytes((encode(b"twice", b"1") + others) * 3)
    assert peer.ask(KVP_OP_DELETE, GUEST, "twice").status == HV_S_OK
    assert daemon.pool(GUEST).read_bytes() == others * 3
    assert peer.ask(KVP_OP_DELETE, GUEST, "twice").status == HV_S_CONT


def test_of_duplicates_one_is_left_when_the_host_sets_the_key(daemon: RunningDaemon) -> None:
    """P26."""
    peer = daemon.connect()
    others = b"".join(encode(b"other %d" % number, b"") for number in range(300))
    daemon.pool(GUEST).write_bytes((encode(b"twice", b"1") + others) * 3)
    assert peer.ask(KVP_OP_SET, GUEST, "twice", "new").status == HV_S_OK
    assert daemon.pool(GUEST).read_bytes() == encode(b"twice", b"new") + others * 3


def test_children_inherit_no_descriptor_of_the_daemon(daemon: RunningDaemon) -> None:
    """P19: pools, sockets and pipes, from their flags in /proc."""
    peer = daemon.connect()
    for number in range(20):  # across the end of a page, which needs a journal
        peer.ask(KVP_OP_SET, GUEST, f"key {number}", "value")
    directory = f"/proc/{daemon.pid}/fd"
    descriptors = [fd for fd in os.listdir(directory) if int(fd) > 2]
    assert str(daemon.pool(GUEST)) in [os.readlink(f"{directory}/{fd}") for fd in descriptors]
    for fd in descriptors:
        # O_CLOEXEC is 02000000 in the octal flags of fdinfo.
        info = Path(f"/proc/{daemon.pid}/fdinfo/{fd}").read_text()
        (flags,) = [int(line.split()[1], 8) for line in info.splitlines() if "flags:" in line]
        assert flags & os.O_CLOEXEC, os.readlink(f"{directory}/{fd}")


@pytest.mark.usefixtures("no_garbage")
def test_what_could_not_be_opened_leaves_no_descriptor(tmp_path: Path) -> None:
    """P21: some of the five files stayed open when one could not be opened."""
    (tmp_path / ".kvp_pool_1").mkdir()
    os.mkfifo(tmp_path / ".kvp_pool_3")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        reports: list[str] = []
        pools = PoolDirectory(str(tmp_path), report=reports.append, sync=False)
        pools.open_all()
        assert len(reports) == 2
        assert len(os.listdir("/proc/self/fd")) == before + 3
        pools.close()
        assert len(os.listdir("/proc/self/fd")) == before


def test_a_pool_that_fails_costs_a_request_and_not_the_daemon(daemon: RunningDaemon) -> None:
    """P22."""
    peer = daemon.connect()
    path = daemon.pool(GUEST)
    path.unlink()
    path.mkdir()
    for operation in (KVP_OP_SET, KVP_OP_DELETE, KVP_OP_GET, KVP_OP_ENUMERATE):
        assert peer.ask(operation, GUEST, "key", "value").status == HV_E_FAIL
    path.rmdir()
    assert peer.ask(KVP_OP_SET, GUEST, "key", "value").status == HV_S_OK
    assert peer.ask(KVP_OP_GET, GUEST, "key").value == b"value"


def test_enumerating_reads_each_record_and_not_the_file_each_time(tmp_path: Path) -> None:
    """P23: n reads of n records made a sweep of 2,000 take 26 s."""
    count = 500
    path = tmp_path / ".kvp_pool_1"
    path.write_bytes(b"".join(encode(b"key %d" % number, b"") for number in range(count)))
    pool = PoolFile(GUEST, str(path), report=print, sync=False)
    pool.read(0)
    before = bytes_read()
    for number in range(count):
        record = pool.read(number)
        assert record is not None
        assert record.key == b"key %d" % number
    pool.close()
    assert bytes_read() - before < 3 * count * RECORD_SIZE


def bytes_read() -> int:
    """The number of bytes that this process has read from files."""
    with open("/proc/self/io", encoding="ascii") as table:
        return int(table.readline().split()[1])


def test_a_value_longer_than_the_hosts_limit_is_stored_in_full(daemon: RunningDaemon) -> None:
    """P25: the pool has all of it; the host gets the beginning, cut after a character."""
    peer = daemon.connect()
    value = "x" + "\N{LOCK}" * 511
    assert len(value.encode()) < FIELD_MAX_VALUE
    assert peer.ask(KVP_OP_SET, GUEST, "key", value).status == HV_S_OK
    assert daemon.pool(GUEST).read_bytes() == encode(b"key", value.encode())
    shown = peer.ask(KVP_OP_GET, GUEST, "key").value.decode()
    assert value.startswith(shown)
    assert len(shown.encode("utf-16-le")) // 2 == HOST_MAX_VALUE - 1


def test_nothing_after_a_nul_within_a_value_is_stored(daemon: RunningDaemon) -> None:
    """P25: readers would not get it, but it would be in the file."""
    message = bytearray(encode_request(Request(KVP_OP_SET, GUEST, b"key", b"seen?hidden")))
    message[EXCHANGE_VALUE + 4] = 0
    assert struct.unpack_from("=I", message, EXCHANGE_KEY_SIZE)[0] == 4
    assert daemon.connect().exchange(bytes(message)).status == HV_S_OK
    wait_for("the record", lambda: daemon.pool(GUEST).stat().st_size == RECORD_SIZE)
    assert daemon.pool(GUEST).read_bytes() == encode(b"key", b"seen")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_that_come_while_it_ends_do_not_spoil_its_status(
    daemon: RunningDaemon, number: int
) -> None:
    daemon.connect()
    daemon.process.send_signal(signal.SIGTERM)
    while daemon.process.poll() is None:
        daemon.process.send_signal(number)
    assert daemon.process.returncode == 0
