# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The device transfers whole messages, or it is lost.

A FIFO or a file takes the place of the device; tests/driver has tests of the real one.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from hv_kvp_daemon.transport.chardev import CharDevice
from hv_kvp_daemon.transport.errors import TransportError, TransportLostError
from hv_kvp_daemon.wire.message import MESSAGE_SIZE, encode_register, encode_status


@pytest.fixture
def device(tmp_path: Path) -> Path:
    """A FIFO that this process holds open: it returns what is written to it."""
    path = tmp_path / "hv_kvp"
    os.mkfifo(path)
    return path


def test_a_device_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(TransportError, match="No such file"):
        CharDevice(str(tmp_path / "none"))


def test_a_message_is_written_and_read_whole(device: Path) -> None:
    opened = CharDevice(str(device))
    opened.send(encode_status(3))
    request = opened.receive()
    assert request is not None
    assert bytes(request) == encode_status(3)
    opened.send(encode_register(b"3.1"))
    assert opened.receive() is None
    assert opened.version == b"3.1"
    opened.close()


def test_a_short_read_loses_the_device(device: Path) -> None:
    opened = CharDevice(str(device))
    with open(device, "wb", buffering=0) as other:
        other.write(bytes(MESSAGE_SIZE - 1))
    with pytest.raises(TransportLostError, match="read 7431 bytes"):
        opened.receive()
    opened.close()


def test_a_refused_write_loses_the_device(tmp_path: Path) -> None:
    opened = CharDevice("/dev/full")
    with pytest.raises(TransportLostError, match="No space left"):
        opened.send(encode_status(0))
    opened.close()


def test_a_reply_for_which_the_driver_no_longer_waits_is_dropped(tmp_path: Path) -> None:
    """T21: EINVAL: closing the device would fail the request that has arrived since."""
    path = tmp_path / "odd"
    path.touch()
    opened = CharDevice(str(path))

    class Refusing:
        """A file whose write fails as the driver's does."""

        fileno = opened.fileno
        close = opened.close

        def write(self, data: bytes) -> int:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    file, opened._file = opened._file, Refusing()  # type: ignore[assignment]
    assert not opened.send(encode_status(0))
    with pytest.raises(TransportLostError, match="refused the registration"):
        opened.register()
    file.close()
