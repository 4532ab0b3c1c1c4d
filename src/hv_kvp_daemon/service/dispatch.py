# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Requests and their replies: `Dispatch.handle` takes a message and returns its reply.

Both have 7432 bytes.  This module uses no socket and no loop.  A request that cannot be
carried out never ends the daemon; its reply is one of these statuses:

=====================================================  ======================
a missing key, the end of a list, an index beyond it   HV_S_CONT
ENUMERATE of a pool above 4                            HV_S_CONT
other operations on a pool above 4                     HV_E_FAIL
SET or DELETE on the auto pool                         HV_E_FAIL
an empty or oversized key, a value of unknown type     HV_E_FAIL
a pool file that cannot be used, a full disk           HV_E_FAIL
no memory for the request                              HV_E_FAIL
GET_IP_INFO for a MAC that no interface has            HV_E_FAIL
SET_IP_INFO that is malformed or makes no sense        HV_INVALIDARG
SET_IP_INFO for a GUID that no adapter has             HV_GUID_NOTFOUND
SET_IP_INFO that the interface cannot have             HV_E_FAIL
SET_IP_INFO whose addresses do not come                HV_E_FAIL
SET_IP_INFO with ``--ip-backend none``                 HV_ERROR_NOT_SUPPORTED
any other operation                                    HV_ERROR_NOT_SUPPORTED
=====================================================  ======================

