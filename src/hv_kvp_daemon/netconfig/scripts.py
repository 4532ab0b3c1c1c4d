# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The two scripts by which administrators and distributions inform the C daemon.

``hv_get_dhcp_info`` and ``hv_get_dns_info`` get the name of an interface as their one
argument.  The second takes precedence over every other source, the first is asked where no
network manager knows (see `dhcp`).  As in the C daemon, the output counts whatever the
exit status is; but output that is not an answer is ignored.
"""

from __future__ import annotations

import os

from .servers import literals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .program import Programs

#: Where the C daemon of a distribution looks: upstream's KVP_SCRIPTS_PATH (Debian,
#: Fedora, RHEL, Arch), SUSE's PATH, Ubuntu's and Photon's.
DIRECTORIES = (
    "/usr/libexec/hypervkvpd",
    "/usr/lib/hyper-v/bin",
    "/usr/sbin",
    "/usr/bin",
)

SECONDS = 2.0


def dhcp(programs: Programs, interface: str) -> bool | None:
    """Return what ``hv_get_dhcp_info`` says; None if there is no answer.

    Its first line begins with Enabled or Disabled.
    """
    output = _output(programs, "hv_get_dhcp_info", interface)
    if output is None:
        return None
    if output.startswith("Enabled"):
        return True
    if output.startswith("Disabled"):
        return False
    programs.report("hv_get_dhcp_info says neither Enabled nor Disabled")
    return None


def dns(programs: Programs, interface: str, index: int) -> list[str] | None:
    """Return the servers that ``hv_get_dns_info`` prints, one a line; None: no answer.

    Empty output means that there are none.
    """
    output = _output(programs, "hv_get_dns_info", interface)
    if output is None:
        return None
    words = output.split()
    found = literals(words, (interface, index))
    if words and not found:
        programs.report("hv_get_dns_info says nothing that is an address")
        return None
    return found


def _output(programs: Programs, name: str, interface: str) -> str | None:
    root = programs.root.rstrip("/")
    for directory in DIRECTORIES:
        path = f"{directory}/{name}"
        if os.access(root + path, os.X_OK) and os.path.isfile(root + path):
            return programs.run(path, interface, seconds=SECONDS, any_status=True)
    return None
