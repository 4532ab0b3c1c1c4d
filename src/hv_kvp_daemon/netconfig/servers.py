"""Addresses of DNS servers in resolv.conf(5) and in lists of other programs.

Each address is returned once, in order, in inet_ntop's form.  Words that are not
literal addresses are left out: a host discards the whole answer for one of them.
"""

from __future__ import annotations

from _socket import inet_ntop, inet_pton

from hv_kvp_daemon.guest.files import read_text
from hv_kvp_daemon.wire.uapi import AF_INET, AF_INET6

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def literal(word: str, interface: str = "") -> str | None:
    """Return the address in ``192.0.2.1:53#name`` or ``[fe80::1]:53%eth0``, or None.

    systemd writes ``ADDRESS[:PORT][%INTERFACE][#NAME]``, with brackets around an IPv6
    address that has a port.  An address with the scope of another interface than
    ``interface`` is None.
    """
    address = word.partition("#")[0]
    address, percent, scope = address.partition("%")
    if percent and interface and scope not in ("", interface):
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


def literals(words: Iterable[str], interface: str = "") -> list[str]:
    """Return the addresses among words, see `literal`."""
    found = dict.fromkeys(literal(word, interface) for word in words)
    return [address for address in found if address is not None]


def is_local(address: str) -> bool:
    """Return whether a server is on this machine: a stub or a cache, which asks others."""
    return address == "::1" or address.startswith("127.")


def nameservers(root: str, path: str, interface: str = "") -> list[str]:
    """Return the servers in a resolv.conf(5) below ``root``; none if there is no file."""
    words = []
    for line in (read_text(root, path) or "").splitlines():
        fields = line.split()
        if len(fields) > 1 and fields[0] == "nameserver":
            words.append(fields[1])
    return literals(words, interface)
