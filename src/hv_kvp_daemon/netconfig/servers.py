# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Addresses of DNS servers in resolv.conf(5) and in lists of other programs.

Each address is returned once, in order, in inet_ntop's form.  Words that are not
literal addresses are left out: a host discards the whole answer for one of them.
"""

from __future__ import annotations

from _socket import if_nametoindex, inet_ntop, inet_pton

from hv_kvp_daemon.guest.files import read_text
from hv_kvp_daemon.wire.uapi import AF_INET, AF_INET6

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TypeAlias

    #: Name and index of the interface that is asked about; None: any scope will do.
    Scope: TypeAlias = tuple[str, int] | None


def literal(word: str, scope: Scope = None) -> str | None:
    """Return the address in ``192.0.2.1:53#name`` or ``[fe80::1]:53%eth0``, or None.

    systemd writes ``ADDRESS[:PORT][%INTERFACE][#NAME]``, with brackets around an IPv6
    address that has a port.  An address with the scope of another interface is None.
    """
    address = word.partition("#")[0]
    address, percent, zone = address.partition("%")
    if percent and scope is not None and not _is_of(zone, *scope):
        return None
    if address.startswith("["):
        address = address[1:].partition("]")[0]
    elif address.count(":") == 1:
        address = address.partition(":")[0]
    family = AF_INET6 if ":" in address else AF_INET
    try:
        return inet_ntop(family, inet_pton(family, address))
    except (OSError, ValueError):  # ValueError: a NUL or a surrogate in it
        return None


def _is_of(zone: str, name: str, index: int) -> bool:
    """Return whether a zone is that of an interface: its index, its name or another name."""
    if zone in ("", name, str(index)):
        return True
    try:
        return if_nametoindex(zone) == index
    except (OSError, ValueError):
        return False


def literals(words: Iterable[str], scope: Scope = None) -> list[str]:
    """Return the addresses among words, see `literal`."""
    found = dict.fromkeys(literal(word, scope) for word in words)
    return [address for address in found if address is not None]


def is_local(address: str) -> bool:
    """Return whether a server is on this machine: a stub or a cache, which asks others."""
    return address == "::1" or address.startswith("127.")


def nameservers(root: str, path: str, scope: Scope = None) -> list[str]:
    """Return the servers in a resolv.conf(5) below ``root``; none if there is no file."""
    words = []
    for line in (read_text(root, path) or "").splitlines():
        fields = line.split()
        if len(fields) > 1 and fields[0] == "nameserver":
            words.append(fields[1])
    return literals(words, scope)
