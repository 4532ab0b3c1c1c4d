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

# login.defs(5): the users of people begin here.
_FIRST_USER = 1000


def is_running(root: str, program: str) -> bool:
    """Return whether a program is running, whose unit has its name.

    Where systemd does not say so, the processes are looked through.  Any user can give a
    process this name, so it has to be one of root or of a system user.
    """
    if os.path.islink(below(root, _UNIT.format(program))):
        return True
    comm = f"{program[:_COMM_SIZE]}\n"
    return any(
        name.isdecimal()
        and read_text(root, f"/proc/{name}/comm") == comm
        and _is_of_system(root, name)
        for name in list_names(root, "/proc")
    )


def _is_of_system(root: str, pid: str) -> bool:
    # Not the owner of /proc/PID, which is root for a process that is not dumpable.
    status = read_text(root, f"/proc/{pid}/status") or ""
    ids = status.partition("\nUid:")[2].split(maxsplit=1)
    return bool(ids) and ids[0].isdecimal() and int(ids[0]) < _FIRST_USER
