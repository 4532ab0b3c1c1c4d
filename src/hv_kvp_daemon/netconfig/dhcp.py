"""Whether an interface has its IPv4 address by DHCP.

In: the scripts, and who manages the interface: NetworkManager, systemd-networkd,
ifupdown, sysconfig.  Out: yes or no.
Rule: what is configured counts, also while there is no lease.  Where nobody is
known to manage it, an address with a limited lifetime is a leased one.
"""

from __future__ import annotations

from . import networkd, networkmanager, scripts
from .configured import configured_dhcp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .report import Report
    from .steps import Steps


def uses_dhcp(root: str, report: Report, problem: Callable[[str], None]) -> Steps[bool]:
    """Whether DHCP is on for a report's interface."""
    answer = yield from scripts.dhcp(root, report.name, problem)
    if answer is None:
        answer = yield from _managers(root, report, problem)
    if answer is None:
        answer = configured_dhcp(root, report.name)
    return report.leased if answer is None else answer


def _managers(root: str, report: Report, problem: Callable[[str], None]) -> Steps[bool | None]:
    device = networkmanager.read_device(root, report.index)
    if device is None:
        link = networkd.read_link(root, report.index)
        return None if link is None else link.dhcp
    if device.dhcp is None:
        return (yield from networkmanager.ask_dhcp(root, device.uuid, problem))
    return device.dhcp
