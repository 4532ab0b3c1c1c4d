"""What systemd is told: sd_notify(3), a datagram to $NOTIFY_SOCKET."""

from __future__ import annotations

import _socket
import os
import time


class Notifier:
    """Sends state to the service manager; does nothing where there is none.

    The variable is taken out of the environment, so that no child can speak for
    the daemon.
    """

    def __init__(self) -> None:
        address = os.environ.pop("NOTIFY_SOCKET", "")
        if address.startswith("@"):
            address = "\0" + address[1:]
        self._address = address

    def __bool__(self) -> bool:
        return bool(self._address)

    def ready(self, status: str) -> None:
        """The service serves; ``status`` is for ``systemctl status``."""
        self._send(f"READY=1\nSTATUS={status}")

    def status(self, status: str) -> None:
        self._send(f"STATUS={status}")

    def reloading(self) -> None:
        """A reload has begun; `ready` ends it."""
        # systemd 253 and later want the moment beside it (Type=notify-reload).
        microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send(f"RELOADING=1\nMONOTONIC_USEC={microseconds}")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def _send(self, state: str) -> None:
        if not self._address:
            return
        out = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
        try:
            out.sendto(state.encode(), _socket.MSG_DONTWAIT, self._address)
        except OSError:
            # The service manager is restarting or its queue is full; it is told
            # again with the next change, and the host comes first.
            return
        finally:
            out.close()
