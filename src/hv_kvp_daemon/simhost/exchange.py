# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Requests of a simulated host with their answers: to show, and to compare.

Each function here makes one request, or a whole walk, and returns an `Exchange`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hv_kvp_daemon.wire import uapi
from hv_kvp_daemon.wire.message import status_name

if TYPE_CHECKING:
    from .simulated_host import HostIpInfo, SimulatedHost


class Exchange(NamedTuple):
    """A request and its answer as texts; ``pairs`` are of a walk or an adapter.

    ``subject`` is the key, the index, or the index and the key that came.
    """

    operation: int
    pool: int
    subject: str
    status: int
    value: str = ""
    pairs: list[tuple[str, str]] | None = None

    def mismatch(self, expected: str | None) -> str:
        """Return how the answer differs from what was expected, or nothing.

        ``expected`` is the name of a status (by default uapi.HV_S_OK), or else the value of a
        GET or the key of an ENUMERATE.
        """
        name = status_name(self.status)
        if expected is None or expected in uapi.HV_STATUS_NAMES.values():
            got, expected = name, expected or status_name(uapi.HV_S_OK)
        elif self.status != uapi.HV_S_OK:
            got = name
        elif self.operation == uapi.KVP_OP_ENUMERATE:
            got = self.subject.partition(" ")[2]
        else:
            got = self.value
        return "" if got == expected else f"{expected!r} was expected, {got!r} came"


def set_key(
    host: SimulatedHost, pool: int, key: str, value: str | int, kind: int = uapi.REG_SZ
) -> Exchange:
    """SET."""
    return Exchange(uapi.KVP_OP_SET, pool, key, host.set(pool, key, value, kind), str(value))


def get_key(host: SimulatedHost, pool: int, key: str) -> Exchange:
    """GET."""
    return Exchange(uapi.KVP_OP_GET, pool, key, *host.get(pool, key))


def delete_key(host: SimulatedHost, pool: int, key: str) -> Exchange:
    """DELETE."""
    return Exchange(uapi.KVP_OP_DELETE, pool, key, host.delete(pool, key))


def enumerate_index(host: SimulatedHost, pool: int, index: int) -> Exchange:
    """ENUMERATE."""
    status, key, value = host.enumerate(pool, index)
    return Exchange(uapi.KVP_OP_ENUMERATE, pool, f"{index} {key}", status, value)


def walk(host: SimulatedHost, pool: int) -> Exchange:
    """ENUMERATE of one index after the other, to the end of a pool."""
    pairs = list(host.items(pool))
    return Exchange(
        uapi.KVP_OP_ENUMERATE, pool, "all", uapi.HV_S_OK, f"{len(pairs)} records", pairs
    )


def get_ip_info(host: SimulatedHost, adapter: str) -> Exchange:
    """GET_IP_INFO."""
    status, info = host.get_ip_info(adapter)
    families = {uapi.ADDR_FAMILY_IPV4: "IPv4", uapi.ADDR_FAMILY_IPV6: "IPv6"}
    pairs = [
        ("adapter", info.adapter),
        ("families", " ".join(name for bit, name in families.items() if info.family & bit)),
        ("dhcp", "yes" if info.dhcp else "no"),
        ("addresses", info.ip),
        ("subnets", info.subnet),
        ("gateways", info.gateway),
        ("dns", info.dns),
    ]
    found = pairs if status == uapi.HV_S_OK else None
    return Exchange(uapi.KVP_OP_GET_IP_INFO, 0, adapter, status, info.ip, found)


def set_ip_info(host: SimulatedHost, info: HostIpInfo) -> Exchange:
    """SET_IP_INFO."""
    return Exchange(uapi.KVP_OP_SET_IP_INFO, 0, info.adapter, host.set_ip_info(info))
