# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Settings for the kernel itself, where no program manages the interface.

They are applied over rtnetlink, by pyroute2, in the process that carries the request out;
the daemon never imports that.  The kernel forgets them at a reboot, so they are also in a
file of their own, and the daemon has them applied again when it starts (`apply.renew`).

What the kernel had before the first request is in a second file, in /run: it is what
`DirectWriter.revert` restores, and a reboot makes it meaningless.

There is no DHCP client here, so DHCP over IPv4 is refused.  IPv6 becomes automatic when no
address is set: the kernel listens to router advertisements by itself.  DNS servers go to
/etc/resolv.conf, where no program keeps that (see `resolv_conf`).
"""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING, Any, Final

from hv_kvp_daemon.guest.files import below, read_text
from hv_kvp_daemon.wire.uapi import (
    IFA_F_PERMANENT,
    RT_SCOPE_LINK,
    RT_TABLE_MAIN,
)

from . import atomic, resolv_conf
from .atomic import Content
from .settings import AUTOMATIC, Family
from .writer import File, Writer, WriterError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyroute2 import IPRoute

    from .settings import Settings

_DIRECTORY: Final = "/var/lib/hv-kvp-daemon/direct"
_FAMILIES: Final = {4: socket.AF_INET, 6: socket.AF_INET6}
_DEFAULTS: Final = {4: "0.0.0.0/0", 6: "::/0"}

# The metric of the first gateway is the kernel's default, and that of a second and further
# one is above it, so that the host's order stays.
_METRICS: Final = {4: 0, 6: 1024}
_METRIC: Final = 2048

# rtnetlink(7), rtm_protocol: routes that the kernel makes itself, of addresses and of router
# advertisements.
_KERNEL: Final = frozenset({2, 9})


class DirectWriter(Writer):
    """The writer for the kernel alone."""

    @property
    def path(self) -> str:
        """The file from which the settings are applied again."""
        return f"{_DIRECTORY}/{self.target.name}"

    @property
    def before(self) -> str:
        """The file with what there was before the first request since the boot."""
        return f"/run/hv-kvp-direct-{self.target.name}"

    def is_running(self) -> bool:
        return True

    def files(self, settings: Settings) -> list[File]:
        if settings.ipv4 is not None and settings.ipv4.automatic:
            raise WriterError("no network manager has it, so nothing would ask for a lease")
        text = self._text(settings.changed())
        return [File(self.path, text), *resolv_conf.files(self, settings)]

    def activate(self, settings: Settings) -> None:
        with _route() as ip:
            index = _index(ip, self.target.name)
            if read_text(self.root, self.before) is None:
                text = self._text({version: _present(ip, index, version) for version in (4, 6)})
                atomic.put(below(self.root, self.before), Content(text, 0o600))
            _configure(ip, index, settings.changed())

    def revert(self) -> None:
        former = read_text(self.root, self.path)
        before = read_text(self.root, self.before)
        if former is None and before is None:
            return  # It has not come to `activate`.
        with _route() as ip:
            index = _index(ip, self.target.name)
            _configure(ip, index, _families(before or "") | _families(former or ""))
        if former is None:
            atomic.put(below(self.root, self.before), None)

    def _text(self, families: dict[int, Family]) -> str:
        """Return families as text, for `_families`."""
        lines = [f"# {line}" for line in self.header()]
        for version, family in families.items():
            lines += ["", f"ipv{version} {'automatic' if family.automatic else 'static'}"]
            lines += [f"address {address}" for address in family.addresses]
            lines += [f"gateway {gateway}" for gateway in family.gateways]
        return "\n".join(lines) + "\n"


def _families(text: str) -> dict[int, Family]:
    found: dict[int, Family] = {}
    version = 0
    for line in text.splitlines():
        word, _, value = line.partition(" ")
        if word in {"ipv4", "ipv6"}:
            version = int(word[-1])
            found[version] = AUTOMATIC if value == "automatic" else Family(automatic=False)
        elif word == "address":
            more = (*found[version].addresses, ipaddress.ip_interface(value))
            found[version] = found[version]._replace(addresses=more)
        elif word == "gateway":
            gateways = (*found[version].gateways, ipaddress.ip_address(value))
            found[version] = found[version]._replace(gateways=gateways)
    return found


def _route() -> IPRoute:
    try:
        from pyroute2 import IPRoute  # noqa: PLC0415 - no other writer needs it
    except ImportError as error:
        raise WriterError("pyroute2 is not installed") from error
    return IPRoute()


def _index(ip: IPRoute, name: str) -> int:
    found: list[int] = ip.link_lookup(ifname=name)
    if not found:
        raise WriterError("the interface has gone")
    return found[0]


def _present(ip: IPRoute, index: int, version: int) -> Family:
    """Return what was set in the kernel, without what it makes itself."""
    addresses = [ipaddress.ip_interface(text) for text in _addresses(ip, index, version)]
    defaults = [route for route in _routes(ip, index, version) if not route["dst_len"]]
    defaults.sort(key=lambda route: route.get_attr("RTA_PRIORITY") or 0)
    gateways = [ipaddress.ip_address(gateway) for gateway in map(_gateway, defaults) if gateway]
    return Family(False, tuple(addresses), tuple(gateways))


def _configure(ip: IPRoute, index: int, families: dict[int, Family]) -> None:
    """Give an interface these settings; what already fits stays."""
    from pyroute2 import NetlinkError  # noqa: PLC0415 - as above

    try:
        ip.link("set", index=index, state="up")
        for version, family in families.items():
            former = _routes(ip, index, version)
            try:
                _set_addresses(ip, index, version, [*map(str, family.addresses)])
                _set_gateways(ip, index, version, family)
            finally:
                _set_again(ip, index, version, former)
    except NetlinkError as error:
        raise WriterError(f"the kernel refuses it: {error}") from error


def _set_addresses(ip: IPRoute, index: int, version: int, wanted: list[str]) -> None:
    former = _addresses(ip, index, version)
    if former == wanted:
        return
    # In another order, or with an address more, all are set again: the first IPv4 address of
    # a subnet is the primary one, and the others go with it.
    for text in former:
        _change(ip, "del", index, text)
    # The kernel lists the IPv6 address that was added last first.
    for text in wanted if version == 4 else reversed(wanted):
        _change(ip, "add", index, text)


def _change(ip: IPRoute, command: str, index: int, text: str) -> None:
    address, _, length = text.partition("/")
    there = {each.get_attr("IFA_ADDRESS") for each in ip.get_addr(index=index)}
    # A secondary address may have gone with its primary one.
    if command == "add" or address in there:
        ip.addr(command, index=index, address=address, prefixlen=int(length))


def _set_gateways(ip: IPRoute, index: int, version: int, family: Family) -> None:
    for route in _routes(ip, index, version):
        if not route["dst_len"]:
            ip.route("del", **_words(route, index, version))
    for number, gateway in enumerate(family.gateways):
        ip.route(
            "replace",
            family=_FAMILIES[version],
            dst=_DEFAULTS[version],
            gateway=str(gateway),
            oif=index,
            priority=_METRIC + number if number else _METRICS[version],
            flags=[] if family.is_on_link(gateway) else ["onlink"],
        )


def _set_again(ip: IPRoute, index: int, version: int, former: Iterable[Any]) -> None:
    """Set the routes that are no default; they may have gone with an address."""
    for route in former:
        if route["dst_len"]:
            words = _words(route, index, version)
            flags = {"flags": ["onlink"]} if "gateway" in words else {}
            ip.route("replace", **words, **flags)


def _words(route: Any, index: int, version: int) -> dict[str, Any]:
    """Return what tells a route from others, and its gateway."""
    destination = route.get_attr("RTA_DST")
    words: dict[str, Any] = {
        "family": _FAMILIES[version],
        "dst": f"{destination}/{route['dst_len']}" if destination else _DEFAULTS[version],
        "oif": index,
    }
    gateway, metric = _gateway(route), route.get_attr("RTA_PRIORITY")
    if gateway:
        words["gateway"] = gateway
    if metric:
        words["priority"] = metric
    return words


def _addresses(ip: IPRoute, index: int, version: int) -> list[str]:
    """Return the addresses that were set, in the kernel's order: not those of routers."""
    return [
        f"{each.get_attr('IFA_LOCAL') or each.get_attr('IFA_ADDRESS')}/{each['prefixlen']}"
        for each in ip.get_addr(index=index, family=_FAMILIES[version])
        if each["scope"] < RT_SCOPE_LINK
        and (version == 4 or (each.get_attr("IFA_FLAGS") or 0) & IFA_F_PERMANENT)
    ]


def _routes(ip: IPRoute, index: int, version: int) -> list[Any]:
    """Return the routes of the main table that were set."""
    return [
        route
        for route in ip.get_routes(family=_FAMILIES[version], table=RT_TABLE_MAIN, oif=index)
        if route["proto"] not in _KERNEL and route["type"] == 1
    ]


def _gateway(route: Any) -> str:
    return route.get_attr("RTA_GATEWAY") or ""
