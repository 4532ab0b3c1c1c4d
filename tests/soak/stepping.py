"""Runs a function in a child, one system call after the other, and kills it at the nth.

By ptrace(2), which counts all calls alike; strace counts each kind on its own.
"""

from __future__ import annotations

import ctypes
import os
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# include/uapi/linux/ptrace.h
_TRACEME, _SYSCALL, _SETOPTIONS = 0, 24, 0x4200
_TRACESYSGOOD, _EXITKILL = 1, 1 << 20

_ptrace = ctypes.CDLL(None, use_errno=True).ptrace
_ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_ptrace.restype = ctypes.c_long


def run_until(nth: int, function: Callable[[], object]) -> bool:
    """Kill the child where it enters its nth system call; True if it had ended before."""
    child = os.fork()
    if not child:
        _child(function)
    _, status = os.waitpid(child, 0)
    assert os.WIFSTOPPED(status)
    _call(_SETOPTIONS, child, _TRACESYSGOOD | _EXITKILL)
    stops = 0
    while True:
        _call(_SYSCALL, child, 0)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0
            return True
        assert os.WIFSTOPPED(status)
        if os.WSTOPSIG(status) == signal.SIGTRAP | 0x80:
            stops += 1
        # Each call stops twice, on its way in and out.  The first is the stop's own
        # way out.
        if stops == 2 * nth:
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            assert os.WIFSIGNALED(status)
            return False


def _child(function: Callable[[], object]) -> None:
    try:
        _call(_TRACEME, 0, 0)
        os.kill(os.getpid(), signal.SIGSTOP)
        function()
        os._exit(0)
    finally:
        os._exit(1)


def _call(request: int, child: int, data: int) -> None:
    if _ptrace(request, child, None, data) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
