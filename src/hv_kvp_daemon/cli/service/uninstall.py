# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""``uninstall-service``: removes what ``install-service`` wrote, and nothing else.

The pools stay, and so does the link to them while other programs find pairs by it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hv_kvp_daemon.cli import arguments, terminal
from hv_kvp_daemon.cli.command import EXIT_DECLINED, EXIT_DONE, EXIT_NOT_FOUND, Command
from hv_kvp_daemon.pools.place import OTHER_DIRECTORY, POOL_DIRECTORY

from . import installation, unit_files
from .install_root import InstallRoot
from .unit_files import RULES_PATH, UNIT, UNIT_PATH

if TYPE_CHECKING:
    import argparse

    from .installation import PackagedUnit


def _uninstall(options: argparse.Namespace) -> int:
    root = InstallRoot(options)
    present = [path for path in unit_files.PATHS if root.exists(path)]
    ours = [path for path in present if not root.is_foreign(path)]
    package = installation.packaged(root)
    if not ours:
        whose = f"; {package.path} belongs to a package: {_remover(root)}" if package else ""
        terminal.say(f"hv-kvp install-service has written nothing here{whose}")
        return EXIT_NOT_FOUND
    root.require_writable(ours)
    if not root.confirmed(f"Stop and remove {UNIT}?"):
        return EXIT_DECLINED
    _remove(root, ours)
    if package:
        root.run("systemctl", "try-restart", UNIT)
    for path in present:
        if path not in ours:
            terminal.say(f"{path} stays: hv-kvp did not write it")
    print("nothing was changed (--dry-run)" if options.dry_run else _left(root, package))
    return EXIT_DONE


def _remover(root: InstallRoot) -> str:
    """Return the command that removes the distribution's package."""
    found = [each for each in unit_files.MANAGERS if root.exists(f"/usr/bin/{each}")]
    return " ".join((*found[:1], "remove hv-kvp-daemon"))


def _remove(root: InstallRoot, ours: list[str]) -> None:
    """Stop the service and remove its files, and the links that lead to it."""
    command = installation.former(root, None)
    units = [os.path.basename(path) for path in unit_files.UNIT_PATHS if path in ours]
    if units:
        root.run("systemctl", "stop", *units)
    for path in ours:
        root.remove(path)
    for name in unit_files.OTHER_UNITS:
        for path in unit_files.alias_paths(name):
            root.unlink(path, UNIT_PATH, *unit_files.vendor_paths(UNIT))
    if command:
        for path, target in unit_files.program_links(command.program).items():
            root.unlink(path, target)
        _unlink_pools(root, command.options.pool_dir or POOL_DIRECTORY)
    if RULES_PATH in ours:
        root.reload_udev()
    root.run("systemctl", "daemon-reload")


def _unlink_pools(root: InstallRoot, pool_dir: str) -> None:
    """Remove a dangling link to the pools: the C daemon exits where it finds one.

    Debian's is not even started where there is a link, dangling or not, since its unit has
    StateDirectory=hyperv (systemd 252 and 257).
    """
    target = root.target(OTHER_DIRECTORY)
    dangling = root.is_dangling(OTHER_DIRECTORY)
    if dangling and target == unit_files.other_directory_link(pool_dir):
        root.unlink(OTHER_DIRECTORY, target)
    elif target:
        reason = (
            "which does not exist, and not that of this installation; remove it, since other"
            " KVP daemons exit there"
            if dangling
            else "where other programs find the pairs; Debian's KVP daemon does not start"
            f" while it is a link: rm {OTHER_DIRECTORY} && mv {pool_dir} {OTHER_DIRECTORY}"
        )
        terminal.say(f"{OTHER_DIRECTORY} stays, a link to {target}, {reason}")


def _left(root: InstallRoot, package: PackagedUnit | None) -> str:
    """Return one line about which KVP daemon is left."""
    if package:
        return f"the package's own unit is used again: {package.path}"
    for name in (UNIT, *unit_files.OTHER_UNITS):
        if any(map(root.is_others_unit, unit_files.unit_paths(name))):
            return (
                "no KVP daemon runs now, so the host gets no answers; for the distribution's:"
                f" systemctl start {name}"
            )
    return "no KVP daemon is left, so the host gets no answers from this guest"


UNINSTALL = Command(
    "uninstall-service", "remove the service; the pools stay", arguments.add_root, _uninstall
)
