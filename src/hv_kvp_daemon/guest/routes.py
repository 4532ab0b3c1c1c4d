# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Default routes: of one routing table, and which interfaces have one.

A guest has a few routes, which one dump gives.  A router may have a million, and the kernel
sends a table whole.  Then the dump of an IPv4 table is left as soon as it is past the default
routes (1 ms); that of an IPv6 table, where they come last, is read for `PATIENCE` seconds at
most.  After that, and where it only matters whether an interface has a default route, the
kernel is asked how it reaches an address over that interface.
"""

from __future__ import annotations

import _socket
import errno

from hv_kvp_daemon.wire import route as wire
from hv_kvp_daemon.wire import uapi
from hv_kvp_daemon.wire.nexthop import decode_nexthop, nexthop_request

from . import rtnetlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Final

#: Seconds for the dump of a large table: enough for some 100,000 routes.
PATIENCE: Final = 0.25

# Addresses to which hardly anybody has a route but the default one: RFC 6666's for
# packets to discard, and two of ranges that are not assigned.
_FAR_AWAY = tuple(
    _socket.inet_pton(_socket.AF_INET6, text) for text in ("100::1", "4000::1", "c000::1")
)


class _LargeTableError(Exception):
    """There are more routes than in a datagram that the kernel has not filled."""


def default_routes(table: int, index: int) -> list[wire.Route]:
    """Return the default routes of a table, IPv4 first.

    If the IPv6 routes cannot be had in time, only the best one over the interface with an
    ``index`` is among them.

    :raises OSError: see `rtnetlink`.
    """
    try:
        found = _dump(uapi.AF_UNSPEC, table, _give_up)
    except _LargeTableError:
        found = _of_large_table(table, index)
    for route in found:
        if route.nexthop and not route.hops:
            route.hops = _object_hops(route.nexthop)
    return found


def _of_large_table(table: int, index: int) -> list[wire.Route]:
    found = _dump(uapi.AF_INET, table, wire.is_past_defaults)
    try:
        return found + _dump(uapi.AF_INET6, table)
    except TimeoutError:
        best = _best_route(index)
        return found if best is None or best.table != table else [*found, best]


def _give_up(_: memoryview) -> bool:
    raise _LargeTableError


def default_interfaces(candidates: Iterable[int]) -> set[int]:
    """Return the indexes of interfaces that a default route uses.

    The tables are the main one and those of VRFs: another serves only traffic that a rule
    sends there.  Both families count, and each next hop of a multipath route.  For IPv6
    only ``candidates`` are looked at.

    :raises OSError: see `rtnetlink`.
    """
    tables = {uapi.RT_TABLE_MAIN, *rtnetlink.vrf_tables(rtnetlink.links()).values()}
    found = {
        hop.index
        for table in tables
        for route in _dump(uapi.AF_INET, table, wire.is_past_defaults)
        for hop in route.hops or _object_hops(route.nexthop)
    }
    for index in candidates:
        best = _best_route(index)
        if best is not None and best.table in tables:
            found.add(index)
    return found


def _dump(
    family: int, table: int, is_past: Callable[[memoryview], bool] | None = None
) -> list[wire.Route]:
    def request(seq: int, pid: int) -> bytes:
        return wire.routes_request(family, table, seq, pid)

    try:
        found = rtnetlink.ask(
            request,
            uapi.RTM_NEWROUTE,
            wire.decode_default_route,
            # A dump of all families is given up where it is a large one.
            seconds=None if family == uapi.AF_UNSPEC else PATIENCE,
            reduce=wire.without_specific,
            is_past=is_past,
        )
    except OSError as error:
        if error.errno == errno.ENOENT:
            return []  # a table that has no routes, or never had any
        raise
    # Linux before 4.20 sends all tables.
    return [route for route in found if route.table == table]


def _best_route(index: int) -> wire.Route | None:
    """Return the best IPv6 default route over an interface, of whatever table serves it."""
    for address in _FAR_AWAY:
        try:
            (route,) = _routes_to(address, index)
        except (OSError, ValueError):
            return None  # none, or the interface has gone
        if route.dst_len == 0:
            return route if route.default else None
    return None


def _routes_to(address: bytes, index: int) -> list[wire.Route]:
    def request(seq: int, pid: int) -> bytes:
        return wire.route_request(address, index, seq, pid)

    return rtnetlink.ask(request, uapi.RTM_NEWROUTE, wire.decode_route)


def _object_hops(number: int, depth: int = 1) -> list[wire.Hop]:
    """Return the hops of a nexthop object; none if it has gone, or ``number`` is 0."""
    if not number:
        return []

    def request(seq: int, pid: int) -> bytes:
        return nexthop_request(number, seq, pid)

    try:
        objects = rtnetlink.ask(request, uapi.RTM_NEWNEXTHOP, decode_nexthop)
    except OSError as error:
        if error.errno == errno.ENOENT:
            return []
        raise
    hops = []
    for each in objects:
        hops += each.hops
        for member in each.members if depth else ():
            hops += _object_hops(member, depth - 1)
    return hops
