# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The two locks of a pool file, flock(2) and OFD, taken together on its one descriptor.

The wait for them is bounded, for all that one request waits, and holds neither.  After it
one will do, with a report; without either, the request fails.

Facts that shape this module, each measured on Linux 6.18:

- flock(2) locks (cloud-init, azure-init) and fcntl(2) locks (the C daemon,
  kvp_client) do not see each other.  One kind alone keeps out half of the
  programs, so both are taken.
- A process loses all its POSIX locks on a file when it closes any descriptor of
  that file.  OFD locks belong to the open file, conflict with POSIX locks as
  those do with each other, and go with the last close only.
- An OFD write lock needs a descriptor open for writing (EBADF), flock does not.
  So any user who can read a pool can hold flock exclusively, or an fcntl read
  lock, for as long as he likes.  Hence the bound; and readers take shared locks,
  which an fcntl read lock does not hold up.
- .NET takes flock shared when it opens a file to read, and throws where it is refused.  So
  while a change waits for the disk, flock is shared (`PoolLock.downgrade`).
"""

from __future__ import annotations

import fcntl
import os
import struct
import time

from .errors import LockTimeoutError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from .config import PoolConfig

# Seconds between two attempts.  Another program's append takes less than the first;
# with the longest, a whole wait costs 19 ms of CPU time (measured).
_FIRST_PAUSE: Final = 0.001
_LONGEST_PAUSE: Final = 0.020

_FLOCK: Final = 1
_OFD: Final = 2
_BOTH: Final = _FLOCK | _OFD


def _whole_file(kind: int) -> bytes:
    # struct flock: l_type, l_whence, l_start, l_len (0: to the end, wherever
    # that moves), l_pid (0 for OFD locks), and the padding of its alignment.
    return struct.pack("hhqqi0q", kind, os.SEEK_SET, 0, 0, 0)


_OFD_SHARED: Final = _whole_file(fcntl.F_RDLCK)
_OFD_EXCLUSIVE: Final = _whole_file(fcntl.F_WRLCK)
_OFD_NONE: Final = _whole_file(fcntl.F_UNLCK)


class PoolLock:
    """Both locks of one pool.  What it knows of stuck holders outlives a descriptor.

    A line is reported when a wait ends with one lock, and one when both are free again.
    """

    __slots__ = ("_config", "_failed", "_held", "_stuck", "ends", "is_complete", "is_shared")

    def __init__(self, config: PoolConfig) -> None:
        self._config = config
        self._held = 0
        #: When the waits of this request end, by the monotonic clock; 0.0 before the first.
        self.ends = 0.0
        #: Whether both are held.
        self.is_complete = False
        #: Whether flock has been made shared by `downgrade`.
        self.is_shared = False
        # The lock that the last attempt failed at.
        self._failed = 0
        # By `exclusive`: what was not to be had within one wait, or what the other kind
        # of request found so.  The host asks one thing after the other, and without this
        # each of its requests would wait for the same holder.
        self._stuck = [0, 0]

    def acquire(self, fd: int, *, exclusive: bool) -> None:
        """Take both locks, shared or exclusive, and hold them until `release`.

        After the wait one of them will do: it keeps out programs that use its kind, and
        the host is served.  After a wait in vain later calls try once, until they get
        both.  A shared lock that comes says nothing about an exclusive one, so it only
        ends this for readers.

        A writer skips the wait only if the same lock is missing as in the wait before.
        If it is the other one, its holder may be a program like this that goes on with
        one lock, and is soon done.

        :raises LockTimeoutError: neither came, or the pause said to give up.
        :raises OSError: this file cannot be locked at all.
        """
        stuck = self._stuck[exclusive]
        missing = _BOTH & ~self._take(fd, exclusive, one_will_do=bool(stuck))
        if not missing:
            if stuck:
                self._stuck[False] = 0
            if stuck and exclusive:
                self._stuck[True] = 0
                self._config.warn("both locks are free again")
        elif missing == stuck == _BOTH:
            raise self._timeout(0.0, _holders(fd, _BOTH))
        elif missing != stuck if exclusive else missing & ~stuck:
            self.release(fd)
            self._wait_for_both(fd, exclusive)
            if not self.is_complete:
                self._be_impatient(fd, exclusive)

    def downgrade(self, fd: int) -> None:
        """Make the exclusive flock shared: readers are let in, and other writers are not.

        Not without the OFD lock, which still keeps out programs like this one.
        """
        if not self.is_complete:
            return
        self.is_shared = True
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            # Before Linux 4.0 another program can come between.
            self.is_complete = False

    def upgrade(self, fd: int) -> bool:
        """Make the flock exclusive again; False if it was lost and both were taken anew.

        :raises LockTimeoutError, OSError: as `acquire`, and nothing is held.
        """
        self.is_shared = False
        try:
            if self.is_complete:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
        except BlockingIOError:
            pass  # a reader has it, and a conversion that fails loses the lock
        self.release(fd)
        self.acquire(fd, exclusive=True)
        return False

    def release(self, fd: int) -> None:
        """Let go of what `acquire` took.

        By unlocking, not by a close: a child that has just been forked still shares the
        open file, and with it the locks.
        """
        if self._held & _OFD:
            fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _OFD_NONE)
        if self._held & _FLOCK:
            fcntl.flock(fd, fcntl.LOCK_UN)
        self._held, self.is_complete, self.is_shared = 0, False, False

    def _take(self, fd: int, exclusive: bool, *, one_will_do: bool = False) -> int:
        """Try each lock once and return those that are held now: both, none, or one.

        One only if ``one_will_do``.  flock comes first, and without it no OFD lock: two
        processes that both do so cannot take one each and thus keep each other out.
        """
        self._failed = 0
        try:
            try:
                kind = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
                fcntl.flock(fd, kind | fcntl.LOCK_NB)
                self._held = _FLOCK
            except BlockingIOError:
                self._failed = _FLOCK
            if self._held or one_will_do:
                try:
                    kind_ofd = _OFD_EXCLUSIVE if exclusive else _OFD_SHARED
                    fcntl.fcntl(fd, fcntl.F_OFD_SETLK, kind_ofd)
                    self._held |= _OFD
                except BlockingIOError:
                    self._failed |= _OFD
        except BaseException:
            self.release(fd)
            raise
        self.is_complete = self._held == _BOTH
        if not (self.is_complete or one_will_do):
            self.release(fd)
        return self._held

    def _wait_for_both(self, fd: int, exclusive: bool) -> None:
        started = time.monotonic()
        self.ends = self.ends or started + self._config.lock_wait
        pause = _FIRST_PAUSE
        while (left := self.ends - time.monotonic()) > 0:
            if self._config.pause(min(pause, left)):
                raise self._timeout(time.monotonic() - started, "told to give up the wait")
            if self._take(fd, exclusive) == _BOTH:
                return
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _be_impatient(self, fd: int, exclusive: bool) -> None:
        failed = self._failed
        missing = _BOTH & ~self._take(fd, exclusive, one_will_do=True)
        if not missing:
            return
        holders = _holders(fd, missing)
        # If another is missing now than during the wait, no holder is known to be stuck.
        if missing & failed:
            self._stuck[exclusive] = missing
            self._stuck[not exclusive] = self._stuck[not exclusive] or missing
        else:
            self.release(fd)
        if not self._held:
            raise self._timeout(self._config.lock_wait, holders)
        kept, lost = ("fcntl", "flock") if missing == _FLOCK else ("flock", "fcntl")
        self._config.warn(
            f"no {lost} lock within {self._config.lock_wait:.1f} s,"
            f" going on with {kept} alone: {holders}"
        )

    def _timeout(self, waited: float, holders: str) -> LockTimeoutError:
        return LockTimeoutError(self._config.number, self._config.path, waited, holders)


def _holders(fd: int, missing: int) -> str:
    """Name the processes that hold the missing locks, for one line of a log."""
    from .lock_holders import describe  # noqa: PLC0415 - needed after a wait in vain only

    kinds = {"FLOCK"} if missing & _FLOCK else set()
    return describe(fd, kinds | {"POSIX", "OFDLCK"} if missing & _OFD else kinds)
