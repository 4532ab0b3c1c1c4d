"""The DNS servers that really serve an interface.

In: the scripts, systemd-resolved, NetworkManager and resolv.conf.  Out: addresses.
Rule: the most particular that is known: this interface's list where resolved or
NetworkManager keeps one, else those that serve all interfaces.  A server on this
machine (resolved's stub 127.0.0.53, a cache) is shown only where nobody says
whom it asks.
"""

from __future__ import annotations

import _socket
import os

from . import networkd, networkmanager, scripts
from .files import below, list_names, read_sections, read_text
from .program import Question
from .servers import is_local, literals, nameservers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .report import Report
    from .steps import Steps

RESOLV_CONF = "/etc/resolv.conf"

#: resolved's runtime directory: its list of all servers, and a file for each link
#: that others than networkd have configured.
RESOLVED = "/run/systemd/resolve"
RESOLVED_LINKS = f"{RESOLVED}/netif"
RESOLVED_SOCKET = f"{RESOLVED}/io.systemd.Resolve"
RESOLVED_ALL = f"{RESOLVED}/resolv.conf"

#: What stands in resolv.conf when it leads to a local server: the ones that it asks.
UPSTREAM = (RESOLVED_ALL, "/run/NetworkManager/no-stub-resolv.conf")

#: Where resolved listens: systemd-resolved.service(8).
STUBS = frozenset({"127.0.0.53", "127.0.0.54"})

RESOLVECTL = "/usr/bin/resolvectl"
SECONDS = 2.5


def servers(root: str, report: Report, problem: Callable[[str], None]) -> Steps[list[str]]:
    """The servers of a report's interface."""
    found = yield from scripts.dns(root, report.name, problem)
    # Distributions ship a sample that prints resolv.conf; with resolved that is a stub.
    if found is not None and (not found or not STUBS.issuperset(found)):
        return found
    if resolved_runs(root):
        of_resolved = yield from _of_resolved(root, report, problem)
        if of_resolved is not None:
            return of_resolved
    general = nameservers(root, RESOLV_CONF, report.name)
    if not report.alone and networkmanager.read_device(root, report.index) is not None:
        of_device = yield from networkmanager.ask_servers(root, report.name, problem)
        if of_device is not None:
            return _agreed(root, of_device, general)
    return _upstream(root, report.name, general)


def _only_local(found: list[str]) -> bool:
    return bool(found) and all(map(is_local, found))


def _upstream(root: str, interface: str, general: list[str]) -> list[str]:
    if _only_local(general):
        for path in UPSTREAM:
            found = nameservers(root, path, interface)
            if found and not _only_local(found):
                return found
    return general


def _agreed(root: str, of_device: list[str], general: list[str]) -> list[str]:
    """NetworkManager's list for a device, as far as the resolver uses it.

    resolv.conf may be the administrator's own (``dns=none``), and then it decides.
    """
    if not general or _only_local(general):
        return of_device or general
    agreed = [server for server in of_device if server in general]
    generated = "NetworkManager" in (read_text(root, RESOLV_CONF) or "").partition("\n")[0]
    return agreed if agreed or generated else general


# -- systemd-resolved


def resolved_runs(root: str) -> bool:
    """Whether resolved serves here.  Its files stay behind when it is stopped.

    Its socket is there since systemd 246; before, resolv.conf tells by leading to it.
    """
    path = below(root, RESOLVED_SOCKET)
    if not os.path.exists(path):
        return os.path.exists(below(root, RESOLVED_ALL)) and not STUBS.isdisjoint(
            nameservers(root, RESOLV_CONF)
        )
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_NONBLOCK)
    try:
        sock.connect(path)
    except BlockingIOError:
        return True  # its queue is full
    except OSError:
        return False
    finally:
        sock.close()
    return True


def _of_resolved(
    root: str, report: Report, problem: Callable[[str], None]
) -> Steps[list[str] | None]:
    """The interface's own servers, else those that belong to no interface.

    None if that cannot be found out.
    """
    link = networkd.read_link(root, report.index)
    if link is not None and link.dns:
        return link.dns
    everything = nameservers(root, RESOLVED_ALL)
    try:
        os.listdir(below(root, RESOLVED_LINKS))
    except FileNotFoundError:
        pass  # nobody has configured a link
    except OSError:
        # resolved's own directory, mode 0700: closed to root without CAP_DAC_OVERRIDE.
        if report.alone:
            return everything
        return (yield from _ask_resolved(root, report.index, problem))
    own = _link_servers(root, report.index)
    if own:
        return own
    for name in {*list_names(root, RESOLVED_LINKS), *list_names(root, networkd.LINKS)}:
        if everything and name.isdecimal():
            theirs = _link_servers(root, int(name))
            everything = [server for server in everything if server not in theirs]
    return everything


def _link_servers(root: str, index: int) -> list[str]:
    link = networkd.read_link(root, index)
    if link is not None:
        return link.dns
    state = read_sections(root, f"{RESOLVED_LINKS}/{index}")[""]
    return literals(state.get("SERVERS", "").split())


def _ask_resolved(
    root: str, index: int, problem: Callable[[str], None]
) -> Steps[list[str] | None]:
    answer = yield Question((below(root, RESOLVECTL), "dns"), SECONDS)
    if answer.trouble or answer.output is None:
        problem(answer.trouble)
        return None
    general: list[str] = []
    own: list[str] = []
    words: list[str] = []
    for line in answer.output.splitlines():
        # "Global: …" and "Link 5 (eth1): …"; a long list may go on in the next line.
        if line.startswith("Global:"):
            words = general
        elif line.startswith("Link "):
            words = own if line.split()[1] == str(index) else []
        # The words of a heading are no addresses and fall out.
        words += line.split()
    return literals(own) or literals(general)
