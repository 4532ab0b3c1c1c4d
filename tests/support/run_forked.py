# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Runs a command in a forked child, in which a test may have taken something away from it.

A child costs some milliseconds, the command as a process ten times as much.
"""

from __future__ import annotations

import functools
import os
import sys
import traceback
from typing import TYPE_CHECKING, NamedTuple

from hv_kvp_daemon.cli.main import build_parser, main

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_NAMES = ("stdin", "stdout", "stderr")


class Done(NamedTuple):
    """The exit status and the output of a command."""

    status: int
    out: str
    err: str


@functools.cache
def _import_commands() -> None:
    """Once, so that no child has to."""
    build_parser()


def run_forked(
    words: Sequence[str],
    prepare: Callable[[], object] = lambda: None,
    *,
    stdin: bytes = b"",
    closed: Sequence[int] = (),
) -> Done:
    """Return status and output of main(); ``closed`` are standard descriptors."""
    _import_commands()
    files = [os.memfd_create(name) for name in _NAMES]
    os.pwrite(files[0], stdin, 0)
    pid = os.fork()
    if pid == 0:
        status = 99
        try:
            for fd, file in enumerate(files):
                os.dup2(file, fd)
            for fd, name in enumerate(_NAMES):
                # As the interpreter does in the locale C.UTF-8.
                stream = open(  # noqa: SIM115
                    fd, "r" if fd == 0 else "w", encoding="utf-8", errors="surrogateescape"
                )
                # As the interpreter does when it finds a descriptor closed.
                setattr(sys, name, None if fd in closed else stream)
                if fd in closed:
                    stream.close()
            prepare()
            status = main(words)
            # The interpreter does it, and ends with 120 where it fails.
            sys.stdout.flush()
            sys.stderr.flush()
        except BaseException:  # noqa: BLE001 - the test that called this shows it
            os.write(files[2], traceback.format_exc().encode())
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    texts = [os.pread(file, os.fstat(file).st_size, 0).decode() for file in files[1:]]
    for file in files:
        os.close(file)
    return Done(status, *texts)
