# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The simulated driver, with a daemon whose behavior a test sets."""

from __future__ import annotations

import os
import signal
import socket
import struct
import threading
from functools import partial
from typing import TYPE_CHECKING

import pytest

from hv_kvp_daemon.simhost.errors import BadReplyError, NoDaemonError
from hv_kvp_daemon.simhost.simulated_driver import SimulatedDriver
from hv_kvp_daemon.wire.message import (
    MESSAGE_SIZE,
    Request,
    encode_pair,
    encode_register,
    encode_request,
    encode_status,
)
from hv_kvp_daemon.wire.uapi import (
    HV_E_FAIL,
    HV_S_OK,
    KVP_OP_ENUMERATE,
    KVP_OP_REGISTER1,
)
from tests.simhost.fake import LONG

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.simhost.fake import FakeDaemon
    from tests.support.daemon import RunningDaemon

FIRST = encode_request(Request(KVP_OP_ENUMERATE, 0, index=1))
SECOND = encode_request(Request(KVP_OP_ENUMERATE, 0, index=2))
ENUMERATE = bytes([KVP_OP_ENUMERATE, 0, 0, 0]).ljust(MESSAGE_SIZE, b"\0")

# Seconds to wait for a message that should not arrive.
SHORT = 0.05


@pytest.fixture
def interrupt() -> Iterator[Callable[[], None]]:
    """Interrupt this thread, as Ctrl-C does, from another one."""
    old = signal.signal(signal.SIGUSR1, signal.default_int_handler)
    yield partial(signal.pthread_kill, threading.get_ident(), signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, old)


def test_a_reply_is_handed_back_as_it_came(fake: FakeDaemon) -> None:
    with fake.registered() as driver:
        exchange = fake.run(driver.exchange, FIRST)
        assert fake.receive() == FIRST
        fake.send(encode_pair(b"key", b"value", 1))
        assert exchange.result(LONG) == encode_pair(b"key", b"value", 1)


def test_after_the_timeout_the_host_gets_a_failure(fake: FakeDaemon) -> None:
    with fake.registered(SHORT) as driver:
        assert driver.exchange(FIRST) == encode_status(HV_E_FAIL)


def test_a_late_reply_is_not_taken_for_that_of_the_next_request(fake: FakeDaemon) -> None:
    with fake.registered(SHORT) as driver:
        driver.exchange(FIRST)
        driver.timeout = LONG
        assert fake.receive() == FIRST
        fake.send(encode_pair(b"first", b"", 1))
        exchange = fake.run(driver.exchange, SECOND)
        assert fake.receive() == SECOND
        fake.send(encode_pair(b"second", b"", 2))
        assert exchange.result(LONG) == encode_pair(b"second", b"", 2)
        assert driver.late_replies == 1


def test_nothing_is_sent_while_a_reply_is_owed(fake: FakeDaemon) -> None:
    with fake.registered(SHORT) as driver:
        driver.exchange(FIRST)
        assert driver.exchange(SECOND) == encode_status(HV_E_FAIL)
        assert fake.receive() == FIRST
        assert fake.connection is not None
        fake.connection.setblocking(False)
        with pytest.raises(BlockingIOError):
            fake.receive()


def test_an_interrupted_request_ends_the_conversation(
    fake: FakeDaemon, interrupt: Callable[[], None]
) -> None:
    """Its reply would be taken for that of the next request."""
    with fake.registered() as driver:
        request = fake.run(fake.receive)
        request.add_done_callback(lambda _: interrupt())
        with pytest.raises(KeyboardInterrupt):
            driver.exchange(FIRST)
        with pytest.raises(NoDaemonError, match="is closed"):
            driver.exchange(SECOND)
        assert fake.receive() == b""


def test_an_unsolicited_reply_is_reported(fake: FakeDaemon) -> None:
    with fake.registered() as driver:
        fake.send(encode_status(HV_S_OK))
        with pytest.raises(BadReplyError, match="without a request"):
            driver.exchange(FIRST)


@pytest.mark.parametrize(
    ("size", "came"), [(1, "1"), (MESSAGE_SIZE - 1, "7431"), (MESSAGE_SIZE + 1, "more")]
)
def test_a_reply_of_another_size_is_reported(fake: FakeDaemon, size: int, came: str) -> None:
    with fake.registered() as driver:
        exchange = fake.run(driver.exchange, FIRST)
        fake.receive()
        fake.send(bytes(size))
        with pytest.raises(BadReplyError, match=f"7432 bytes was expected, {came} came"):
            exchange.result(LONG)


