# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The driver counts as ready neither before it is nor later than necessary."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from hv_kvp_daemon.transport.driver import SETTLE, Driver


class Clock:
    """Both clocks of the module, which from now on a test advances."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monotonic = 1000.0
        self.real = time.time()
        monkeypatch.setattr(time, "monotonic", lambda: self.monotonic)
        monkeypatch.setattr(time, "time", lambda: self.real)

    def go_on(self, seconds: float) -> None:
        self.monotonic += seconds
        self.real += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def make_root(path: Path, *, node: bool = True) -> Driver:
    (path / "sys/class/misc").mkdir(parents=True)
    (path / "dev/vmbus").mkdir(parents=True)
    if node:
        make_node(path)
    return Driver(str(path))


def make_node(path: Path) -> Path:
    node = path / "dev/vmbus/hv_kvp"
    node.touch()
    return node


def test_without_a_device_there_is_no_driver(tmp_path: Path) -> None:
    assert make_root(tmp_path, node=False).delay() is None


def test_a_new_node_is_ready_after_a_second(tmp_path: Path, clock: Clock) -> None:
    """T18."""
    driver = make_root(tmp_path)
    assert driver.delay() == pytest.approx(SETTLE, abs=0.2)
    clock.go_on(SETTLE / 2)
    assert driver.delay() == pytest.approx(SETTLE / 2, abs=0.2)
    clock.go_on(SETTLE / 2)
    assert driver.delay() == 0.0


def test_at_start_an_old_node_is_ready_at_once(tmp_path: Path, clock: Clock) -> None:
    driver = make_root(tmp_path)
    clock.go_on(10)
    assert driver.delay() == 0.0


def test_a_clock_that_was_set_back_does_not_make_it_wait_longer(
    tmp_path: Path, clock: Clock
) -> None:
    driver = make_root(tmp_path)
    clock.real -= 3600
    assert driver.delay() == SETTLE
    clock.go_on(SETTLE)
    assert driver.delay() == 0.0


def test_an_announced_device_is_new_whatever_the_age_of_its_node(
    tmp_path: Path, clock: Clock
) -> None:
    """A static node, as in a container, keeps its ctime."""
    driver = make_root(tmp_path)
    clock.go_on(10)
    assert driver.delay() == 0.0
    driver.appeared()
    assert driver.delay() == SETTLE
    clock.go_on(SETTLE)
    assert driver.delay() == 0.0


def test_another_node_is_another_driver(tmp_path: Path, clock: Clock) -> None:
    driver = make_root(tmp_path)
    clock.go_on(10)
    assert driver.delay() == 0.0
    node = tmp_path / "dev/vmbus/hv_kvp"
    # Both exist for a moment, so that their inode numbers differ.
    (tmp_path / "new").touch()
    node.unlink()
    assert driver.delay() is None
    (tmp_path / "new").rename(node)
    clock.real = node.stat().st_ctime
    assert driver.delay() == SETTLE


@pytest.mark.parametrize("state", ["coming", "live"])
def test_a_module_that_is_being_loaded_is_not_ready(
    tmp_path: Path, clock: Clock, state: str
) -> None:
    driver = make_root(tmp_path)
    module = tmp_path / "sys/module/hv_utils"
    module.mkdir(parents=True)
    (module / "initstate").write_text(f"{state}\n")
    clock.go_on(10)
    assert driver.delay() == (SETTLE if state == "coming" else 0.0)


def test_sysfs_shows_the_device_where_dev_does_not(tmp_path: Path, clock: Clock) -> None:
    driver = make_root(tmp_path, node=False)
    (tmp_path / "sys/class/misc/vmbus!hv_kvp").mkdir()
    clock.go_on(10)
    # The age of the inode means nothing: sysfs creates inodes at the first lookup.
    assert driver.delay() == SETTLE
    clock.go_on(SETTLE)
    assert driver.delay() == 0.0


def test_without_sysfs_the_driver_counts_from_the_first_call(
    tmp_path: Path, clock: Clock
) -> None:
    driver = Driver(str(tmp_path))
    assert driver.delay() == SETTLE
    clock.go_on(SETTLE)
    assert driver.delay() == 0.0
