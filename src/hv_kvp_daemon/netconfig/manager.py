# SPDX-FileCopyrightText: 2010 Novell, Inc. (author: K. Y. Srinivasan <ksrinivasan@novell.com>)
# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Which program manages an interface, and so has to be given its settings.

Files tell: those of the state of a program that runs, or before any of them does, those by
which one is enabled.  netplan is no manager: it makes files for networkd or NetworkManager
at boot, and those are used.
"""

from __future__ import annotations

import os
from typing import Final

from hv_kvp_daemon.guest.files import below, list_names

from . import configured, networkd, networkmanager
from .running import is_running

#: The names of the managers, and of ``direct``: the kernel alone.
NETWORKD: Final = "networkd"
NETWORKMANAGER: Final = "networkmanager"
IFUPDOWN: Final = "ifupdown"
DIRECT: Final = "direct"

# Where a unit is wanted by another: by `systemctl enable`, a preset, or netplan's generator.
_WANTED: Final = (
    *("/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system"),
    *("/run/systemd/generator", "/run/systemd/generator.early", "/run/systemd/generator.late"),
)

_IFUP: Final = ("/sbin/ifup", "/usr/sbin/ifup")


def managing(root: str, name: str, index: int) -> str:
    """Return the name of what manages an interface, or will after the boot."""
    networkd_runs = is_running(root, "systemd-networkd")
    if networkd_runs and networkd.read_link(root, index) is not None:
        return NETWORKD
    if networkmanager.read_device(root, index) is not None:
        return NETWORKMANAGER
    if configured.settings_in_use(root, name) is not None:
        return IFUPDOWN
    if networkd_runs:
        return NETWORKD  # A file that matches is all that it needs.
    if is_running(root, "NetworkManager"):
        return DIRECT  # Its administrator has excluded the interface.
    return _enabled(root, name)


def _enabled(root: str, name: str) -> str:
    # The file may be left from ifupdown, which was removed.
    if configured.is_configured(root, name) and any(
        os.path.exists(below(root, path)) for path in _IFUP
    ):
        return IFUPDOWN
    units = {
        unit
        for directory in _WANTED
        for wants in list_names(root, directory)
        if wants.endswith(".wants")
        for unit in list_names(root, f"{directory}/{wants}")
    }
    by_networkd = "systemd-networkd.service" in units
    if "NetworkManager.service" in units and not (by_networkd and _has_files(root)):
        return NETWORKMANAGER
    return NETWORKD if by_networkd else DIRECT


def _has_files(root: str) -> bool:
    """Whether somebody has configured networkd: its own files are in /usr."""
    return any(
        each.endswith(".network")
        for directory in ("/etc/systemd/network", "/run/systemd/network")
        for each in list_names(root, directory)
    )
