# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""What a host has set by SET_IP_INFO, for ``hv-kvp ip``: shown, undone, and carried out."""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING, Final

from hv_kvp_daemon.cli import terminal
from hv_kvp_daemon.cli.command import EXIT_DONE, EXIT_NOT_FOUND, CommandError
from hv_kvp_daemon.guest.child import wait_readable
from hv_kvp_daemon.netconfig import injection_record, verify
from hv_kvp_daemon.netconfig.apply import forget
from hv_kvp_daemon.netconfig.injection_unit import serve
from hv_kvp_daemon.netconfig.program import Programs
from hv_kvp_daemon.netconfig.settings import RequestError, to_document
from hv_kvp_daemon.netconfig.target import parse_guid
from hv_kvp_daemon.service.log import Log, stderr_is_journal, to_journal, to_terminal

if TYPE_CHECKING:
    from hv_kvp_daemon.netconfig.injection_record import Injection, Record
    from hv_kvp_daemon.wire.rtnetlink import Link

_ROOT = "/"

_LISTEN_FDS_START: Final = 3


def serve_socket() -> int:
    """Carry out the requests that come to the socket which systemd has passed on.

    :raises CommandError: it has passed none.
    :raises OSError: see `serve`.
    """
    # sd_listen_fds(3): the first one is descriptor 3.
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        raise CommandError("only hv-kvp-ip.service does this: systemd has to pass on a socket")
    log = Log(to_journal if stderr_is_journal() else to_terminal)
    with socket.socket(fileno=_LISTEN_FDS_START) as listener:
        serve(listener, log.info, log.warning, _ROOT)
    return EXIT_DONE


def forget_interface(name: str) -> int:
    """Undo what the host has set for an interface, or an adapter by its GUID.

    :raises CommandError: the record is damaged.
    :raises OSError: a file cannot be written.
    """
    try:
        record = by_interface().get(name)
        guid = record.guid if record is not None else parse_guid(name.encode())
        if forget(guid, _programs()):
            return EXIT_DONE
    except RequestError:
        pass  # No GUID either.
    except ValueError as error:
        raise CommandError(str(error)) from error
    terminal.say(f"the host has set nothing for {name}")
    return EXIT_NOT_FOUND


def by_interface() -> dict[str, Record]:
    """Return the records of all adapters by the name of the interface.

    None is found by others than root.

    :raises CommandError: a record is damaged.
    """
    found = {}
    for guid in injection_record.guids(_ROOT):
        try:
            record = injection_record.load(_ROOT, guid)
        except ValueError as error:
            raise CommandError(str(error)) from error
        for each in record.failed, record.pending, record.current:
            if each is not None:
                found[each.interface] = record
    return found


def lines(records: dict[str, Record], link: Link) -> list[str]:
    """Return what `hv-kvp ip` prints of an interface."""
    return [
        f"{title:<10} {injection.settings}; {_when(injection)} by {injection.backend}: {state}"
        for title, injection, state in _states(records, link)
    ]


def documents(records: dict[str, Record], link: Link) -> list[dict[str, object]]:
    """Return the same for ``--json``."""
    return [
        {
            "request": title,
            "time": injection.time / 1e9,
            "backend": injection.backend,
            "state": state,
            "settings": to_document(injection.settings),
        }
        for title, injection, state in _states(records, link)
    ]


def _states(records: dict[str, Record], link: Link) -> list[tuple[str, Injection, str]]:
    record = records.get(link.name)
    if record is None:
        return []
    states = []
    if record.current is not None:
        now = verify.look(record.current.settings, link.index)
        state = record.current._replace(state=now.state, detail=now.detail).outcome()
        states.append(("host set", record.current, state))
    if record.pending is not None:
        states.append(("pending", record.pending, "not carried out yet"))
    if record.failed is not None:
        states.append(("failed", record.failed, record.failed.outcome()))
    return states


def _when(injection: Injection) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(injection.time / 1e9))


def _programs() -> Programs:
    return Programs(wait_readable, terminal.say, _ROOT)
