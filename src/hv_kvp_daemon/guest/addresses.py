# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The values of NetworkAddressIPv4 and NetworkAddressIPv6.

A value is the addresses of all interfaces except the loopback and those that the
administrator excludes, joined by ``;`` without one at the end, without scope ids, in the
kernel's order, which is that of getifaddrs and so of the C daemon.  A value holds whole
addresses only, as many as the host's field can hold.  If some do not fit, interfaces with
a default route come first, because the host can reach their addresses; if the routes
cannot be read, the order stays.

The addresses are read again only if the kernel has sent a notification since the
last time, which is looked up when they are asked for.
"""

from __future__ import annotations

import _socket

from hv_kvp_daemon.wire.text import HOST_MAX_VALUE, fitting

from . import rtnetlink
from .pattern import matches
from .routes import default_interfaces

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Sequence
    from typing import Any, TypeAlias

    from hv_kvp_daemon.wire.rtnetlink import Link

    #: Interface index and text of each address, by family, in the kernel's order.
    Found: TypeAlias = dict[int, list[tuple[int, str]]]


class MissingModuleError(Exception):
    """The source cannot be used without a module; the text names packages that have it."""


class AddressSource:
    """Both values, cached until the kernel's next notification.

    ``read`` gets the addresses from the system.

    :raises OSError: there is no socket for notifications.
    """

    __slots__ = ("_notice", "_read", "_values")

    def __init__(self, read: Callable[[], Found]) -> None:
        self._read = read
        self._notice = rtnetlink.ChangeNotice()
        self._values: tuple[bytes, bytes] | None = None

    def values(self) -> tuple[bytes, bytes]:
        """Return the IPv4 and the IPv6 value: at most 1022 bytes of ASCII, or ``b""``.

        While nothing has changed, this is the same tuple.

        :raises OSError: the addresses cannot be read; the next call tries again.
        """
        if self._notice.has_changed():
            self._values = None
        if self._values is None:
            self._values = self._read_values()
        return self._values

    def invalidate(self) -> None:
        """Discard the cached values."""
        self._values = None

    def close(self) -> None:
        """Close the notification socket."""
        self._notice.close()

    def _read_values(self) -> tuple[bytes, bytes]:
        found = self._read()
        values = {family: ";".join(text for _, text in found[family]) for family in found}
        long = [family for family, value in values.items() if len(value) > HOST_MAX_VALUE]
        if long:
            candidates = {index for family in long for index, _ in found[family]}
            try:
                # From now on a change of a route may change the values.
                self._notice.watch_routes()
                first = default_interfaces(candidates)
            except OSError:
                first = set()  # the kernel's order is no worse than no address
            values.update((family, cut(found[family], first)) for family in long)
        return values[_socket.AF_INET].encode("ascii"), values[_socket.AF_INET6].encode("ascii")


def address_source(name: str, exclude: Sequence[str] = ()) -> AddressSource:
    """Return the source that ``--addresses`` names: ``rtnetlink`` or ``getifaddrs``.

    The addresses of interfaces whose name fits one of the patterns in ``exclude`` are left
    out, see `guest.pattern`.

    :raises MissingModuleError: getifaddrs is meant, and netifaces is not installed.
    :raises OSError: there is no socket for notifications.
    """
    if name != "getifaddrs":
        return AddressSource(lambda: read_rtnetlink(exclude))
    # Not at the first request; and the default source does without the module.
    try:
        from netifaces import ifaddresses  # noqa: PLC0415
    except ImportError as error:
        raise MissingModuleError(
            "--addresses getifaddrs needs the Python module netifaces, which is in the package"
            f" netifaces-plus (pip) or python3-netifaces (Debian): {error}"
        ) from error
    return AddressSource(lambda: read_getifaddrs(ifaddresses, exclude))


def _is_shown(link: Link, exclude: Sequence[str]) -> bool:
    return not link.loopback and not any(matches(pattern, link.name) for pattern in exclude)


def read_rtnetlink(exclude: Sequence[str] = ()) -> Found:
    """Return the addresses in two rtnetlink dumps.

    Addresses whose duplicate address detection is not finished (tentative) or has
    failed are left out: the guest cannot be reached by them.

    :raises OSError: a dump fails.
    """
    shown = {link.index for link in rtnetlink.links() if _is_shown(link, exclude)}
    found: Found = {_socket.AF_INET: [], _socket.AF_INET6: []}
    for address in rtnetlink.addresses():
        if address.usable and address.index in shown:
            text = _socket.inet_ntop(address.family, address.address)
            found[address.family].append((address.index, text))
    return found


def read_getifaddrs(ifaddresses: Callable[[str], Any], exclude: Sequence[str] = ()) -> Found:
    """Return the addresses that getifaddrs gives, as in the C daemon, by way of netifaces.

    They include tentative and failed addresses, because getifaddrs has no flags for
    them.  netifaces calls getifaddrs for each interface, so the time grows with the
    square of their number: 2 s for 500.

    :raises OSError: a dump of the interfaces or their labels fails.
    """
    # To getifaddrs an IPv4 label such as eth0:1 is an interface of its own.
    labels: dict[int, dict[str, None]] = {}
    for address in rtnetlink.addresses():
        labels.setdefault(address.index, {})[address.label] = None
    found: Found = {_socket.AF_INET: [], _socket.AF_INET6: []}
    for link in rtnetlink.links():
        aliases = [
            label for label in labels.get(link.index, ()) if label not in ("", link.name)
        ]
        for name in (link.name, *aliases) if _is_shown(link, exclude) else ():
            try:
                rows = ifaddresses(name)
            except ValueError:
                continue  # the interface has gone since the dump
            for family, pairs in found.items():
                for row in rows.get(family, ()):
                    pairs.append((link.index, row["addr"].partition("%")[0]))
    return found


def cut(pairs: Iterable[tuple[int, str]], first: Container[int]) -> str:
    """Join the addresses that fit, those of the interfaces in ``first`` before the rest.

    Otherwise the order stays.  The first address that does not fit ends the text.
    """
    texts = [text for _, text in sorted(pairs, key=lambda pair: pair[0] not in first)]
    return ";".join(texts[: fitting(texts, HOST_MAX_VALUE)])
