"""GET_IP_INFO: the one request whose answer may have to wait for a program.

In: requests.  Out: replies, at once or when the program has answered or its time
is over.  One request at a time: the driver sends no other until it has its reply
or has given up, so a newer request ends the inquiry for an older one.
"""

from __future__ import annotations

from hv_kvp_daemon.netconfig.answer import encode_report
from hv_kvp_daemon.netconfig.inquiry import inquire
from hv_kvp_daemon.wire.ipinfo import decode_ip
from hv_kvp_daemon.wire.message import encode_status
from hv_kvp_daemon.wire.uapi import HV_E_FAIL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from hv_kvp_daemon.netconfig.inquiry import Inquiry
    from hv_kvp_daemon.wire.message import Buffer

_FAIL = encode_status(HV_E_FAIL)


class IpInfoService:
    """Answers GET_IP_INFO.  ``root`` is where scripts and state files are looked for."""

    def __init__(self, limited: Callable[[str, str], None], root: str = "/") -> None:
        self._limited = limited
        self._root = root
        self._inquiry: Inquiry | None = None
        self._adapter_id = b""
        #: The request that waits for its reply; empty when none does.
        self.request = b""

    def answer(self, message: Buffer) -> bytes | None:
        """The reply of 7432 bytes; None: it comes from `on_event` or `expire`."""
        self._adapter_id = decode_ip(message).adapter_id
        try:
            inquiry = inquire(self._adapter_id, self._problem, self._root)
        except OSError as error:
            self._limited("ip", f"GET_IP_INFO: {error}")
            return _FAIL
        if inquiry is None:
            return _FAIL
        self._inquiry = inquiry
        self.request = bytes(message)
        return self._reply()

    def fileno(self) -> int:
        """Return the descriptor that is readable when to call `on_event`, or -1."""
        return -1 if self._inquiry is None else self._inquiry.fileno()

    @property
    def deadline(self) -> float | None:
        """When to call `expire`, by time.monotonic(); None when no program runs."""
        return None if self._inquiry is None else self._inquiry.deadline

    def on_event(self) -> bytes | None:
        """Take what the program has written; the reply, if that was the last of it."""
        if self._inquiry is not None:
            self._inquiry.on_event()
        return self._reply()

    def expire(self) -> bytes | None:
        """Go on without a program whose time is over; the reply, if it was the last."""
        if self._inquiry is not None:
            self._inquiry.expire()
        return self._reply()

    def abandon(self) -> None:
        """End what is under way: nobody waits for its reply."""
        if self._inquiry is not None:
            self._inquiry.close()
        self._inquiry = None
        self.request = b""

    def _reply(self) -> bytes | None:
        report = None if self._inquiry is None else self._inquiry.report
        if report is None:
            return None
        self._inquiry = None
        self.request = b""
        return encode_report(report, self._adapter_id)

    def _problem(self, text: str) -> None:
        self._limited(f"ip: {text}", f"GET_IP_INFO: {text}")
