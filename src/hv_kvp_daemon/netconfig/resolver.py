# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The DNS servers of an interface.

The most specific list that is known counts: that of the interface, if a script,
systemd-resolved or NetworkManager has one, else the servers of all interfaces.  A
server on this machine (resolved's stub 127.0.0.53, a cache) is replaced by the servers
that it asks, if they are known.
"""

from __future__ import annotations

import _socket
import os

from hv_kvp_daemon.guest.files import below, list_names, read_text

from . import networkd, networkmanager, scripts
from .keyfile import read_sections
from .servers import is_local, literals, nameservers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .config import AdapterConfig
    from .program import Programs

RESOLV_CONF = "/etc/resolv.conf"

#: The runtime directory of systemd-resolved: a list of all servers, and a file for each
#: link that is configured by something other than networkd.
RESOLVED = "/run/systemd/resolve"
RESOLVED_LINKS = f"{RESOLVED}/netif"
RESOLVED_SOCKET = f"{RESOLVED}/io.systemd.Resolve"
RESOLVED_ALL = f"{RESOLVED}/resolv.conf"

#: Where the servers are that a local server in resolv.conf asks.
UPSTREAM = (RESOLVED_ALL, "/run/NetworkManager/no-stub-resolv.conf")

#: Where resolved listens, see systemd-resolved.service(8).
STUBS = frozenset({"127.0.0.53", "127.0.0.54"})

#: Where ``hv-kvp-resolvectl.socket`` listens, and the program that its unit runs.
RESOLVECTL_SOCKET = "/run/hv-kvp-resolvectl.socket"
RESOLVECTL = "/usr/bin/resolvectl"
#: The unit answers in 0.05 s, in an emulated VM in 1.5 s.
SECONDS = 4.0


def servers(programs: Programs, config: AdapterConfig) -> list[str]:
    """Return the DNS servers of the interface of a configuration."""
    root = programs.root
    found = scripts.dns(programs, config.name, config.index)
    # Distributions ship a sample that prints resolv.conf, which may contain only a stub.
    if found is not None and (not found or not STUBS.issuperset(found)):
        return found
    if resolved_runs(root):
        by_resolved = _resolved_servers(programs, config)
        if by_resolved is not None:
            return by_resolved
    general = nameservers(root, RESOLV_CONF, (config.name, config.index))
    if not config.is_sole_interface and networkmanager.read_device(root, config.index):
        by_device = networkmanager.ask_servers(programs, config.name)
        if by_device is not None:
            return _used_by_resolver(root, by_device, general)
    return _upstream(root, config, general)


def _all_local(found: list[str]) -> bool:
    return bool(found) and all(map(is_local, found))


def _upstream(root: str, config: AdapterConfig, general: list[str]) -> list[str]:
    if _all_local(general):
        for path in UPSTREAM:
            found = nameservers(root, path, (config.name, config.index))
            if found and not _all_local(found):
                return found
    return general


def _used_by_resolver(root: str, by_device: list[str], general: list[str]) -> list[str]:
    """Return those of NetworkManager's servers for a device that the resolver uses.

    resolv.conf may be the administrator's own (``dns=none``); then it decides.
    """
    if not general or _all_local(general):
        return by_device or general
    used = [server for server in by_device if server in general]
    generated = "NetworkManager" in (read_text(root, RESOLV_CONF) or "").partition("\n")[0]
    return used if used or generated else general


# -- systemd-resolved


def resolved_runs(root: str) -> bool:
    """Return whether resolved is running; its files remain when it is stopped.

    Since systemd 246 it has a socket.  Before, it counts as running if resolv.conf
    names its stub.
    """
    path = below(root, RESOLVED_SOCKET)
    if not os.path.exists(path):
        return os.path.exists(below(root, RESOLVED_ALL)) and not STUBS.isdisjoint(
            nameservers(root, RESOLV_CONF)
        )
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_NONBLOCK)
    try:
        sock.connect(path)
    except BlockingIOError:
        return True  # its queue is full
    except OSError:
        return False
    finally:
        sock.close()
    return True


def _resolved_servers(programs: Programs, config: AdapterConfig) -> list[str] | None:
    """Return the servers of an interface, else those that belong to no interface.

    None if they are not known.
    """
    root = programs.root
    link = networkd.read_link(root, config.index)
    if link is not None and link[1]:
        return link[1]
    everything = nameservers(root, RESOLVED_ALL)
    try:
        os.listdir(below(root, RESOLVED_LINKS))
    except FileNotFoundError:
        pass  # no link is configured but by networkd
    except OSError:
        # Mode 0700 and owned by resolved: closed to root without CAP_DAC_OVERRIDE.
        return everything if config.is_sole_interface else _ask_resolved(programs, config.index)
    own = _link_servers(root, config.index)
    if own:
        return own
    for name in {*list_names(root, RESOLVED_LINKS), *list_names(root, networkd.LINKS)}:
        if everything and name.isdecimal():
            of_other = _link_servers(root, int(name))
            everything = [server for server in everything if server not in of_other]
    return everything


def _link_servers(root: str, index: int) -> list[str]:
    link = networkd.read_link(root, index)
    if link is not None:
        return link[1]
    state = read_sections(root, f"{RESOLVED_LINKS}/{index}")[""]
    return literals(state.get("SERVERS", "").split())


def _ask_resolved(programs: Programs, index: int) -> list[str] | None:
    output = programs.ask(RESOLVECTL_SOCKET, RESOLVECTL, "dns", seconds=SECONDS)
    if output is None:
        return None
    general: list[str] = []
    own: list[str] = []
    words: list[str] = []
    for line in output.splitlines():
        # "Global: …" and "Link 5 (eth1): …"; a long list continues in the next line.
        if line.startswith("Global:"):
            words = general
        elif line.startswith("Link "):
            words = own if line.split()[1:2] == [str(index)] else []
        # literals() drops the words of a heading, which are not addresses.
        words += line.split()
    return literals(own) or literals(general)
