"""The values of NetworkAddressIPv4 and NetworkAddressIPv6.

In: the addresses of all interfaces, by rtnetlink or by getifaddrs.  Out: text as
the host shows it: ``;`` between addresses, none at the end, no scope id.
Rules: no loopback; the kernel's order, which is that of getifaddrs and so of the
C daemon; whole addresses only, no more than the host's field holds.  Where not
all fit, interfaces with a default route come first, as theirs are the addresses
that the host can reach.

A value is read once and kept until the kernel says that something changed.
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
    """Both values, each kept until an event; ``read`` gets the addresses.

    The service polls `fileno` and calls `drain` before it answers, so that an
    answer is never older than the events before it.

    :raises OSError: there is no socket for the kernel's events.
    """

    __slots__ = ("_events", "_kept", "_read")

    def __init__(self, read: Callable[[], Found]) -> None:
        self._read = read
        self._events = rtnetlink.RtEvents()
        self._kept: dict[int, bytes] = {}

    def fileno(self) -> int:
        """Return the descriptor that is readable when addresses may have changed."""
        return self._events.fileno()

    def drain(self) -> bool:
        """Read all events; True: addresses may have changed, what was kept is forgotten.

        :raises OSError: the event socket is unusable.
        """
        changed = self._events.drain()
        if changed:
            self._kept.clear()
        return changed

    def ipv4(self) -> bytes:
        """Return all IPv4 addresses, at most 1022 characters of ASCII, ``b""`` for none.

        :raises OSError: they cannot be read now; nothing is kept, so the next
            call tries again.
        """
        return self._value(_socket.AF_INET)

    def ipv6(self) -> bytes:
        """Return all IPv6 addresses, link-local ones as well; otherwise as `ipv4`.

        :raises OSError: as `ipv4`.
        """
        return self._value(_socket.AF_INET6)

    def invalidate(self) -> None:
        """Forget what was kept."""
        self._kept.clear()

    def close(self) -> None:
        """Close the event socket."""
        self._events.close()

    def _value(self, family: int) -> bytes:
        if family not in self._kept:
            self._kept = self._values()
        return self._kept[family]

    def _values(self) -> dict[int, bytes]:
        found = self._read()
        values = {key: ";".join(text for _, text in pairs) for key, pairs in found.items()}
        long = [key for key, value in values.items() if len(value) > HOST_MAX_VALUE]
        if long:
            # From here on routes decide as well, so a change of one is an event, too.
            self._events.watch_routes()
            first = default_interfaces()
            values.update((key, cut(found[key], first)) for key in long)
        return {key: value.encode("ascii") for key, value in values.items()}


class RtnetlinkAddresses(AddressSource):
    """The addresses that two rtnetlink dumps give.

    Left out are those for which duplicate address detection is not done yet
    (tentative) or has failed: nobody can reach the guest by them.
    """

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(_read_rtnetlink)


class GetifaddrsAddresses(AddressSource):
    """The addresses that getifaddrs gives, by netifaces: those of the C daemon.

    Tentative and failed addresses are among them, as getifaddrs does not tell.
    Each interface costs one getifaddrs of all, so many of them cost their square:
    2 s for 500.  Events and routes come by rtnetlink here, too.

    :raises OSError: there is no socket for the kernel's events.
    :raises ImportError: netifaces is not installed.
    """

    __slots__ = ("_ifaddresses",)

    def __init__(self) -> None:
        # Only who asks for this class needs the module.
        from netifaces import ifaddresses  # noqa: PLC0415

        self._ifaddresses = ifaddresses
        super().__init__(self._read_getifaddrs)

    def _read_getifaddrs(self) -> Found:
        found: Found = {_socket.AF_INET: [], _socket.AF_INET6: []}
        for index, name in self._names():
            try:
                rows = self._ifaddresses(name)
            except ValueError:
                continue  # gone since the names were read
            for family, pairs in found.items():
                for row in rows.get(family, ()):
                    pairs.append((index, row["addr"].partition("%")[0]))
        return found

    def _names(self) -> list[tuple[int, str]]:
        """Return index and name of all but loopback, each with its IPv4 labels behind it.

        To getifaddrs a label such as ``b0:1`` is a name of its own, of which
        if_nameindex does not know.
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
        # A socket of any family answers this, so the one for events does.
        request = _IFREQ_FLAGS.pack(os.fsencode(name), 0)
        try:
            _, flags = _IFREQ_FLAGS.unpack(fcntl.ioctl(self, SIOCGIFFLAGS, request))
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise
            return False  # gone; netifaces will say the same
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
    """Return the indexes of the interfaces that a default route of the main table uses.

    Of either family, and each next hop of a multipath route.

    :raises OSError: the routes cannot be read.
    """
    return {hop.index for route in rtnetlink.routes() if route.default for hop in route.hops}


def cut(pairs: Iterable[tuple[int, str]], first: Container[int]) -> str:
    """Join the addresses that fit, those of the interfaces in ``first`` before the rest.

    Order is otherwise kept, and the first address that does not fit ends the text.
    """
    ordered = sorted(pairs, key=lambda pair: pair[0] not in first)
    length = -1
    for count, (_, text) in enumerate(ordered):
        length += 1 + len(text)
        if length > HOST_MAX_VALUE:
            del ordered[count:]
            break
    return ";".join(text for _, text in ordered)
