# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The settings that a host asks for with SET_IP_INFO, parsed from its text.

The administrator of the host has written that text, and Hyper-V checks it hardly at all.
So a request is turned into address objects here, before anything is changed, and whatever
writes a file or starts a program gets those objects.  Text of any other form is refused as a
whole with HV_INVALIDARG.

Only the families that ``addr_family`` names are changed.  Scripts on hosts often send back
what GET_IP_INFO has answered, with some fields changed.  So what does not apply is left out,
not refused: gateways and servers of a family that is not changed, the leased addresses
beside DHCP, and link-local IPv6 addresses, which the kernel makes itself.  IPv6 masks come
as ``64``, from Hyper-V, or ``/64``, from GET_IP_INFO.

The resident daemon does not import this module: `ipaddress` and what it imports cost 0.7 MiB
and 7 ms (measured), and requests of this kind are rare.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from hv_kvp_daemon.wire.uapi import (
    ADDR_FAMILY_IPV4,
    ADDR_FAMILY_IPV6,
    ADDR_FAMILY_NONE,
    HV_INVALIDARG,
    MAX_GATEWAY_SIZE,
    MAX_IP_ADDR_SIZE,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import TypeAlias, TypeVar

    from hv_kvp_daemon.wire.ipinfo import IpInfo

    Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
    #: An address with the length of its subnet's prefix.
    Interface: TypeAlias = ipaddress.IPv4Interface | ipaddress.IPv6Interface
    Value = TypeVar("Value", bound=Address | Interface)

# Characters of a host's text that a message shows; the longest address has 45.
_SHOWN: Final = 60


class RequestError(Exception):
    """A request that is not carried out; ``status`` is the reply, the text the reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Family(NamedTuple):
    """The settings of one address family, in the order in which the host gave them.

    ``automatic`` means DHCP for IPv4, and router advertisements for IPv6.  The lists are
    empty then.  Otherwise there is at least one address.
    """

    automatic: bool
    addresses: tuple[Interface, ...] = ()
    gateways: tuple[Address, ...] = ()
    dns: tuple[Address, ...] = ()

    def is_on_link(self, gateway: Address) -> bool:
        """Whether a gateway is in one of the subnets, or link-local."""
        return gateway.is_link_local or any(gateway in each.network for each in self.addresses)


class Settings(NamedTuple):
    """The settings of an adapter; a family that is None stays as it is."""

    ipv4: Family | None
    ipv6: Family | None

    def changed(self) -> dict[int, Family]:
        """Return the settings of each family that is changed, by its IP version."""
        both = (4, self.ipv4), (6, self.ipv6)
        return {version: family for version, family in both if family is not None}

    def __str__(self) -> str:
        texts = []
        for version, family in self.changed().items():
            if family.automatic:
                texts.append("DHCP" if version == 4 else "IPv6 router advertisements")
            else:
                texts.append(", ".join(map(str, family.addresses)))
            texts += [f"gateway {gateway}" for gateway in family.gateways]
            texts += [f"DNS {server}" for server in family.dns]
        return ", ".join(texts)

    def over(self, former: Settings | None) -> Settings:
        """Return these settings, and what the host has set before for the other family."""
        if former is None:
            return self
        return Settings(self.ipv4 or former.ipv4, self.ipv6 or former.ipv6)


AUTOMATIC: Final = Family(automatic=True)


def parse(info: IpInfo, note: Callable[[str], None]) -> Settings:
    """Return the settings of a request; ``note`` gets a line for what is left out.

    :raises RequestError: HV_INVALIDARG, the request has no such meaning.
    """
    if info.addr_family & ~(ADDR_FAMILY_IPV4 | ADDR_FAMILY_IPV6):
        raise _invalid(f"address family {info.addr_family}; it is 0 to 3")
    if info.dhcp_enabled not in {0, 1}:
        raise _invalid(f"DHCP {info.dhcp_enabled}; it is 0 or 1")
    addresses = _interfaces(info, note)
    gateways = _addresses("gateway", _items("gateways", info.gate_way, MAX_GATEWAY_SIZE))
    dns = _servers(info, note)
    automatic = _automatic(info, {each.version for each in addresses})
    settings = Settings(
        *(
            _family(version, automatic.get(version), addresses, gateways, dns)
            for version in (4, 6)
        )
    )
    taken = [each for family in settings.changed().values() for each in _values(family)]
    for what, values in ("address", addresses), ("gateway", gateways), ("DNS server", dns):
        for value in values:
            if value not in taken:
                note(f"the {what} {value} is left out: IPv{value.version} has no use for it")
    return settings


def _automatic(info: IpInfo, versions: set[int]) -> dict[int, bool]:
    """Return which IP versions are changed, and whether each becomes automatic.

    ``versions`` are those of which the request has addresses.
    """
    family, dhcp = info.addr_family, bool(info.dhcp_enabled)
    if family == ADDR_FAMILY_NONE:
        # What the request says anything about; a host that has nothing set sends DHCP alone.
        named = versions | ({4} if dhcp else set()) | ({6} if dhcp and not versions else set())
    else:
        both = (4, ADDR_FAMILY_IPV4), (6, ADDR_FAMILY_IPV6)
        named = {version for version, bit in both if family & bit}
    if not dhcp:
        if 4 in named and 4 not in versions:
            raise _invalid("DHCP is off, and there is no IPv4 address")
        if not named or (named == {6} and 6 not in versions):
            raise _invalid("DHCP is off, and there is no address")
    # dhcp_enabled is about IPv4: Hyper-V sets it for a request of IPv6 addresses alone.
    return {each: dhcp if each == 4 else each not in versions for each in named}


def _family(
    version: int,
    automatic: bool | None,
    addresses: list[Interface],
    gateways: list[Address],
    dns: list[Address],
) -> Family | None:
    if automatic is None:
        return None
    if automatic:
        return AUTOMATIC
    own = _once(addresses, version)
    return _consistent(Family(False, own, _once(gateways, version), _once(dns, version)))


def _consistent(family: Family) -> Family:
    """Return the static settings of a family, of which no gateway is the guest itself."""
    for gateway in family.gateways:
        if any(gateway == each.ip for each in family.addresses):
            raise _invalid(f"the gateway {gateway} is an address of the adapter itself")
    return family


def _once(values: Iterable[Value], version: int) -> tuple[Value, ...]:
    return tuple(dict.fromkeys(value for value in values if value.version == version))


def _values(family: Family) -> tuple[Address | Interface, ...]:
    return (*family.addresses, *family.gateways, *family.dns)


def _interfaces(info: IpInfo, note: Callable[[str], None]) -> list[Interface]:
    texts = _items("addresses", info.ip_addr, MAX_IP_ADDR_SIZE)
    masks = _items("subnets", info.sub_net, MAX_IP_ADDR_SIZE)
    if len(texts) != len(masks):
        raise _invalid(f"{len(texts)} addresses and {len(masks)} subnets")
    found = []
    for text, mask in zip(texts, masks, strict=True):
        address = _address("address", text)
        length = (_ipv4_length if address.version == 4 else _ipv6_length)(mask)
        if address.version == 6 and address.is_link_local:
            note(f"the address {address} is left out: it is link-local")
            continue
        found.append(_interface(address, length))
    return found


def _interface(address: Address, length: int) -> Interface:
    """Return an address in its subnet, of which it is one for a host."""
    interface = ipaddress.ip_interface((address, length))
    network = interface.network
    if address.version == 4 and length < 31:
        for what, reserved in (
            ("network", network.network_address),
            ("broadcast", network.broadcast_address),
        ):
            if address == reserved:
                raise _invalid(f"{interface} is the {what} address of its subnet")
    return interface


def _servers(info: IpInfo, note: Callable[[str], None]) -> list[Address]:
    found = []
    for text in _items("DNS servers", info.dns_addr, MAX_IP_ADDR_SIZE):
        address = _without_zone("DNS server", text)
        if address.is_loopback:
            # A stub or cache on the guest, which GET_IP_INFO answers where it knows no more.
            note(f"the DNS server {address} is left out: it is the guest itself")
            continue
        found.append(_usable("DNS server", address))
    return found


def _addresses(what: str, texts: list[str]) -> list[Address]:
    return [_usable(what, _without_zone(what, text)) for text in texts]


def _items(what: str, raw: bytes, size: int) -> list[str]:
    """Return the items of a list without blanks around them, and without empty ones.

    ``size`` is the number of bytes at which the driver cuts the list.
    """
    if len(raw) >= size:
        raise _invalid(f"{what}: {len(raw)} bytes, which the driver may have cut")
    try:
        text = raw.decode("ascii")
    except UnicodeDecodeError as error:
        raise _invalid(f"{what}: byte {raw[error.start]} is not ASCII") from error
    return [item for item in (each.strip(" ") for each in text.split(";")) if item]


def _without_zone(what: str, text: str) -> Address:
    """Parse an address, which may have a zone if it is link-local: the host's own index."""
    bare, percent, zone = text.partition("%")
    address = _parsed(what, bare)
    if percent and not (zone.isalnum() and address.is_link_local and address.version == 6):
        raise _invalid(f"{what} {_shown(text)} is not an address")
    return address


def _address(what: str, text: str) -> Address:
    if "%" in text:
        raise _invalid(f"{what} {_shown(text)} is not an address")
    return _usable(what, _parsed(what, text))


def _parsed(what: str, text: str) -> Address:
    try:
        return ipaddress.ip_address(text)
    except ValueError as error:
        raise _invalid(f"{what} {_shown(text)} is not an address") from error


def _usable(what: str, address: Address) -> Address:
    """Return an address that a host on a network can have."""
    if isinstance(address, ipaddress.IPv4Address):
        # 0.0.0.0/8 and 127.0.0.0/8; multicast, and 240.0.0.0/4, which the kernel refuses.
        is_usable = address.packed[0] not in {0, 127} and address.packed[0] < 224
    else:
        is_usable = not (
            address.is_unspecified
            or address.is_loopback
            or address.is_multicast
            or address.ipv4_mapped is not None
        )
    if not is_usable:
        raise _invalid(f"{what} {address} is no address of a host")
    return address


def _ipv4_length(mask: str) -> int:
    """Return the prefix length of ``255.255.255.0``."""
    try:
        bits = int(ipaddress.IPv4Address(mask))
    except ValueError as error:
        raise _invalid(f"subnet {_shown(mask)} is not an IPv4 mask") from error
    length = f"{bits:032b}".find("0") if bits != 0xFFFFFFFF else 32
    if length == 0 or bits != (0xFFFFFFFF << (32 - length)) & 0xFFFFFFFF:
        raise _invalid(f"subnet {_shown(mask)} is not an IPv4 mask")
    return length


def _ipv6_length(mask: str) -> int:
    """Return the prefix length of ``64`` or ``/64``."""
    digits = mask.removeprefix("/")
    if digits not in _IPV6_LENGTHS:
        raise _invalid(f"subnet {_shown(mask)} is not an IPv6 prefix length")
    return int(digits)


_IPV6_LENGTHS: Final = frozenset(str(length) for length in range(1, 129))


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")


def _invalid(reason: str) -> RequestError:
    return RequestError(HV_INVALIDARG, reason)


def to_document(settings: Settings) -> dict[str, object]:
    """Return settings as JSON has them, for `from_document`."""
    return {
        name: None
        if family is None
        else {
            "automatic": family.automatic,
            "addresses": [*map(str, family.addresses)],
            "gateways": [*map(str, family.gateways)],
            "dns": [*map(str, family.dns)],
        }
        for name, family in settings._asdict().items()
    }


def from_document(document: dict[str, Any]) -> Settings:
    """Return the settings in a document of `to_document`, in which anything may be.

    :raises ValueError, KeyError, TypeError: it is another document, or has settings that
        `parse` would not return.
    """
    try:
        return Settings(
            *(
                None if document[name] is None else _from_document(document[name], version)
                for name, version in (("ipv4", 4), ("ipv6", 6))
            )
        )
    except RequestError as error:
        raise ValueError(str(error)) from error


def _from_document(document: dict[str, Any], version: int) -> Family:
    addresses = [_canonical_interface(text) for text in document["addresses"]]
    gateways, dns = ([*map(_canonical, document[name])] for name in ("gateways", "dns"))
    lists = _once(addresses, version), _once(gateways, version), _once(dns, version)
    made = Family(document["automatic"], *lists)
    if len(_values(made)) != len(addresses) + len(gateways) + len(dns):
        raise _invalid(f"repeated, or not of IPv{version}")
    if made.automatic is True and made == AUTOMATIC:
        return AUTOMATIC
    if made.automatic is not False or not addresses:
        raise _invalid("neither automatic nor with an address")
    return _consistent(made)


def _canonical(text: str) -> Address:
    """Return the address of a text that this module has written."""
    address = _address("address", text)
    if str(address) != text:
        raise _invalid(f"{_shown(text)} is written in another way")
    return address


def _canonical_interface(text: str) -> Interface:
    address, _, length = text.partition("/")
    interface = _interface(_canonical(address), int(length))
    if str(interface) != text or not interface.network.prefixlen:
        raise _invalid(f"{_shown(text)} is written in another way")
    return interface
