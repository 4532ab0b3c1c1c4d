"""Which kernel events are news of the KVP device."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hv_kvp_daemon.transport.uevent import ADD, REMOVE, Uevents, parse

PATH = b"/devices/virtual/misc/vmbus!hv_kvp"


def event(action: bytes, path: bytes = PATH, *fields: bytes) -> bytes:
    return b"\0".join(
        [action + b"@" + path, b"ACTION=" + action, b"DEVPATH=" + path, *fields, b""]
    )


def test_the_device_appears_and_goes() -> None:
    assert parse(event(b"add")) == ADD
    assert parse(event(b"remove")) == REMOVE


def test_other_devices_and_actions_are_no_news() -> None:
    assert parse(event(b"change")) == ""
    assert parse(event(b"add", b"/devices/virtual/misc/vmbus!hv_vss")) == ""


def test_an_event_that_udevadm_asked_for_is_no_news() -> None:
    assert parse(event(b"add", PATH, b"SYNTH_UUID=0")) == ""


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_no_news(noise: bytes) -> None:
    assert parse(noise) == ""


def test_a_socket_without_events_reads_empty() -> None:
    uevents = Uevents()
    try:
        assert uevents.read() == ""
    finally:
        uevents.close()
