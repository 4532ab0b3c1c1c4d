"""What NetworkManager knows of an interface: from its files, else from nmcli.

The files are /run/NetworkManager/devices/INDEX and the keyfiles of connection
profiles.  Profiles in other formats, and DNS servers by interface, are known to nmcli
only.
"""

from __future__ import annotations

from hv_kvp_daemon.guest.files import list_names, read_text

from .keyfile import read_sections
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

# nmcli answers in 0.02 s.  Twice this and twice scripts.SECONDS are less than
# program.LIMIT.
SECONDS = 2.5


def read_device(root: str, index: int) -> tuple[str, bool | None] | None:
    """Return the UUID of the interface's active connection profile, and its use of DHCP.

    Whether the profile uses DHCP for IPv4 is None if only nmcli knows.  The whole is
    None if NetworkManager does not manage the interface; a profile that is ``external``
    only mirrors what another program has configured.
    """
    state = read_sections(root, f"{DEVICES}/{index}")
    device = state.get("device", {})
    uuid = device.get("connection-uuid", "")
    if device.get("managed") != "true" or not uuid:
        return None
    profile = _profile(root, uuid)
    if profile is not None and profile.get(".nmmeta", {}).get("external") == "true":
        return None
    if state.get("dhcp4"):
        return uuid, True  # a lease, as NetworkManager 1.42 notes it
    return uuid, None if profile is None else profile.get("ipv4", {}).get("method") == "auto"


def _profile(root: str, uuid: str) -> Sections | None:
    for directory in PROFILES:
        for name in list_names(root, directory):
            path = f"{directory}/{name}"
            if uuid in (read_text(root, path) or ""):
                sections = read_sections(root, path)
                if sections.get("connection", {}).get("uuid") == uuid:
                    return sections
    return None


def ask_dhcp(programs: Programs, uuid: str) -> bool | None:
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
