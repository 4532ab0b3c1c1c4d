"""SET_IP_INFO: a host sets addresses, gateways and DNS servers of an adapter.

The request goes through three processes, since each may do what the one before may not:

1. The daemon forks a child and waits for it, at most `LIMIT` seconds of the driver's 30; the
   reply is the status that the child writes into a pipe.  This module is all of it that the
   resident daemon imports.
2. The child (`injection_request`) parses the text into address objects, finds the interface
   by the adapter's GUID, finds which network manager has it, and stores the request in the
   state directory, synced.  It is as confined as the daemon is, and ends with the request.
3. ``hv-kvp-ip@GUID.service`` carries it out (`apply`): it writes the manager's files, makes
   the manager take them, waits until rtnetlink shows the addresses, or puts back what was
   there.  The child starts it by systemctl, waits until it has ended, and reads the result
   from the state directory.  Being a unit of its own it may write to /etc and run programs
   that need more than the daemon has; so the daemon's sandbox stays as it is.  Where systemd
   does not run, or the unit is not installed, the child does the same itself.

The reply is HV_S_OK if the addresses are there, or are stored and cannot be there yet: the
manager does not run yet, there is no carrier, duplicate address detection runs.  If they do
not come, the former settings are back when the host gets HV_E_FAIL.

If a process is killed, or the machine, the request is still in the state directory.  systemd
starts the unit again, and the daemon looks for such requests at its start (`resume`).  A
request that is carried out again does the same (`apply`), so what remains in the end is the
former configuration or the new one.

Requests come one at a time, several for several adapters.  The unit of one adapter that is
still at work is restarted for the next request; the lock in the state directory keeps those
of two adapters apart.
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
    root: str = "/",
) -> int:
    """Carry out a request of 7432 bytes; return the status of the reply.

    ``backend`` is the value of ``--ip-backend``, not ``none``.  ``report(message, reason)``
    logs what was done, or why not.  Files and programs are those below ``root``.
    """

    def carry_out(pipe: int) -> None:
        from . import injection_request  # noqa: PLC0415 - the resident daemon must not import it

        injection_request.answer(message, backend, root, pipe)

    status, lines = _in_child(carry_out, wait)
    text = "; ".join(lines)
    if text:
        # What a host sends can make any number of texts; one a minute of each status is logged.
        report(f"SET_IP_INFO: {text}", "" if status == HV_S_OK else f"set-ip {status}")
    return status


def resume(wait: Wait, report: Callable[[str, str], object], root: str = "/") -> None:
    """Carry out requests that a crash has left half done; called once, at the start."""
    if not list_names(root, DIRECTORY):
        return

    def carry_out(pipe: int) -> None:
        from . import injection_request  # noqa: PLC0415 - as above

        injection_request.resume(root, pipe)

    for line in _in_child(carry_out, wait)[1]:
        report(f"SET_IP_INFO: {line}", "")


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
