"""The two scripts with which administrators and distributions tell the C daemon.

In: an interface's name.  Out: what ``hv_get_dhcp_info`` and ``hv_get_dns_info``
say about it, or None: no such script, or it has not answered.
Rules: an installed script wins over what we know ourselves.  It gets the name as
its one argument, and 2 s.  As the C daemon does, its output is believed whatever
its exit status; but what is no answer at all is none.
"""

from __future__ import annotations

import os

from .files import below
from .program import Question
from .servers import literals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .steps import Steps

#: Where the C daemon of a distribution looks: upstream's KVP_SCRIPTS_PATH (Debian,
#: Fedora, RHEL, Arch), SUSE's PATH, Ubuntu's and Photon's.
DIRECTORIES = (
    "/usr/libexec/hypervkvpd",
    "/usr/lib/hyper-v/bin",
    "/usr/sbin",
    "/usr/bin",
)

SECONDS = 2.0


def dhcp(root: str, interface: str, problem: Callable[[str], None]) -> Steps[bool | None]:
    """What ``hv_get_dhcp_info`` says: its first line begins with Enabled or Disabled."""
    output = yield from _output(root, "hv_get_dhcp_info", interface, problem)
    if output is None:
        return None
    if output.startswith("Enabled"):
        return True
    if output.startswith("Disabled"):
        return False
    problem("hv_get_dhcp_info says neither Enabled nor Disabled")
    return None


def dns(root: str, interface: str, problem: Callable[[str], None]) -> Steps[list[str] | None]:
    """What ``hv_get_dns_info`` says: an address a line.  No line: there are none."""
    output = yield from _output(root, "hv_get_dns_info", interface, problem)
    if output is None:
        return None
    words = output.split()
    found = literals(words, interface)
    if words and not found:
        problem("hv_get_dns_info says nothing that is an address")
        return None
    return found


def _output(
    root: str, name: str, interface: str, problem: Callable[[str], None]
) -> Steps[str | None]:
    path = _installed(root, name)
    if path is None:
        return None
    answer = yield Question((path, interface), SECONDS)
    if answer.trouble:
        problem(answer.trouble)
    # From a script that failed, silence is no answer.
    return answer.output if answer.output or not answer.trouble else None


def _installed(root: str, name: str) -> str | None:
    for directory in DIRECTORIES:
        path = below(root, f"{directory}/{name}")
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return None
