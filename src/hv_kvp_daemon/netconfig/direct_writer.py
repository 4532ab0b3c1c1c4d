# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Settings for the kernel itself, where no program manages the interface.

They are applied over rtnetlink, by pyroute2, in the process that carries the request out;
the daemon never imports that.  The kernel forgets them at a reboot, so they are also in a
file of their own, and the daemon has them applied again when it starts (`apply.renew`).

Two files in /run, which a reboot makes meaningless, are written before the kernel's tables
change:

- `DirectWriter.before` has the addresses and routes of a family before the host's first
  request.  `DirectWriter.revert` restores them.
- `DirectWriter.unfinished` has the routes that are no default.  They are not the host's to
  change, but the kernel removes some of them with the last address.  They are set again, and
  the file is removed.  Where a killed process has left it, the next change sets them.

There is no DHCP client here, so DHCP over IPv4 is refused.  IPv6 becomes automatic when no
address is set: the kernel listens to router advertisements by itself.  DNS servers go to
/etc/resolv.conf, where no program keeps that (see `resolv_conf`).
"""

from __future__ import annotations

import errno
import json
import socket
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from hv_kvp_daemon.guest.files import below, read_text
from hv_kvp_daemon.wire.uapi import (
    IFA_F_PERMANENT,
    RT_SCOPE_LINK,
    RT_TABLE_MAIN,
)

from . import atomic, resolv_conf
from .atomic import Content
from .settings import Settings, from_document, to_document
from .writer import METRIC, File, Writer, WriterError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TypeAlias

    from pyroute2 import IPRoute

    from .settings import Family

    #: A route in the words of `IPRoute.route`, without its interface.
    Route: TypeAlias = dict[str, Any]

_DIRECTORY: Final = "/var/lib/hv-kvp-daemon/direct"
_FAMILIES: Final = {4: socket.AF_INET, 6: socket.AF_INET6}
_DEFAULT: Final = "default"

# The kernel's default.
_METRICS: Final = {4: 0, 6: 1024}

# rtnetlink(7), rtm_protocol: routes that the kernel makes itself, of addresses and of router
# advertisements.
_KERNEL: Final = frozenset({2, 9})
# rtnetlink(7), rtm_type.
_UNICAST: Final = 1
# linux/rtnetlink.h; of the flags of a next hop the only one that is a setting.
_ONLINK: Final = 4


class _State(NamedTuple):
    """The addresses of one family, in the kernel's order, and its routes."""

    addresses: list[str]
    routes: list[Route]


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

    @property
    def unfinished(self) -> str:
        """The file with the routes that are to be set again when a change is complete."""
        return f"{self.before}.routes"

    def is_running(self) -> bool:
        return True

    def files(self, settings: Settings) -> list[File]:
        if settings.ipv4 is not None and settings.ipv4.automatic:
            raise WriterError("no network manager has it, so nothing would ask for a lease")
        header = self.comments()
        text = "\n".join([*header, json.dumps(to_document(settings)), ""])
        return [File(self.path, text), *resolv_conf.files(self, settings)]

    def activate(self, settings: Settings) -> None:
        with _route() as ip:
            index = _index(self.target.name)
            before = self._before()
            for version in settings.changed():
                before.setdefault(version, _present(ip, index, version))
            self._store(self.before, before)
            self._configure(ip, index, _wanted(settings))

    def revert(self) -> None:
        former, before = self._settings(), self._before()
        wanted = before | _wanted(former)
        if not wanted:
            return  # It has not come to `activate`.
        with _route() as ip:
            self._configure(ip, _index(self.target.name), wanted)
        changed = former.changed()
        left = {version: state for version, state in before.items() if version in changed}
        self._store(self.before, left)

    def _settings(self) -> Settings:
        text = read_text(self.root, self.path) or ""
        lines = [line for line in text.splitlines() if line[:1] != "#"]
        return from_document(json.loads("\n".join(lines))) if lines else Settings(None, None)

    def _before(self) -> dict[int, _State]:
        document = self._stored(self.before) or {}
        return {int(version): _State(*state) for version, state in document.items()}

    def _stored(self, path: str) -> Any:
        content = atomic.read(below(self.root, path))
        return json.loads(content.text) if content is not None else None

    def _store(self, path: str, document: dict[int, _State] | list[Route]) -> None:
        content = Content(json.dumps(document), 0o600) if document else None
        atomic.put(below(self.root, path), content)

    def _configure(self, ip: IPRoute, index: int, wanted: dict[int, _State]) -> None:
        """Give an interface these addresses and routes; what already fits stays."""
        from pyroute2 import NetlinkError  # noqa: PLC0415 - as in `_route`

        there = [route for version in wanted for route in _routes(ip, index, version)]
        stay = [route for route in there if route["dst"] != _DEFAULT]
        stay = _joined(stay, self._stored(self.unfinished) or [])
        self._store(self.unfinished, stay)
        try:
            ip.link("set", index=index, state="up")
            for route in there:
                if route["dst"] == _DEFAULT:
                    ip.route("del", oif=index, **route)
            for version, state in wanted.items():
                _set_addresses(ip, index, version, state.addresses)
            restored = [route for state in wanted.values() for route in state.routes]
            for route in _joined(stay, restored):
                _set_route(ip, index, route)
        except NetlinkError as error:
            raise WriterError(f"the kernel refuses it: {error}") from error
        self._store(self.unfinished, [])


