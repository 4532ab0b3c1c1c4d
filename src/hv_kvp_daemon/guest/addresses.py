"""The values of NetworkAddressIPv4 and NetworkAddressIPv6.

A value is the addresses of all interfaces except the loopback, joined by ``;``
without one at the end, without scope ids, in the kernel's order, which is that of
getifaddrs and so of the C daemon.  A value holds whole addresses only, as many as
the host's field can hold.  If some do not fit, interfaces with a default route come
first, because the host can reach their addresses.

The addresses are read again only if the kernel has sent a notification since the
last time, which is looked up when they are asked for.
"""

from __future__ import annotations

import _socket
import errno
import fcntl
import os
import struct

from hv_kvp_daemon.wire.text import HOST_MAX_VALUE
from hv_kvp_daemon.wire.uapi import IFF_LOOPBACK, SIOCGIFFLAGS

from . import rtnetlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable
    from typing import Final, TypeAlias

    #: Interface index and text of each address, by family, in the kernel's order.
    Found: TypeAlias = dict[int, list[tuple[int, str]]]

# struct ifreq: a name, then a union of 24 bytes (16 on 32-bit), here ifr_flags.
_IFREQ_FLAGS: Final = struct.Struct("=16sH22x")


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
        """Return the IPv4 and the IPv6 value, each at most 1022 bytes of ASCII.

        ``b""`` stands for no address.  While nothing has changed, this is the same
        tuple.

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
            # From now on the routes decide, too, so a change of them is one of the values.
            self._notice.watch_routes()
            first = default_interfaces()
            values.update((family, cut(found[family], first)) for family in long)
        return values[_socket.AF_INET].encode("ascii"), values[_socket.AF_INET6].encode("ascii")


class RtnetlinkAddresses(AddressSource):
    """The addresses in two rtnetlink dumps.

    Addresses whose duplicate address detection is not finished (tentative) or has
    failed are left out: the guest cannot be reached by them.
    """

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(_read_rtnetlink)


class GetifaddrsAddresses(AddressSource):
    """The addresses that getifaddrs gives, by way of netifaces, as in the C daemon.

    They include tentative and failed addresses, because getifaddrs has no flags for
    them.  netifaces calls getifaddrs for each interface, so the time grows with the
    square of their number: 2 s for 500.  Notifications and routes come from rtnetlink.

    :raises OSError: there is no socket for notifications.
    :raises ImportError: netifaces is not installed.
    """

    __slots__ = ("_ifaddresses",)

    def __init__(self) -> None:
        # The default source does without netifaces.
        from netifaces import ifaddresses  # noqa: PLC0415

        self._ifaddresses = ifaddresses
        super().__init__(self._read_getifaddrs)

    def _read_getifaddrs(self) -> Found:
        found: Found = {_socket.AF_INET: [], _socket.AF_INET6: []}
        for index, name in self._names():
            try:
                rows = self._ifaddresses(name)
            except ValueError:
                continue  # the interface has gone since the names were read
            for family, pairs in found.items():
                for row in rows.get(family, ()):
                    pairs.append((index, row["addr"].partition("%")[0]))
        return found

    def _names(self) -> list[tuple[int, str]]:
        """Return index and name of each interface but the loopback, followed by its labels.

        To getifaddrs an IPv4 label such as ``eth0:1`` is an interface of its own, which
        if_nameindex does not list.
        """
        labels: dict[int, dict[str, None]] = {}
        for address in rtnetlink.addresses():
            labels.setdefault(address.index, {})[address.label] = None
        names = []
        for index, name in _socket.if_nameindex():
            if not self._is_loopback(name):
                aliases = [label for label in labels.get(index, ()) if label not in ("", name)]
                names += [(index, each) for each in (name, *aliases)]
        return names

    def _is_loopback(self, name: str) -> bool:
        # This ioctl works on a socket of any family.
        request = _IFREQ_FLAGS.pack(os.fsencode(name), 0)
        try:
            _, flags = _IFREQ_FLAGS.unpack(fcntl.ioctl(self._notice, SIOCGIFFLAGS, request))
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise
            return False  # gone; netifaces will find the same
        return bool(flags & IFF_LOOPBACK)


def _read_rtnetlink() -> Found:
    loopback = {link.index for link in rtnetlink.links() if link.loopback}
    found: Found = {_socket.AF_INET: [], _socket.AF_INET6: []}
    for address in rtnetlink.addresses():
        if address.usable and address.index not in loopback:
            text = _socket.inet_ntop(address.family, address.address)
            found[address.family].append((address.index, text))
    return found


def default_interfaces() -> set[int]:
    """Return the indexes of the interfaces that default routes of the main table use.

    Both families count, and each next hop of a multipath route.

    :raises OSError: the routes cannot be read.
    """
    return {hop.index for route in rtnetlink.default_routes() for hop in route.hops}


def cut(pairs: Iterable[tuple[int, str]], first: Container[int]) -> str:
    """Join the addresses that fit, those of the interfaces in ``first`` before the rest.

    Otherwise the order stays.  The first address that does not fit ends the text.
    """
    ordered = sorted(pairs, key=lambda pair: pair[0] not in first)
    length = -1
    for count, (_, text) in enumerate(ordered):
        length += 1 + len(text)
        if length > HOST_MAX_VALUE:
            del ordered[count:]
            break
    return ";".join(text for _, text in ordered)
