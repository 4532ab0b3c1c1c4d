"""Whether DHCP is configured for an interface that no running manager owns.

In: the settings of ifupdown (/etc/network/interfaces, while its state says that
it has brought the interface up) and of sysconfig (ifcfg-*: RHEL's network
scripts, SUSE's wicked).  Out: True, False, or None where neither knows it.
"""

from __future__ import annotations

from .files import list_names, read_sections, read_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

IFSTATE = "/run/network/ifstate"
INTERFACES = "/etc/network/interfaces"
IFCFG = (
    "/etc/sysconfig/network-scripts/ifcfg-",
    "/etc/sysconfig/network/ifcfg-",
)

# RHEL's ifup takes the first two for one; the others are ifcfg(5) of SUSE.
_BOOTPROTO = frozenset({"dhcp", "bootp", "dhcp4", "dhcp+autoip"})

# interfaces(5) sets no limit to files that include each other.
_DEPTH = 4


def configured_dhcp(root: str, interface: str) -> bool | None:
    """Whether the settings ask for DHCP over IPv4; None if there are none."""
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
    # ifup can bring an interface up under another name's settings.
    methods = [
        words[3]
        for words in _stanzas(root, INTERFACES, _DEPTH)
        if words[:3] == ["iface", state[interface], "inet"] and len(words) > 3
    ]
    return "dhcp" in methods if methods else None


def _stanzas(root: str, path: str, depth: int) -> Iterator[list[str]]:
    """The words of each line, those of included files in their place."""
    for line in (read_text(root, path) or "").splitlines():
        words = line.split()
        if words[:1] not in (["source"], ["source-directory"]):
            yield words
        elif len(words) > 1 and depth:
            for each in _included(root, path, words):
                yield from _stanzas(root, each, depth - 1)


def _included(root: str, path: str, words: list[str]) -> Iterator[str]:
    """The files that ``source PATTERN`` and ``source-directory DIRECTORY`` name.

    Of a pattern one ``*`` in the last part is understood, as distributions write it.
    """
    target = words[1] if words[1].startswith("/") else f"{path.rpartition('/')[0]}/{words[1]}"
    if words[0] == "source-directory":
        for name in list_names(root, target):
            # As run-parts: no backup or package manager's files.
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
