# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Signals as events: each test in a child, whose handlers are its own."""

from __future__ import annotations

import functools
import os
import select
import signal
import time
import traceback
from typing import TYPE_CHECKING

import pytest

from hv_kvp_daemon.service.signals import Signals
from tests.support.process import DEADLINE

if TYPE_CHECKING:
    from collections.abc import Callable


def in_own_process(body: Callable[[Signals], None]) -> Callable[[], None]:
    """Run the body of a test in a child; an exception in it fails the test."""

    @functools.wraps(body)
    def run() -> None:
        ours, childs = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                body(Signals())
            except BaseException:  # noqa: BLE001 - the parent raises it
                os.write(childs, traceback.format_exc().encode())
            finally:
                os._exit(0)
        os.close(childs)
        with open(ours) as report:
            text = report.read()
        assert os.waitpid(child, 0)[1] == 0
        if text:
            pytest.fail(text, pytrace=False)

    # Or pytest takes the parameter for a fixture.
    del run.__wrapped__
    return run


def send(number: int) -> None:
    os.kill(os.getpid(), number)


def send_later(number: int, then: Callable[[], object] = lambda: None) -> None:
    """Let a child send a signal to this process, while it waits."""
    parent = os.getpid()
    if os.fork() == 0:
        select.select([], [], [], 0.05)
        os.kill(parent, number)
        then()
        os._exit(0)


def readable(signals: Signals) -> bool:
    poll = select.poll()
    poll.register(signals.fileno(), select.POLLIN)
    return bool(poll.poll(0))


@in_own_process
def test_a_signal_is_readable_once(signals: Signals) -> None:
    assert not readable(signals)
    send(signal.SIGHUP)
    assert readable(signals)
    assert signals.read() == {signal.SIGHUP}
    assert not readable(signals)
    assert signals.read() == set()
    assert not signals.stopping


@in_own_process
def test_a_wait_ends_when_the_descriptor_is_readable(signals: Signals) -> None:
    read_end, write_end = os.pipe()
    assert not signals.wait(read_end, 0)
    os.write(write_end, b"x")
    assert signals.wait(read_end, 0)
    os.read(read_end, 1)
    os.close(write_end)
    assert signals.wait(read_end, DEADLINE)


@in_own_process
def test_a_wait_ends_when_its_time_is_over_and_not_before(signals: Signals) -> None:
    read_end, _ = os.pipe()
    for seconds in (-1.0, 0.0, 0.0001, 0.05):
        began = time.monotonic()
        assert not signals.wait(read_end, seconds)
        assert seconds <= time.monotonic() - began < DEADLINE


@in_own_process
def test_a_signal_to_end_ends_a_wait(signals: Signals) -> None:
    read_end, _ = os.pipe()
    send_later(signal.SIGTERM)
    assert not signals.wait(read_end, 1000.0)
    assert signals.stopping
    assert signal.SIGTERM in signals.read()
    # And none begins after it.
    assert not signals.wait(read_end, 1000.0)


@in_own_process
def test_a_wait_after_more_signals_than_the_pipe_holds_raises_nothing(signals: Signals) -> None:
    """T6: a look-up of the name ended the daemon with "Resource temporarily unavailable"."""
    read_end, write_end = os.pipe()
    os.write(write_end, b"x")
    send(signal.SIGHUP)
    os.write(signals._write, bytes([signal.SIGCONT]) * 65535)
    assert signals.wait(read_end, DEADLINE)
    assert signals.read() == {signal.SIGHUP, signal.SIGCONT}


@in_own_process
def test_another_signal_does_not_end_a_wait_and_is_not_lost(signals: Signals) -> None:
    read_end, write_end = os.pipe()
    send(signal.SIGHUP)
    send_later(signal.SIGCONT, lambda: os.write(write_end, b"x"))
    assert signals.wait(read_end, DEADLINE)
    assert not signals.stopping
    assert readable(signals)
    assert signals.read() == {signal.SIGHUP, signal.SIGCONT}
    assert not readable(signals)


@in_own_process
def test_a_pause_ends_with_a_signal_to_end(signals: Signals) -> None:
    assert not signals.pause(0.01)
    send_later(signal.SIGINT)
    assert signals.pause(1000.0)
