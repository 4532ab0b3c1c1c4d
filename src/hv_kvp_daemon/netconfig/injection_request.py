# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""A request of SET_IP_INFO after it was parsed: as a packet, and carried out."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from hv_kvp_daemon.guest.child import wait_readable
from hv_kvp_daemon.wire.uapi import (
    HV_E_FAIL,
    HV_INVALIDARG,
    HV_S_OK,
)

from . import injection_record, target
from .apply import apply, is_in_force, renew
from .injection_record import Injection
from .manager import managing
from .program import Programs
from .settings import RequestError, Settings, from_document, to_document
from .verify import MISSING
from .writer import WriterError
from .writers import WRITERS

if TYPE_CHECKING:
    from collections.abc import Callable

#: Bytes.  A request of SET_IP_INFO has 7432, and a packet hardly more.
MAX_PACKET: Final = 64 * 1024


class Request(NamedTuple):
    """The settings for an adapter; ``backend`` is the value of ``--ip-backend``."""

    guid: str
    backend: str
    settings: Settings

    def packet(self) -> bytes:
        """Return the request as JSON, for `from_packet`."""
        document = {**self._asdict(), "settings": to_document(self.settings)}
        return json.dumps(document).encode()


def from_packet(packet: bytes) -> Request:
    """Return the request in a packet, in which anything may be.

    :raises RequestError: HV_INVALIDARG or HV_GUID_NOTFOUND, it is none.
    """
    try:
        document = json.loads(packet)
        guid = target.parse_guid(document["guid"].encode())
        request = Request(guid, document["backend"], from_document(document["settings"]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RequestError(HV_INVALIDARG, f"not a request: {error}") from error
    if request.backend not in ("auto", *WRITERS):
        raise RequestError(HV_INVALIDARG, f"not a request: backend {request.backend!r:.40}")
    return request


def carry_out(request: Request, root: str, say: Callable[[str], None]) -> int:
    """Carry out a request; return its status.  ``say`` gets what was done, or why not.

    :raises RequestError: the interface cannot have these settings; nothing has changed.
    :raises OSError: a file cannot be written; the request may be pending.
    :raises ValueError: the record of the adapter is damaged.
    """
    where = target.find(request.guid, root)
    name = request.backend
    if name == "auto":
        name = managing(root, where.name, where.ifindex)
    programs = Programs(wait_readable, say, root)
    with injection_record.locked(root):
        record = injection_record.load(root, request.guid)
        former = record.current.settings if record.current else None
        wanted = Injection(request.settings.over(former), where.name, name, time.time_ns())
        try:
            if is_in_force(record, wanted, where, programs):
                return HV_S_OK
        except WriterError as error:
            raise RequestError(HV_E_FAIL, f"{where.name}: {error}") from error
        record.pending = wanted
        record.save(root)
    done = apply(request.guid, programs)
    if done is None:
        raise RequestError(HV_E_FAIL, f"{where.name}: it was undone meanwhile")
    if done.state == MISSING:
        say(f"{done.interface}: {done.detail}; the former settings are back")
        return HV_E_FAIL
    detail = f" ({done.detail})" if done.detail else ""
    say(f"{done.interface}: set by {done.backend}: {done.settings}{detail}")
    return HV_S_OK


def resume(root: str, note: Callable[[str], None], report: Callable[[str], None]) -> None:
    """Carry out what a crash has left pending, and what a reboot has removed.

    ``report`` logs failures, ``note`` the rest.
    """
    for guid in injection_record.guids(root):
        try:
            programs = Programs(wait_readable, report, root)
            why = "gone with a reboot" if renew(guid, programs) else "not completed before"
            done = apply(guid, programs)
        except (OSError, ValueError) as error:
            report(f"{guid}: {error}")
            continue
        if done is not None:
            log = report if done.state == MISSING else note
            log(f"{done.interface}: {done.settings}, {why}: {done.outcome()}")
