# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The contents and times of notifications to systemd and of the status page."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from hv_kvp_daemon.service.notify import Notifier
from hv_kvp_daemon.service.publish import Publisher
from hv_kvp_daemon.service.status import DaemonStatus, find
from hv_kvp_daemon.service.status_page import StatusPage
from hv_kvp_daemon.transport.holders import named, process_name
from hv_kvp_daemon.wire.message import encode_status
from hv_kvp_daemon.wire.uapi import (
    HV_E_FAIL,
    HV_ERROR_NOT_SUPPORTED,
    HV_S_CONT,
    HV_S_OK,
    KVP_OP_SET,
)

if TYPE_CHECKING:
    from hv_kvp_daemon.service.log import Reporter
    from hv_kvp_daemon.transport.selector import TransportSelector


class Line:
    """A transport whose state a test sets."""

    name = "netlink"
    serving = False
    version = b""

    def state(self) -> str:
        return f"serving over {self.name}" if self.serving else f"waiting on {self.name}"


class FakeSelector:
    def __init__(self) -> None:
        self.link = Line()


class Trial:
    """A publisher with its status page and its service manager."""

    def __init__(self, directory: Path) -> None:
        self.selector = FakeSelector()
        self.link = self.selector.link
        self.logged: list[tuple[str, str]] = []
        self.path = f"{directory}/status"
        page = StatusPage(self.path, pool_dir="/p", addresses="x", report=pytest.fail)
        self.notifier = Notifier()
        self.publisher = Publisher(
            cast("TransportSelector", self.selector),
            self.notifier,
            page,
            "/p",
            cast("Reporter", lambda text, reason="": self.logged.append((reason, text))),
        )
        self.page = page
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    def heard(self) -> list[str]:
        """The datagrams since the last call."""
        found = []
        while select.select([self.manager], [], [], 0)[0]:
            found.append(self.manager.recv(4096).decode())
        return found

    @property
    def status(self) -> DaemonStatus:
        status = find(self.path)
        assert status is not None
        return status


@pytest.fixture
def trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Trial]:
    monkeypatch.setenv("NOTIFY_SOCKET", f"{tmp_path}/notify")
    trial = Trial(tmp_path)
    with trial.manager:
        trial.manager.bind(f"{tmp_path}/notify")
        yield trial
        trial.publisher.stopping()


def test_the_page_is_published_when_the_daemon_is_ready(trial: Trial) -> None:
    assert find(trial.path) is None
    trial.publisher.ready()
    assert trial.status.state == "waiting on netlink"
    assert trial.heard() == [
        "READY=1\nSTATUS=waiting on netlink; driver version unknown; pools in /p"
    ]


def test_each_change_of_the_state_is_published_once(trial: Trial) -> None:
    trial.publisher.ready()
    trial.heard()
    trial.publisher.look()
    assert trial.heard() == []
    trial.link.serving = True
    trial.link.version = b"3.1"
    trial.publisher.look()
    trial.publisher.look()
    assert trial.heard() == ["STATUS=serving over netlink; driver version 3.1; pools in /p"]
    assert trial.status.serving
    assert trial.status.driver_version == "3.1"
    trial.link.name = "chardev"
    trial.publisher.look()
    assert len(trial.heard()) == 1
    assert trial.status.transport == "chardev"


def test_no_text_of_others_is_a_field_for_systemd(trial: Trial) -> None:
    """S7: a process of such a name, listed as a holder of the device, moved MAINPID=."""
    comm = Path("/proc/self/comm")
    former = comm.read_bytes()
    comm.write_bytes(b"\nMAINPID=1\n")
    try:
        trial.link.name = named([(os.getpid(), process_name(os.getpid()))])
    finally:
        comm.write_bytes(former)
    trial.publisher.ready()
    (text,) = trial.heard()
    assert text.count("\n") == 1
    assert rf"\nMAINPID=1 (pid {os.getpid()})" in text


def test_a_directory_whose_name_is_not_utf_8_is_named_to_systemd(trial: Trial) -> None:
    """S7: the daemon ended at its start with a UnicodeEncodeError."""
    directory = os.fsdecode(b"/p\xff")
    selector = cast("TransportSelector", trial.selector)
    report = cast("Reporter", pytest.fail)
    publisher = Publisher(selector, trial.notifier, trial.page, directory, report)
    publisher.look()
    assert trial.heard()[0].endswith(r"pools in /p\udcff")


def test_requests_and_drops_are_counted_and_not_sent_to_systemd(trial: Trial) -> None:
    trial.publisher.ready()
    trial.heard()
    for status in (HV_S_OK, HV_S_CONT, HV_E_FAIL):
        trial.publisher.served(KVP_OP_SET, 1.0, encode_status(status))
    trial.page.count_dropped()
    trial.publisher.look()
    assert trial.heard() == []
    assert trial.status.requests == {KVP_OP_SET: 3}
    assert trial.status.dropped == 1


def test_a_reload_and_the_end_are_announced(trial: Trial) -> None:
    trial.publisher.ready()
    trial.publisher.reloading()
    trial.publisher.ready()
    trial.publisher.stopping()
    assert [text.partition("=")[0] for text in trial.heard()] == [
        "READY",
        "RELOADING",
        "READY",
        "STOPPING",
    ]


@pytest.mark.parametrize("status", [HV_E_FAIL, HV_ERROR_NOT_SUPPORTED])
def test_the_message_of_a_failing_request_is_its_reason(trial: Trial, status: int) -> None:
    trial.publisher.ready()
    trial.publisher.report("the disk is full", "reason")
    trial.publisher.served(KVP_OP_SET, 1.0, encode_status(status))
    assert trial.logged == [("reason", "the disk is full")]
    failure = trial.status.last_failure
    assert failure is not None
    assert (failure.operation, failure.status) == (KVP_OP_SET, status)
    assert failure.text == "the disk is full"


def test_a_message_of_a_request_that_succeeded_explains_no_other(trial: Trial) -> None:
    trial.publisher.ready()
    trial.publisher.report("a program was slow", "reason")
    trial.publisher.served(4, 1.0, encode_status(HV_S_OK))
    trial.publisher.served(KVP_OP_SET, 2.0, encode_status(HV_E_FAIL))
    failure = trial.status.last_failure
    assert failure is not None
    assert failure.text == ""
