# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""What is wrong with the addresses that the host has set, and what a failover would break."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING

from hv_kvp_daemon.netconfig.verify import HOLDS, STORED

from .diagnosis import BAD, GOOD, UNKNOWN, WARNING, Diagnosis

if TYPE_CHECKING:
    from .address_facts import HostSet, MacMatch
    from .system_facts import Facts


def addresses(facts: Facts) -> Iterator[Diagnosis]:
    """Yield what has become of the host's settings, and which files match by MAC address."""
    for text in facts.addresses.damage:
        yield Diagnosis(BAD, text)
    for text in facts.addresses.refused:
        yield Diagnosis(
            BAD,
            f"the host's last request was taken back: {text}; to see more:"
            " journalctl --unit hv-kvp-ip.service",
        )
    for host_set in facts.addresses.host_set:
        yield from _host_set(host_set)
    for match in facts.addresses.by_mac:
        yield _by_mac(match)


def _host_set(found: HostSet) -> Iterator[Diagnosis]:
    name, backend = found.name, found.backend
    for path, (mode, wanted) in found.modes.items():
        yield Diagnosis(
            BAD,
            f"{path} has the permissions {mode:04o}, with which {backend} refuses it",
            f"chmod {wanted:04o} {shlex.quote(path)}",
        )
    if found.instead:
        text = f"{name}: {found.instead} overrides {found.path}, which the host has set"
        yield Diagnosis(BAD, text)
    elif found.state == STORED:
        why = f" ({found.detail})" if found.detail else ""
        text = f"{name} will have what the host has set, by {backend}{why}"
        yield Diagnosis(UNKNOWN, text)
    elif found.state != HOLDS:
        text = f"{name} does not have what the host has set, by {backend}: {found.detail}"
        yield Diagnosis(BAD, text)
    elif found.path:
        more = f"; {found.path} overrides {found.overridden}" if found.overridden else ""
        yield Diagnosis(GOOD, f"{name} has what the host has set, by {backend}{more}")


def _by_mac(match: MacMatch) -> Diagnosis:
    if not match.name:
        return Diagnosis(
            WARNING,
            f"{match.path} is for the MAC address {match.mac}, which no interface has: it"
            " configures none",
        )
    return Diagnosis(
        WARNING,
        f"{match.path} finds {match.name} by its MAC address: if a failover changes that, it"
        " configures nothing; match by name, or",
        f"on the host: Set-VMNetworkAdapter -VMName NAME -StaticMacAddress"
        f" {match.mac.replace(':', '').upper()}",
    )
