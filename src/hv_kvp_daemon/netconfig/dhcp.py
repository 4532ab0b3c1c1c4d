# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Whether an interface gets its IPv4 address by DHCP.

What manages the interface is asked: systemd-networkd, NetworkManager, ifupdown or
sysconfig, each only while it is running or has brought the interface up.  What is
configured counts, also while there is no lease.  The script is asked only if none of them
knows: that of RHEL 10 says Enabled if IPv6 alone is automatic.  If it does not know either,
an address with a limited lifetime is taken for a lease.
"""

from __future__ import annotations

from . import networkd, networkmanager, scripts
from .configured import configured_dhcp
from .running import is_running

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .config import AdapterConfig
    from .program import Programs


def uses_dhcp(programs: Programs, config: AdapterConfig) -> bool:
    """Return whether DHCP is on for the interface of a configuration."""
    answer = _networkd_dhcp(programs.root, config.index)
    if answer is None:
        answer = networkmanager.dhcp(programs, config.name, config.index)
    if answer is None:
        answer = configured_dhcp(programs.root, config.name)
    if answer is None:
        answer = scripts.dhcp(programs, config.name)
    return config.leased if answer is None else answer


def _networkd_dhcp(root: str, index: int) -> bool | None:
    link = networkd.read_link(root, index)
    # dracut's networkd leaves its files to the system that it has booted.
    return link[0] if link is not None and is_running(root, "systemd-networkd") else None
