"""Child processes: their names, waiting for their output, and ending them.

The resident daemon does not handle SIGCHLD.  The code that starts a child reads a
pipe from it and reaps it, so at most one child runs and nothing wakes an idle daemon.
"""

from __future__ import annotations

import os
import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
    from typing import TypeAlias

    #: ``wait(fd, seconds)``: True when a descriptor is readable or hung up, False after
    #: so many seconds.  Returning False any sooner means that this process is to end.
    Wait: TypeAlias = Callable[[int, float], bool]
else:
    import _signal as signal


#: The longest wait in milliseconds that poll(2) takes.
INT_MAX = (1 << 31) - 1


def set_process_name(name: str) -> None:
    """Set the name that ps and pgrep show, at most 15 bytes (proc(5), comm).

    :raises OSError: there is no /proc.
    """
    with open("/proc/self/comm", "w", encoding="ascii") as comm:
        comm.write(name)


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
