# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Settings for NetworkManager: a connection profile of our own for the interface.

The profile is a keyfile, ``/etc/NetworkManager/system-connections/hv-kvp-IF.nmconnection``.
NetworkManager takes it at its start, or by ``nmcli connection load`` when it runs, and
``nmcli connection up`` makes it the active one.  It is written here, not by
``nmcli connection add``, for three reasons: undoing is then the same for a process that has
started after a crash; ``connection add`` cannot copy a profile and set its UUID; and where
NetworkManager stores profiles as netplan YAML (Ubuntu), a match by MAC address would come in.

At each boot NetworkManager uses the profile with the highest ``autoconnect-priority``: ours
has 999, cloud-init's 120, most have 0.  The match is by name, since the MAC address may be
another one after a failover.  The UUID is made of the adapter's GUID, so each request
replaces the same profile.

All that the settings do not speak of is copied from the profile that is in force without
ours: MTU, search domains, 802.1X, routes that are no default.

IPv6 with static addresses keeps ``method=auto``, so that routers are still listened to, as
networkd does it.  ``ra-timeout`` is infinite: without a router the method would fail, and
NetworkManager would take the static addresses away.

The profile is made active under a checkpoint of NetworkManager.  If this process is killed
and is not started again, NetworkManager has the former profile active again after
`CHECKPOINT` seconds.

