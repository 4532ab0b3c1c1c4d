"""The redo journal of a pool: the one change that is being made, written down beforehand.

In: a `Change`.  Out: the one that was not finished, or None.
Rule: a change that a kill or a power cut can tear is here, whole, before its first
byte is in the pool, and is taken out after its last.

The file stands beside the pool and is named ``.hv_kvp_journal_1``: tools list
``.kvp_pool_*``.  It is made by the first change that needs it, with room for the
largest that a pool without duplicates needs, so that a full disk keeps nobody from
changing or deleting; and with mode 0600, since a pool may be as private as that.
It has no lock of its own: who holds the pool's locks for writing may use it.

Layout of an entry, in host byte order: magic (8 bytes, NULs while there is nothing to
do), seal (u64), number (u64), kind (u32), offset (u64), gap (u64), bytes before (u32),
bytes after (u32), crc32 of the boot's id (u32), then those bytes; of a gap that is closed
only those before, as the others follow from them.

There is room for a large entry, and beside it for a small one, of which the whole one
with the greater number counts.  The small one is used where what the last entry tells of
cannot be told from the file, as graves can, so that a kill in the writing of the next one
must not destroy it.

A journal that is half written has a wrong seal: its change has not begun.  The seal is
the crc32 of all that follows.  Where nothing is synced a power cut can leave anything
in any case, so there the seal is good in the same boot only, after a kill, which leaves
the beginning of a write: a random number above all crc32s, which stands once more at
the end.  That spares 50 of 110 microseconds for each block of a delete (measured).
"""

from __future__ import annotations

import errno
import os
import struct
from binascii import crc32

from hv_kvp_daemon.wire.record import RECORD_SIZE

from .change import CLOSE_GAP, PAGE, Change, close_gap
from .errors import PoolError
from .fileio import read_at, write_at, write_pieces
from .opening import open_pool, sync_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

    from .fileio import Buffer

#: Most records that one change moves, so that neither memory nor journal grow with a pool.
MOST_MOVED: Final = 128
#: The same where the entry before this one must outlast a kill that ends its writing.
MOST_MOVED_BESIDE: Final = 8

