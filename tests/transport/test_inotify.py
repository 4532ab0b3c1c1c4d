# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Events of a directory, and of one file."""

from __future__ import annotations

import os
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from hv_kvp_daemon.transport.inotify import CHANGES, GONE, IN_ONLYDIR, IN_OPEN, Inotify

if TYPE_CHECKING:
    from pathlib import Path

DIRECTORY = CHANGES | GONE | IN_ONLYDIR


def test_the_names_of_what_happened_are_read_once(tmp_path: Path) -> None:
    with closing(Inotify(str(tmp_path), DIRECTORY)) as events:
        assert events.read() == (set(), False)
        (tmp_path / "a").write_text("x")
        os.rename(tmp_path / "a", tmp_path / "ä")
        assert events.read() == ({"a", "ä"}, False)
        assert events.read() == (set(), False)


@pytest.mark.parametrize("removed", [True, False], ids=["removed", "renamed"])
def test_the_end_of_the_directory_is_reported(tmp_path: Path, removed: bool) -> None:
    directory = tmp_path / "pools"
    directory.mkdir()
    with closing(Inotify(str(directory), DIRECTORY)) as events:
        if removed:
            directory.rmdir()
        else:
            directory.rename(tmp_path / "other")
        assert events.read()[1]


def test_lost_events_are_an_empty_name(tmp_path: Path) -> None:
    with open("/proc/sys/fs/inotify/max_queued_events", encoding="ascii") as file:
        queue = int(file.read())
    with closing(Inotify(str(tmp_path), DIRECTORY)) as events:
        with open(tmp_path / "a", "wb") as one, open(tmp_path / "b", "wb") as other:
            for _ in range(queue // 2 + 1):
                # Two names in turn, as equal events that follow each other count once.
                os.pwrite(one.fileno(), b"x", 0)
                os.pwrite(other.fileno(), b"x", 0)
        assert "" in events.read()[0]


@pytest.mark.usefixtures("no_garbage")
def test_what_is_not_a_directory_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(NotADirectoryError):
        Inotify(str(tmp_path / "file"), DIRECTORY)
    assert len(os.listdir("/proc/self/fd")) == before


def test_an_open_of_a_file_is_an_event_of_that_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with closing(Inotify(str(tmp_path / "file"), IN_OPEN)) as events:
        assert events.read() == (set(), False)
        os.close(os.open(tmp_path / "file", os.O_RDONLY))
        assert events.read() == ({""}, False)
