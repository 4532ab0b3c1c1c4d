# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The state of an interface that systemd-networkd manages, from networkd's files.

These are /run/systemd/netif/links/INDEX and the .network file that it names.  The
state files say that they are private, but systemd-resolved and others read them
through libsystemd (sd-network).  The alternatives, networkctl and D-Bus, cost a
process.
"""

from __future__ import annotations

from hv_kvp_daemon.guest.files import list_names

from .keyfile import read_sections
from .servers import literals

LINKS = "/run/systemd/netif/links"

#: systemd.network(5); the last is used where /lib is not /usr/lib.
DIRECTORIES = (
    "/etc/systemd/network",
    "/run/systemd/network",
    "/usr/local/lib/systemd/network",
    "/usr/lib/systemd/network",
    "/lib/systemd/network",
)

# The values of sd_network_link_get_setup_state(3) for an interface that networkd does
# not manage.
_NOT_MANAGED = frozenset({"", "unmanaged", "pending", "initialized", "linger"})

#: systemd.network(5), DHCP=; the last two are those of systemd 218.
DHCP4 = frozenset({"yes", "true", "on", "1", "y", "t", "ipv4", "both", "v4"})


def read_link(root: str, index: int) -> tuple[bool | None, list[str]] | None:
    """Return whether DHCP is on and the DNS servers; None if networkd does not manage it.

    Whether DHCP is on is None if there is no lease and the .network file cannot be read.
    """
    state = read_sections(root, f"{LINKS}/{index}")[""]
    if state.get("ADMIN_STATE", "") in _NOT_MANAGED:
        return None
    dhcp = True if "DHCP_LEASE" in state else _configured(root, state)
    return dhcp, literals(state.get("DNS", "").split())


def _configured(root: str, state: dict[str, str]) -> bool | None:
    """Return whether the .network file and its drop-ins ask for DHCP."""
    path = state.get("NETWORK_FILE", "")
    if not path:
        return None
    # networkd names the drop-ins in its state file since systemd 253.
    named = state.get("NETWORK_FILE_DROPINS", "")
    value = "no"
    for each in (path, *(named.split(":") if named else drop_ins(root, path))):
        value = read_sections(root, each).get("Network", {}).get("DHCP", value)
    return value.lower() in DHCP4


def drop_ins(root: str, path: str) -> list[str]:
    """Return a .network file's drop-ins in the order in which networkd reads them.

    That is by name in all directories together; of one name the file of the first
    directory counts.
    """
    found: dict[str, str] = {}
    for directory in reversed(DIRECTORIES):
        beside = f"{directory}/{path.rpartition('/')[2]}.d"
        for name in list_names(root, beside):
            if name.endswith(".conf"):
                found[name] = f"{beside}/{name}"
    return [found[name] for name in sorted(found)]
