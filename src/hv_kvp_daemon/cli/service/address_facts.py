# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Facts about the adapters' addresses: what the host has set, and what matches by MAC.

They come from the records of SET_IP_INFO, the files of the network managers, and rtnetlink;
nothing is changed.  Only root can read the records.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from hv_kvp_daemon.guest import rtnetlink
from hv_kvp_daemon.guest.child import wait_readable
from hv_kvp_daemon.guest.files import below, list_names, read_text
from hv_kvp_daemon.netconfig import atomic, injection_record, target, verify
from hv_kvp_daemon.netconfig.keyfile import read_sections, shell_word
from hv_kvp_daemon.netconfig.program import Programs
from hv_kvp_daemon.netconfig.settings import RequestError
from hv_kvp_daemon.netconfig.writer import WriterError
from hv_kvp_daemon.netconfig.writers import WRITERS

if TYPE_CHECKING:
    from hv_kvp_daemon.netconfig.injection_record import Injection

# netplan(5), and cloud-init's documentation: "Networking configuration".
_YAML: Final = ("/etc/netplan", "/usr/lib/netplan", "/lib/netplan", "/etc/cloud/cloud.cfg.d")
# Directory, section and keys of a match in other files of managers, cloud-init's among them.
_MATCHES: Final = (
    ("/etc/systemd/network", "Match", ("MACAddress", "PermanentMACAddress")),
    ("/etc/NetworkManager/system-connections", "ethernet", ("mac-address",)),
    ("/etc/NetworkManager/system-connections", "802-3-ethernet", ("mac-address",)),
    ("/etc/sysconfig/network-scripts", "", ("HWADDR",)),
)

_MAC: Final = r"""["']?\s*:\s*["']?([0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){5})\b"""
# ``match:`` with the lines that are indented more, or in braces; ``macaddress`` outside of
# it is the one that an interface gets.  ``mac_address`` is the match of cloud-init's version 1.
_BLOCK: Final = re.compile(
    r"^(?P<indent>[ ]*)(?:- )?[\"']?match[\"']?[ ]*:[ ]*(?:#.*)?\n"
    r"(?P<body>(?:(?P=indent)[ ]+.*\n|[ ]*\n)+)"
    r"|match[\"']?[ ]*:[ ]*\{(?P<flow>[^}]*)\}",
    re.MULTILINE,
)
_IN_MATCH: Final = re.compile(f"\\bmacaddress{_MAC}")
_VERSION_1: Final = re.compile(f"\\bmac_address{_MAC}")


@dataclass
class MacMatch:
    """A file that finds its interface by a MAC address; ``name`` is the one that has it."""

    path: str
    mac: str
    name: str = ""


@dataclass
class HostSet:
    """What the host has set for an interface.

    ``state`` and ``detail`` are what `verify.look` says of it.  ``path`` is our file, in place
    of the administrator's, ``overridden``; ``instead`` is what the manager uses in its place.
    ``modes`` has the files whose permissions have changed: those now, and those before.
    """

    name: str
    backend: str = ""
    state: str = verify.HOLDS
    detail: str = ""
    path: str = ""
    overridden: str = ""
    instead: str = ""
    modes: dict[str, tuple[int, int]] = field(default_factory=dict)


@dataclass
class AddressFacts:
    """The addresses of one machine at one moment."""

    host_set: list[HostSet] = field(default_factory=list)
    #: The last request for an interface, if it was taken back, with the reason.
    refused: list[str] = field(default_factory=list)
    by_mac: list[MacMatch] = field(default_factory=list)
    #: What is wrong with the records themselves.
    damage: list[str] = field(default_factory=list)


def gather_addresses(root: str = "/") -> AddressFacts:
    """Return the facts about the addresses of the machine with this root directory."""
    facts = AddressFacts()
    for guid in injection_record.guids(root):
        _add(facts, guid, root)
    names = {
        mac.hex(":"): link.name
        for link in rtnetlink.links()
        for mac in (link.address, link.permanent)
    }
    for path, mac in _matches(root):
        facts.by_mac.append(MacMatch(path, mac, names.get(mac, "")))
    return facts


def _add(facts: AddressFacts, guid: str, root: str) -> None:
    """Add the facts about one adapter."""
    try:
        record = injection_record.load(root, guid)
        current, failed = record.current, record.failed
        if current is not None:
            facts.host_set.append(_host_set(guid, current, root))
    except (OSError, ValueError) as error:
        facts.damage.append(str(error))
        return
    if failed is not None:
        facts.refused.append(f"{failed.interface}: {failed.settings} ({failed.detail})")


def _host_set(guid: str, current: Injection, root: str) -> HostSet:
    found = HostSet(current.interface, current.backend)
    try:
        where = target.find(guid, root, seconds=0)
        writer = WRITERS[current.backend](where, Programs(wait_readable, lambda _: None, root))
        found.path, found.overridden = writer.path, writer.overridden()
        found.instead = writer.used_instead()
        found.state, found.detail, _ = verify.look(current.settings, where.ifindex)
        for file in writer.files(current.settings):
            content = atomic.read(below(root, file.path))
            if content is not None and content.mode != file.mode:
                found.modes[file.path] = content.mode, file.mode
    except (RequestError, WriterError) as error:
        found.state, found.detail = verify.MISSING, str(error)
    return found


def _matches(root: str) -> Iterator[tuple[str, str]]:
    """Yield each file with a match by MAC address, and that address in lower case."""
    for directory in _YAML:
        for name in list_names(root, directory):
            for mac in sorted(_yaml_macs(read_text(root, f"{directory}/{name}") or "")):
                yield f"{directory}/{name}", mac
    for directory, section, keys in _MATCHES:
        for name in list_names(root, directory):
            path = f"{directory}/{name}"
            values = read_sections(root, path, shell_word if not section else str)
            for key in keys:
                for mac in values.get(section, {}).get(key, "").split():
                    yield path, mac.lower().replace("-", ":")


def _yaml_macs(text: str) -> set[str]:
    macs = {each.lower() for each in _VERSION_1.findall(text)}
    for match in _BLOCK.finditer(f"{text}\n"):
        macs |= {each.lower() for each in _IN_MATCH.findall(match["body"] or match["flow"])}
    return macs
