# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""SET_IP_INFO in the child that the daemon forks for it (see `injection`)."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from hv_kvp_daemon.guest.files import below
from hv_kvp_daemon.wire.ipinfo import decode_ip
from hv_kvp_daemon.wire.uapi import HV_E_FAIL, HV_S_OK

from . import injection_record, injection_request
from .injection import SOCKET, STATUS
from .injection_request import MAX_PACKET, Request
from .settings import RequestError, parse
from .target import parse_guid

if TYPE_CHECKING:
    from collections.abc import Callable


def answer(message: bytes, backend: str, root: str, pipe: int) -> None:
    """Have a request carried out; write lines for the log into a pipe, and the status."""
    say = _to(pipe)
    try:
        info = decode_ip(message)
        request = Request(parse_guid(info.adapter_id), backend, parse(info, say))
        connection = _connection(root)
        if connection is None:
            status = injection_request.carry_out(request, root, say)
        else:
            with connection:
                connection.send(request.packet())
                while part := connection.recv(MAX_PACKET):
                    os.write(pipe, part)
            return
    except RequestError as error:
        status = error.status
        say(str(error))
    except Exception as error:  # noqa: BLE001 - the host gets an answer, the log the reason
        status = HV_E_FAIL
        say(f"{type(error).__name__}: {error}")
    say(f"{STATUS}{status}")


def resume(root: str, pipe: int) -> None:
    """Have carried out what a crash has left; write lines for the log into a pipe."""
    say = _to(pipe)
    try:
        if injection_record.open_ends(root):
            connection = _connection(root)
            if connection is None:
                injection_request.resume(root, say, say)
            else:
                connection.close()  # This has started the unit, which begins with them.
    except Exception as error:  # noqa: BLE001 - the daemon serves without it
        say(f"{type(error).__name__}: {error}")
    say(f"{STATUS}{HV_S_OK}")


def _to(pipe: int) -> Callable[[str], None]:
    def say(text: str) -> None:
        os.write(pipe, f"{text}\n".encode("utf-8", "backslashreplace"))

    return say


def _connection(root: str) -> socket.socket | None:
    """Connect to the unit's socket; None if there is no such unit."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        made.connect(below(root, SOCKET))
    except FileNotFoundError:
        made.close()
        return None
    return made
