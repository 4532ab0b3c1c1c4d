"""systemd-networkd's state of an interface, from its files.

In: /run/systemd/netif/links/INDEX and the .network file that it names.  Out: the
DNS servers and whether DHCP is on, where networkd manages the interface.

The files say of themselves that they are private; systemd-resolved and other
programs read them through libsystemd (sd-network).  The other ways to know,
networkctl and D-Bus, cost a process.
"""

from __future__ import annotations

from .files import read_sections
from .servers import literals

LINKS = "/run/systemd/netif/links"

# What sd_network_link_get_setup_state(3) gives for an interface that is left to others.
_NOT_MANAGED = frozenset({"", "unmanaged", "pending", "initialized", "linger"})

# systemd.network(5), DHCP=: of these the last two are the names of systemd 218.
_DHCP4 = frozenset({"yes", "true", "on", "1", "y", "t", "ipv4", "both", "v4"})


class NetworkdLink:
    """What networkd has to say of an interface that it manages.

    ``dhcp`` is None where its .network file cannot be read and there is no lease.
    """

    __slots__ = ("dhcp", "dns")

    def __init__(self, dns: list[str], dhcp: bool | None) -> None:
        self.dns = dns
        self.dhcp = dhcp


def read_link(root: str, index: int) -> NetworkdLink | None:
    """Return networkd's state of an interface; None if it does not manage it."""
    state = read_sections(root, f"{LINKS}/{index}")[""]
    if state.get("ADMIN_STATE", "") in _NOT_MANAGED:
        return None
    dhcp = True if "DHCP_LEASE" in state else _configured(root, state)
    return NetworkdLink(literals(state.get("DNS", "").split()), dhcp)


def _configured(root: str, state: dict[str, str]) -> bool | None:
    """Whether the .network file asks for DHCP; drop-ins are named since systemd 253."""
    path = state.get("NETWORK_FILE", "")
    if not path:
        return None
    value = "no"
    for each in (path, *state.get("NETWORK_FILE_DROPINS", "").split(":")):
        value = read_sections(root, each).get("Network", {}).get("DHCP", value)
    return value.lower() in _DHCP4
