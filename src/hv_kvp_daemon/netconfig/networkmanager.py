# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""What NetworkManager knows of an interface: from its files, else from nmcli.

The files are /run/NetworkManager/devices/INDEX and the keyfiles of connection
profiles.  Profiles in other formats, and DNS servers by interface, are known to nmcli
only.
"""

from __future__ import annotations

from hv_kvp_daemon.guest.files import list_names, read_text

from .keyfile import read_sections
from .running import is_running
from .servers import literals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .keyfile import Sections
    from .program import Programs

DEVICES = "/run/NetworkManager/devices"

# NetworkManager.conf(5), [keyfile]: the administrator's profiles, those that last until
# the next boot (of netplan and NetworkManager itself), and the distribution's.
PROFILES = (
    "/etc/NetworkManager/system-connections",
    "/run/NetworkManager/system-connections",
    "/usr/lib/NetworkManager/system-connections",
)

NMCLI = "/usr/bin/nmcli"

# nmcli answers in 0.02 s.  If it hangs, the later programs of a request share what is left
# of program.LIMIT.
SECONDS = 2.5


def read_device(root: str, index: int) -> Sections | None:
    """Return NetworkManager's state of an interface; None if it does not manage it.

    None, too, while NetworkManager is stopped: its files remain.
    """
    state = read_sections(root, f"{DEVICES}/{index}")
    managed = state.get("device", {}).get("managed") == "true"
    return state if managed and is_running(root, "NetworkManager") else None


def dhcp(programs: Programs, interface: str, index: int) -> bool | None:
    """Return whether an interface's active profile uses DHCP for IPv4.

    None if NetworkManager does not manage the interface.  A profile that is ``external``
    only mirrors what another program has configured.
    """
    root = programs.root
    state = read_device(root, index)
    if state is None:
        return None
    if state.get("dhcp4"):
        return True  # a lease, as NetworkManager 1.42 notes it
    # The file does not name the profile before the interface is connected.
    uuid = state["device"].get("connection-uuid") or _ask_uuid(programs, interface)
    if not uuid:
        return None
    profile = _profile(root, uuid)
    if profile is None:
        return _ask_dhcp(programs, uuid)
    if profile.get(".nmmeta", {}).get("external") == "true":
        return None
    return profile.get("ipv4", {}).get("method") == "auto"


def _profile(root: str, uuid: str) -> Sections | None:
    for directory in PROFILES:
        for name in list_names(root, directory):
            path = f"{directory}/{name}"
            if uuid in (read_text(root, path) or ""):
                sections = read_sections(root, path)
                if sections.get("connection", {}).get("uuid") == uuid:
                    return sections
    return None


def _ask_uuid(programs: Programs, interface: str) -> str | None:
    """Ask nmcli for the profile by which an interface is being connected."""
    words = ("-g", "GENERAL.CON-UUID", "device", "show", interface)
    output = programs.run(NMCLI, *words, seconds=SECONDS)
    return None if output is None else output.strip()


def _ask_dhcp(programs: Programs, uuid: str) -> bool | None:
    """Ask nmcli whether a profile uses DHCP for IPv4; None if there is no answer."""
    words = ("-g", "ipv4.method", "connection", "show", "uuid", uuid)
    output = programs.run(NMCLI, *words, seconds=SECONDS)
    return None if output is None else output.strip() == "auto"


def ask_servers(programs: Programs, interface: str) -> list[str] | None:
    """Ask nmcli for the DNS servers of an interface, IPv4 first; None: no answer."""
    words = ("-e", "no", "-g", "IP4.DNS,IP6.DNS", "device", "show", interface)
    output = programs.run(NMCLI, *words, seconds=SECONDS)
    # One property a line, its values separated by " | ".
    return None if output is None else literals(output.replace("|", " ").split())
