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

#: Where ``hv-kvp-nmcli.socket`` listens: its unit runs nmcli with these words for all devices
#: and active profiles.  ``-e no``: colons and backslashes in values are not escaped.
NMCLI_SOCKET = "/run/hv-kvp-nmcli.socket"
DEVICE_WORDS = (
    *("-t", "-e", "no", "-f", "GENERAL.DEVICE,GENERAL.CON-UUID,IP4.DNS,IP6.DNS"),
    *("device", "show"),
)
PROFILE_WORDS = ("-t", "-f", "connection.uuid,ipv4.method", "connection", "show")
_FIRST = frozenset({"GENERAL.DEVICE", "connection.uuid"})

# The unit answers in 0.1 to 0.2 s.  If nmcli hangs, the later programs of a request share what
# is left of program.LIMIT.
SECONDS = 4.0


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
    device = _ask_device(programs, interface)
    return None if device is None else device.get("GENERAL.CON-UUID")


def _ask_dhcp(programs: Programs, uuid: str) -> bool | None:
    """Ask nmcli whether an active profile uses DHCP for IPv4; None if there is no answer."""
    profile = _ask(programs, ("connection.uuid", uuid), *PROFILE_WORDS, "uuid", uuid)
    return None if profile is None else profile.get("ipv4.method") == "auto"


def ask_servers(programs: Programs, interface: str) -> list[str] | None:
    """Ask nmcli for the DNS servers of an interface, IPv4 first; None: no answer."""
    device = _ask_device(programs, interface)
    if device is None:
        return None
    return literals(value for key, value in device.items() if ".DNS[" in key)


def _ask_device(programs: Programs, interface: str) -> dict[str, str] | None:
    return _ask(programs, ("GENERAL.DEVICE", interface), *DEVICE_WORDS, interface)


def _ask(programs: Programs, which: tuple[str, str], *words: str) -> dict[str, str] | None:
    """Return the properties of the device or profile whose first property is ``which``.

    nmcli is asked for that one, the unit sends all.  A property is a line, with its name
    before the first colon.
    """
    output = programs.ask(NMCLI_SOCKET, NMCLI, *words, seconds=SECONDS) or ""
    found = {}
    is_meant = False
    for line in output.splitlines():
        name, _, value = line.partition(":")
        if name in _FIRST:
            is_meant = (name, value) == which
        if is_meant:
            found[name] = value
    return found or None
