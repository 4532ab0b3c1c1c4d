# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""What a running daemon is doing, read from its status page.

The page may be a leftover of a killed daemon, of another version, or no page at all; it
is checked before anything in it is believed, and no text from it can drive a terminal.
`service.status_page` has the layout.
"""

from __future__ import annotations

import os
import time
from binascii import crc32

from hv_kvp_daemon.pools.place import OTHER_DIRECTORY, POOL_DIRECTORY, choose
from hv_kvp_daemon.wire.text import printable
from hv_kvp_daemon.wire.uapi import HV_UTIL_TIMEOUT, KVP_OP_NAMES

from .status_page import (
    ABOUT,
    ANSWERED,
    BUSY,
    CHECKSUM,
    CHECKSUM_OFFSET,
    DROPPED,
    EXCLUDED,
    FAILED,
    FAILURES,
    IDENTITY,
    LAYOUT,
    MAGIC,
    PATH,
    POOL_DIR,
    REQUESTS,
    SIZE,
    STATE,
    STATE_BLOCK,
    STATUSES,
    start_ticks,
)

# Seconds.  The daemon stores a state in microseconds, but it may be preempted meanwhile.
_TRIES = 100
_PAUSE = 0.01


class StatusError(Exception):
    """The file is not a status page that can be read here; the text says why.

    ``pid`` is that of the daemon, or 0 if the file does not say.
    """

    def __init__(self, text: str, pid: int = 0) -> None:
        super().__init__(text)
        self.pid = pid


class Failure:
    """The last request that was answered with an error status.

    ``time`` is in seconds since the epoch; ``text`` may be empty.
    """

    __slots__ = ("operation", "status", "text", "time")

    def __init__(self, operation: int, status: int, when: float, text: str) -> None:
        self.operation = operation
        self.status = status
        self.time = when
        self.text = text


class DaemonStatus:
    """A running daemon as its page describes it.

    Dictionaries are by operation number and have no zeros.  Times are in seconds since
    the epoch; ``busy_since`` is None unless a request is being handled.
    """

    __slots__ = (
        "addresses",
        "answered",
        "busy_since",
        "driver_version",
        "dropped",
        "exclude",
        "failed",
        "failures",
        "last_failure",
        "pid",
        "pool_dir",
        "requests",
        "serving",
        "state",
        "statuses",
        "transport",
        "version",
    )

    def __init__(
        self, *, pid: int, serving: bool, transport: str = "", state: str = ""
    ) -> None:
        self.pid = pid
        self.serving = serving
        self.transport = transport
        self.state = state
        self.version = ""
        self.driver_version = ""
        self.pool_dir = ""
        self.addresses = ""
        self.exclude: tuple[str, ...] = ()
        self.dropped = 0
        self.busy_since: float | None = None
        self.last_failure: Failure | None = None
        #: Requests, and when the last was answered.
        self.requests: dict[int, int] = {}
        self.answered: dict[int, float] = {}
        #: Requests answered with an error status, and when the last was.
        self.failures: dict[int, int] = {}
        self.failed: dict[int, float] = {}
        #: The same failures by their status, HV_E_FAIL and the like.
        self.statuses: dict[int, int] = {}

    @property
    def last_request(self) -> tuple[int, float] | None:
        """The operation of the last request and when it was answered."""
        if not self.answered:
            return None
        operation = max(self.answered, key=self.answered.__getitem__)
        return operation, self.answered[operation]

    @property
    def overdue(self) -> int:
        """Seconds since the request came that is being handled, if the driver has failed it.

        0 if none is being handled, or the driver still waits for its reply.
        """
        seconds = int(time.time() - self.busy_since) if self.busy_since else 0
        return seconds if seconds > HV_UTIL_TIMEOUT else 0

    @property
    def failing(self) -> list[int]:
        """The operations whose last request was answered with an error status."""
        return [each for each, when in self.failed.items() if self.answered.get(each) == when]


def operation_name(operation: int) -> str:
    """``ENUMERATE``, or the number of an operation that has no name."""
    return KVP_OP_NAMES.get(operation, str(operation))


def find(path: str = PATH) -> DaemonStatus | None:
    """The status of the daemon whose page this is; None if there is no page or no daemon.

    :raises StatusError: the file is no status page, or of another layout version.
    :raises OSError: the file cannot be read; PermissionError in another user's directory.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    try:
        for _ in range(_TRIES):
            page = memoryview(os.pread(fd, SIZE + 1, 0))
            pid = _identify(page, path)
            if not pid:
                return None
            (checksum,) = CHECKSUM.unpack_from(page, CHECKSUM_OFFSET)
            if checksum == crc32(page[STATE_BLOCK]):
                return _decode(page, pid)
            time.sleep(_PAUSE)
    finally:
        os.close(fd)
    raise StatusError(
        f"{path}: the state does not match its checksum; the daemon (pid {pid}) may have"
        " been stopped while it stored it",
        pid,
    )