A keyfile that others can read is refused by NetworkManager, and nmcli reports success.
"""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING, Final

from hv_kvp_daemon.guest.files import below, list_names

from .keyfile import read_sections
from .networkmanager import NMCLI, PROFILES, read_device
from .running import is_running
from .writer import METRIC, File, Writer, WriterError

if TYPE_CHECKING:
    from .keyfile import Sections
    from .settings import Family, Settings

BUSCTL: Final = "/usr/bin/busctl"
SECONDS: Final = 3.0

#: Seconds until NetworkManager rolls back by itself.  The reply has been sent by then.
CHECKPOINT: Final = 20

_PRIORITY: Final = 999

# NMCheckpointCreateFlags: on a rollback delete the connections that are new; and allow that
# another program has a checkpoint, too.
_FLAGS: Final = 0x02 | 0x08
_NM: Final = "org.freedesktop.NetworkManager"
_NM_PATH: Final = "/org/freedesktop/NetworkManager"

_ETHERNET: Final = frozenset({"ethernet", "802-3-ethernet"})
_DEFAULT: Final = frozenset({"0.0.0.0/0", "::/0"})

# nm-settings-keyfile(5).  What says which profile it is, and when and where it is used:
_IDENTITY: Final = frozenset(
    {
        *("id", "uuid", "type", "interface-name", "permissions", "timestamp", "multi-connect"),
        *("autoconnect", "autoconnect-priority", "autoconnect-retries"),
    }
)
# The properties of [ipv4] and [ipv6] that go with any method and any address:
_KEPT: Final = frozenset(
    {
        *("dns-search", "dns-options", "dns-priority", "route-metric", "route-table"),
        *("may-fail", "ignore-auto-dns", "ignore-auto-routes", "addr-gen-mode"),
        *("ip6-privacy", "token", "dhcp-hostname", "dhcp-send-hostname", "dhcp-client-id"),
        *("dhcp-timeout", "dhcp-duid", "dhcp-iaid", "dad-timeout", "mtu"),
    }
)


class NetworkManagerWriter(Writer):
    """The writer for NetworkManager, also where netplan has configured that."""

    _checkpoint = ""

    @property
    def path(self) -> str:
        """The file of the interface."""
        return f"{PROFILES[0]}/hv-kvp-{self.target.name}.nmconnection"

    @property
    def uuid(self) -> str:
        """The UUID of the profile."""
        return str(uuid.uuid5(uuid.UUID(self.target.guid), "hv-kvp-daemon"))

    def is_running(self) -> bool:
        return is_running(self.root, "NetworkManager")

    def files(self, settings: Settings) -> list[File]:
        base = self._base(settings)
        theirs = read_sections(self.root, base, str) if base else {}
        kind = theirs.get("connection", {}).get("type", "ethernet")
        if kind not in _ETHERNET:
            # Ports name such a profile, not its interface, and would be left without one.
            raise WriterError(f"its profile {base} is of the type {kind}, not ethernet")
        lines = [*self.comments(base), *keyfile_lines(self._sections(settings, theirs))]
        return [File(self.path, "\n".join(lines) + "\n", 0o600)]

    def _sections(self, settings: Settings, theirs: Sections) -> Sections:
        connection = {
            "id": f"hv-kvp-{self.target.name}",
            "uuid": self.uuid,
            "type": "ethernet",
            "interface-name": self.target.name,
            "autoconnect-priority": str(_PRIORITY),
        }
        rest = theirs.get("connection", {}).items()
        connection |= {key: value for key, value in rest if key not in _IDENTITY}
        made = {"connection": connection}
        for version, family in ((4, settings.ipv4), (6, settings.ipv6)):
            name = f"ipv{version}"
            former = theirs.get(name, {"method": "auto"})
            made[name] = former if family is None else section(version, family, former)
        for name, values in theirs.items():
            if name not in {"", "match", ".nmmeta", *made}:
                made[name] = {
                    key: value
                    for key, value in values.items()
                    if not (name in _ETHERNET and key.startswith("mac-address"))
                }
        return made

    def activate(self, settings: Settings) -> None:
        del settings
        self._take_checkpoint()
        self._load()

    def confirm(self) -> None:
        if self._checkpoint:
            self._call("CheckpointDestroy", "o", self._checkpoint)
            self._checkpoint = ""

    def revert(self) -> None:
        if not self.is_running():
            return
        if os.path.exists(below(self.root, self.path)):
            self._load()
            self.confirm()
        elif self._checkpoint:
            self._call("CheckpointRollback", "o", self._checkpoint)
            self._checkpoint = ""
        elif self.uuid in (self._nmcli("-g", "UUID", "connection", "show") or "").split():
            self._nmcli("connection", "delete", "uuid", self.uuid)

    def used_instead(self) -> str:
        active = self._active()
        return (self._file_of(active) or active) if active not in {"", self.uuid} else ""

    def _load(self) -> None:
        """Make NetworkManager read our file, and use it if the device has a carrier."""
        self._nmcli("connection", "load", below(self.root, self.path))
        if self._active() == self.uuid:
            # Nothing is taken down; "up" would also run the hooks of a disconnection.
            self._nmcli("device", "reapply", self.target.name)
        else:
            words = ("up", "uuid", self.uuid, "ifname", self.target.name)
            self._nmcli("--wait", "0", "connection", *words)

    def _nmcli(self, *words: str) -> str | None:
        return self.programs.run(NMCLI, *words, seconds=SECONDS)

    def _take_checkpoint(self) -> None:
        device = self._call("GetDeviceByIpIface", "s", self.target.name)
        if not device:
            return
        for path in self._get(_NM_PATH, "", "Checkpoints"):
            # Of this device alone: a process that was killed has left it.
            if self._get(path, ".Checkpoint", "Devices") == device:
                self._call("CheckpointDestroy", "o", path)
        words = ("1", *device, str(CHECKPOINT), str(_FLAGS))
        self._checkpoint = "".join(self._call("CheckpointCreate", "aouu", *words))

    def _call(self, method: str, *words: str) -> list[str]:
        """Call a method of NetworkManager; return the object paths that it returns."""
        return self._busctl("call", _NM, _NM_PATH, _NM, method, *words)

    def _get(self, path: str, interface: str, name: str) -> list[str]:
        return self._busctl("get-property", _NM, path, _NM + interface, name)

    def _busctl(self, *words: str) -> list[str]:
        output = self.programs.run(BUSCTL, *words, seconds=SECONDS) or ""
        return [word.strip('"') for word in output.split() if word.startswith('"/')]

    def _base(self, settings: Settings) -> str:
        """Return the profile that is in force, or would be without ours; empty: none is.

        :raises WriterError: it is not a keyfile, and a family is to stay as it is there.
        """
        active = self._active()
        if active and active != self.uuid:
            path = self._file_of(active)
            if path:
                return path
            if None in settings:
                raise WriterError(
                    f"its profile {active} is not a keyfile: nmcli connection migrate {active}"
                )
        overridden = self.overridden()
        if overridden and os.path.exists(below(self.root, overridden)):
            return overridden
        return self._likely()

    def _active(self) -> str:
        """Return the UUID of the active profile, or nothing."""
        state = read_device(self.root, self.target.ifindex) or {"device": {}}
        return state["device"].get("connection-uuid", "")

    def _file_of(self, uuid: str) -> str:
        """Return the keyfile of a profile; nmcli knows those of netplan, which have no UUID."""
        for path, profile in self._profiles():
            if profile.get("connection", {}).get("uuid") == uuid:
                return path
        output = self._nmcli("-t", "-e", "no", "-f", "UUID,FILENAME", "connection", "show")
        for line in (output or "").splitlines():
            found, _, path = line.partition(":")
            if found == uuid and path.startswith(PROFILES):
                return path
        return ""

    def _likely(self) -> str:
        """Return the profile that NetworkManager would make active at its start."""
        found = []
        for path, profile in self._profiles():
            connection = profile.get("connection", {})
            name = connection.get("interface-name", "")
            if (
                connection.get("type") in _ETHERNET
                and connection.get("autoconnect", "true") == "true"
                and name in {"", self.target.name}
            ):
                priority = connection.get("autoconnect-priority", "0")
                found.append((int(priority), bool(name), path))
        return max(found)[2] if found else ""

    def _profiles(self) -> list[tuple[str, Sections]]:
        """Return the keyfiles that are not ours."""
        return [
            (path, read_sections(self.root, path, str))
            for directory in PROFILES
            for name in list_names(self.root, directory)
            if (path := f"{directory}/{name}") != self.path
        ]


def keyfile_lines(sections: Sections) -> list[str]:
    """Return the lines of a keyfile, without comments."""
    lines = []
    for name, values in sections.items():
        lines += ["", f"[{name}]", *(f"{key}={value}" for key, value in values.items())]
    return lines


def section(version: int, family: Family, former: dict[str, str]) -> dict[str, str]:
    """Return [ipv4] or [ipv6] with the settings of a family, and what stays of the former."""
    made = {"method": "auto" if family.automatic or version == 6 else "manual"}
    for number, address in enumerate(family.addresses, 1):
        made[f"address{number}"] = str(address)
    if version == 6 and not family.automatic:
        made["ra-timeout"] = str(0x7FFFFFFF)
    if family.dns:
        made["dns"] = "".join(f"{server};" for server in family.dns)
    routes = _other_routes(former)
    for number, gateway in enumerate(family.gateways):
        if not number:
            made["gateway"] = str(gateway)
            continue
        default = "::/0" if version == 6 else "0.0.0.0/0"
        route = [("", f"{default},{gateway},{METRIC + number}")]
        if not family.is_on_link(gateway):
            route.append(("_options", "onlink=true"))
        routes.append(route)
    for number, route in enumerate(routes, 1):
        made |= {f"route{number}{suffix}": value for suffix, value in route}
    return made | {key: value for key, value in former.items() if key in _KEPT}


def _other_routes(former: dict[str, str]) -> list[list[tuple[str, str]]]:
    """Return the routes of a section that are no default, each with its options."""
    found = []
    for key, value in former.items():
        digits = key.removeprefix("routes").removeprefix("route")
        is_route = key.startswith("route") and (digits.isdecimal() or not digits)
        if is_route and value.partition(",")[0] not in _DEFAULT:
            options = former.get(f"{key}_options")
            found.append([("", value), *([("_options", options)] if options else [])])
    return found
