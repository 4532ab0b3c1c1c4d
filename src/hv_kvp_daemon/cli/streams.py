# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The standard streams of a command, which may be closed, a full disk, or in any encoding."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

# Their descriptors, and how /dev/null is opened in place of a closed one: reading or writing
# then fails with EBADF, as it would without; only messages are lost in silence.
_STREAMS: Final = (
    ("stdin", os.O_WRONLY, "r"),
    ("stdout", os.O_RDONLY, "w"),
    ("stderr", os.O_RDWR, "w"),
)


def prepare() -> None:
    """Open the streams that are closed, and let the output streams write any text.

    The kernel gives the lowest free descriptor to the next file that is opened.  A message
    to a closed standard error would go into a pool.
    """
    for fd, (name, flags, mode) in enumerate(_STREAMS):
        if getattr(sys, name) is None:
            os.dup2(os.open(os.devnull, flags), fd)
            setattr(sys, name, open(fd, mode, encoding="utf-8", closefd=False))  # noqa: SIM115 - as long as the process
    # A key may hold what the terminal's encoding has no byte for.
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a text file


def discard(fd: int) -> None:
    """Discard what is still buffered for a stream.

    The interpreter writes it when it ends, which would fail once more.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), fd)
