# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Whether ifupdown or sysconfig is configured to use DHCP for an interface.

ifupdown's settings are in /etc/network/interfaces; they count only while its state
says that it has brought the interface up.  sysconfig's are in ifcfg-* files: those of
RHEL's network scripts and of SUSE's wicked.
"""

from __future__ import annotations

from hv_kvp_daemon.guest.files import list_names, read_text
from hv_kvp_daemon.guest.pattern import matches

from .keyfile import read_sections, shell_word

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

#: ifupdown's state, and that of BusyBox and ifupdown-ng (Alpine).
IFSTATES = ("/run/network/ifstate", "/run/ifstate")
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
        settings = read_sections(root, prefix + interface, shell_word)[""]
        if settings:
            return settings.get("BOOTPROTO", "").lower() in _BOOTPROTO
    return None


def _ifupdown(root: str, interface: str) -> bool | None:
    settings = settings_in_use(root, interface)
    if settings is None:
        return None
    methods = []
    inside = False
    for words in stanzas(root):
        if words[:1] == ["iface"]:
            # ifupdown-ng needs neither a family nor a method.
            inside = words[1:2] == [settings] and words[2:3] in (["inet"], [])
            if inside:
                methods.append("".join(words[3:4]))
        elif inside and words[:1] == ["use"]:
            methods += words[1:]  # ifupdown-ng: ``use dhcp``
    return "dhcp" in methods if methods else None


def settings_in_use(root: str, interface: str) -> str | None:
    """Return the name of the settings with which ifup has brought an interface up."""
    for path in IFSTATES:
        # After the name ifupdown-ng writes a count.
        words = read_sections(root, path)[""].get(interface, "").split()
        if words:
            return words[0]
    return None


def is_configured(root: str, interface: str) -> bool:
    """Return whether /etc/network/interfaces has settings for an interface."""
    return any(words[:2] == ["iface", interface] for words in stanzas(root))


def includes(root: str, path: str) -> bool:
    """Return whether /etc/network/interfaces itself includes a file, which need not exist."""
    directory, _, name = path.rpartition("/")
    for words in _lines(root, INTERFACES):
        for word in words[1:]:
            pattern = _absolute(INTERFACES, word)
            if words[0] == "source-directory":
                if directory in _expand(root, pattern) and _is_run_part(name):
                    return True
            elif words[0] == "source":
                parent, _, last = pattern.rpartition("/")
                if parent == directory and matches(last, name):
                    return True
    return False


def stanzas(root: str, *, skip: str = "") -> Iterator[list[str]]:
    """Yield the words of each line, with included files in their place, each file once.

    ``skip`` is a file that is left out.
    """
    return _with_included(root, INTERFACES, {skip}, _DEPTH)


def _with_included(root: str, path: str, seen: set[str], depth: int) -> Iterator[list[str]]:
    # Each once: a few that include all files of their directory would take hours.
    seen.add(path)
    for words in _lines(root, path):
        if words[:1] not in (["source"], ["source-directory"]):
            yield words
            continue
        for each in _included(root, path, words) if depth else ():
            if each not in seen:
                yield from _with_included(root, each, seen, depth - 1)


def _lines(root: str, path: str) -> Iterator[list[str]]:
    for line in (read_text(root, path) or "").replace("\\\n", " ").splitlines():
        yield line.split()


def _absolute(path: str, word: str) -> str:
    return word if word.startswith("/") else f"{path.rpartition('/')[0]}/{word}"


def _is_run_part(name: str) -> bool:
    """Whether run-parts(8) takes a file; it leaves those of editors and packages out."""
    return name.replace("-", "").replace("_", "").isalnum()


def _included(root: str, path: str, words: list[str]) -> Iterator[str]:
    """Yield the files that ``source PATTERN...`` and ``source-directory`` name."""
    for word in words[1:]:
        for target in _expand(root, _absolute(path, word)):
            if words[0] == "source":
                yield target
                continue
            for name in list_names(root, target):
                if _is_run_part(name):
                    yield f"{target}/{name}"


def _expand(root: str, pattern: str) -> list[str]:
    """Return the paths that fit a pattern, sorted, as wordexp(3) does it for ifupdown."""
    paths = [""]
    for part in pattern.strip("/").split("/"):
        if any(each in part for each in "*?["):
            paths = [
                f"{path}/{name}"
                for path in paths
                for name in list_names(root, path)
                if matches(part, name) and (name[0] != "." or part[0] == ".")
            ]
        else:
            paths = [f"{path}/{part}" for path in paths]
    return paths
