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

from hv_kvp_daemon.guest.intrinsic import KEYS
from hv_kvp_daemon.pools.errors import PoolError
from hv_kvp_daemon.wire.message import (
    START,
    FieldError,
    decode_request,
    encode_pair,
    encode_request,
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
from .ipinfo import IpInfoService

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from hv_kvp_daemon.guest.intrinsic import Intrinsic
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
    """

    def __init__(
        self,
        pools: PoolDirectory,
        intrinsic: Intrinsic,
        limited: Callable[[str, str], None],
    ) -> None:
        self._pools = pools
        self._intrinsic = intrinsic
        self._limited = limited
        self._operations: dict[int, Callable[[Request], bytes]] = {
            KVP_OP_GET: self._get,
            KVP_OP_SET: self._set,
            KVP_OP_DELETE: self._delete,
            KVP_OP_ENUMERATE: self._enumerate,
        }
        #: GET_IP_INFO, whose reply may come later.
        self.ip_info = IpInfoService(limited)
        #: As `make`, or None where it would take longer; see `service.glance`.
        self.glance = Glance(pools).reply
        self._prepared: dict[int, bytes] = {}
        self._prepared_for = -1

    def answer(self, message: Buffer) -> bytes | None:
        """The reply of 7432 bytes to a message of 7432 bytes; None: `ip_info` has it later."""
        reply = self.prepared().get(START.unpack_from(message)[0])
        return self.make(message) if reply is None else reply

    def prepared(self) -> dict[int, bytes]:
        """Replies from the auto pool, by the first eight bytes of their requests.

        The same dictionary at each call; its replies are good until an event tells
        that anything about the guest may have changed.
        """
        if self._prepared_for != self._intrinsic.generation:
            self._prepared.clear()
            self._prepared_for = self._intrinsic.generation
        return self._prepared

    def make(self, message: Buffer) -> bytes | None:
        """As `answer`, where no reply is prepared."""
        kind = message[0]
        if kind == KVP_OP_GET_IP_INFO:
            return self.ip_info.answer(message)
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
        item = self._intrinsic.item(request.index)
        reply = NO_MORE if item is None else encode_pair(*item, request.index)
        # The end as well, which a host reads in each sweep; what lies beyond it
        # is asked by nobody who means well, and is not kept.  Nor is what a source
        # that fails has told: it is asked again.
        if request.index <= len(KEYS) and self._intrinsic.generation == self._prepared_for:
            self._prepared[START.unpack_from(encode_request(request))[0]] = reply
        return reply

    def _get(self, request: Request) -> bytes:
        if request.pool >= KVP_POOL_COUNT:
            return FAIL
        if request.pool == KVP_POOL_AUTO:
            value = self._intrinsic.find(request.key)
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
