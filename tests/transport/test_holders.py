# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The other users of the driver are found in /proc, and what cannot be read is no error."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hv_kvp_daemon.transport import holders as module
from hv_kvp_daemon.transport.holders import (
    device_holders,
    group_inodes,
    group_members,
    holders,
    named,
    process_name,
)
from tests.support.process import wait_for


@contextmanager
def no_free_descriptor() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_another_process_that_has_the_device_open_is_named(tmp_path: Path) -> None:
    path = tmp_path / "device"
    with path.open("wb") as file, subprocess.Popen(["sleep", "60"], stdout=file) as other:
        try:
            # The kernel sets it after it has closed the pipe at which Popen waits for exec.
            wait_for("the name", lambda: process_name(other.pid) == "sleep")
            assert list(device_holders(str(path))) == [(other.pid, "sleep")]
            assert os.getpid() in holders({str(path)})
        finally:
            other.kill()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a process of another user")
def test_a_file_of_the_devices_path_in_a_users_own_mount_namespace_is_not_the_device(
    tmp_path: Path,
) -> None:
    """D9: /proc shows the path as the user sees it, and the log named his process."""
    path = tmp_path / "device"
    command = ["sleep", "60"]
    with path.open("wb") as file, subprocess.Popen(command, stdout=file, user=65534) as other:
        try:
            assert other.pid in holders({str(path)})
            assert not list(device_holders(str(path)))
        finally:
            other.kill()


def test_a_search_ends_after_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """T24: any user may have thousands of processes and descriptors."""
    path = tmp_path / "device"
    seconds = iter(range(1000))
    with path.open("wb"):
        monkeypatch.setattr("time.process_time", lambda: next(seconds))
        assert not list(holders({str(path)}))
        assert module._sockets() == []


def test_no_file_has_no_holders() -> None:
    assert not list(holders(set()))


def test_without_a_free_descriptor_no_one_is_found_and_nothing_fails(tmp_path: Path) -> None:
    """O30: the daemon ended when another process opened the device at that time."""
    with (tmp_path / "device").open("wb") as file, no_free_descriptor():
        assert not list(holders({file.name}))
        assert not group_members(9)
        assert not group_inodes(9)
        assert process_name(os.getpid()) == "?"


def test_a_descriptor_that_is_closed_meanwhile_is_passed_over() -> None:
    assert module._link(f"/proc/self/fd/{resource.getrlimit(resource.RLIMIT_NOFILE)[1]}") == ""


def test_a_process_that_has_ended_holds_nothing() -> None:
    with subprocess.Popen(["true"]) as child:
        child.wait()
    assert not module._holds(str(child.pid), {"/dev/null"}, float("inf"))
    assert process_name(child.pid) == "?"


@pytest.mark.parametrize("group", [0, 33])
def test_a_group_that_proc_does_not_show_is_refused(group: int) -> None:
    with pytest.raises(ValueError, match="1 to 32"):
        group_members(group)


def test_the_log_line_has_names_and_pids() -> None:
    assert named([(12, "a"), (34, "b c")]) == "a (pid 12), b c (pid 34)"
    assert named([]) == ""
