"""Addresses of DNS servers in other programs' texts.

In: resolv.conf(5), and lists as systemd, NetworkManager and scripts write them.
Out: literal addresses in inet_ntop's form, each once, in their order.
Rule: what is no literal address is left out.  One such word, and the host drops
the whole answer.
"""

from __future__ import annotations

from _socket import inet_ntop, inet_pton

from hv_kvp_daemon.wire.uapi import AF_INET, AF_INET6

from .files import read_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def literal(word: str, interface: str = "") -> str | None:
    """Return the address in ``192.0.2.1:53#name`` or ``[fe80::1]:53%eth0``, or None.

    systemd writes ``ADDRESS[:PORT][%INTERFACE][#NAME]``, IPv6 with a port in
    brackets.  With ``interface``, an address that is said to be reached by
    another one is None.
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
    """Return the addresses among words, as `literal` reads them."""
    found = dict.fromkeys(literal(word, interface) for word in words)
    return [address for address in found if address is not None]


def is_local(address: str) -> bool:
    """Whether a server is on this machine: a stub or a cache, which asks others."""
    return address == "::1" or address.startswith("127.")


def nameservers(root: str, path: str, interface: str = "") -> list[str]:
    """Return the servers in a resolv.conf(5) below ``root``; none if there is no file."""
    words = []
    for line in (read_text(root, path) or "").splitlines():
        fields = line.split()
        if len(fields) > 1 and fields[0] == "nameserver":
            words.append(fields[1])
    return literals(words, interface)
