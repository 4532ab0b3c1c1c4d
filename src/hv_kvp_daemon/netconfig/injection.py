# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""SET_IP_INFO: a host sets addresses, gateways and DNS servers of an adapter.

The request goes through three processes, since each may do what the one before may not:

1. The daemon forks a child and waits for it, at most `LIMIT` seconds of the driver's 30; the
   reply is the status that the child writes into a pipe.  This module is all of it that the
   resident daemon imports.
2. The child (`injection_child`) parses the host's text into address objects.  It is as
   confined as the daemon is, and sends them as one packet to the socket `SOCKET`, with the
   GUID of the adapter.  What comes back is the text for that pipe.
3. ``hv-kvp-ip.service`` (`injection_unit`) carries it out (`injection_request`, `apply`): it
   finds the interface and its network manager, stores the request, writes the manager's
   files, makes the manager take them, and waits until rtnetlink shows the addresses, or puts
   back what was there.  systemd starts it when something connects to ``hv-kvp-ip.socket``,
   which root alone can, and it ends when there is nothing left to do.

The third process is root without a sandbox: it writes to /etc and runs the managers' programs
with their hooks.  So it takes nothing on trust from the daemon, which talks to the host.  It
checks the packet as if anybody had sent it, and all that is in it are addresses, a GUID and
the name of a backend.  The state directory, with copies of the files that it will put back,
is its own; the daemon can only read that.  And the daemon needs no way to systemd.

Where that socket is not there (no systemd, no unit), the child carries the request out itself.

The reply is HV_S_OK if the addresses are there, or are stored and cannot be there yet: the
manager does not run yet, there is no carrier, duplicate address detection runs.  If they do
not come, the former settings are back when the host gets HV_E_FAIL.  A manager that takes
longer than `LIMIT` is an exception: the host has HV_E_FAIL then, the unit goes on with the
request, and what became of it is logged.  What is stored is looked at again at each change
of the network, and what became of it is logged, too.

If a process is killed, or the machine, the request is still in the state directory.  systemd
starts the unit again, and the daemon looks for such requests at its start (`resume`).  A
request that is carried out again does the same (`apply`), so what remains in the end is the
former configuration or the new one.

Requests come one at a time, several for several adapters.  Those that come while one is still
carried out wait in the socket's queue; the host has its failure by then if one waits too long,
so it is left out.
"""

from __future__ import annotations

import os
import time

from hv_kvp_daemon.guest.child import end_child, fork_isolated
from hv_kvp_daemon.guest.files import list_names
from hv_kvp_daemon.wire.uapi import HV_E_FAIL, HV_S_OK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from hv_kvp_daemon.guest.child import Wait

#: Seconds from the request to the reply.
LIMIT: Final = 10.0

#: Where ``hv-kvp-ip.socket`` listens: a Unix socket of sequenced packets.
SOCKET: Final = "/run/hv-kvp-ip.socket"

#: Where `injection_record` has its files.
DIRECTORY: Final = "/var/lib/hv-kvp-daemon/ip"

#: Begins the line of the child with the status.
STATUS: Final = "status "

# Test suites and agents count the processes that are called hv_kvp_daemon.
_NAME = "hv_kvp_set_ip"
_MOST = 64 * 1024


def set_ip_info(
    message: bytes,
    backend: str,
    wait: Wait,
    report: Callable[[str, str], object],
    note: Callable[[str], object],
    root: str = "/",
) -> int:
    """Carry out a request of 7432 bytes; return the status of the reply.

    ``backend`` is the value of ``--ip-backend``, not ``none``.  ``note(message)``
    logs what was done, ``report(message, reason)`` why it was not.  Files and programs are
    those below ``root``.
    """

    def carry_out(pipe: int) -> None:
        from . import injection_child  # noqa: PLC0415 - the resident daemon must not import it

        injection_child.answer(message, backend, root, pipe)

    status, lines = _in_child(carry_out, wait)
    text = f"SET_IP_INFO: {'; '.join(lines)}"
    if status != HV_S_OK:
        # What a host sends can make any number of texts; one a minute of each status is logged.
        report(text, f"set-ip {status}")
    elif lines:
        note(text)
    return status


def resume(wait: Wait, note: Callable[[str], object], root: str = "/") -> None:
    """Have requests carried out that a crash has left half done; called once, at the start."""
    if not list_names(root, DIRECTORY):
        return

    def carry_out(pipe: int) -> None:
        from . import injection_child  # noqa: PLC0415 - as above

        injection_child.resume(root, pipe)

    for line in _in_child(carry_out, wait)[1]:
        note(f"SET_IP_INFO: {line}")


def _in_child(body: Callable[[int], object], wait: Wait) -> tuple[int, list[str]]:
    """Run a function in a child; return the status that it writes, and its other lines."""
    try:
        pid, pipe = fork_isolated(body, _NAME, int(LIMIT) + 1)
    except OSError as error:
        return HV_E_FAIL, [f"no process can be started: {error}"]
    ends = time.monotonic() + LIMIT
    output = b""
    trouble = "no result within the time limit"
    try:
        while len(output) < _MOST and wait(pipe, ends - time.monotonic()):
            part = os.read(pipe, _MOST)
            if not part:
                trouble = "the process that carries it out has failed"
                break
            output += part
    finally:
        os.close(pipe)
        end_child(pid)
    lines = output.decode("utf-8", "replace").splitlines()
    if lines and lines[-1].startswith(STATUS):
        return int(lines.pop().removeprefix(STATUS)), lines
    return HV_E_FAIL, [*lines, trouble]
