"""The guest's fully qualified name, found out beside the request path.

In: the kernel's host name, and what the system's resolver makes of it.
Out: `FqdnLookup.name`, and `HostnameWatch`, which tells when to ask anew.
Rule: a request never waits for the resolver, and its failure is never a name
(the C daemon sends "getaddrinfo failed: ..." to the host for ever).

glibc's getaddrinfo has no limit of time and cannot be broken off, hence a
child process.  That also keeps the libnss modules which the resolver loads out
of the resident process, and each child reads resolv.conf and nsswitch.conf as
they are now.  It costs the daemon 0.5 ms to start and 0.3 ms to reap (measured).
"""

from __future__ import annotations

import _socket
import os
import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
    from typing import NoReturn
else:
    import _signal as signal

# A DNS name is at most 253 bytes and glibc's resolver gives at most 1024.
# More than this is no name that an administrator would know a guest by.
MAX_NAME = 511

# resolv.conf(5): 5 s for each of at most three servers, two attempts.
LOOKUP_TIMEOUT = 30.0

# The only descriptor, besides 0 to 2 on /dev/null, that a child keeps.
_CHILD_PIPE = 3

# What a child is called, in at most 15 bytes.
_CHILD_NAME = b"hv_kvp_fqdn"


def host_name() -> str:
    """Return the kernel's host name: at most 64 bytes, as printable text."""
    raw = os.fsencode(os.uname().nodename)
    return "".join(filter(str.isprintable, raw.decode("utf-8", "replace")))


def canonical_name(host: bytes) -> bytes:
    """Ask the resolver for a host's canonical name, IPv4 first as the C daemon does.

    Blocks.  The name goes through as bytes: for a str, Python would apply IDNA
    and refuse names that the resolver knows.  Raises ``OSError`` where there is
    neither an IPv4 nor an IPv6 address, UnicodeError where the answer is no UTF-8.
    """
    try:
        found = _address_info(host, _socket.AF_INET)
    except _socket.gaierror:
        found = _address_info(host, _socket.AF_INET6)
    return found.encode()


def _address_info(host: bytes, family: int) -> str:
    answers = _socket.getaddrinfo(
        host, None, family, _socket.SOCK_STREAM, flags=_socket.AI_CANONNAME
    )
    return answers[0][3]


class FqdnLookup:
    """One name, and at most one child process that looks it up.

    ``resolve`` runs in the child: the host name in, the canonical name out,
    both as bytes; whatever it raises, and an empty result, is a failure.
    ``name`` is the host name until the first answer and after each failure.
    Only this object may reap its child.
    """

    __slots__ = ("_fd", "_host", "_pid", "_resolve", "deadline", "known", "name", "timeout")

    def __init__(
        self,
        resolve: Callable[[bytes], bytes] = canonical_name,
        timeout: float = LOOKUP_TIMEOUT,
    ) -> None:
        self.name = host_name()
        #: Whether the name is the resolver's.
        self.known = False
        #: Seconds that a look-up may take.
        self.timeout = timeout
        #: When to call `expire`, by time.monotonic(); None when no child runs.
        self.deadline: float | None = None
        self._resolve = resolve
        self._host = os.uname().nodename
        self._pid = -1
        self._fd = -1

    def start(self) -> bool:
        """Look up the present host name; ends a look-up that is under way.

        An earlier answer for the same host name stands until the new one is
        there; otherwise the name is the host name at once.  True: the name
        changed.  Raises ``OSError`` where no pipe or process can be had; the
        name is then the host name.
        """
        self._end()
        host = os.uname().nodename
        changed = host != self._host and self._settle(b"")
        self._host = host
        try:
            self._begin(os.fsencode(host))
        except OSError:
            self._settle(b"")
            raise
        return changed

    def fileno(self) -> int:
        """Return the descriptor that is readable when to call `finish`; -1: no child runs."""
        return self._fd

    def finish(self) -> bool:
        """Take the answer, if it is there, and reap the child.  True: the name changed."""
        if self._fd < 0:
            return False
        try:
            # One read: the child makes one write of less than PIPE_BUF bytes,
            # which is whole or not there.  Without an answer: end of file.
            answer = os.read(self._fd, MAX_NAME + 1)
        except BlockingIOError:
            return False
        self._end()
        return self._settle(answer)

    def expire(self) -> bool:
        """Give up a look-up that took too long.  True: the name changed."""
        if self._fd < 0:
            return False
        self._end()
        return self._settle(b"")

    def close(self) -> None:
        """End a look-up that is under way.  The name stays."""
        self._end()

    def _begin(self, host: bytes) -> None:
        read_end, write_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        # From the fork until the child has dropped the handlers, a signal to it
        # would run them: they write to descriptors that it shares with us.
        unblocked = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            pid = os.fork()
            if pid == 0:
                _run_child(write_end, self._resolve, host, self.timeout)
        except OSError:
            os.close(read_end)
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)
            os.close(write_end)
        self._pid = pid
        self._fd = read_end
        self.deadline = time.monotonic() + self.timeout

    def _end(self) -> None:
        if self._fd < 0:
            return
        os.close(self._fd)
        try:
            if os.waitpid(self._pid, os.WNOHANG)[0] == 0:
                # It has answered, or its answer is no longer wanted.  After
                # SIGKILL the wait is the kernel's for taking down a process.
                os.kill(self._pid, signal.SIGKILL)
                os.waitpid(self._pid, 0)
        except (ChildProcessError, ProcessLookupError):
            pass  # started with SIGCHLD ignored: the kernel reaps by itself
        self._pid = self._fd = -1
        self.deadline = None

    def _settle(self, answer: bytes) -> bool:
        before = self.name
        self.known = _is_name(answer)
        self.name = answer.decode() if self.known else host_name()
        return self.name != before


