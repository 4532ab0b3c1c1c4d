"""Whether an interface gets its IPv4 address by DHCP.

The scripts are asked, then what manages the interface: NetworkManager,
systemd-networkd, ifupdown or sysconfig.  What is configured counts, also while there
is no lease.  If nothing is known to manage the interface, an address with a limited
lifetime is taken for a lease.
"""

from __future__ import annotations

from . import networkd, networkmanager, scripts
from .configured import configured_dhcp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .config import AdapterConfig
    from .program import Programs


def uses_dhcp(programs: Programs, config: AdapterConfig) -> bool:
    """Return whether DHCP is on for the interface of a configuration."""
    answer = scripts.dhcp(programs, config.name)
    if answer is None:
        answer = _manager_dhcp(programs, config.index)
    if answer is None:
        answer = configured_dhcp(programs.root, config.name)
    return config.leased if answer is None else answer


def _manager_dhcp(programs: Programs, index: int) -> bool | None:
    device = networkmanager.read_device(programs.root, index)
    if device is None:
        link = networkd.read_link(programs.root, index)
        return None if link is None else link[0]
    uuid, dhcp = device
    return networkmanager.ask_dhcp(programs, uuid) if dhcp is None else dhcp
