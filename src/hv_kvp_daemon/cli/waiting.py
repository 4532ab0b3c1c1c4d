"""Waiting for a descriptor until a deadline."""

from __future__ import annotations

import select
import time
from typing import Final

# poll(2) takes an int of milliseconds.
_LONGEST: Final = (1 << 31) - 1


def readable(fd: int, deadline: float | None) -> bool:
    """Wait until a descriptor is readable; False once time.monotonic() is at the deadline."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    if deadline is None:
        return bool(poll.poll())
    while (left := deadline - time.monotonic()) > 0:
        if poll.poll(min(left * 1000, _LONGEST)):
            return True
    return False
