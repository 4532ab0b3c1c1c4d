# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The log line for each request, for ``--foreground`` and ``--debug``.

Values are logged only with ``--debug``, and only for pools that every user may read:
more people may read a log than a pool.
"""

from __future__ import annotations

from hv_kvp_daemon.pools.directory import POOL_NAMES
from hv_kvp_daemon.wire.errors import WireError
from hv_kvp_daemon.wire.message import decode_reply, decode_request, status_name
from hv_kvp_daemon.wire.netlink import describe as describe_datagram
from hv_kvp_daemon.wire.uapi import (
    HV_S_OK,
    KVP_OP_ENUMERATE,
    KVP_OP_GET,
    KVP_OP_NAMES,
    KVP_OP_SET,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from hv_kvp_daemon.wire.message import Buffer, Request


def describe(
    message: Buffer,
    reply: Buffer,
    may_show: Callable[[int], bool] | None = None,
) -> str:
    """Return one line: operation, pool, key or index, then status and pair of the reply.

    ``may_show(pool)`` decides whether the values of a pool are shown; without it no value
    is.
    """
    operation, pool = message[0], message[1]
    name = KVP_OP_NAMES.get(operation, f"operation {operation}")
    where = POOL_NAMES.get(pool, f"pool {pool}")
    show = may_show is not None and may_show(pool)
    try:
        request = decode_request(message)
        answer = decode_reply(reply)
    except WireError as error:
        status = int.from_bytes(reply[:4], "little")
        return f"{name} {where} ({error}) -> {status_name(status)}"
    line = f"{name} {where}{_asked(request, show=show)} -> {status_name(answer.status)}"
    if answer.status == HV_S_OK and operation in (KVP_OP_ENUMERATE, KVP_OP_GET):
        key = f" {_text(answer.key)}" if operation == KVP_OP_ENUMERATE else ""
        line += f"{key} = {_value(answer.value, show=show)}"
    return line


def netlink(sender: int | None, datagram: memoryview) -> str:
    """Return one line for a datagram: its direction and its headers, without its data.

    ``sender`` is a port id, or None for a datagram of this daemon.
    """
    direction = "to the kernel" if sender is None else f"from port id {sender}"
    return f"netlink {direction}: {describe_datagram(datagram)}"


def _asked(request: Request, *, show: bool) -> str:
    if request.operation == KVP_OP_ENUMERATE:
        return f" [{request.index}]"
    if request.operation == KVP_OP_SET:
        return f" {_text(request.key)} = {_value(request.value, show=show)}"
    return f" {_text(request.key)}" if request.key else ""


def _value(value: bytes, *, show: bool) -> str:
    return _text(value) if show else f"({len(value)} bytes)"


def _text(raw: bytes) -> str:
    return repr(raw.decode("utf-8", "backslashreplace"))
