"""The file in which the daemon says what it is doing."""

from __future__ import annotations

import os
import stat
import time

import pytest

from hv_kvp_daemon.service.status import StatusFile, describe, read, start_ticks

FIELDS = {"STATE": "serving", "POOL_DIR": "/a b=c"}


def test_what_is_written_is_read(tmp_path: object) -> None:
    path = f"{tmp_path}/status"
    StatusFile(path, pytest.fail).write(FIELDS)
    assert read(path) == {
        "PID": str(os.getpid()),
        "START_TICKS": str(start_ticks(os.getpid())),
        **FIELDS,
    }


def test_everyone_may_read_it_whatever_the_umask(tmp_path: object) -> None:
    path = f"{tmp_path}/status"
    former = os.umask(0o077)
    try:
        StatusFile(path, pytest.fail).write(FIELDS)
    finally:
        os.umask(former)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o644
    assert os.listdir(str(tmp_path)) == ["status"]


def test_a_value_cannot_make_a_line_of_its_own(tmp_path: object) -> None:
    path = f"{tmp_path}/status"
    StatusFile(path, pytest.fail).write({"POOL_DIR": "/a\nPID=1"})
    fields = read(path)
    assert fields is not None
    assert fields["POOL_DIR"] == "/a\\nPID=1"
    assert fields["PID"] == str(os.getpid())


def test_a_failure_is_told_once_until_it_works_again(tmp_path: object) -> None:
    problems: list[str] = []
    file = StatusFile(f"{tmp_path}/gone/status", problems.append)
    for _ in range(3):
        file.write(FIELDS)
    os.mkdir(f"{tmp_path}/gone")
    file.write(FIELDS)
    os.unlink(f"{tmp_path}/gone/status")
    os.rmdir(f"{tmp_path}/gone")
    file.write(FIELDS)
    assert len(problems) == 2
    assert "No such file" in problems[0]


def test_it_is_taken_away_at_the_end(tmp_path: object) -> None:
    path = f"{tmp_path}/status"
    file = StatusFile(path, pytest.fail)
    file.write(FIELDS)
    file.remove()
    file.remove()
    assert read(path) is None


def test_a_link_in_its_place_is_not_followed(tmp_path: object) -> None:
    os.symlink(f"{tmp_path}/target", f"{tmp_path}/status.new")
    problems: list[str] = []
    StatusFile(f"{tmp_path}/status", problems.append).write(FIELDS)
    assert len(problems) == 1
    assert not os.path.exists(f"{tmp_path}/target")


def test_the_fields_name_operations_and_the_time_of_the_last() -> None:
    fields = describe(
        transport="netlink",
        state="serving over netlink",
        serving=True,
        driver_version=b"3.1",
        pool_dir="/pools",
        addresses="rtnetlink",
        requests={3: 12, 77: 1},
        last=(3, time.monotonic() - 100),
        dropped=2,
    )
    assert fields["REQUESTS"] == "ENUMERATE:12 77:1"
    name, when = fields["LAST_REQUEST"].split()
    assert name == "ENUMERATE"
    assert abs(time.time() - 100 - int(when)) <= 2


def test_a_process_that_is_gone_has_no_start() -> None:
    assert start_ticks(1 << 30) == 0
    assert start_ticks(os.getpid()) > 0
