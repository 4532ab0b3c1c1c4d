# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Child processes: their names, waiting for their output, and ending them.

The resident daemon does not handle SIGCHLD.  The code that starts a child reads a
pipe from it and reaps it, and has one at a time; so nothing wakes an idle daemon.
"""

from __future__ import annotations

import os
import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
    from typing import NoReturn, TypeAlias

    #: ``wait(fd, seconds)``: True when a descriptor is readable or hung up, False after
    #: so many seconds.  Returning False any sooner means that this process is to end.
    Wait: TypeAlias = Callable[[int, float], bool]
else:
    import _signal as signal


# The only descriptor that a forked child keeps besides 0 to 2, which are /dev/null.
_PIPE = 3

#: The longest wait in milliseconds that poll(2) takes.
INT_MAX = (1 << 31) - 1


def set_process_name(name: str) -> None:
    """Set the name that ps and pgrep show, at most 15 bytes (proc(5), comm).

    :raises OSError: there is no /proc.
    """
    with open("/proc/self/comm", "w", encoding="ascii") as comm:
        comm.write(name)


def fork_isolated(body: Callable[[int], object], name: str, seconds: int) -> tuple[int, int]:
    """Run a function in a child; return its process id and the end of a pipe to read.

    ``body`` gets the other end.  The child is called ``name``, ends after ``seconds``
    whatever it does, and has nothing else of this process: no descriptor, and no handler of
    signals.  A read that would block raises BlockingIOError.

    :raises OSError: no process can be started.
    """
    read_end, write_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    # Until the child has reset the handlers, a signal to it would run them, and they write
    # to a pipe that it shares with the daemon.
    unblocked = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
        if pid == 0:
            _run_child(write_end, body, name, seconds)
    except OSError:
        os.close(read_end)
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)
        os.close(write_end)
    return pid, read_end


def _run_child(pipe: int, body: Callable[[int], object], name: str, seconds: int) -> NoReturn:
    """Run the function and exit, whatever happens."""
    try:
        # The daemon's descriptors hold locks, the driver's device (a second holder delays
        # its release) and the membership of group 9, so none is kept.
        os.dup2(pipe, _PIPE, inheritable=False)
        os.closerange(_PIPE + 1, os.sysconf("SC_OPEN_MAX"))
        null = os.open(os.devnull, os.O_RDWR)
        for fd in range(_PIPE):
            os.dup2(null, fd)
        if null > _PIPE:
            os.close(null)
        for number in signal.valid_signals():
            if signal.getsignal(number) is not signal.SIG_DFL:
                signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        signal.alarm(seconds)
        try:
            set_process_name(name)
        except OSError:
            pass  # no /proc, so processes are not counted by name either
        body(_PIPE)
    finally:
        # The parent sees end of file; it needs no reason.
        os._exit(0)


def wait_readable(fd: int, seconds: float) -> bool:
    """Wait until a descriptor is readable or hung up; False after so many seconds.

    This is the `Wait` of programs without signal handling, such as ``hv-kvp``.
    """
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    ends = time.monotonic() + seconds
    while not poll.poll(int(max(0, min((ends - time.monotonic()) * 1000 + 1, INT_MAX)))):
        if time.monotonic() >= ends:
            return False
    return True


def end_child(
    pid: int, kill: Callable[[int, int], None] = os.kill, *, grace: float = 0.0
) -> int:
    """Kill a child unless it ends within ``grace`` seconds, reap it, return its status.

    The status is negative for a signal.  ``kill`` is `os.killpg` for a child that
    leads a process group.
    """
    ends = time.monotonic() + grace
    while _is_running(pid) and time.monotonic() < ends:
        time.sleep(0.001)
    try:
        # A child that has ended, but is not reaped, keeps its status.
        kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass  # the kernel reaped it: the daemon was started with SIGCHLD ignored
    except PermissionError:
        # A set-user-ID program, and this process is not root's.  It is not waited for,
        # because it may run on; it ends when it writes to its closed pipe.
        return -signal.SIGKILL
    try:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except ChildProcessError:
        return 0  # SIGCHLD is ignored: the kernel keeps no status


def _is_running(pid: int) -> bool:
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    except ChildProcessError:
        return False  # as above
