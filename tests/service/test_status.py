# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""A reader checks a status page before it uses it."""

from __future__ import annotations

import os
import random
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hv_kvp_daemon.service.status import DaemonStatus, StatusError, find, operation_name
from hv_kvp_daemon.service.status_page import SIZE, StatusPage, start_ticks
from hv_kvp_daemon.wire.uapi import HV_E_FAIL, KVP_OP_ENUMERATE, KVP_OP_SET
from tests.support.emulator import require_own_process_image
from tests.support.process import RunningDaemon


@pytest.fixture
def page(tmp_path: Path) -> StatusPage:
    page = StatusPage(
        f"{tmp_path}/status",
        pool_dir="/a b=c",
        addresses="getifaddrs",
        exclude=("docker*", "caf\udcff"),
        report=pytest.fail,
    )
    page.publish()
    return page


@pytest.fixture
def path(tmp_path: Path, page: StatusPage) -> Path:
    """A live page that a test may spoil."""
    return tmp_path / "status"


def found(path: Path) -> DaemonStatus:
    status = find(str(path))
    assert status is not None
    return status


def patch(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def refusal(path: Path) -> str:
    with pytest.raises(StatusError) as caught:
        find(str(path))
    return str(caught.value)


def test_what_is_stored_is_read(page: StatusPage, path: Path) -> None:
    page.set_driver(serving=True, transport="netlink", version=b"3.1", state="serving")
    now = time.monotonic()
    page.requests[KVP_OP_ENUMERATE] = 12
    page.requests[77] = 1
    page.answered[KVP_OP_ENUMERATE] = now - 100
    page.answered[77] = now - 200
    page.busy[0] = now - 300
    page.count_dropped()
    page.count_dropped()
    page.failed(KVP_OP_SET, HV_E_FAIL, now - 400, "pool 1 (/a b=c/.kvp_pool_1): is full")
    status = found(path)
    assert status.pid == os.getpid()
    assert status.serving
    assert (status.transport, status.state) == ("netlink", "serving")
    assert (status.driver_version, status.addresses) == ("3.1", "getifaddrs")
    assert status.pool_dir == "/a b=c"
    assert status.exclude == ("docker*", "caf\udcff")
    assert status.requests == {KVP_OP_ENUMERATE: 12, 77: 1}
    assert status.failures == {KVP_OP_SET: 1}
    assert status.dropped == 2
    assert status.last_request is not None
    assert status.last_request[0] == KVP_OP_ENUMERATE
    assert status.busy_since is not None
    assert status.last_failure is not None
    for when, ago in (
        (status.last_request[1], 100),
        (status.answered[77], 200),
        (status.busy_since, 300),
        (status.last_failure.time, 400),
        (status.failed[KVP_OP_SET], 400),
    ):
        assert abs(time.time() - ago - when) <= 10
    assert (status.last_failure.operation, status.last_failure.status) == (1, HV_E_FAIL)
    assert status.last_failure.text == "pool 1 (/a b=c/.kvp_pool_1): is full"


def test_failures_are_counted_by_their_status(page: StatusPage, path: Path) -> None:
    """D3.  There is room for seven."""
    for code in range(1, 10):
        for _ in range(code):
            page.failed(KVP_OP_SET, code, 1.0, "")
    assert found(path).statuses == {code: code for code in range(1, 8)}
    assert found(path).failures == {KVP_OP_SET: 45}


def test_a_kind_fails_while_its_last_request_has_failed(page: StatusPage, path: Path) -> None:
    """D3."""
    now = time.monotonic()
    for operation in (KVP_OP_SET, KVP_OP_ENUMERATE):
        page.answered[operation] = now - 2
        page.failed(operation, HV_E_FAIL, now - 2, "")
    assert found(path).failing == [KVP_OP_SET, KVP_OP_ENUMERATE] == [1, 3]
    page.answered[KVP_OP_SET] = now - 1
    assert found(path).failing == [KVP_OP_ENUMERATE]


@pytest.mark.parametrize(("came", "overdue"), [(None, 0), (29.0, 0), (99.5, 99)])
def test_a_request_is_overdue_after_the_drivers_30_seconds(
    page: StatusPage,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    came: float | None,
    overdue: int,
) -> None:
    """D1."""
    now, today = time.monotonic(), time.time()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr(time, "time", lambda: today)
    page.busy[0] = 0.0 if came is None else now - came
    assert found(path).overdue == overdue


def test_a_new_page_has_a_state_and_no_requests(path: Path) -> None:
    status = found(path)
    assert (status.serving, status.state) == (False, "starting")
    assert (status.requests, status.failures, status.dropped) == ({}, {}, 0)
    assert status.last_request is None
    assert status.last_failure is None
    assert status.busy_since is None


def test_where_there_is_no_page_there_is_no_daemon(tmp_path: Path) -> None:
    assert find(f"{tmp_path}/status") is None
    assert find(f"{tmp_path}/gone/status") is None


def test_a_pid_that_was_given_out_again_is_not_the_daemon(path: Path) -> None:
    patch(path, 16, struct.pack("=Q", start_ticks(os.getpid()) - 1))
    assert find(str(path)) is None


@pytest.mark.parametrize("pid", [0, 1 << 30, (1 << 32) - 1])
def test_a_pid_that_no_process_has_is_no_daemon(path: Path, pid: int) -> None:
    patch(path, 12, struct.pack("=I", pid))
    assert find(str(path)) is None
    # Nor is one whose start time is that of a process that has ended.
    patch(path, 16, bytes(8))
    assert find(str(path)) is None


def test_the_page_of_a_killed_daemon_is_ignored(tmp_path: Path) -> None:
    require_own_process_image()
    with RunningDaemon(tmp_path) as daemon:
        daemon.connect()
        page = Path(f"{daemon.socket_path}.status")
        assert found(page).pid == daemon.pid
        daemon.stop(signal.SIGKILL)
        assert page.exists()
        assert find(str(page)) is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HVKVPST\0",
        bytes(SIZE),
        b"PID=1\nSTART_TICKS=2\nSERVING=yes\n",
        random.Random(12).randbytes(1 << 20),
    ],
    ids=["empty", "magic", "zeros", "text", "garbage"],
)
def test_what_is_no_page_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "status").write_bytes(data)
    assert refusal(tmp_path / "status") == (
        f"{tmp_path}/status is not a status page of hv-kvp-daemon"
    )


