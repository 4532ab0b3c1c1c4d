# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""One daemon per machine."""

from __future__ import annotations

import os
import resource
import stat
from pathlib import Path

import pytest

from hv_kvp_daemon.service.instance import AlreadyRunningError, take


def test_the_second_is_refused_and_names_the_first(tmp_path: Path) -> None:
    directory = str(tmp_path / "run")
    held = take(directory)
    with pytest.raises(AlreadyRunningError, match=rf"pid {os.getpid()}\)"):
        take(directory)
    os.close(held)
    os.close(take(directory))


def test_the_lock_is_held_where_there_is_no_space_for_the_pid(tmp_path: Path) -> None:
    """U3: a warning said that there was no lock, and the next daemon was refused."""
    directory = str(tmp_path / "run")
    os.close(take(directory))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        held = take(directory)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    with pytest.raises(AlreadyRunningError, match="pid unknown"):
        take(directory)
    os.close(held)


def test_only_root_can_open_the_lock(tmp_path: Path) -> None:
    directory = tmp_path / "run"
    os.close(take(str(directory)))
    assert stat.S_IMODE(directory.stat().st_mode) & 0o022 == 0
    assert stat.S_IMODE((directory / "lock").stat().st_mode) == 0o600


@pytest.mark.usefixtures("no_garbage")
def test_refused_attempts_leak_no_descriptor(tmp_path: Path) -> None:
    directory = str(tmp_path / "run")
    held = take(directory)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(10):
        with pytest.raises(AlreadyRunningError):
            take(directory)
    assert len(os.listdir("/proc/self/fd")) == before
    os.close(held)


def test_a_link_in_place_of_the_lock_is_not_followed(tmp_path: Path) -> None:
    directory = tmp_path / "run"
    directory.mkdir()
    victim = tmp_path / "victim"
    victim.write_text("kept")
    (directory / "lock").symlink_to(victim)
    with pytest.raises(OSError, match="symbolic links"):
        take(str(directory))
    assert victim.read_text() == "kept"


@pytest.mark.usefixtures("no_garbage")
def test_a_hard_link_in_place_of_the_lock_is_not_written(tmp_path: Path) -> None:
    """S2."""
    directory = tmp_path / "run"
    directory.mkdir()
    victim = tmp_path / "victim"
    victim.write_text("kept")
    os.link(victim, directory / "lock")
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="another name"):
        take(str(directory))
    assert victim.read_text() == "kept"
    assert len(os.listdir("/proc/self/fd")) == before
