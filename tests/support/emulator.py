# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""What an emulator of another processor may lack, tried by the tests that need it.

Each function skips the test where that is so, as under qemu-user.
"""

from __future__ import annotations

import mmap
import os
import resource
import sys

import pytest


def require_own_process_image() -> None:
    """Skip where a process is not what others see in /proc/PID, but the emulator is.

    The emulator's own words precede the command line, and its open file of the program takes
    descriptor 0 if that is closed.  A path that names this process is answered by the
    emulator itself, one from the directory's descriptor is not.
    """
    directory = os.open("/proc/self", os.O_RDONLY | os.O_DIRECTORY)
    try:
        file = os.open("cmdline", os.O_RDONLY, dir_fd=directory)
    finally:
        os.close(directory)
    with open(file, "rb") as shown:
        words = [os.fsdecode(word) for word in shown.read().split(b"\0")[:-1]]
    if words != sys.orig_argv:
        pytest.skip(f"/proc/PID/cmdline begins with {words[0]}")


def require_spawn_errors() -> None:
    """Skip where posix_spawn starts a child before it knows that there is no program."""
    try:
        child = os.posix_spawn("/dev/null/none", ["none"], {})
    except OSError:
        return
    os.waitpid(child, 0)
    pytest.skip("posix_spawn does not report what exec reports")


def require_memory_limit() -> None:
    """Skip where RLIMIT_AS does not limit a process."""
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_AS, (0, resource.getrlimit(resource.RLIMIT_AS)[1]))
        try:
            mmap.mmap(-1, mmap.PAGESIZE)
        except (OSError, MemoryError):
            os._exit(0)
        os._exit(1)
    if os.waitpid(child, 0)[1]:
        pytest.skip("RLIMIT_AS has no effect")
