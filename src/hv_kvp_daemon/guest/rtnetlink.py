# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Links and addresses from the kernel, and notice that they have changed.

An answer is complete and consistent, or an OSError is raised: the kernel's own errno;
EAGAIN if its tables changed during each of `TRIES` dumps; EMSGSIZE or EPROTO for an
answer that cannot be decoded; TimeoutError after `TIMEOUT` seconds, or fewer where the
caller has no more.  No privilege is needed.

Each request has a socket of its own (6 us), so what an interrupted one left unread
cannot be taken for the answer to the next.

The kernel writes a dump while it is read: it adds the next part at each receive, and
waits while the socket is full.  So a dump cannot overrun its socket, and the time
limit is a last resort.  Python itself repeats a call that a signal interrupts.
"""

from __future__ import annotations

import _socket
import errno
import os
import select
import time

from hv_kvp_daemon.wire import rtnetlink as wire
from hv_kvp_daemon.wire import uapi
from hv_kvp_daemon.wire.errors import WireError
from hv_kvp_daemon.wire.linkinfo import vrf_table
from hv_kvp_daemon.wire.netlink import Dump, RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Final, TypeVar

    Value = TypeVar("Value")

#: Seconds for one request, with all its tries.
TIMEOUT: Final = 2.0
#: How often a request is made whose answers are inconsistent.
TRIES: Final = 8
# The kernel fills at most 32 KiB at a time, unless one message needs more: a link
# with many virtual functions, which the request leaves out.
_BUFFER_SIZE = 64 * 1024
# Less than a datagram that the kernel has filled.
_SMALL = 4 * 1024
# Each request has its own socket, so one sequence number is enough.
_SEQ = 1
# More notifications than this are left for the next look.  The queue holds one or
# two, but while it is read the kernel may go on adding to it.
_MOST_EVENTS = 64


def links() -> list[wire.Link]:
    """Return all interfaces by index.

    :raises OSError: see above.
    """
    return ask(wire.links_request, uapi.RTM_NEWLINK, wire.decode_link)


def addresses() -> list[wire.Address]:
    """Return all IPv4 addresses by interface index, then all IPv6 addresses.

    :raises OSError: see above.
    """
    return ask(wire.addresses_request, uapi.RTM_NEWADDR, wire.decode_address)


def vrf_tables(among: Iterable[wire.Link]) -> dict[int, int]:
    """Return the routing table of each VRF among links, by the VRF's index.

    :raises OSError: EPROTO, see above.
    """
    try:
        tables = {link.index: vrf_table(link.linkinfo) for link in among if link.linkinfo}
    except WireError as error:
        raise OSError(errno.EPROTO, f"rtnetlink: {error}") from error
    return {index: table for index, table in tables.items() if table is not None}


def link_named(name: str) -> wire.Link | None:
    """Return the interface with a name, which may be an alternative one.

    :raises OSError: see above.
    """
    raw = os.fsencode(name)
    if not 0 < len(raw) < uapi.ALTIFNAMSIZ:
        return None

    def request(seq: int, pid: int) -> bytes:
        return wire.link_request(raw, seq, pid)

    try:
        (link,) = ask(request, uapi.RTM_NEWLINK, wire.decode_link)
    except OSError as error:
        if error.errno == errno.ENODEV:
            return None
        raise
    return link


class ChangeNotice:
    """A subscription to the kernel's notifications about links and addresses.

    Nothing polls it between requests, so its receive buffer is the smallest that the
    kernel allows (2304 bytes): on a host whose containers come and go it pins no more
    than that and one message.  A full queue costs nothing further; the kernel drops
    what does not fit and sets ENOBUFS once.

    :raises OSError: the socket cannot be opened.
    """

    __slots__ = ("_poll", "_socket")

    def __init__(self) -> None:
        self._socket = _open(_socket.SOCK_NONBLOCK)
        try:
            self._socket.setsockopt(_socket.SOL_SOCKET, _socket.SO_RCVBUF, 1)
            self._join(uapi.RTNLGRP_LINK, uapi.RTNLGRP_IPV4_IFADDR, uapi.RTNLGRP_IPV6_IFADDR)
        except OSError:
            self._socket.close()
            raise
        poll = select.poll()
        poll.register(self._socket.fileno(), select.POLLIN)
        # A poll that finds nothing costs 0.4 us; a receive that fails with EAGAIN 1.2.
        self._poll = poll.poll

    def fileno(self) -> int:
        """Return the socket's descriptor, for a program that waits for a notification."""
        return self._socket.fileno()

    def watch_routes(self) -> None:
        """From now on take notice of changed routes, too; repeating this is harmless.

        :raises OSError: the kernel refuses.
        """
        self._join(uapi.RTNLGRP_IPV4_ROUTE, uapi.RTNLGRP_IPV6_ROUTE)

    def has_changed(self) -> bool:
        """Whether notifications have come since the last call; discards them.

        Neither their contents nor their senders are examined, since a needless dump
        does no harm.  An error of the socket counts as a notification, too: ENOBUFS
        says that some were lost.
        """
        if not self._poll(0):
            return False
        for _ in range(_MOST_EVENTS):
            try:
                self._socket.recv(1)
            except BlockingIOError:  # noqa: PERF203 - once for each change of the network
                break
            except OSError:
                continue  # ENOBUFS, which precedes what is queued
        return True

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _join(self, *groups: int) -> None:
        for group in groups:
            self._socket.setsockopt(uapi.SOL_NETLINK, uapi.NETLINK_ADD_MEMBERSHIP, group)


