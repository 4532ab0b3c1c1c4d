# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Settings for ifupdown: a logical interface, and a mapping that makes IF use it.

A second stanza ``iface IF inet static`` would not replace the first: ifup carries both out,
so the DHCP client would stay beside the address.  Therefore our stanzas have a name of their
own, ``iface hvkvp-IF``, in ``/etc/network/interfaces.d/hv-kvp-IF``, and a ``mapping`` says
that IF is to be configured as that.  ifup runs a script for each mapping, and takes the name
that it prints: ``/etc/network/hv-kvp-IF.mapping``.  The administrator's files stay as they
are; /etc/network/interfaces has to include that directory, as Debian's does.

The stanzas have what those of IF say besides addresses, gateways and DNS servers: hooks, MTU,
search domains, and everything of a family that does not change.  A hook that sets a default
route is left out; one with a gateway that is in none of the new subnets gets ``onlink``.

ifdown needs the stanzas by which ifup has configured the interface, so it is run before the
files are replaced (`IfupdownWriter.prepare`).  A hook that fails must not end either of them:
the interface would have its addresses, but ifupdown would not know it, and at boot
networking.service would have failed.  Both are run by systemd as transient units.
A DHCP client must not end with the process that asked for it; and an ifdown that ended with
it would leave the client of the former settings.  Those that run meanwhile wait for its lock.

DNS servers are in ``dns-nameservers``, which the hooks of resolvconf and systemd-resolved
read.  Without them nothing does, so the servers go to /etc/resolv.conf (see `resolv_conf`);
but not beside a DHCP client, which writes that file itself.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final, NamedTuple

from . import resolv_conf
from .configured import includes, is_configured, settings_in_use, stanzas
from .detached import is_booted, run_detached
from .running import is_running
from .writer import METRIC, File, Writer, WriterError

if TYPE_CHECKING:
    from .settings import Family, Settings

SYSTEMCTL: Final = "/usr/bin/systemctl"
SECONDS: Final = 2.0

IFUP: Final = "/sbin/ifup"
IFDOWN: Final = "/sbin/ifdown"

_DIRECTORY: Final = "/etc/network/interfaces.d"
_INDENT: Final = "    "

# interfaces(5): the options that the host's settings replace, and words that end a stanza.
_REPLACED: Final = frozenset(
    {
        *("address", "netmask", "broadcast", "network", "gateway", "pointopoint", "scope"),
        *("dns-nameserver", "dns-nameservers", "metric", "accept_ra", "autoconf"),
    }
)
_STARTS: Final = frozenset(
    {"iface", "auto", "mapping", "template", "rename", "no-auto-down", "no-scripts"}
)


class _Stanza(NamedTuple):
    """An ``iface`` stanza: its address family, method, and the lines after the first."""

    family: str
    method: str
    options: list[str]


