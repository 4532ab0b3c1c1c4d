"""Links, addresses and routes from the kernel, and word that they changed.

In: rtnetlink dumps and multicast events.  Out: lists of `Link`, `Address` and
`Route` in the kernel's order; a descriptor that is readable after a change.
Rule: an answer is whole and belongs to one question, or it is an OSError: what
the kernel answered; EAGAIN when its tables changed during each of `TRIES` dumps;
EMSGSIZE or EPROTO for what cannot be read; TimeoutError after `TIMEOUT` seconds.

Every question has a socket of its own (6 us), so nothing that an interrupted one
left behind can meet the next.  Any user may ask.

A dump is made while it is read: the kernel puts the next part into the socket at
each receive, and waits while the socket is full.  So a dump waits for nobody and
cannot overrun its socket; the time limit is a last resort.  A call that a signal
interrupts (EINTR) is taken up again by Python itself.
"""

from __future__ import annotations

import _socket
import errno
import os
import time

from hv_kvp_daemon.wire.errors import WireError
from hv_kvp_daemon.wire.netlink import Dump, RefusedError
from hv_kvp_daemon.wire.route import decode_default_route, decode_route, routes_request
from hv_kvp_daemon.wire.rtnetlink import (
    addresses_request,
    decode_address,
    decode_link,
    links_request,
)
from hv_kvp_daemon.wire.uapi import (
    NETLINK_ADD_MEMBERSHIP,
    NETLINK_ROUTE,
    RTM_NEWADDR,
    RTM_NEWLINK,
    RTM_NEWROUTE,
    RTNLGRP_IPV4_IFADDR,
    RTNLGRP_IPV4_ROUTE,
    RTNLGRP_IPV6_IFADDR,
    RTNLGRP_IPV6_ROUTE,
    RTNLGRP_LINK,
    SOL_NETLINK,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final, TypeVar

    from hv_kvp_daemon.wire.route import Route
    from hv_kvp_daemon.wire.rtnetlink import Address, Link

    Value = TypeVar("Value")

#: Seconds for one question, all its tries included.
TIMEOUT: Final = 2.0
#: How often a question is asked whose answers come out inconsistent.
TRIES: Final = 8
# The kernel fills at most 32 KiB at a time, unless one message alone needs more:
# a link with many virtual functions, of which it is not asked to tell.
_BUFFER_SIZE = 64 * 1024
# One question a socket, so one number does.
_SEQ = 1


def links() -> list[Link]:
    """Return all interfaces by index.

    :raises OSError: as above.
    """
    return _ask(links_request, RTM_NEWLINK, decode_link)


def addresses() -> list[Address]:
    """Return all IPv4 addresses by interface index, then all IPv6 ones.

    :raises OSError: as above.
    """
    return _ask(addresses_request, RTM_NEWADDR, decode_address)


def routes() -> list[Route]:
    """Return the IPv4 and the IPv6 routes of all tables.

    :raises OSError: as above.
    """
    return _ask(routes_request, RTM_NEWROUTE, decode_route)


def default_routes() -> list[Route]:
    """Return the default routes of the main table, those that `Route.default` calls so.

    :raises OSError: as above.
    """
    return _ask(routes_request, RTM_NEWROUTE, decode_default_route)


class RtEvents:
    """Word from the kernel that links or addresses changed.

    :raises OSError: there is no such socket.
    """

    __slots__ = ("_socket",)

    def __init__(self) -> None:
        self._socket = _open(_socket.SOCK_NONBLOCK)
        try:
            self._join(RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR)
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """Return the descriptor that is readable after a change."""
        return self._socket.fileno()

    def watch_routes(self) -> None:
        """From now on count a change of a route as well; again is no error.

        :raises OSError: the kernel refuses.
        """
        self._join(RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE)

    def drain(self) -> bool:
        """Read all events; True if there was one, or if some were lost (ENOBUFS).

        Only that something came counts: no event's content and no sender is looked
        at, since to read the tables once more does no harm.

        :raises OSError: the socket is unusable.
        """
        changed = False
        while True:
            try:
                self._socket.recv(1)
            except BlockingIOError:
                return changed
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
            changed = True

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _join(self, *groups: int) -> None:
        for group in groups:
            self._socket.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group)


def _open(flags: int = 0) -> _socket.socket:
    sock = _socket.socket(
        _socket.AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC | flags, NETLINK_ROUTE
    )
    try:
        sock.bind((0, 0))
    except OSError:
        sock.close()
        raise
    return sock


def _ask(
    make: Callable[[int, int], bytes],
    type_: int,
    decode: Callable[[bytes | memoryview], Value | None],
) -> list[Value]:
    """Ask until an answer is consistent; decode its messages of one type."""
    deadline = time.monotonic() + TIMEOUT
    for _ in range(TRIES):
        try:
            found = _try(make, type_, decode, deadline)
        except RefusedError as error:
            raise OSError(error.errno, os.strerror(error.errno), "rtnetlink") from error
        except WireError as error:
            raise OSError(errno.EPROTO, f"rtnetlink: {error}") from error
        if found is not None:
            return found
    raise OSError(errno.EAGAIN, f"rtnetlink: changes during each of {TRIES} dumps")


def _try(
    make: Callable[[int, int], bytes],
    type_: int,
    decode: Callable[[bytes | memoryview], Value | None],
    deadline: float,
) -> list[Value] | None:
    """Ask once; None if parts of the answer are missing or do not belong together."""
    sock = _open()
    try:
        return _collect(sock, make, type_, decode, deadline)
    finally:
        sock.close()


def _collect(
    sock: _socket.socket,
    make: Callable[[int, int], bytes],
    type_: int,
    decode: Callable[[bytes | memoryview], Value | None],
    deadline: float,
) -> list[Value] | None:
    buffer = memoryview(bytearray(_BUFFER_SIZE))
    found = []
    port = sock.getsockname()[0]
    dump = Dump(_SEQ, port)
    sock.sendto(make(_SEQ, port), (0, 0))
    while not dump.done:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError(errno.ETIMEDOUT, f"rtnetlink: no end within {TIMEOUT} s")
        sock.settimeout(left)
        try:
            size, _, flags, sender = sock.recvmsg_into([buffer])
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            return None
        # Whoever has CAP_NET_ADMIN can write to this socket; the kernel has port id 0.
        if sender[0] != 0:
            continue
        if flags & _socket.MSG_TRUNC:
            raise OSError(errno.EMSGSIZE, f"rtnetlink: more than {_BUFFER_SIZE} bytes")
        for part in dump.feed(buffer[:size]):
            value = decode(part.payload) if part.type == type_ else None
            if value is not None:
                found.append(value)
    return None if dump.inconsistent else found
