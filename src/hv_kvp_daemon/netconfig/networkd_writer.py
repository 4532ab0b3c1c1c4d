# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Settings for systemd-networkd: ``/etc/systemd/network/05-hv-kvp-IF.network``.

networkd sorts the files of all its directories together by name, and uses the first one that
matches an interface.  Those of netplan and cloud-init begin with 10.  So this file replaces
theirs, and survives what they generate at each boot.

It is a whole file, since a drop-in does not do (measured with systemd 252 and 257): on 252
an empty assignment does not clear addresses and routes of the file that it belongs to.  A
netplan YAML does not do either: netplan concatenates lists, so the old address stays.

As a whole file it has to contain what it replaces.  All that is not ours is copied from the
file that would be in force without it, and from that file's drop-ins: MTU, domains, VLANs,
bridges, bonds, routes that are no default.  What is left out are the addresses, default
routes and DNS servers of a family that the host has set, and the match: a MAC address may be
another one after a failover.

The file must be readable by networkd's own user: 0600 is refused without notice.

networkd passes DNS servers to systemd-resolved.  Where that does not run, nothing reads them
from networkd, so they go to /etc/resolv.conf (see `resolv_conf`).
"""

from __future__ import annotations

import ipaddress
import os
from typing import TYPE_CHECKING, Final, NamedTuple

from hv_kvp_daemon.guest import rtnetlink
from hv_kvp_daemon.guest.files import below, list_names, read_text
from hv_kvp_daemon.guest.pattern import matches

from . import resolv_conf
from .keyfile import read_sections
from .networkd import DHCP4, DIRECTORIES, LINKS, drop_ins
from .running import is_running
from .servers import literal
from .writer import METRIC, File, Writer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .settings import Address, Family, Settings

NETWORKCTL: Final = "/usr/bin/networkctl"
SECONDS: Final = 2.0

# systemd.network(5), DHCP=
_DHCP6: Final = frozenset({"yes", "true", "on", "1", "y", "t", "ipv6", "both", "v6"})
_DEFAULT: Final = frozenset({"0.0.0.0/0", "::/0"})
_PLACES: Final = {"_dhcp4": 4, "_ipv6ra": 6, "_dhcp6": 6}


class _Section(NamedTuple):
    name: str
    lines: list[tuple[str, str]]

    def get(self, key: str) -> str:
        return next((value for name, value in reversed(self.lines) if name == key), "")


class NetworkdWriter(Writer):
    """The writer for systemd-networkd, also where netplan has configured that."""

    @property
    def path(self) -> str:
        """The file of the interface."""
        return f"/etc/systemd/network/05-hv-kvp-{self.target.name}.network"

    def is_running(self) -> bool:
        return is_running(self.root, "systemd-networkd")

    def files(self, settings: Settings) -> list[File]:
        base = self._base()
        paths = [base, *drop_ins(self.root, base)] if base else []
        theirs = _sections(self.root, paths)
        lines = [*self.comments(base), "", "[Match]", f"Name={self.target.name}"]
        lines += ["", "[Network]", f"DHCP={_dhcp(settings, theirs)}"]
        routes = []
        for family in settings.changed().values():
            lines += [f"Address={address}" for address in family.addresses]
            lines += [f"DNS={_scoped(server, self.target.name)}" for server in family.dns]
            for number, gateway in enumerate(family.gateways):
                routes += ["", "[Route]", f"Gateway={gateway}"]
                if number:
                    routes.append(f"Metric={METRIC + number}")
                if not family.is_on_link(gateway):
                    routes.append("GatewayOnLink=yes")
        lines += routes
        for section in theirs:
            left = _left(section, settings)
            if left:
                lines += ["", f"[{section.name}]", *(f"{key}={value}" for key, value in left)]
        return [File(self.path, "\n".join(lines) + "\n"), *resolv_conf.files(self, settings)]

    def activate(self, settings: Settings) -> None:
        del settings
        self._reload()

    def revert(self) -> None:
        if self.is_running():
            self._reload()

    def used_instead(self) -> str:
        used = self._used()
        return used if used != self.path else ", ".join(drop_ins(self.root, used))

    def _reload(self) -> None:
        # This reconfigures the interfaces whose file is another one, or was changed.  (The
        # command for one interface would take the addresses away a second time.)  It
        # succeeds whatever the file contains.
        self.programs.run(NETWORKCTL, "reload", seconds=SECONDS)

    def _base(self) -> str:
        """Return the file that is in force, or would be without ours; empty: there is none."""
        path = self._used()
        if path == self.path:
            # networkd knows no more; but the file does.
            path = self.overridden()
        if path and os.path.exists(below(self.root, path)):
            return path
        return self._first_match()

    def _used(self) -> str:
        state = read_sections(self.root, f"{LINKS}/{self.target.ifindex}")[""]
        return state.get("NETWORK_FILE", "")

    def _first_match(self) -> str:
        """Return the file that networkd will use, as far as its match is by name or MAC."""
        named: dict[str, str] = {}
        for directory in reversed(DIRECTORIES):
            for name in list_names(self.root, directory):
                if name.endswith(".network"):
                    named[name] = f"{directory}/{name}"
        macs = {
            address.hex(":")
            for link in rtnetlink.links()
            if link.index == self.target.ifindex
            for address in (link.address, link.permanent)
        }
        for _, path in sorted(named.items()):
            match = read_sections(self.root, path).get("Match", {})
            if path != self.path and _is_match(match, self.target.name, macs):
                return path
        return ""


def _is_match(match: dict[str, str], name: str, macs: set[str]) -> bool:
    for key, value in match.items():
        words = value.split()
        if key == "Name":
            negated = words[:1] != [] and words[0].startswith("!")
            words = [word.lstrip("!") for word in words]
            if any(matches(word, name) for word in words) is negated:
                return False
        elif key in {"MACAddress", "PermanentMACAddress"}:
            if macs.isdisjoint(word.lower().replace("-", ":") for word in words):
                return False
        elif (key, value) != ("Type", "ether"):
            return False
    return bool(match)


def _sections(root: str, paths: Iterable[str]) -> list[_Section]:
    """Return the sections of a file and its drop-ins as networkd joins them.

    [Network] and others that can occur once are one section; [Address], [Route] and the
    like are as many as there are.
    """
    found: list[_Section] = []
    section = _Section("", [])
    for path in paths:
        for raw in (read_text(root, path) or "").replace("\\\n", " ").splitlines():
            line = raw.strip()
            if line.startswith("[") and line.endswith("]"):
                section = _Section(line[1:-1], [])
                single = next((each for each in found if each.name == section.name), None)
                if single is not None and section.name not in _REPEATED:
                    section = single
                else:
                    found.append(section)
            elif line and line[0] not in "#;" and "=" in line:
                key, _, value = line.partition("=")
                key, value = key.strip(), value.strip()
                if not value:
                    # An empty assignment resets a list.
                    section.lines[:] = [each for each in section.lines if each[0] != key]
                else:
                    section.lines.append((key, value))
    return found


# systemd.network(5): "specify several [Address] sections to configure several addresses".
_REPEATED: Final = frozenset(
    {
        *("Address", "Neighbor", "IPv6AddressLabel", "RoutingPolicyRule", "NextHop", "Route"),
        *("DHCPServerStaticLease", "IPv6Prefix", "IPv6RoutePrefix", "IPv6PREF64Prefix"),
        *("BridgeFDB", "BridgeMDB", "BridgeVLAN", "TrafficControlQueueingDiscipline"),
    }
)


def _dhcp(settings: Settings, theirs: list[_Section]) -> str:
    value = "no"
    for section in theirs:
        if section.name == "Network":
            value = section.get("DHCP").lower() or value
    ipv4, ipv6 = value in DHCP4, value in _DHCP6
    if settings.ipv4 is not None:
        ipv4 = settings.ipv4.automatic
    if settings.ipv6 is not None and not settings.ipv6.automatic:
        ipv6 = False
    return {(True, True): "yes", (True, False): "ipv4", (False, True): "ipv6"}.get(
        (ipv4, ipv6), "no"
    )


def _left(section: _Section, settings: Settings) -> list[tuple[str, str]]:
    """Return what of a section stays beside the host's settings."""
    changed = settings.changed()
    if section.name == "Match":
        return []
    if section.name == "Network":
        return [
            (key, value)
            for key, value in section.lines
            if key != "DHCP"
            and not (key in {"Address", "Gateway", "DNS"} and _version(value) in changed)
            # Router advertisements are what makes IPv6 automatic.
            and not (key == "IPv6AcceptRA" and 6 in changed and changed[6].automatic)
        ]
    if section.name == "Address" and _version(section.get("Address")) in changed:
        return []
    if section.name == "Route":
        return _left_route(section, changed)
    return section.lines


def _left_route(section: _Section, changed: dict[int, Family]) -> list[tuple[str, str]]:
    gateway, destination = section.get("Gateway"), section.get("Destination")
    version = _version(gateway or destination)
    if version not in changed:
        return section.lines
    if not destination or destination in _DEFAULT:
        return []
    # Its gateway may be in none of the new subnets.  networkd would take the route that the
    # kernel refuses for a failure of the whole interface.
    address = _parsed(gateway)
    is_far = address is not None and not changed[version].is_on_link(address)
    if is_far and not section.get("GatewayOnLink"):
        return [*section.lines, ("GatewayOnLink", "yes")]
    return section.lines


def _parsed(text: str) -> Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _version(value: str) -> int:
    """Return the IP version of an address with or without prefix, port, scope; 0 if none."""
    text = literal(value.partition("/")[0])
    if text is None:
        return _PLACES.get(value, 0)
    return 6 if ":" in text else 4


def _scoped(server: Address, name: str) -> str:
    return f"{server}%{name}" if server.version == 6 and server.is_link_local else str(server)
