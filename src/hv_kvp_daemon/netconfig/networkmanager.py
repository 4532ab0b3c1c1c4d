"""NetworkManager's knowledge of an interface: its files, and nmcli where they end.

In: /run/NetworkManager/devices/INDEX and the keyfiles of connection profiles.
Out: whether the active profile uses DHCP for IPv4, and the interface's servers.
"""

from __future__ import annotations

from .files import below, list_names, read_sections, read_text
from .program import Question
from .servers import literals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .files import Sections
    from .steps import Steps

DEVICES = "/run/NetworkManager/devices"

# NetworkManager.conf(5), [keyfile]: profiles of the administrator, those that last
# until the next boot (netplan's and NetworkManager's own), and the distribution's.
PROFILES = (
    "/etc/NetworkManager/system-connections",
    "/run/NetworkManager/system-connections",
    "/usr/lib/NetworkManager/system-connections",
)

NMCLI = "/usr/bin/nmcli"

# It answers in 0.02 s.  Twice this and twice a script's time stay below 10 s.
SECONDS = 2.5


class Device:
    """An interface with an active connection profile of this UUID.

    ``dhcp`` is whether the profile uses DHCP for IPv4, None if only nmcli can tell.
    """

    __slots__ = ("dhcp", "uuid")

    def __init__(self, uuid: str, dhcp: bool | None) -> None:
        self.uuid = uuid
        self.dhcp = dhcp


def read_device(root: str, index: int) -> Device | None:
    """Return what NetworkManager runs on an interface; None if it is not its own.

    A profile that is ``external`` only mirrors what somebody else has configured.
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
        # Its lease; NetworkManager 1.42 writes it there.
        return Device(uuid, dhcp=True)
    if profile is None:
        return Device(uuid, dhcp=None)
    return Device(uuid, dhcp=profile.get("ipv4", {}).get("method") == "auto")


def _profile(root: str, uuid: str) -> Sections | None:
    for directory in PROFILES:
        for name in list_names(root, directory):
            path = f"{directory}/{name}"
            if uuid in (read_text(root, path) or ""):
                sections = read_sections(root, path)
                if sections.get("connection", {}).get("uuid") == uuid:
                    return sections
    return None


def ask_dhcp(root: str, uuid: str, problem: Callable[[str], None]) -> Steps[bool | None]:
    """Ask whether a profile uses DHCP for IPv4; None if there is no answer."""
    words = ("-g", "ipv4.method", "connection", "show", "uuid", uuid)
    output = yield from _nmcli(root, words, problem)
    return None if output is None else output.strip() == "auto"


def ask_servers(
    root: str, interface: str, problem: Callable[[str], None]
) -> Steps[list[str] | None]:
    """Ask for an interface's DNS servers, IPv4 first; None if there is no answer."""
    words = ("-e", "no", "-g", "IP4.DNS,IP6.DNS", "device", "show", interface)
    output = yield from _nmcli(root, words, problem)
    # One property a line, its values with " | " between them.
    return None if output is None else literals(output.replace("|", " ").split())


def _nmcli(
    root: str, words: tuple[str, ...], problem: Callable[[str], None]
) -> Steps[str | None]:
    answer = yield Question((below(root, NMCLI), *words), SECONDS)
    if answer.trouble:
        problem(answer.trouble)
        return None
    return answer.output
