# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Whether an interface has the settings that the host has given: what rtnetlink shows.

The exit status of a manager's program shows nothing.  While the manager applies a
configuration the addresses may be missing for a moment, or those of the former one may still
be there.  So they are waited for, and have to stay for `STEADY` seconds.

Some settings cannot be seen yet, and are not refused for that: a replica's adapters are
disconnected at first, and networkd and NetworkManager apply nothing without a carrier;
duplicate address detection takes a second or more; a DHCP server may be slow.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, NamedTuple

from hv_kvp_daemon.guest import rtnetlink
from hv_kvp_daemon.guest.routes import default_routes
from hv_kvp_daemon.wire.uapi import (
    AF_INET,
    IFA_F_DADFAILED,
    IFA_F_PERMANENT,
    IFA_F_TENTATIVE,
    IFF_LOWER_UP,
    IFF_UP,
    RT_TABLE_MAIN,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hv_kvp_daemon.wire.rtnetlink import Address as KernelAddress

    from .settings import Interface, Settings

#: Seconds to wait for the addresses, and for what may take longer: a carrier, a lease.  The
#: daemon has 10 s in all; duplicate address detection takes 1 to 2 s.
PATIENCE = 4.5
SHORT = 3.5

#: Seconds for which what is seen must not change.  networkd answers before it begins; it takes
#: 0.1 s in all (measured).
STEADY = 0.4
_PAUSE: Final = 0.05

HOLDS: Final = "holds"
#: It is stored, and cannot be seen yet.
STORED: Final = "stored"
MISSING: Final = "missing"


class Outcome(NamedTuple):
    """HOLDS, STORED or MISSING, and what is missing.

    ``is_final`` says that waiting cannot make it better.
    """

    state: str
    detail: str = ""
    is_final: bool = False


def wait(settings: Settings, index: int, former: Settings | None) -> Outcome:
    """Wait until an interface has its settings; return what can be said after `PATIENCE`.

    ``former`` are the settings before: their addresses have to go.

    :raises OSError: the kernel's tables cannot be read.
    """
    started = since = time.monotonic()
    last = None
    while True:
        outcome = look(settings, index, former)
        now = time.monotonic()
        if outcome != last:
            last, since = outcome, now
        limit = SHORT if outcome.state == STORED else PATIENCE
        if now - started >= limit or (outcome.is_final and now - since >= STEADY):
            return outcome
        time.sleep(_PAUSE)


def look(settings: Settings, index: int, former: Settings | None = None) -> Outcome:
    """Return whether an interface has its settings now.

    :raises OSError: the kernel's tables cannot be read.
    """
    links = rtnetlink.links()
    link = next((each for each in links if each.index == index), None)
    if link is None:
        return Outcome(MISSING, "the interface has gone")
    if link.flags & IFF_UP and not link.flags & IFF_LOWER_UP:
        return Outcome(STORED, "no carrier")
    there = [each for each in rtnetlink.addresses() if each.index == index]
    outcome = _look_at_addresses(settings, there, former)
    if outcome.state == MISSING:
        return outcome
    table = rtnetlink.vrf_tables(links).get(link.master, RT_TABLE_MAIN)
    gateway = _missing_gateway(settings, index, table)
    if gateway:
        return Outcome(MISSING, f"there is no default route by {gateway}")
    return outcome


def _look_at_addresses(
    settings: Settings, there: list[KernelAddress], former: Settings | None
) -> Outcome:
    found = {(each.address, each.prefixlen): each.flags for each in there}
    waiting = ""
    for wanted in _addresses(settings):
        flags = found.get((wanted.packed, wanted.network.prefixlen))
        if flags is None:
            return Outcome(MISSING, f"{wanted} is missing")
        if flags & IFA_F_DADFAILED:
            return Outcome(MISSING, f"{wanted} is another machine's, too", is_final=True)
        if flags & IFA_F_TENTATIVE:
            waiting = f"{wanted}: duplicate address detection"
    for old in set(_addresses(former)) - set(_addresses(settings)) if former else ():
        if (old.packed, old.network.prefixlen) in found:
            return Outcome(MISSING, f"{old} is still there")
    if settings.ipv4 is not None and settings.ipv4.automatic and not _has_lease(there):
        waiting = "no lease yet"
    return Outcome(STORED, waiting) if waiting else Outcome(HOLDS, is_final=True)


def _addresses(settings: Settings) -> list[Interface]:
    return [each for family in settings.changed().values() for each in family.addresses]


def _has_lease(addresses: Iterable[KernelAddress]) -> bool:
    return any(
        each.family == AF_INET and not each.flags & IFA_F_PERMANENT for each in addresses
    )


def _missing_gateway(settings: Settings, index: int, table: int) -> str:
    families = [each for each in settings.changed().values() if each.gateways]
    if not families:
        return ""
    there = {
        hop.gateway
        for route in default_routes(table, index)
        for hop in route.hops
        if hop.index == index
    }
    for family in families:
        for gateway in family.gateways:
            if gateway.packed not in there:
                return str(gateway)
    return ""
