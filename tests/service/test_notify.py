# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Notifications to systemd."""

from __future__ import annotations

import os
import resource
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hv_kvp_daemon.service.notify import Notifier


class Manager:
    """The service manager's end."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self.socket.settimeout(60)

    def heard(self) -> str:
        return self.socket.recv(4096).decode()


@pytest.fixture(params=["path", "abstract"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "path":
        return str(tmp_path / "notify")
    # Another container of the same network namespace may have a process of the same pid.
    return f"@kvp-test-{os.urandom(8).hex()}"


@pytest.fixture
def manager(address: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    manager = Manager(address)
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    yield manager
    manager.socket.close()


@pytest.fixture
def notifier(manager: Manager) -> Iterator[Notifier]:
    notifier = Notifier()
    yield notifier
    notifier.stopping()


def test_each_state_is_one_datagram(manager: Manager, notifier: Notifier) -> None:
    notifier.ready("serving")
    assert manager.heard() == "READY=1\nSTATUS=serving"
    notifier.status("busy")
    assert manager.heard() == "STATUS=busy"
    notifier.stopping()
    assert manager.heard() == "STOPPING=1"


def test_reloading_carries_the_moment(manager: Manager, notifier: Notifier) -> None:
    before = time.monotonic_ns() // 1000
    notifier.reloading()
    state, moment = manager.heard().split("\n")
    assert state == "RELOADING=1"
    assert before <= int(moment.removeprefix("MONOTONIC_USEC=")) <= time.monotonic_ns() // 1000


def test_the_manager_is_told_without_a_free_descriptor(
    manager: Manager, notifier: Notifier
) -> None:
    """O30: the daemon ended with "cannot serve: Too many open files"."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        notifier.ready("serving")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert manager.heard() == "READY=1\nSTATUS=serving"


@pytest.mark.usefixtures("notifier")
def test_children_cannot_speak_for_the_daemon() -> None:
    assert "NOTIFY_SOCKET" not in os.environ


@pytest.mark.usefixtures("no_garbage")
def test_without_a_manager_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    before = os.listdir("/proc/self/fd")
    Notifier().ready("serving")
    assert os.listdir("/proc/self/fd") == before


def test_a_missing_manager_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    notifier = Notifier()
    notifier.ready("serving")
    notifier.stopping()
