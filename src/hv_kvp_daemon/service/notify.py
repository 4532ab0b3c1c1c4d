# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Messages to the service manager: sd_notify(3), one datagram each to $NOTIFY_SOCKET."""

from __future__ import annotations

import _socket
import os
import time


class Notifier:
    """Sends the daemon's state to the service manager; does nothing if there is none.

    NOTIFY_SOCKET is removed from the environment, so that no child process can send
    messages in the daemon's name.  The socket is open from the start: a daemon without a
    free descriptor could neither report READY=1, without which systemd ends it, nor STOPPING=1.

    :raises OSError: there is a service manager, and no free descriptor.
    """

    def __init__(self) -> None:
        address = os.environ.pop("NOTIFY_SOCKET", "")
        if address.startswith("@"):
            # The abstract namespace, as sd_notify(3) writes it.
            address = "\0" + address[1:]
        self._address = address
        self._socket: _socket.socket | None = None
        if address:
            self._socket = _socket.socket(
                _socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC
            )

    def ready(self, status: str) -> None:
        """The daemon serves; ``status`` is the line in ``systemctl status``."""
        self._send(f"READY=1\nSTATUS={status}")

    def status(self, status: str) -> None:
        """The line in ``systemctl status`` has changed."""
        self._send(f"STATUS={status}")

    def reloading(self) -> None:
        """A reload has begun; `ready` ends it."""
        # Type=notify-reload (systemd 253) needs the time of the reload as well.
        microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send(f"RELOADING=1\nMONOTONIC_USEC={microseconds}")

    def stopping(self) -> None:
        """The daemon is about to end; nothing can be sent any more."""
        self._send("STOPPING=1")
        if self._socket is not None:
            self._socket.close()

    def _send(self, state: str) -> None:
        if self._socket is None:
            return
        try:
            # Not connected: systemd may have bound the path again.
            self._socket.sendto(state.encode(), _socket.MSG_DONTWAIT, self._address)
        except OSError:
            # systemd is being restarted or its queue is full.  It gets the next change;
            # to wait for it would keep the host waiting.
            return