def _wanted(settings: Settings) -> dict[int, _State]:
    return {
        version: _State([*map(str, family.addresses)], _defaults(version, family))
        for version, family in settings.changed().items()
    }


def _defaults(version: int, family: Family) -> list[Route]:
    """Return the default routes by the gateways of a family."""
    return [
        {
            "family": _FAMILIES[version],
            "dst": _DEFAULT,
            "gateway": str(gateway),
            "priority": METRIC + number if number else _METRICS[version],
        }
        for number, gateway in enumerate(family.gateways)
    ]


def _joined(routes: Iterable[Route], more: Iterable[Route]) -> list[Route]:
    """Return routes, of which the later one counts where the kernel can have only one."""
    names = "family", "dst", "tos", "priority"
    return [*{tuple(map(each.get, names)): each for each in (*routes, *more)}.values()]


def _route() -> IPRoute:
    try:
        from pyroute2 import IPRoute  # noqa: PLC0415 - no other writer needs it
    except ImportError as error:
        raise WriterError("pyroute2 is not installed") from error
    return IPRoute()


def _index(name: str) -> int:
    try:
        return socket.if_nametoindex(name)
    except OSError as error:
        raise WriterError("the interface has gone") from error


def _present(ip: IPRoute, index: int, version: int) -> _State:
    """Return what was set in the kernel, without what it makes itself."""
    return _State(_addresses(ip, index, version), _routes(ip, index, version))


def _set_addresses(ip: IPRoute, index: int, version: int, wanted: list[str]) -> None:
    former = _addresses(ip, index, version)
    if former == wanted:
        return
    # In another order, or with an address more, all are set again: the first IPv4 address of
    # a subnet is the primary one, and the others go with it.
    for text in former:
        _remove_address(ip, index, text)
    # The kernel lists the IPv6 address that was added last first.
    for text in wanted if version == 4 else reversed(wanted):
        ip.addr("add", index=index, **_address_words(text))


def _remove_address(ip: IPRoute, index: int, text: str) -> None:
    from pyroute2 import NetlinkError  # noqa: PLC0415 - as in `_route`

    try:
        ip.addr("del", index=index, **_address_words(text))
    except NetlinkError as error:
        if error.code != errno.EADDRNOTAVAIL:
            raise  # It has not gone with its primary one.


def _address_words(text: str) -> dict[str, Any]:
    address, _, length = text.partition("/")
    return {"address": address, "prefixlen": int(length)}


def _set_route(ip: IPRoute, index: int, route: Route) -> None:
    from pyroute2 import NetlinkError  # noqa: PLC0415 - as in `_route`

    try:
        ip.route("replace", oif=index, **route)
    except NetlinkError:
        # Its gateway is in none of the subnets, or its source address has gone.
        changed = {key: value for key, value in route.items() if key != "prefsrc"}
        if {"gateway", "via"} & route.keys():
            changed["flags"] = _ONLINK
        ip.route("replace", oif=index, **changed)


def _addresses(ip: IPRoute, index: int, version: int) -> list[str]:
    """Return the addresses that were set, in the kernel's order: not those of routers."""
    return [
        f"{each.get_attr('IFA_LOCAL') or each.get_attr('IFA_ADDRESS')}/{each['prefixlen']}"
        for each in ip.get_addr(index=index, family=_FAMILIES[version])
        if each["scope"] < RT_SCOPE_LINK
        and (version == 4 or (each.get_attr("IFA_FLAGS") or 0) & IFA_F_PERMANENT)
    ]


def _routes(ip: IPRoute, index: int, version: int) -> list[Route]:
    """Return the routes of the main table that were set."""
    return [
        _words(route)
        for route in ip.get_routes(family=_FAMILIES[version], table=RT_TABLE_MAIN, oif=index)
        if route["proto"] not in _KERNEL and route["type"] == _UNICAST
    ]


def _words(route: Any) -> Route:
    """Return all that a route was set with."""
    destination = route.get_attr("RTA_DST")
    words: Route = {name: route[name] for name in ("family", "proto", "scope", "tos")}
    words["dst"] = f"{destination}/{route['dst_len']}" if destination else _DEFAULT
    words["flags"] = route["flags"] & _ONLINK
    for name in ("gateway", "via", "priority", "prefsrc", "pref"):
        value = route.get_attr(f"RTA_{name.upper()}")
        if value is not None:
            words[name] = value
    metrics = route.get_attr("RTA_METRICS")
    if metrics is not None:
        words["metrics"] = {
            name.removeprefix("RTAX_").lower(): value for name, value in metrics["attrs"]
        }
    return words
