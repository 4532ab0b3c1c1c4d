"""A request goes in, the reply comes out: what each operation means.

No socket and no loop here.  An operation is looked up in a table; what a pool
cannot do and what a request should not hold become a status, never an end:

=====================================================  ======================
a missing key, the end of a list, an index beyond it   HV_S_CONT
ENUMERATE of a pool above 4                            HV_S_CONT
other operations on a pool above 4                     HV_E_FAIL
SET or DELETE on the auto pool                         HV_E_FAIL
an empty or oversized key, a value of unknown type     HV_E_FAIL
a pool file that cannot be used, a full disk           HV_E_FAIL
GET_IP_INFO for a MAC that no interface has            HV_E_FAIL
an operation that this daemon does not have            HV_ERROR_NOT_SUPPORTED
=====================================================  ======================
"""

from __future__ import annotations

from hv_kvp_daemon.netconfig.answer import ip_info
from hv_kvp_daemon.netconfig.config import adapter_config
from hv_kvp_daemon.pools.errors import PoolError
from hv_kvp_daemon.wire.ipinfo import decode_ip, encode_ip_reply
from hv_kvp_daemon.wire.message import (
    FieldError,
    decode_request,
    encode_pair,
    encode_status,
)
from hv_kvp_daemon.wire.uapi import (
    HV_E_FAIL,
    HV_ERROR_NOT_SUPPORTED,
    HV_S_OK,
    KVP_OP_DELETE,
    KVP_OP_ENUMERATE,
    KVP_OP_GET,
    KVP_OP_GET_IP_INFO,
    KVP_OP_SET,
    KVP_POOL_AUTO,
    KVP_POOL_COUNT,
)

from .glance import NO_MORE, Glance

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from hv_kvp_daemon.guest.auto_pool import AutoPool
    from hv_kvp_daemon.guest.child import Wait
    from hv_kvp_daemon.pools.directory import PoolDirectory
    from hv_kvp_daemon.wire.message import Buffer, Request

#: Operations that change a pool: never carried out for a host that has given up.
CHANGING = frozenset({KVP_OP_SET, KVP_OP_DELETE})

OK = encode_status(HV_S_OK)
FAIL = encode_status(HV_E_FAIL)
NOT_SUPPORTED = encode_status(HV_ERROR_NOT_SUPPORTED)


class Dispatch:
    """Answers requests from the pools and the auto pool.

    ``limited(reason, message)`` is told what failed; see `service.log.Log.limited`.
    ``wait`` ends early at a signal to end; see `service.signals.Signals.wait`.
    """

    def __init__(
        self,
        pools: PoolDirectory,
        auto_pool: AutoPool,
        limited: Callable[[str, str], None],
        wait: Wait,
    ) -> None:
        self._pools = pools
        self._auto_pool = auto_pool
        self._limited = limited
        self._wait = wait
        self._operations: dict[int, Callable[[Request], bytes]] = {
            KVP_OP_GET: self._get,
            KVP_OP_SET: self._set,
            KVP_OP_DELETE: self._delete,
            KVP_OP_ENUMERATE: self._enumerate,
        }
        #: Requests answered, by operation number.
        self.requests: dict[int, int] = {}
        #: As `make`, or None where it would take longer; see `service.glance`.
        self.glance = Glance(pools).reply

    def count(self, kind: int, number: int) -> None:
        """Take note of requests that were answered."""
        self.requests[kind] = self.requests.get(kind, 0) + number

    def answer(self, message: Buffer) -> bytes:
        """The reply of 7432 bytes to a message of 7432 bytes."""
        kind = message[0]
        self.count(kind, 1)
        if kind == KVP_OP_GET_IP_INFO:
            return self._get_ip_info(message)
        operation = self._operations.get(kind)
        if operation is None:
            self._limited(f"operation {kind}", f"operation {kind} is not supported")
            return NOT_SUPPORTED
        try:
            return operation(decode_request(message))
        except FieldError as error:
            self._limited("field", f"unusable request for pool {message[1]}: {error}")
        except PoolError as error:
            self._limited(f"{error.pool}: {error.reason}", str(error))
        return FAIL

    def _enumerate(self, request: Request) -> bytes:
        if request.pool == KVP_POOL_AUTO:
            return self._enumerate_auto(request)
        if request.pool >= KVP_POOL_COUNT:
            return NO_MORE
        record = self._pools[request.pool].read(request.index)
        if record is None:
            return NO_MORE
        return encode_pair(record.key, record.value, request.index)

    def _enumerate_auto(self, request: Request) -> bytes:
        item = self._auto_pool.item(request.index)
        return NO_MORE if item is None else encode_pair(*item, request.index)

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
            self._limited("ip", f"GET_IP_INFO: {error}")
            return FAIL
        return FAIL if config is None else encode_ip_reply(ip_info(config, adapter_id))

    def _report_ip(self, text: str) -> None:
        self._limited(f"ip: {text}", f"GET_IP_INFO: {text}")