def test_a_request_of_another_size_is_refused(fake: FakeDaemon) -> None:
    with fake.registered() as driver, pytest.raises(ValueError, match="7432 bytes, not 3"):
        driver.exchange(b"abc")


def test_a_daemon_that_hangs_up_is_reported(fake: FakeDaemon) -> None:
    with fake.registered() as driver:
        exchange = fake.run(driver.exchange, FIRST)
        fake.receive()
        fake.hang_up()
        with pytest.raises(NoDaemonError, match="closed the connection"):
            exchange.result(LONG)


def test_a_daemon_that_has_exited_is_reported(fake: FakeDaemon) -> None:
    with fake.registered() as driver:
        fake.hang_up()
        with pytest.raises(NoDaemonError, match=r"closed the connection|is gone"):
            driver.exchange(FIRST)


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (slice(20, 532), "no NUL within the 512 bytes"),
        (slice(532, 2580), "no NUL within the 2048 bytes"),
    ],
)
def test_a_text_that_would_stop_the_kernel_is_reported(
    fake: FakeDaemon, fault: slice, text: str
) -> None:
    reply = bytearray(encode_pair(b"key", b"value"))
    reply[fault] = b"x" * (fault.stop - fault.start)
    with fake.registered() as driver:
        answer = fake.run(driver.carry, ENUMERATE)
        fake.receive()
        fake.send(bytes(reply))
        with pytest.raises(BadReplyError, match=f"reply to ENUMERATE, pool 0: {text}"):
            answer.result(LONG)


def test_a_text_that_would_end_the_enumeration_is_reported(fake: FakeDaemon) -> None:
    reply = encode_pair(b"key", b"value").replace(b"value", b"val\xff\xff")
    with fake.registered() as driver:
        answer = fake.run(driver.carry, ENUMERATE)
        fake.receive()
        fake.send(reply)
        with pytest.raises(BadReplyError, match="invalid UTF-8 at byte 3 of 5"):
            answer.result(LONG)


def test_what_is_no_registration_is_refused(fake: FakeDaemon) -> None:
    driver = fake.accept(struct.pack("<I", 4).ljust(MESSAGE_SIZE, b"\0"))
    with pytest.raises(BadReplyError, match=rf"operation 4 .* \({KVP_OP_REGISTER1}\)"):
        driver.result(LONG)


def test_a_daemon_that_does_not_register_is_given_up(path: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(path)
        listener.listen(1)
        with pytest.raises(NoDaemonError, match=r"did not register within 0\.05 s"):
            SimulatedDriver(path, SHORT)


def test_where_as_many_hosts_wait_as_can_the_next_gives_up(path: str) -> None:
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener,
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as first,
    ):
        listener.bind(path)
        listener.listen(0)
        first.connect(path)
        with pytest.raises(NoDaemonError, match="temporarily unavailable"):
            SimulatedDriver(path, SHORT)


def test_without_a_daemon_it_gives_up_at_the_deadline(path: str) -> None:
    with pytest.raises(NoDaemonError, match="No such file"):
        SimulatedDriver(path, SHORT)


def test_a_path_that_cannot_be_used_is_not_waited_for(tmp_path: Path) -> None:
    with pytest.raises(NoDaemonError, match="path too long"):
        SimulatedDriver(str(tmp_path / ("x" * 200)), LONG)


def test_a_daemon_that_listens_later_is_waited_for(fake: FakeDaemon, tmp_path: Path) -> None:
    path = str(tmp_path / "later")
    future = fake.run(SimulatedDriver, path, LONG)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(path)
        listener.listen(1)
        connection, _ = listener.accept()
        with connection:
            connection.send(encode_register())
            driver = future.result(LONG)
            assert isinstance(driver, SimulatedDriver)
            driver.close()


def test_a_stopped_daemon_answers_the_right_request_when_it_continues(
    daemon: RunningDaemon,
) -> None:
    pool = daemon.pool(1)
    for key in (b"first", b"second"):
        pool.append(key, b"")
    with daemon.host() as host:
        host.driver.timeout = SHORT
        os.kill(daemon.pid, signal.SIGSTOP)
        assert host.enumerate(1, 0) == (HV_E_FAIL, "", "")
        os.kill(daemon.pid, signal.SIGCONT)
        host.driver.timeout = LONG
        assert host.enumerate(1, 1) == (HV_S_OK, "second", "")
        assert host.driver.late_replies == 1
