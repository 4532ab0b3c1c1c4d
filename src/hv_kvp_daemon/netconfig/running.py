# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Whether a network manager is running: its state files remain when it is stopped."""

from __future__ import annotations

import os

from hv_kvp_daemon.guest.files import below, list_names, read_text

# systemd makes this link when it starts a unit, and removes it when the unit is inactive
# (since systemd 239).
_UNIT = "/run/systemd/units/invocation:{}.service"

# proc(5): a process name has at most 15 bytes.
_COMM_SIZE = 15


def is_running(root: str, program: str) -> bool:
    """Return whether a program is running, whose unit has its name.

    Where systemd does not say so, the processes are looked through.
    """
    if os.path.islink(below(root, _UNIT.format(program))):
        return True
    comm = f"{program[:_COMM_SIZE]}\n"
    return any(
        name.isdecimal() and read_text(root, f"/proc/{name}/comm") == comm
        for name in list_names(root, "/proc")
    )
