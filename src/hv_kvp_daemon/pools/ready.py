"""A hold of a pool in which nothing is half done, whoever was killed before.

In: a pool's file.  Out: the hold; before it, a torn change is mended.
Rule: the journal is looked at once after each change of the file, by whomever.

That a writer died in the middle shows only in the journal, at any time: a script
that uses the library can be killed beside a daemon that runs.  A look at each
request would cost system calls for something that hardly ever happens; a file of
the stamp of the last look has nothing new in it.
"""

from __future__ import annotations

import time

from .errors import PoolError
from .journal import Journal
from .locking import LOCK_WAIT
from .mending import mend
from .shared_file import SharedFile
from .writer import Writer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from .shared_file import Hold
    from .stamp import Stamp


def assemble(
    number: int,
    path: str,
    *,
    report: Callable[[str], object],
    sync: bool = True,
    writable: bool = True,
    pause: Callable[[float], object] = time.sleep,
    lock_wait: float = LOCK_WAIT,
) -> tuple[SharedFile, Writer, Readiness]:
    """Return the parts of a pool: its file, what changes it, and what has it whole before.

    Whoever changes a pool does so through these three, and so keeps the same promises.
    The arguments are those of `PoolFile`.  Nothing is opened yet; to close are the
    file and the writer's journal.
    """
    file = SharedFile(
        number,
        path,
        report=report,
        sync=sync,
        writable=writable,
        pause=pause,
        lock_wait=lock_wait,
    )
    writer = Writer(file, Journal(number, file.path, sync=sync), report)
    return file, writer, Readiness(file, writer, report)


class Readiness:
    """Sees to it that a pool is whole before a request; ``report`` gets what was mended."""

    __slots__ = ("_reading", "_report", "_trouble", "_writer", "file")

    def __init__(
        self, file: SharedFile, writer: Writer, report: Callable[[str], object]
    ) -> None:
        self.file = file
        self._writer = writer
        self._report = report
        self._trouble = False
        # Holds keep nothing between two uses; most requests want this one.
        self._reading = ReadyHold(self, file.hold(), False)

    def hold(self, *, write: bool = False, create: bool = False) -> ReadyHold:
        """Return a context as `SharedFile.hold` does."""
        if not write and not create:
            return self._reading
        return ReadyHold(self, self.file.hold(write=write, create=create), write)

    def needs_mending(self) -> bool:
        """Tell whether somebody's change must be finished before the file is used.

        If not, the file is kept: until it changes there is nothing to look for.

        :raises PoolError: the journal cannot be read.
        """
        file = self.file
        if file.kept is not None and file.kept == file.stamp:
            return False
        may_mend = file.fd >= 0 and file.can_write
        if may_mend and self._writer.journal.pending() is not None:
            return True
        file.keep()
        return False

    def changed(self, stamp: Stamp | None) -> None:
        """After a change of ours, which left this stamp: look at the journal, as after any.

        Where it has something (what could not be cleared, or somebody's who was killed
        before his first byte), the next hold sees to it.
        """
        try:
            is_clear = stamp is not None and self._writer.journal.is_clear()
        except PoolError:
            is_clear = False  # met again by the next hold, and told of
        self.file.kept = stamp if is_clear else None

    def mend(self) -> int:
        """Finish what is pending, under a hold for writing, and return the length.

        :raises OSError, PoolError: it cannot be done now.
        """
        if mend(self.file, self._writer):
            self._tell("a change that had been interrupted was put in order")
        self._trouble = False
        return self.file.look()

    def mend_for_reader(self) -> None:
        """Finish what is pending; who reads is served where that cannot be done, too."""
        try:
            with self.file.hold(write=True):
                if self.needs_mending():
                    self.mend()
        except PoolError as error:
            self.tell_trouble(error)

    def tell_trouble(self, error: PoolError) -> None:
        """Report what keeps an interrupted change from being finished, once until it is."""
        if not self._trouble:
            self._trouble = True
            self._tell(f"an interrupted change cannot be put in order: {error.reason}")

    def _tell(self, what: str) -> None:
        self._report(f"pool {self.file.pool} ({self.file.path}): {what}")


class ReadyHold:
    """One hold; see `SharedFile.hold`."""

    __slots__ = ("_hold", "_readiness", "_write")

    def __init__(self, readiness: Readiness, hold: Hold, write: bool) -> None:
        self._readiness = readiness
        self._hold = hold
        self._write = write

    def __enter__(self) -> int:
        size = self._hold.__enter__()
        try:
            if not self._readiness.needs_mending():
                return size
            if self._write:
                return self._readiness.mend()
        except PoolError as error:
            if not self._write:
                self._readiness.tell_trouble(error)
                return size
            self._hold.leave()
            raise
        except BaseException as error:
            # Ends the hold as if it had been entered, and tells of the kernel's refusal.
            self._hold.__exit__(type(error), error, error.__traceback__)
            raise
        # Mending takes the locks that writers take.
        self._hold.leave()
        self._readiness.mend_for_reader()
        return self._hold.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._hold.__exit__(kind, error, trace)