Most requests of a host are ENUMERATE, one for each record of a pool.  So ENUMERATE has a
fast path: it reads the record without the pool's locks and copies it into the reply if the
driver can take it unchanged.  The reply for an item of the auto pool is encoded once for
each value.
"""

from __future__ import annotations

from hv_kvp_daemon.netconfig.answer import ip_info
from hv_kvp_daemon.netconfig.config import adapter_config
from hv_kvp_daemon.netconfig.injection import set_ip_info
from hv_kvp_daemon.pools.errors import PoolError
from hv_kvp_daemon.wire.ipinfo import decode_ip, encode_ip_reply
from hv_kvp_daemon.wire.message import (
    ENUMERATE,
    FieldError,
    decode_request,
    encode_pair,
    encode_record,
    encode_status,
)
from hv_kvp_daemon.wire.uapi import (
    HV_E_FAIL,
    HV_ERROR_NOT_SUPPORTED,
    HV_S_CONT,
    HV_S_OK,
    KVP_AUTO_KEYS,
    KVP_OP_DELETE,
    KVP_OP_ENUMERATE,
    KVP_OP_GET,
    KVP_OP_GET_IP_INFO,
    KVP_OP_NAMES,
    KVP_OP_SET,
    KVP_OP_SET_IP_INFO,
    KVP_POOL_AUTO,
    KVP_POOL_COUNT,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from hv_kvp_daemon.guest.auto_pool import AutoPool
    from hv_kvp_daemon.guest.child import Wait
    from hv_kvp_daemon.pools.directory import PoolDirectory
    from hv_kvp_daemon.wire.message import Buffer, Request

#: Operations that change something.  They are not carried out after the host's timeout.
CHANGING = frozenset({KVP_OP_SET, KVP_OP_DELETE, KVP_OP_SET_IP_INFO})

OK = encode_status(HV_S_OK)
FAIL = encode_status(HV_E_FAIL)
NO_MORE = encode_status(HV_S_CONT)
NOT_SUPPORTED = encode_status(HV_ERROR_NOT_SUPPORTED)


class Dispatch:
    """Answers requests from the pools, the auto pool and the network configuration.

    ``report(message, reason)`` logs a failure, see `service.log.Reporter`.  ``wait``
    returns early at SIGTERM or SIGINT, see `service.signals.Signals.wait`.  ``ip_backend``
    is the option of that name: what applies SET_IP_INFO.  ``note`` logs what that has done.
    """

    def __init__(
        self,
        pools: PoolDirectory,
        auto_pool: AutoPool,
        report: Callable[[str, str], object],
        wait: Wait,
        ip_backend: str = "none",
        note: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._pools = pools
        self._auto_pool = auto_pool
        self._report = report
        self._wait = wait
        self._ip_backend = ip_backend
        self._note = note
        self._operations: dict[int, Callable[[Request], bytes]] = {
            KVP_OP_GET: self._get,
            KVP_OP_SET: self._set,
            KVP_OP_DELETE: self._delete,
        }
        #: For each item of the auto pool: the item that was last encoded, and its reply.
        self._encoded: list[tuple[tuple[bytes, bytes] | None, bytes]]
        self._encoded = [(None, b"")] * len(KVP_AUTO_KEYS)

    def handle(self, message: Buffer) -> bytes:
        """Return the reply, 7432 bytes, to a message of 7432 bytes."""
        operation, pool, index = ENUMERATE.unpack_from(message)
        try:
            if operation == KVP_OP_ENUMERATE:
                return self._enumerate(pool, index)
            if operation == KVP_OP_GET_IP_INFO:
                return self._get_ip_info(message)
            if operation == KVP_OP_SET_IP_INFO and self._ip_backend != "none":
                return self._set_ip_info(message)
            perform = self._operations.get(operation)
            if perform is not None:
                return perform(decode_request(message))
        except FieldError as error:
            self._report(f"unusable request for pool {pool}: {error}", "field")
            return FAIL
        except PoolError as error:
            cause = getattr(error.__cause__, "errno", None)
            self._report(str(error), f"{error.pool}: {type(error).__name__} {cause}")
            return FAIL
        except MemoryError:
            # Until this clause ends, its traceback holds what the request had allocated.
            is_out_of_memory = True
        else:
            is_out_of_memory = False
        if is_out_of_memory:
            name = KVP_OP_NAMES.get(operation, f"operation {operation}")
            self._report(f"{name} for pool {pool} failed: out of memory", "memory")
            return FAIL
        self._report(f"operation {operation} is not supported", f"operation {operation}")
        return NOT_SUPPORTED

    def _enumerate(self, pool: int, index: int) -> bytes:
        if pool == KVP_POOL_AUTO:
            return self._enumerate_auto(index)
        if pool >= KVP_POOL_COUNT:
            return NO_MORE
        file = self._pools[pool]
        data = file.read_unlocked(index)
        if data is not None:
            reply = encode_record(data, index) if data else NO_MORE
            if reply is not None:
                return reply
        record = file.read(index)
        return NO_MORE if record is None else encode_pair(record.key, record.value, index)

    def _enumerate_auto(self, index: int) -> bytes:
        item = self._auto_pool.item(index)
        if item is None:
            return NO_MORE
        encoded, reply = self._encoded[index]
        if encoded is not item:
            reply = encode_pair(*item, index)
            self._encoded[index] = item, reply
        return reply

    def _get(self, request: Request) -> bytes:
        if request.pool >= KVP_POOL_COUNT:
            return FAIL
        if request.pool == KVP_POOL_AUTO:
            value = self._auto_pool.find(request.key)
        else:
            value = self._pools[request.pool].find(request.key)
        return NO_MORE if value is None else encode_pair(request.key, value)

    def _set(self, request: Request) -> bytes:
        if request.pool >= KVP_POOL_COUNT or request.pool == KVP_POOL_AUTO:
            return FAIL
        self._pools[request.pool].store(request.key, request.value)
        return OK

    def _delete(self, request: Request) -> bytes:
        if request.pool >= KVP_POOL_COUNT or request.pool == KVP_POOL_AUTO:
            return FAIL
        return OK if self._pools[request.pool].delete(request.key) else NO_MORE

    def _get_ip_info(self, message: Buffer) -> bytes:
        adapter_id = decode_ip(message).adapter_id
        try:
            config = adapter_config(adapter_id, self._wait, self._report_ip)
        except OSError as error:
            self._report(f"GET_IP_INFO: {error}", "ip")
            return FAIL
        return FAIL if config is None else encode_ip_reply(ip_info(config, adapter_id))

    def _set_ip_info(self, message: Buffer) -> bytes:
        status = set_ip_info(
            bytes(message), self._ip_backend, self._wait, self._report, self._note
        )
        return encode_status(status)

    def _report_ip(self, text: str) -> None:
        self._report(f"GET_IP_INFO: {text}", f"ip: {text.partition(':')[0]}")
