"""Whether ifupdown or sysconfig is configured to use DHCP for an interface.

ifupdown's settings are in /etc/network/interfaces; they count only while its state
says that it has brought the interface up.  sysconfig's are in ifcfg-* files: those of
RHEL's network scripts and of SUSE's wicked.
"""

from __future__ import annotations

from hv_kvp_daemon.guest.files import list_names, read_text

from .keyfile import read_sections

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

IFSTATE = "/run/network/ifstate"
INTERFACES = "/etc/network/interfaces"
IFCFG = (
    "/etc/sysconfig/network-scripts/ifcfg-",
    "/etc/sysconfig/network/ifcfg-",
)

# RHEL's ifup treats the first two alike; the others are in SUSE's ifcfg(5).
_BOOTPROTO = frozenset({"dhcp", "bootp", "dhcp4", "dhcp+autoip"})

# interfaces(5) sets no limit to files that include each other.
_DEPTH = 4


def configured_dhcp(root: str, interface: str) -> bool | None:
    """Return whether the settings ask for DHCP over IPv4; None if there are none."""
    dhcp = _ifupdown(root, interface)
    return _ifcfg(root, interface) if dhcp is None else dhcp


def _ifcfg(root: str, interface: str) -> bool | None:
    for prefix in IFCFG:
        settings = read_sections(root, prefix + interface)[""]
        if settings:
            return settings.get("BOOTPROTO", "").lower() in _BOOTPROTO
    return None


def _ifupdown(root: str, interface: str) -> bool | None:
    state = read_sections(root, IFSTATE)[""]
    if interface not in state:
        return None
    # ifup can bring up an interface with the settings of another name.
    methods = [
        words[3]
        for words in _stanzas(root, INTERFACES, _DEPTH)
        if words[:3] == ["iface", state[interface], "inet"] and len(words) > 3
    ]
    return "dhcp" in methods if methods else None


def _stanzas(root: str, path: str, depth: int) -> Iterator[list[str]]:
    """Yield the words of each line, with included files in their place."""
    for line in (read_text(root, path) or "").splitlines():
        words = line.split()
        if words[:1] not in (["source"], ["source-directory"]):
            yield words
        elif len(words) > 1 and depth:
            for each in _included(root, path, words):
                yield from _stanzas(root, each, depth - 1)


def _included(root: str, path: str, words: list[str]) -> Iterator[str]:
    """Yield the files that ``source PATTERN`` and ``source-directory DIRECTORY`` name.

    One ``*`` in the last part of a pattern is supported, as distributions write it.
    """
    target = words[1] if words[1].startswith("/") else f"{path.rpartition('/')[0]}/{words[1]}"
    if words[0] == "source-directory":
        for name in list_names(root, target):
            # As run-parts(8), without the files of editors and package managers.
            if name.replace("-", "").replace("_", "").isalnum():
                yield f"{target}/{name}"
        return
    directory, _, pattern = target.rpartition("/")
    before, star, after = pattern.partition("*")
    if not star:
        yield target
        return
    for name in list_names(root, directory):
        if name.startswith(before) and name.endswith(after) and not name.startswith("."):
            yield f"{directory}/{name}"