def _open(flags: int = 0) -> _socket.socket:
    sock = _socket.socket(
        _socket.AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC | flags, uapi.NETLINK_ROUTE
    )
    try:
        sock.bind((0, 0))
    except OSError:
        sock.close()
        raise
    return sock


def _filter_dumps(sock: _socket.socket) -> bool:
    try:
        sock.setsockopt(uapi.SOL_NETLINK, uapi.NETLINK_GET_STRICT_CHK, 1)
    except OSError as error:
        # Linux before 4.20, which sends everything.
        if error.errno != errno.ENOPROTOOPT:
            raise
        return False
    return True


def ask(
    make_request: Callable[[int, int], bytes],
    type_: int,
    decode: Callable[[bytes | memoryview], Value | None],
    *,
    seconds: float | None = None,
    reduce: Callable[[memoryview], bytes] | None = None,
    is_past: Callable[[memoryview], bool] | None = None,
) -> list[Value]:
    """Repeat a request until its answer is consistent; decode the messages of one type.

    All tries take ``seconds`` at most, by default `TIMEOUT`.

    ``reduce`` returns a datagram without the messages that do not matter.  With it the
    kernel sends only what the request's fixed part and attributes name, if it can; then the
    answer is left unread from where ``is_past`` says that none follows that matters.

    :raises OSError: see above.
    """
    deadline = time.monotonic() + (TIMEOUT if seconds is None else seconds)
    for _ in range(TRIES):
        sock = _open()
        try:
            if reduce is not None and not _filter_dumps(sock):
                is_past = None
            found = _try_dump(sock, make_request, type_, decode, deadline, reduce, is_past)
        except RefusedError as error:
            raise OSError(error.errno, os.strerror(error.errno), "rtnetlink") from error
        except WireError as error:
            raise OSError(errno.EPROTO, f"rtnetlink: {error}") from error
        finally:
            sock.close()
        if found is not None:
            return found
    raise OSError(errno.EAGAIN, f"rtnetlink: changes during each of {TRIES} dumps")


def _try_dump(
    sock: _socket.socket,
    make_request: Callable[[int, int], bytes],
    type_: int,
    decode: Callable[[bytes | memoryview], Value | None],
    deadline: float,
    reduce: Callable[[memoryview], bytes] | None,
    is_past: Callable[[memoryview], bool] | None,
) -> list[Value] | None:
    """Make a request once; None if parts of the answer are lost or inconsistent."""
    buffer = memoryview(bytearray(_BUFFER_SIZE))
    found = []
    port = sock.getsockname()[0]
    dump = Dump(_SEQ, port)
    sock.sendto(make_request(_SEQ, port), (0, 0))
    size = 0
    while not dump.done:
        # What follows a small datagram is the end of the answer.
        if is_past is not None and size > _SMALL and is_past(buffer[:size]):
            break
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError(errno.ETIMEDOUT, "rtnetlink: no end within the time limit")
        sock.settimeout(left)
        try:
            size, _, flags, sender = sock.recvmsg_into([buffer])
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            return None
        # Processes with CAP_NET_ADMIN can send to this socket; the kernel's port id is 0.
        if sender[0] != 0:
            continue
        if flags & _socket.MSG_TRUNC:
            raise OSError(errno.EMSGSIZE, f"rtnetlink: more than {_BUFFER_SIZE} bytes")
        datagram = buffer[:size]
        for part in dump.feed(reduce(datagram) if reduce else datagram):
            value = decode(part.payload) if part.type == type_ else None
            if value is not None:
                found.append(value)
    return None if dump.inconsistent else found
