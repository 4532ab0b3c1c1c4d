# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The status page: a file that the daemon maps and stores its state and counters into.

`StatusPage` writes it; `service.status` reads it.  A counter or a time is one aligned
8-byte word, changed by one store through the mapping.  So the page is current at any
moment, no request makes a system call for it, and no timer wakes an idle daemon.

Numbers have the machine's byte order; texts are UTF-8, padded with NULs, and end in "…"
where they were cut.  Times are seconds of CLOCK_MONOTONIC.

======  =====  ===================================================================
offset  bytes
======  =====  ===================================================================
     0      8  magic ``HVKVPST`` and a NUL
     8      4  layout version
    12      4  pid of the daemon
    16      8  its start time in clock ticks since boot
    24     32  version of the package
    56     16  where the guest's addresses come from (``--addresses``)
   128      8  messages dropped
   136      8  when the request that is being handled came (float64); 0: none is
   144    112  7 pairs of words: a status of failing replies, and their number; 0: unused
   256      4  CRC-32 of the state block
   260   1636  the state block: serving (1) or not (0), transport, driver version, state
               as text; operation, status, time (float64) and text of the last failure
  2048   2048  patterns of interfaces that are left out (``--exclude-interface``), joined by /
  4096   4096  pool directory, the path's bytes (PATH_MAX counts its NUL)
  8192   2048  256 counters: requests, by operation number
 10240   2048  256 times (float64): the last request, by operation
 12288   2048  256 counters: replies that report a failure, by operation
 14336   2048  256 times (float64): the last failure, by operation
======  =====  ===================================================================

An operation's number is one byte of the message, so 256 counters need neither a bounds
check nor a mapping.  If the times of an operation's last request and last failure are
equal, its last request failed.

*The state block* changes with the driver and with each failure, and is more than one
word.  A reader whose copy does not match the checksum reads again.  A sequence counter
(seqlock) would not do: Python has no memory barriers, and arm64 reorders stores.

*A killed daemon* leaves its page in the file system.  The pid alone does not identify it,
because another process may have got the same one; pid and start time together do.  They,
the magic and the layout version keep their offsets in every layout.

*The mapping.*  A store into a page that the file does not have raises SIGBUS.  The blocks
are allocated before the file is mapped, so a tmpfs that fills up later cannot cause that.
A truncated file could; only its owner can truncate it.  A new daemon writes a new file
and renames it, so it never changes a page that an older process maps.
"""

from __future__ import annotations

import os
from binascii import crc32
from struct import Struct

from hv_kvp_daemon import __version__
from hv_kvp_daemon.wire.text import printable

from .instance import RUN_DIRECTORY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Final

#: The page of the daemon that serves the driver, unless it has another run directory.
PATH: Final = f"{RUN_DIRECTORY}/status"

MAGIC: Final = b"HVKVPST\0"
LAYOUT: Final = 1
SIZE: Final = 16384

#: Magic, layout version, pid, start time.
IDENTITY: Final = Struct("=8sIIQ")
#: Package version, source of the addresses.
ABOUT: Final = Struct("=32s16s")
DROPPED: Final = slice(128, 136)
BUSY: Final = slice(136, 144)
STATUSES: Final = slice(144, 256)
CHECKSUM: Final = Struct("=I")
CHECKSUM_OFFSET: Final = 256
#: Serving, transport, driver version, state; operation, status, time, text of a failure.
STATE: Final = Struct("=I16s64s512sIId1024s")
STATE_BLOCK: Final = slice(260, 260 + STATE.size)
EXCLUDED: Final = slice(2048, 4096)
POOL_DIR: Final = slice(4096, 8192)
REQUESTS: Final = slice(8192, 10240)
ANSWERED: Final = slice(10240, 12288)
FAILURES: Final = slice(12288, 14336)
FAILED: Final = slice(14336, 16384)

_ELLIPSIS = "…".encode()


def page_path(run_directory: str) -> str:
    """The page in a daemon's run directory (``--run-dir``)."""
    return f"{run_directory}/status"


def loopback_path(socket_path: str) -> str:
    """The page of a daemon that serves a simulated host: a file beside its socket."""
    return f"{socket_path}.status"


def _padded(text: str, place: slice) -> bytes:
    size = place.stop - place.start
    return os.fsencode(text)[: size - 1].ljust(size, b"\0")