@pytest.mark.parametrize("size", [24, 4096, SIZE - 1, SIZE + 1])
def test_a_page_of_another_length_is_refused(path: Path, size: int) -> None:
    data = path.read_bytes() + b"\0"
    path.unlink()
    path.write_bytes(data[:size])
    assert f"is not {SIZE} bytes long" in refusal(path)


def test_another_layout_version_is_named_while_its_daemon_lives(path: Path) -> None:
    data = bytearray(path.read_bytes()[:512])
    data[8:12] = struct.pack("=I", 2)
    path.unlink()
    path.write_bytes(data)
    text = refusal(path)
    assert "has layout version 2, this hv-kvp reads version 1" in text
    assert f"pid {os.getpid()}" in text
    patch(path, 16, struct.pack("=Q", 1))
    assert find(str(path)) is None


def test_half_of_a_text_is_never_shown(path: Path) -> None:
    """As in the middle of a change: the text is new, the checksum is not."""
    patch(path, 300, b"half")
    assert "does not match its checksum" in refusal(path)


def test_a_concurrent_reader_sees_one_state_or_the_next(page: StatusPage, path: Path) -> None:
    """The other process stores as quickly as it can; no copy is a mixture of two states."""
    require_own_process_image()
    code = (
        "import sys, time\n"
        "from hv_kvp_daemon.service.status_page import StatusPage\n"
        "page = StatusPage(sys.argv[1], pool_dir='/p', addresses='x', report=print)\n"
        "page.publish()\n"
        "print('ready', flush=True)\n"
        "number = 0\n"
        "while True:\n"
        "    number = (number + 1) % 10\n"
        "    page.set_driver(serving=True, transport=str(number) * 15,\n"
        "                    version=b'%d' % number * 60, state=str(number) * 500)\n"
        "    time.sleep(0)\n"
    )
    argv = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        try:
            assert writer.stdout.readline() == "ready\n"
            seen = set()
            for _ in range(3000):
                status = found(path)
                texts = status.transport + status.driver_version + status.state
                if status.serving:
                    assert len(set(texts)) == 1
                    seen.add(texts[0])
        finally:
            writer.kill()
    assert len(seen) > 1


def test_texts_cannot_drive_a_terminal(path: Path) -> None:
    patch(path, 24, b"\x1b[2J\xff\n".ljust(32, b"!"))
    version = found(path).version
    assert version.isprintable()
    assert version.startswith("\\x1b[2J")


def test_numbers_that_are_no_times_are_left_out(page: StatusPage, path: Path) -> None:
    for operation, when in enumerate(
        (float("nan"), float("inf"), -1.0, time.monotonic() + 1e6, 0.0)
    ):
        page.requests[operation] = (1 << 64) - 1
        page.answered[operation] = when
        page.busy[0] = when
        page.failed(operation, 0, when, "text")
        status = found(path)
        assert status.requests[operation] == (1 << 64) - 1
        assert status.answered == {}
        assert status.last_request is None
        assert status.busy_since is None
        assert status.last_failure is None


def test_what_is_no_file_is_an_error(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("fifo")
    for name in ("fifo", "link", "."):
        with pytest.raises(OSError, match=r"Illegal seek|Too many levels|Is a directory"):
            find(f"{tmp_path}/{name}")


def test_an_operation_without_a_name_has_its_number() -> None:
    assert operation_name(KVP_OP_ENUMERATE) == "ENUMERATE"
    assert operation_name(77) == "77"


def test_a_process_that_has_ended_has_no_start_time() -> None:
    assert start_ticks(1 << 30) == 0
    assert start_ticks(os.getpid()) > 0
