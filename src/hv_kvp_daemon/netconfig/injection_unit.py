# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""``hv-kvp-ip.service``: carries out the requests that come to its socket (see `injection`).

It begins with what a crash has left, takes one request after the other, and looks at settings
that were stored without being seen (no carrier, no manager yet) at each change of links,
addresses and routes, until it can log that they hold, or do not.  When `IDLE` seconds pass
without a request and nothing is stored, it ends; systemd keeps the socket.
"""

from __future__ import annotations

import select
import time
from typing import TYPE_CHECKING, Final

from hv_kvp_daemon.guest.child import wait_readable
from hv_kvp_daemon.guest.rtnetlink import ChangeNotice
from hv_kvp_daemon.wire.uapi import HV_E_FAIL

from . import injection_record, injection_request, target, verify
from .injection import STATUS
from .injection_request import MAX_PACKET
from .program import Programs
from .settings import RequestError
from .verify import MISSING, STORED, Outcome
from .writer import WriterError
from .writers import WRITERS

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from .injection_record import Injection

#: Seconds without a request.
IDLE = 10.0

#: Seconds that stored settings may be missing though there is a carrier and the manager runs:
#: it has to take notice of the carrier first, and starts slowly at boot.
PATIENCE = 30.0

# Seconds between two looks meanwhile.
_PAUSE: Final = 1.0
# Seconds for the daemon's child to send what it has connected for.
_SECONDS: Final = 1.0


def serve(
    listener: socket.socket,
    note: Callable[[str], None],
    report: Callable[[str], None],
    root: str = "/",
) -> None:
    """Carry out requests until there are none.

    ``listener`` is a Unix socket of sequenced packets.  ``note`` logs what was done, ``report``
    what has failed.

    :raises OSError: the socket, rtnetlink or the state directory cannot be used.
    """
    notice = ChangeNotice()
    notice.watch_routes()
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    poll.register(notice.fileno(), select.POLLIN)
    missing: dict[str, float] = {}
    injection_request.resume(root, note, report)
    ends = time.monotonic() + IDLE
    while True:
        notice.has_changed()
        stored = [
            guid
            for guid in injection_record.open_ends(root)
            if not _is_settled(guid, missing, root, note, report)
        ]
        if stored:
            ready = poll.poll(_PAUSE * 1000 if missing else None)
        else:
            ready = poll.poll(max(0.0, ends - time.monotonic()) * 1000)
            if not ready:
                break
        if listener.fileno() in dict(ready):
            _take(listener, report, root)
            ends = time.monotonic() + IDLE
    notice.close()


def _take(listener: socket.socket, report: Callable[[str], None], root: str) -> None:
    """Take a request from the socket, carry it out and answer it."""
    connection, _ = listener.accept()

    def say(text: str) -> None:
        try:
            connection.send(f"{text}\n".encode("utf-8", "backslashreplace"))
        except OSError:
            report(text)  # The daemon has given it up.

    with connection:
        connection.settimeout(_SECONDS)
        try:
            packet = connection.recv(MAX_PACKET)
        except OSError as error:
            report(f"no request has come: {error}")
            return
        if not packet or _has_gone(connection):
            return
        try:
            request = injection_request.from_packet(packet)
            status = injection_request.carry_out(request, root, say)
        except RequestError as error:
            status = error.status
            say(str(error))
        except (OSError, ValueError) as error:
            status = HV_E_FAIL
            say(f"{type(error).__name__}: {error}")
        say(f"{STATUS}{status}")


def _has_gone(connection: socket.socket) -> bool:
    """Whether the other end is closed: then the host has its failure already."""
    poll = select.poll()
    poll.register(connection, 0)
    return bool(poll.poll(0))


def _is_settled(
    guid: str,
    missing: dict[str, float],
    root: str,
    note: Callable[[str], None],
    report: Callable[[str], None],
) -> bool:
    """Whether stored settings hold, or never will; that is stored and logged then.

    ``missing`` has the time since when those of an adapter are missing, though nothing is in
    their way.
    """
    with injection_record.locked(root):
        record = injection_record.load(root, guid)
        current = record.current
        if current is None or current.state != STORED:
            return True
        outcome = _outcome(guid, current, root, report, is_first=guid not in missing)
        if outcome.state == MISSING and not outcome.is_final:
            since = missing.setdefault(guid, time.monotonic())
            if time.monotonic() - since < PATIENCE:
                return False
        missing.pop(guid, None)
        if outcome.state == STORED:
            return False
        done = record.current = current._replace(state=outcome.state, detail=outcome.detail)
        record.save(root)
    log = report if done.state == MISSING else note
    log(f"{done.interface}: {done.settings}, stored before: {done.outcome()}")
    return True


def _outcome(
    guid: str,
    current: Injection,
    root: str,
    report: Callable[[str], None],
    *,
    is_first: bool,
) -> Outcome:
    """Look at stored settings; at the first time that they are missing, activate them.

    NetworkManager that was stopped starts with the profile that it has left.
    """
    try:
        where = target.find(guid, root, seconds=0)
        writer = WRITERS[current.backend](where, Programs(wait_readable, report, root))
        if not writer.is_running():
            return Outcome(STORED)
        outcome = verify.look(current.settings, where.ifindex)
        if outcome.state == MISSING and is_first and not outcome.is_final:
            writer.activate(current.settings)
            # The host has its answer, so there is no way back.
            writer.confirm()
    except (RequestError, WriterError) as error:
        return Outcome(STORED, str(error))
    return outcome
