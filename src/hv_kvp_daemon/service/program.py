# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The program under the name of the C daemon, by which health checks look for a KVP daemon.

``pgrep`` and test suites look at the process's name, which a process can set itself.
``ps -ef`` and ``pgrep -f``, which WALinuxAgent and LISA use, show the arguments, and those
are what the process was executed with.  So the package has its program under that name as
well: units start it, and a daemon that detaches executes it first.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

#: The C daemon's file name.
PROCESS_NAME: Final = "hv_kvp_daemon"


# What the package's program imports, in its first lines, whichever tool installed it.
_IMPORTED: Final = b"hv_kvp_daemon.service.main"
_SCRIPT_SIZE: Final = 4096


def is_script(path: str) -> bool:
    """Whether a file is the script that is this package's program.

    The C daemon is none.  Ubuntu has a shell script of its name, which executes it.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(_SCRIPT_SIZE)
    except OSError:
        return False
    return head.startswith(b"#!") and _IMPORTED in head


def execute_by_process_name() -> None:
    """Execute the program of the C daemon's name, if one of another name was started.

    Returns if this process has the name in its arguments already, or if no such program
    is beside the one that was started.
    """
    own = sys.argv[0]
    program = os.path.join(os.path.dirname(own), PROCESS_NAME)
    if PROCESS_NAME in own or own not in sys.orig_argv or not is_script(program):
        return
    # The interpreter's own options stay.
    words = [program if word == own else word for word in sys.orig_argv]
    os.execv(sys.executable, words)  # noqa: S606 - the same program under another name