def _is_name(answer: bytes) -> bool:
    try:
        return 0 < len(answer) <= MAX_NAME and answer.decode().isprintable()
    except UnicodeDecodeError:
        return False


def _run_child(
    pipe: int, resolve: Callable[[bytes], bytes], host: bytes, timeout: float
) -> NoReturn:
    """Answer into the pipe and leave the process, whatever happens."""
    try:
        # Our parent's descriptors hold locks, the driver's device (a second
        # holder delays its release) and group 9: none may live on in here.
        os.dup2(pipe, _CHILD_PIPE, inheritable=False)
        os.closerange(_CHILD_PIPE + 1, os.sysconf("SC_OPEN_MAX"))
        null = os.open(os.devnull, os.O_RDWR)
        for fd in range(_CHILD_PIPE):
            os.dup2(null, fd)
        if null > _CHILD_PIPE:
            os.close(null)
        for number in signal.valid_signals():
            if signal.getsignal(number) is not signal.SIG_DFL:
                signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        _take_name(_CHILD_NAME)
        # Should the daemon be killed, nobody else would end a resolver that hangs.
        signal.alarm(int(timeout) + 1)
        # One byte too many tells the parent that the name is too long.
        os.write(_CHILD_PIPE, resolve(host)[: MAX_NAME + 1])
    finally:
        # The parent sees the end of the file, and needs no reason.
        os._exit(0)


def _take_name(name: bytes) -> None:
    """Stop being counted as a daemon by test suites and agents, which go by the name."""
    try:
        with open("/proc/self/comm", "wb") as comm:
            comm.write(name)
    except OSError:
        return  # no /proc: then nobody counts


class HostnameWatch:
    """A descriptor that poll() reports when somebody sets the host name.

    /proc/sys/kernel/hostname gives POLLERR | POLLPRI (with POLLIN it would be
    ready at all times).  Measured on Linux 6.18: one report for any number of
    changes; poll itself clears it and the file need not be read; setting the
    same name again is reported, and so is a name set in another UTS namespace
    (each container that starts).  So `changed` compares.
    """

    __slots__ = ("_fd", "_name")

    def __init__(self, path: str = "/proc/sys/kernel/hostname") -> None:
        self._fd = _open_pollable(path)
        # After the open: a change in between is reported or already seen.
        self._name = os.uname().nodename

    def fileno(self) -> int:
        """Return what to poll for POLLPRI; -1 where the kernel gives no such thing."""
        return self._fd

    def changed(self) -> bool:
        """Return whether the host name differs from that of the last call."""
        before = self._name
        self._name = os.uname().nodename
        return self._name != before

    def close(self) -> None:
        """Close the descriptor."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _open_pollable(path: str) -> int:
    """Open a file for reports, or return -1 (no /proc/sys, as under ProcSubset=pid)."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1
    poll = select.poll()
    poll.register(fd, select.POLLPRI)
    # A report that polling does not clear would spin the service's loop.
    if poll.poll(0) and poll.poll(0):
        os.close(fd)
        return -1
    return fd