class IfupdownWriter(Writer):
    """The writer for ifupdown."""

    @property
    def path(self) -> str:
        """The file with the stanzas of the interface."""
        return f"{_DIRECTORY}/hv-kvp-{self.target.name}"

    @property
    def script(self) -> str:
        """The program of the mapping."""
        return f"/etc/network/hv-kvp-{self.target.name}.mapping"

    @property
    def logical(self) -> str:
        """The name of the stanzas."""
        return f"hvkvp-{self.target.name}"

    def is_running(self) -> bool:
        # ifupdown is no daemon.  It can bring the interface up once it has done so at boot, by
        # the unit of Debian; without systemd the loopback interface tells.
        if is_booted(self.root):
            has_started = is_running(self.root, "networking") or self._has_failed()
        else:
            has_started = settings_in_use(self.root, "lo") is not None
        return has_started or settings_in_use(self.root, self.target.name) is not None

    def files(self, settings: Settings) -> list[File]:
        if not includes(self.root, self.path):
            raise WriterError(
                f"/etc/network/interfaces has no line 'source {_DIRECTORY}/*', so ifupdown"
                f" would not read {self.path}"
            )
        name, logical = self.target.name, self.logical
        header = self.comments()
        lines = [*header, "", f"mapping {name}", f"{_INDENT}script {self.script}"]
        if not self._is_started():
            lines += ["", f"auto {name}"]
        ours = self._stanzas(settings)
        for stanza in ours:
            lines += ["", f"iface {logical} {stanza.family} {stanza.method}"]
            lines += [_INDENT + option for option in stanza.options]
        script = ["#!/bin/sh", *header, "", f"echo {logical}"]
        made = [
            File(self.script, "\n".join(script) + "\n", 0o755),
            File(self.path, "\n".join(lines) + "\n"),
        ]
        if not any(stanza.method == "dhcp" for stanza in ours):
            made += resolv_conf.files(self, settings)
        return made

    def prepare(self) -> None:
        if self.is_running():
            self._run(IFDOWN, "--force")

    def activate(self, settings: Settings) -> None:
        del settings
        self._run(IFUP)

    def revert(self) -> None:
        if self.is_running() and is_configured(self.root, self.target.name):
            self._run(IFUP)

    def _run(self, program: str, *words: str) -> None:
        run_detached(self.programs, program, *words, "--ignore-errors", self.target.name)

    def _has_failed(self) -> bool:
        """Whether networking.service has done what it could, and an interface was not it."""
        words = ("show", "--property=ActiveState", "--value", "networking.service")
        return self.programs.run(SYSTEMCTL, *words, seconds=SECONDS) == "failed\n"

    def used_instead(self) -> str:
        used = settings_in_use(self.root, self.target.name) or self.logical
        return f"iface {used}" if used != self.logical else ""

    def _is_started(self) -> bool:
        """Whether the administrator's files say when the interface is brought up."""
        return any(
            self.target.name in words[1:]
            for words in self._theirs()
            if words[:1] == ["auto"] or "".join(words[:1]).startswith("allow-")
        )

    def _theirs(self) -> list[list[str]]:
        """Return the lines of the administrator's files."""
        return [words for words in stanzas(self.root, skip=self.path) if words]

    def _stanzas(self, settings: Settings) -> list[_Stanza]:
        theirs = self._former()
        made = []
        for name, family in (("inet", settings.ipv4), ("inet6", settings.ipv6)):
            former = [stanza for stanza in theirs if stanza.family == name]
            made += former if family is None else _of_family(name, family, former)
        return made

    def _former(self) -> list[_Stanza]:
        """Return the administrator's stanzas for the interface."""
        found = []
        options: list[str] | None = None
        for words in self._theirs():
            if words[0] in _STARTS or words[0].startswith("allow-"):
                options = None
                if words[:2] == ["iface", self.target.name] and len(words) > 3:
                    # What follows the method is ``inherits NAME``.
                    options = [" ".join(words[4:])] if len(words) > 4 else []
                    found.append(_Stanza(words[2], words[3], options))
            elif options is not None and not words[0].startswith("#"):
                options.append(" ".join(words))
        return found


def _of_family(name: str, family: Family, former: list[_Stanza]) -> list[_Stanza]:
    """Return the stanzas of a family, with the options of the former ones that stay."""
    theirs = [option.split() for stanza in former for option in stanza.options]
    stay = [
        " ".join(_with_gateway_in_reach(words, family))
        for words in theirs
        if words[0] not in _REPLACED and not _sets_default_route(words)
    ]
    if family.automatic:
        method = "dhcp" if name == "inet" else "auto"
        if name == "inet6" and any(stanza.method == "dhcp" for stanza in former):
            method = "dhcp"
        return [_Stanza(name, method, stay)]
    made = []
    for number, address in enumerate(family.addresses):
        options = [f"address {address}"]
        if not number:
            options += _first_options(name, family) + stay
        made.append(_Stanza(name, "static", options))
    return made


def _sets_default_route(hook: list[str]) -> bool:
    # Those of other tables are policy routing.
    return {"route", "default"} <= {*hook} and "table" not in hook


def _with_gateway_in_reach(hook: list[str], family: Family) -> list[str]:
    """Return a hook such as ``up ip route add NET via GATEWAY``, which must not fail now."""
    if not {"route", "via"} <= {*hook} or "onlink" in hook:
        return hook
    before, after = hook[: hook.index("via") + 2], hook[hook.index("via") + 2 :]
    try:
        gateway = ipaddress.ip_address(before[-1])
    except ValueError:
        return hook
    is_in_reach = (
        family.automatic
        or gateway.version != family.addresses[0].version
        or family.is_on_link(gateway)
    )
    # The kernel takes ``onlink`` only with an interface.
    device = [] if "dev" in after else ["dev", "$IFACE"]
    return hook if is_in_reach else [*before, "onlink", *device, *after]


def _first_options(name: str, family: Family) -> list[str]:
    """Return the options that a family has once."""
    options = [f"gateway {gateway}" for gateway in family.gateways[:1]]
    option = "-6" if name == "inet6" else "-4"
    for number, gateway in enumerate(family.gateways[1:], 1):
        route = f"default via {gateway} dev $IFACE metric {METRIC + number} onlink"
        options.append(f"up ip {option} route replace {route}")
    if name == "inet6":
        # Routers are still listened to, as networkd and NetworkManager do it.
        options.append("accept_ra 1")
    if family.dns:
        options.append("dns-nameservers " + " ".join(map(str, family.dns)))
    return options
