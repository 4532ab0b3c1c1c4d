# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The selector uses the requested link, or under `auto` the one that works."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hv_kvp_daemon.transport import selector as module
from hv_kvp_daemon.transport.device_link import DeviceLink
from hv_kvp_daemon.transport.errors import TransportError
from hv_kvp_daemon.transport.link import Link
from hv_kvp_daemon.transport.loopback import LoopbackLink
from hv_kvp_daemon.transport.netlink_link import NetlinkLink
from hv_kvp_daemon.transport.selector import TransportSelector, is_loopback

REQUEST = memoryview(b"a request")


class FakeNetlink(NetlinkLink):
    """A netlink link without a connector, whose behavior a test sets."""

    def __init__(self, report: object, connector: object, *, insist: bool) -> None:
        Link.__init__(self, lambda _: None)
        self.insist = insist
        self.obstacle = ""
        self.silent = False
        self.error: TransportError | None = None
        self.closed = False
        self.retries = 0

    @property
    def unanswered(self) -> bool:
        return self.silent

    def start(self) -> None:
        self._fail()

    def on_event(self, fd: int, events: int) -> memoryview | None:
        self._fail()
        return REQUEST

    def on_deadline(self) -> memoryview | None:
        return self.on_event(0, 0)

    def retry_later(self) -> None:
        self.retries += 1

    def close(self) -> None:
        self.closed = True

    def _fail(self) -> None:
        if self.error is not None:
            raise self.error


class FakeDevice(DeviceLink):
    started = False

    def start(self) -> None:
        self.started = True


class Selection:
    """A selector whose links are fakes, and its reports."""

    def __init__(self, transport: str) -> None:
        self.said: list[str] = []
        self.selector = TransportSelector(transport, self.said.append, lambda *_: None)

    @property
    def netlink(self) -> FakeNetlink:
        assert isinstance(self.selector.link, FakeNetlink)
        return self.selector.link

    def took_device(self) -> bool:
        link = self.selector.link
        return isinstance(link, FakeDevice) and link.started


@pytest.fixture(autouse=True)
def fakes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The path of a device that exists."""
    device = tmp_path / "hv_kvp"
    device.touch()
    monkeypatch.setattr(module, "DEVICE", str(device))
    monkeypatch.setattr(module, "Connector", lambda *_, **__: None)
    monkeypatch.setattr(module, "NetlinkLink", FakeNetlink)
    monkeypatch.setattr(module, "DeviceLink", FakeDevice)
    return device


def test_each_transport_has_its_link(tmp_path: Path) -> None:
    assert Selection("netlink").netlink.insist
    assert not Selection("auto").netlink.insist
    assert isinstance(Selection("chardev").selector.link, FakeDevice)
    loopback = Selection(f"loopback:{tmp_path}/socket").selector.link
    assert isinstance(loopback, LoopbackLink)
    loopback.close()


@pytest.mark.parametrize("transport", ["", "loopback:", "loopback", "net"])
def test_another_transport_does_not_exist(transport: str) -> None:
    assert not is_loopback(transport)
    with pytest.raises(ValueError, match="no transport"):
        Selection(transport)


@pytest.mark.parametrize("transport", ["auto", "netlink"])
def test_a_kernel_without_a_connector_has_the_device(
    monkeypatch: pytest.MonkeyPatch, transport: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise TransportError("no netlink connector in this kernel")

    monkeypatch.setattr(module, "Connector", fail)
    if transport == "netlink":
        with pytest.raises(TransportError):
            Selection(transport)
    else:
        selection = Selection(transport)
        assert isinstance(selection.selector.link, FakeDevice)
        assert selection.said == ["no netlink connector in this kernel; using the char device"]


def test_auto_stays_with_netlink_that_serves() -> None:
    selection = Selection("auto")
    selection.selector.start()
    link = selection.netlink
    link.version = b"3.1"
    assert selection.selector.on_event(0, 0) is REQUEST
    assert selection.selector.on_deadline() is REQUEST
    selection.selector.consider()
    assert selection.selector.link is link
    assert not selection.said


@pytest.mark.parametrize("when", ["start", "event", "deadline"])
@pytest.mark.parametrize("why", ["obstacle", "silence", "error"])
def test_auto_takes_the_device_where_netlink_cannot_serve(when: str, why: str) -> None:
    selection = Selection("auto")
    link = selection.netlink
    if when != "start":
        selection.selector.start()
    if why == "obstacle":
        link.obstacle = "another member"
    elif why == "silence":
        link.silent = True
    else:
        link.error = TransportError("connection refused")
    if when == "start":
        selection.selector.start()
    elif when == "event":
        selection.selector.on_event(0, 0)
    else:
        selection.selector.on_deadline()
    selection.selector.consider()
    assert selection.took_device()
    assert link.closed
    text = {
        "obstacle": "another member",
        "silence": "the driver does not answer over netlink",
        "error": "connection refused",
    }
    assert selection.said == [f"{text[why]}; using the char device"]


def test_auto_waits_where_there_is_no_device(fakes: Path) -> None:
    os.unlink(fakes)
    selection = Selection("auto")
    selection.netlink.obstacle = "another member"
    selection.selector.start()
    selection.selector.consider()
    assert not selection.netlink.closed
    fakes.touch()
    selection.selector.consider()
    assert selection.took_device()


def test_requested_netlink_is_not_left() -> None:
    selection = Selection("netlink")
    selection.selector.start()
    selection.netlink.obstacle = "another member"
    selection.selector.consider()
    assert not selection.netlink.closed


@pytest.mark.parametrize("when", ["event", "deadline"])
def test_requested_netlink_is_tried_again(when: str) -> None:
    selection = Selection("netlink")
    selection.selector.start()
    link = selection.netlink
    link.error = TransportError("connection refused")
    selector = selection.selector
    request = selector.on_event(0, 0) if when == "event" else selector.on_deadline()
    assert request is None
    assert selection.selector.link is link
    assert link.retries == 1


def test_requested_netlink_that_cannot_start_is_an_error() -> None:
    selection = Selection("netlink")
    selection.netlink.error = TransportError("connection refused")
    with pytest.raises(TransportError, match="refused"):
        selection.selector.start()