_MAGIC: Final = b"HVKVPJ1\n"
_HEAD: Final = struct.Struct("=8sQ")
_BODY: Final = struct.Struct("=QIQQIII")
_SEAL: Final = struct.Struct("=Q")
_FRAME: Final = _HEAD.size + _BODY.size + _SEAL.size
_LARGE: Final = _FRAME + (MOST_MOVED + 1) * RECORD_SIZE
_SMALL: Final = _FRAME + (MOST_MOVED_BESIDE + 1) * RECORD_SIZE
# Where the small entry is: no page has bytes of both.
_BESIDE: Final = -(-_LARGE // PAGE) * PAGE

# Seals from here on are random numbers.
_RANDOM: Final = 1 << 63
_NOTHING: Final = bytes(len(_MAGIC))
_REST: Final = close_gap(0, b"", RECORD_SIZE)


class Journal:
    """The journal of the pool at ``path``; each method may raise a `PoolError`.

    Call them with the pool held for writing, or `pending` with it held at all.
    """

    __slots__ = (
        *("_at", "_boot", "_fd", "_has_small", "_name_on_disk"),
        *("_number", "_pool", "_pool_path", "_sync", "path"),
    )

    def __init__(self, pool: int, path: str, *, sync: bool) -> None:
        self.path = os.path.join(os.path.dirname(path), f".hv_kvp_journal_{pool}")
        self._pool = pool
        self._pool_path = path
        self._sync = sync
        self._fd = -1
        self._name_on_disk = False
        # Known from the first opening on.
        self._boot = 0
        # The number of the last entry, where that is, and whether there is a small one.
        self._number = 0
        self._at = 0
        self._has_small = False

    def pending(self) -> Change | None:
        """Return the change that somebody began and did not finish."""
        try:
            return self._latest() if self._has_entry() else None
        except OSError as error:
            raise self._error(error) from error

    def is_clear(self) -> bool:
        """Tell whether nothing is noted."""
        try:
            return not self._has_entry()
        except OSError as error:
            raise self._error(error) from error

    def write(self, change: Change, *, beside: bool = False) -> None:
        """Write a change down; it is on the disk afterwards, unless nothing is synced.

        With ``beside`` the entry before it outlasts a kill within this.  Then at most
        MOST_MOVED_BESIDE records may move.
        """
        try:
            self._open(create=True)
            self._put(change, _BESIDE if beside and not self._at else 0)
            if self._sync:
                os.fdatasync(self._fd)
                if not self._name_on_disk:
                    sync_directory(os.path.dirname(self.path))
                    self._name_on_disk = True
        except OSError as error:
            raise self._error(error) from error

    def write_rest(self) -> None:
        """Write down that of what was written down nothing is left to do but to remove graves.

        Not waited for, as `clear`.
        """
        try:
            self._put(_REST, 0)
        except OSError as error:
            raise self._error(error) from error

    def clear(self) -> None:
        """Note that nothing is to be done any more.

        Not waited for: what has been finished is recognised as such.
        """
        try:
            # The small one first: it counts for nothing where there is no large one.
            if self._has_small:
                write_at(self._fd, _NOTHING, _BESIDE)
                self._has_small = False
            write_at(self._fd, _NOTHING, 0)
        except OSError as error:
            raise self._error(error) from error

    def close(self) -> None:
        """Close the descriptor; it is opened again when it is needed."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _has_entry(self) -> bool:
        return self._open(create=False) and os.pread(self._fd, len(_MAGIC), 0) == _MAGIC

    def _latest(self) -> Change:
        data = read_at(self._fd, os.fstat(self._fd).st_size, 0)
        self._has_small = data.startswith(_MAGIC, _BESIDE)
        self._at, change = 0, _REST
        latest = 0
        for at in (0, _BESIDE):
            number, found = _decode(data[at:], self._boot)
            if found is not None and number > latest:
                latest, self._at, change = number, at, found
        return change

    def _put(self, change: Change, at: int) -> None:
        self._number += 1
        # Without a boot's id nobody can tell a kill from a power cut.
        by_crc = self._sync or not self._boot
        self._has_small = self._has_small or at == _BESIDE
        write_pieces(self._fd, _encode(change, self._number, self._boot, by_crc=by_crc), at)
        self._at = at

    def _open(self, *, create: bool) -> bool:
        if self._fd >= 0:
            if os.fstat(self._fd).st_nlink:
                return True
            # Somebody removed it; the next process would not find what we note there.
            self.close()
        try:
            self._fd = open_pool(self._pool, self.path, write=True)
        except FileNotFoundError:
            if not create:
                return False
            self._fd = self._make()
        self._name_on_disk = False
        self._boot = boot()
        self._number = max(self._number_at(0), self._number_at(_BESIDE))
        return True

    def _number_at(self, at: int) -> int:
        """The number of an entry, also of one that is done: the next must be greater."""
        data = read_at(self._fd, _HEAD.size + _BODY.size, at)
        return int(_BODY.unpack_from(data, _HEAD.size)[0]) if data.startswith(_MAGIC) else 0

    def _make(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(self.path, flags, 0o600)
        try:
            _reserve(fd)
        except BaseException:
            os.close(fd)
            os.unlink(self.path)
            raise
        return fd

    def _error(self, cause: OSError) -> PoolError:
        reason = f"its journal {self.path}: {cause.strerror or cause}"
        return PoolError(self._pool, self._pool_path, reason)


def _reserve(fd: int) -> None:
    try:
        os.posix_fallocate(fd, 0, _BESIDE + _SMALL)
    except OSError as error:
        # Not every file system can; glibc then writes, but not every library does.
        if error.errno not in {errno.EOPNOTSUPP, errno.EINVAL}:
            raise


def boot() -> int:
    """Return a number of this boot of the machine, 0 where /proc does not tell.

    :raises OSError: it is there and cannot be read.
    """
    try:
        with open("/proc/sys/kernel/random/boot_id", "rb") as file:
            return crc32(file.read())
    except FileNotFoundError:
        return 0


def _encode(change: Change, number: int, boot: int, *, by_crc: bool) -> Sequence[Buffer]:
    new = b"" if change.kind == CLOSE_GAP else change.new
    lengths = len(change.before), len(new)
    body = _BODY.pack(number, change.kind, change.offset, change.gap, *lengths, boot)
    if by_crc:
        seal = crc32(new, crc32(change.before, crc32(body)))
        return _HEAD.pack(_MAGIC, seal), body, change.before, new
    seal = _RANDOM | int.from_bytes(os.urandom(_SEAL.size), "little")
    return _HEAD.pack(_MAGIC, seal), body, change.before, new, _SEAL.pack(seal)


def _decode(data: bytes, boot: int) -> tuple[int, Change | None]:
    """Return the number of an entry, and its change if all of it is there."""
    start = _HEAD.size + _BODY.size
    if len(data) < start or not data.startswith(_MAGIC):
        return 0, None
    _, seal = _HEAD.unpack_from(data)
    number, kind, offset, gap, before, after, then = _BODY.unpack_from(data, _HEAD.size)
    end = start + before + after
    by_kill = then == boot != 0
    if seal < _RANDOM:
        is_whole = crc32(data[_HEAD.size : end]) == seal
    else:
        is_whole = by_kill and data[end : end + _SEAL.size] == _SEAL.pack(seal)
    if not is_whole:
        return number, None
    old, new = data[start : start + before], data[start + before : end]
    change = (
        close_gap(offset, old, gap) if kind == CLOSE_GAP else Change(kind, offset, old, (new,))
    )
    change.by_kill = by_kill
    return number, change