def pool_directory(page: str = PATH) -> str:
    """Return the pool directory that `hv-kvp` and the library use by default.

    It is the directory of the running daemon, from its status page.  Without a daemon, or
    if the page cannot be read, it is the one that a daemon would choose now.
    """
    try:
        running = find(page)
    except (OSError, StatusError):
        running = None
    if running is not None and running.pool_dir:
        return running.pool_dir
    return choose(POOL_DIRECTORY, OTHER_DIRECTORY).path


def _identify(page: memoryview, path: str) -> int:
    """The pid of the daemon that maps the page, 0 if it has ended."""
    if len(page) < IDENTITY.size or bytes(page[: len(MAGIC)]) != MAGIC:
        raise StatusError(f"{path} is not a status page of hv-kvp-daemon")
    _, layout, pid, ticks = IDENTITY.unpack_from(page)
    if not ticks or start_ticks(pid) != ticks:
        return 0
    if layout != LAYOUT:
        raise StatusError(
            f"{path} has layout version {layout}, this hv-kvp reads version {LAYOUT}: the"
            f" daemon (pid {pid}) has another version",
            pid,
        )
    if len(page) != SIZE:
        raise StatusError(f"{path} is not {SIZE} bytes long, as a status page is")
    return int(pid)


def _decode(page: memoryview, pid: int) -> DaemonStatus:
    serving, transport, driver_version, state, *failure = STATE.unpack(page[STATE_BLOCK])
    status = DaemonStatus(
        pid=pid, serving=serving == 1, transport=_text(transport), state=_text(state)
    )
    version, addresses = ABOUT.unpack_from(page, IDENTITY.size)
    status.version = _text(version)
    status.driver_version = _text(driver_version)
    status.addresses = _text(addresses)
    status.pool_dir = os.fsdecode(bytes(page[POOL_DIR]).partition(b"\0")[0])
    excluded = os.fsdecode(bytes(page[EXCLUDED]).partition(b"\0")[0])
    status.exclude = tuple(excluded.split("/")) if excluded else ()
    status.dropped = page[DROPPED].cast("Q")[0]
    epoch = time.time() - (now := time.monotonic())
    status.requests = _counts(page[REQUESTS])
    status.answered = _times(page[ANSWERED], now, epoch)
    status.failures = _counts(page[FAILURES])
    status.failed = _times(page[FAILED], now, epoch)
    pairs = zip(*[iter(page[STATUSES].cast("Q"))] * 2, strict=True)
    status.statuses = {code: count for code, count in pairs if count}
    status.busy_since = _times(page[BUSY], now, epoch).get(0)
    operation, code, when, text = failure
    if 0.0 < when <= now:
        status.last_failure = Failure(operation, code, epoch + when, _text(text))
    return status


def _text(raw: bytes) -> str:
    return printable(raw.partition(b"\0")[0].decode("utf-8", "replace"))


def _counts(words: memoryview) -> dict[int, int]:
    return {number: count for number, count in enumerate(words.cast("Q")) if count}


def _times(words: memoryview, now: float, epoch: float) -> dict[int, float]:
    """Times since the epoch; what is no time (not a number, in the future) is left out."""
    times = enumerate(words.cast("d"))
    return {number: epoch + when for number, when in times if 0.0 < when <= now}
