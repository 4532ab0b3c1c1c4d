# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Runs a function in a child, one system call after the other, and kills it at the nth.

By ptrace(2), which counts all calls alike; strace counts each kind on its own.

Calls for memory are passed over.  They leave the files as the next call finds them, and
come and go with the state of the heap from one child to the next, so that counting them
would have others counted twice or not at all.
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# include/uapi/linux/ptrace.h
_TRACEME, _SYSCALL, _SETOPTIONS = 0, 24, 0x4200
_GET_SYSCALL_INFO, _ENTRY = 0x420E, 1
_TRACESYSGOOD, _EXITKILL = 1, 1 << 20
# struct ptrace_syscall_info as far as the call's number: whether it is one's way in,
# architecture, two pointers, the number.
_INFO = struct.Struct("=B3xIQQQ")

# arch/x86/entry/syscalls/syscall_64.tbl: mmap, mprotect, munmap, brk, mremap, madvise.
_MEMORY = {9, 10, 11, 12, 25, 28}

_ptrace = ctypes.CDLL(None, use_errno=True).ptrace
_ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_ptrace.restype = ctypes.c_long


def run_until(nth: int, function: Callable[[], object]) -> bool:
    """Kill the child where it enters its nth system call; True if it had ended before.

    Only of those calls that are not for memory.
    """
    child = os.fork()
    if not child:
        _child(function)
    _, status = os.waitpid(child, 0)
    assert os.WIFSTOPPED(status)
    _call(_SETOPTIONS, child, _TRACESYSGOOD | _EXITKILL)
    entered = 0
    while True:
        _call(_SYSCALL, child, 0)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0
            return True
        assert os.WIFSTOPPED(status)
        if os.WSTOPSIG(status) == signal.SIGTRAP | 0x80:
            entered += _enters_a_call(child)
        if entered == nth:
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            assert os.WIFSIGNALED(status)
            return False


def _enters_a_call(child: int) -> bool:
    """Whether the child stands before a call that counts; each stops on its way out, too."""
    info = ctypes.create_string_buffer(_INFO.size)
    _call(_GET_SYSCALL_INFO, child, ctypes.addressof(info), _INFO.size)
    operation, _, _, _, number = _INFO.unpack(info)
    return operation == _ENTRY and number not in _MEMORY


def _child(function: Callable[[], object]) -> None:
    try:
        _call(_TRACEME, 0, 0)
        os.kill(os.getpid(), signal.SIGSTOP)
        function()
        os._exit(0)
    finally:
        os._exit(1)


def _call(request: int, child: int, data: int, address: int = 0) -> None:
    if _ptrace(request, child, address, data) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
