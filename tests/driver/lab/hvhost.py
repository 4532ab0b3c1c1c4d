# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""A simulated Hyper-V host, which exchanges KVP packets with the driver over /dev/hvlab.

It makes requests as a Windows host does: in UTF-16, one at a time.  Every packet goes
through the kernel's own ``hv_kvp.c``, which converts UTF-16 to UTF-8, wakes the daemon, and
converts its reply.  So each method returns the status and the body that a host would get.

A packet is ``vmbuspipe_hdr`` (8 bytes), ``icmsg_hdr`` (20 bytes) and the body; see
``include/linux/hyperv.h``.  The driver echoes ``ictransaction_id``, by which an answer is
matched with its request.
"""

from __future__ import annotations

import os
import select
import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple, final

from tests.driver.deadline import Deadline

GET, SET, DELETE, ENUMERATE, GET_IP_INFO, SET_IP_INFO = range(6)
EXTERNAL, GUEST, AUTO, AUTO_EXTERNAL, AUTO_INTERNAL = range(5)
REG_SZ, REG_U32, REG_U64 = 1, 4, 8

# What a host enumerates in AUTO, in this order.
AUTO_KEYS = [
    "FullyQualifiedDomainName",
    "IntegrationServicesVersion",
    "NetworkAddressIPv4",
    "NetworkAddressIPv6",
    "OSBuildNumber",
    "OSName",
    "OSMajorVersion",
    "OSMinorVersion",
    "OSVersion",
    "ProcessorArchitecture",
]

S_OK = 0x00000000
S_CONT = 0x80070103
E_FAIL = 0x80004005
NOT_SUPPORTED = 0x80070032
INVALIDARG = 0x80070057
GUID_NOTFOUND = 0x80041002

KEY_BYTES, VALUE_BYTES = 512, 2048  # UTF-16, room on the wire
ADAPTER_CHARS, IP_CHARS, GATEWAY_CHARS = 128, 1024, 512
MESSAGE_BYTES = 7432

_PIPE = struct.Struct("<II")
# pipe and message version, type, vrf version, size, status, transaction, flags
_IC = struct.Struct("<HHHHHHIBB2x")
_NEGOTIATE, _KVP = 0, 2
# ICMSGHDRFLAG_REQUEST and ICMSGHDRFLAG_TRANSACTION
_REQUEST = 1 | 2
_PACKET_BYTES = 65536


class IpInfo(NamedTuple):
    """What GET_IP_INFO and SET_IP_INFO carry; lists are joined by ``;``."""

    adapter: str = ""
    family: int = 0
    dhcp: int = 0
    ip: str = ""
    subnet: str = ""
    gateway: str = ""
    dns: str = ""


class Answer(NamedTuple):
    """One packet of the guest: to which request, with which status."""

    transaction: int
    status: int
    body: bytes


class NoAnswerError(Exception):
    """The guest sent nothing within the timeout."""


@final
class Host:
    """A host at the far end of the channel.  ``timeout`` is in seconds (see `deadline`).

    The driver answers an unserved request itself after 30 s; the default waits
    for that.  Before a daemon has registered, requests stay in the channel and
    are served after that, so ``negotiate`` also waits for a daemon.  ``watch``
    is called twice a second meanwhile; what it raises ends the wait.
    """

    def __init__(
        self, timeout: float = 40.0, watch: Callable[[], object] = lambda: None
    ) -> None:
        self.timeout = timeout
        self._watch = watch
        self._fd = os.open("/dev/hvlab", os.O_RDWR | os.O_CLOEXEC)
        self._transaction = 0
        #: How many packets were sent.
        self.sent = 0
        self.stray: list[Answer] = []
        self._drop_old()

    def close(self) -> None:
        os.close(self._fd)

    def __enter__(self) -> Host:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Packets.

    def send(self, kind: int, body: bytes) -> int:
        """Send one packet and return its transaction id, without waiting."""
        self._transaction = self._transaction % 255 + 1
        self.sent += 1
        header = _IC.pack(3, 0, kind, 4, 0, len(body), 0, self._transaction, _REQUEST)
        os.write(self._fd, _PIPE.pack(0, len(header) + len(body)) + header + body)
        return self._transaction

    def receive(self, transaction: int, timeout: float | None = None) -> tuple[int, bytes]:
        """Wait for the answer to one request: (status, body).

        Answers to other requests are kept in ``stray``.
        """
        deadline = Deadline(self.timeout if timeout is None else timeout)
        while True:
            left = max(0.0, deadline.left())
            if not select.select([self._fd], [], [], min(left, 0.5))[0]:
                if not left:
                    raise NoAnswerError(f"transaction {transaction}: nothing {deadline}")
                self._watch()
                continue
            answer = self._read()
            if answer.transaction == transaction:
                return answer.status, answer.body
            self.stray.append(answer)

    def exchange(self, kind: int, body: bytes) -> tuple[int, bytes]:
        """Send one packet and wait for its answer: (status, body)."""
        return self.receive(self.send(kind, body))

    def negotiate(self) -> int:
        """Framework 3.0, KVP 4.0: the first thing that a host says."""
        return self.exchange(_NEGOTIATE, struct.pack("<HHIHHHH", 1, 1, 0, 3, 0, 4, 0))[0]

    def post(self, op: int, pool: int, body: bytes = b"") -> int:
        """Send one KVP request and return its transaction id for ``receive``."""
        return self.send(_KVP, (bytes([op, pool, 0, 0]) + body).ljust(MESSAGE_BYTES, b"\0"))

    def kvp(self, op: int, pool: int, body: bytes = b"") -> tuple[int, bytes]:
        """Send one KVP message unchanged, and wait for (status, message)."""
        return self.receive(self.post(op, pool, body))

    def _read(self) -> Answer:
        packet = os.read(self._fd, _PACKET_BYTES)
        fields = _IC.unpack_from(packet, _PIPE.size)
        return Answer(fields[7], fields[6], packet[_PIPE.size + _IC.size :])

    def _drop_old(self) -> None:
        """Read and discard the packets that an earlier host has not read."""
        while select.select([self._fd], [], [], 0)[0]:
            self._read()

    # Key/value operations.

    def set(self, pool: int, key: str, value: str | int, kind: int = REG_SZ) -> int:
        if kind == REG_SZ:
            raw = wide(str(value))
        else:
            raw = int(value).to_bytes(4 if kind == REG_U32 else 8, "little")
        return self.kvp(SET, pool, value_body(wide(key), raw, kind=kind))[0]

    def get(self, pool: int, key: str) -> tuple[int, str]:
        status, a = self.kvp(GET, pool, value_body(wide(key), b""))
        size: int = struct.unpack_from("<I", a, 12)[0]
        return status, _narrow(a, 16 + KEY_BYTES, size)

    def delete(self, pool: int, key: str) -> int:
        return self.kvp(DELETE, pool, key_body(wide(key)))[0]

    def enumerate(self, pool: int, index: int) -> tuple[int, str, str]:
        """Give (status, key, value); key and value are empty with an error."""
        status, a = self.kvp(ENUMERATE, pool, struct.pack("<I", index))
        if status:
            return status, "", ""
        _, key_size, value_size = struct.unpack_from("<III", a, 8)
        return status, _narrow(a, 20, key_size), _narrow(a, 20 + KEY_BYTES, value_size)

    def items(self, pool: int) -> Iterator[tuple[str, str]]:
        """Walk a pool as a host does: index 0, 1, 2 … until an error."""
        index = 0
        while True:
            status, key, value = self.enumerate(pool, index)
            if status:
                return
            yield key, value
            index += 1

    # IP information.

    def get_ip_info(self, adapter: str, family: int = 0) -> tuple[int, IpInfo]:
        status, a = self.exchange(_KVP, _ip_message(GET_IP_INFO, IpInfo(adapter, family)))
        sizes = (ADAPTER_CHARS, IP_CHARS, IP_CHARS, GATEWAY_CHARS, IP_CHARS)
        # The two bytes of family and DHCP stand after the adapter.
        offsets = (2, 260, 260 + 2 * IP_CHARS, 260 + 4 * IP_CHARS, 260 + 4 * IP_CHARS + 1024)
        texts = [
            a[at : at + 2 * size].decode("utf-16-le", "replace").split("\0", 1)[0]
            for at, size in zip(offsets, sizes, strict=True)
        ]
        return status, IpInfo(texts[0], a[258], a[259], *texts[1:])

    def set_ip_info(self, info: IpInfo) -> int:
        return self.exchange(_KVP, _ip_message(SET_IP_INFO, info))[0]


def wide(text: str) -> bytes:
    """Text as the host sends it: UTF-16 and a NUL.  Lone surrogates pass."""
    return text.encode("utf-16-le", "surrogatepass") + b"\0\0"


def value_body(
    key: bytes, value: bytes, kind: int = REG_SZ, sizes: tuple[int, int] | None = None
) -> bytes:
    """Build the body of SET or GET, with ``sizes`` instead of the true ones if given."""
    key_size, value_size = sizes or (len(key), len(value))
    head = struct.pack("<III", kind, key_size, value_size)
    return (
        head
        + key.ljust(KEY_BYTES, b"\0")[:KEY_BYTES]
        + value.ljust(VALUE_BYTES, b"\0")[:VALUE_BYTES]
    )


def key_body(key: bytes, size: int | None = None) -> bytes:
    """Build the body of DELETE, with ``size`` instead of the true one if given."""
    return (
        struct.pack("<I", len(key) if size is None else size)
        + key.ljust(KEY_BYTES, b"\0")[:KEY_BYTES]
    )


def _ip_message(op: int, info: IpInfo) -> bytes:
    def field(text: str, chars: int) -> bytes:
        return text.encode("utf-16-le", "surrogatepass").ljust(2 * chars, b"\0")[: 2 * chars]

    return (
        bytes([op, 0])  # hv_kvp_ip_msg: a header of two bytes, unlike hv_kvp_msg
        + field(info.adapter, ADAPTER_CHARS)
        + bytes([info.family, info.dhcp])
        + field(info.ip, IP_CHARS)
        + field(info.subnet, IP_CHARS)
        + field(info.gateway, GATEWAY_CHARS)
        + field(info.dns, IP_CHARS)
    )


def _narrow(packet: bytes, at: int, size: int) -> str:
    return packet[at : at + max(size - 2, 0)].decode("utf-16-le", "replace")
