# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Running a program that leaves others behind, such as a DHCP client.

``hv-kvp-ip.service`` ends when there is nothing left to do, and systemd then kills all that
it has started.  So systemd itself is asked to run such a program, in a unit of its own.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from hv_kvp_daemon.guest.files import below

if TYPE_CHECKING:
    from .program import Programs

SYSTEMD_RUN: Final = "/usr/bin/systemd-run"

# sd_booted(3)
_BOOTED: Final = "/run/systemd/system"

#: Seconds to wait for its end.  With systemd it goes on after that.
SECONDS: Final = 3.0

_WORDS: Final = (
    *("--quiet", "--collect", "--wait"),
    # What the program leaves behind stays when it ends.
    "--property=KillMode=process",
)


def run_detached(programs: Programs, path: str, *arguments: str) -> None:
    """Run a program."""
    if is_booted(programs.root):
        command = (below(programs.root, path), *arguments)
        programs.run(SYSTEMD_RUN, *_WORDS, *command, seconds=SECONDS)
    else:
        programs.run(path, *arguments, seconds=SECONDS)


def is_booted(root: str) -> bool:
    """Whether systemd runs as the first process."""
    return os.path.isdir(below(root, _BOOTED))