class StatusPage:
    """The page of this process; `publish` gives the file the name ``path``.

    If the file cannot be created, ``report`` gets one line and the page is private
    memory: serving the host does not depend on it.

    The writable views are for the serving loop, which stores into them in place:
    ``requests`` (counts) and ``answered`` (time.monotonic() of the last) by operation
    number, and in ``busy[0]`` the time.monotonic() at which the request that is being
    handled came, 0.0 when none is.
    """

    __slots__ = (
        "_driver",
        "_dropped",
        "_failed",
        "_failure",
        "_failures",
        "_memory",
        "_name",
        "_path",
        "_report",
        "_statuses",
        "answered",
        "busy",
        "requests",
    )

    def __init__(
        self,
        path: str,
        *,
        pool_dir: str,
        addresses: str,
        report: Callable[[str], object],
        exclude: Sequence[str] = (),
    ) -> None:
        self._path = path
        # The name that the file has now, if any.
        self._name = ""
        self._report = report
        self._driver = (0, b"", b"", b"starting")
        self._failure = (0, 0, 0.0, b"")
        initial = bytearray(SIZE)
        pid = os.getpid()
        IDENTITY.pack_into(initial, 0, MAGIC, LAYOUT, pid, start_ticks(pid))
        ABOUT.pack_into(initial, IDENTITY.size, _text(__version__, 32), _text(addresses, 16))
        initial[EXCLUDED] = _padded("/".join(exclude), EXCLUDED)
        # The reader has another working directory.
        initial[POOL_DIR] = _padded(os.path.abspath(pool_dir), POOL_DIR)
        self._memory = memoryview(initial)
        self._store_state()
        try:
            self._memory = _create(f"{path}.new", initial)
            self._name = f"{path}.new"
        except OSError as error:
            self._say_missing(error)
        self.requests = self._memory[REQUESTS].cast("Q")
        self.answered = self._memory[ANSWERED].cast("d")
        self.busy = self._memory[BUSY].cast("d")
        self._dropped = self._memory[DROPPED].cast("Q")
        self._statuses = self._memory[STATUSES].cast("Q")
        self._failures = self._memory[FAILURES].cast("Q")
        self._failed = self._memory[FAILED].cast("d")

    def publish(self) -> None:
        """Let readers find the page, in place of an earlier daemon's."""
        if self._name in {"", self._path}:
            return
        try:
            os.rename(self._name, self._path)
            self._name = self._path
        except OSError as error:
            self._say_missing(error)

    def count_dropped(self) -> None:
        """Count a message that was not served."""
        self._dropped[0] += 1

    def set_driver(self, *, serving: bool, transport: str, version: bytes, state: str) -> None:
        """Store the state of the connection to the driver; ``version`` is the driver's."""
        self._driver = (
            int(serving),
            _text(transport, 16),
            _text(version.decode("ascii", "replace"), 64),
            _text(state, 512),
        )
        self._store_state()

    def failed(self, operation: int, status: int, now: float, text: str) -> None:
        """Count a reply with an error status (HV_E_FAIL and the like) and keep its reason.

        ``text`` must hold neither a key nor a value: everyone may read the page.
        """
        self._failures[operation] += 1
        self._failed[operation] = now
        self._count_status(status)
        self._failure = (operation, status, now, _text(text, 1024))
        self._store_state()

    def _count_status(self, status: int) -> None:
        """Count a reply with this status, in the first pair that is its own or unused."""
        words = self._statuses
        for place in range(0, len(words), 2):
            if not words[place + 1]:
                words[place] = status
            if words[place] == status:
                words[place + 1] += 1
                return

    def remove(self) -> None:
        """Remove the file, because the daemon ends."""
        if not self._name:
            return
        try:
            os.unlink(self._name)
        except FileNotFoundError:
            return
        except OSError as error:
            self._report(f"the status page is not removed: {error}")

    def _say_missing(self, error: OSError) -> None:
        self._report(f"no status page, so hv-kvp status will not find this daemon: {error}")

    def _store_state(self) -> None:
        block = STATE.pack(*self._driver, *self._failure)
        self._memory[STATE_BLOCK] = block
        CHECKSUM.pack_into(self._memory, CHECKSUM_OFFSET, crc32(block))


def _create(path: str, initial: bytearray) -> memoryview:
    """Map a new file that has these contents.

    :raises OSError: there is no directory, no right, or no space for it.
    """
    try:
        # A daemon that was killed before it published its page.
        os.unlink(path)
    except FileNotFoundError:
        pass
    # hv-kvp only reads pages, and starts sooner without it.
    from mmap import mmap  # noqa: PLC0415

    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    fd = os.open(path, flags, 0o644)
    try:
        # open(2) applied the umask.
        os.fchmod(fd, 0o644)
        os.posix_fallocate(fd, 0, SIZE)
        page = memoryview(mmap(fd, SIZE))
        page[:] = initial
    except OSError:
        os.unlink(path)
        raise
    finally:
        os.close(fd)
    return page


def _text(text: str, size: int) -> bytes:
    """A text for a field of ``size`` bytes, which ends in a NUL."""
    raw = printable(text).encode()
    if len(raw) < size:
        return raw
    cut = raw[: size - len(_ELLIPSIS) - 1]
    return cut.decode("utf-8", "ignore").encode() + _ELLIPSIS


def start_ticks(pid: int) -> int:
    """When a process started, in clock ticks since boot; 0 if it does not exist.

    proc_pid_stat(5), field 22.  Field 2 is the command in parentheses and may contain
    spaces and parentheses itself, so fields are counted from the last parenthesis.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return 0
    return int(fields[22 - 3])
