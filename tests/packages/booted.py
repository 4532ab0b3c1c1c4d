# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""A minimal Debian, booted by systemd-nspawn, in which apt installs packages.

It has no network; what the packages need is in apt's archive.  `tests.network.container` says
how it is booted.  Three things differ from a guest: the driver's device is an empty file, the
daemon serves a simulated host, and the C daemon is a program that waits.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from tests.network.container import HOST, Container

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE = Path(__file__).parent
SOURCES = HERE.parents[1]
LAB = Path(
    os.environ.get("HVPACKAGE_DIR")
    or f"{os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache'}/hv-kvp-package-lab"
)
SUITES = ("bookworm", "trixie", "sid")

OURS = "hv-kvp.service"
THEIRS = "hv-kvp-daemon.service"
PACKAGES = "/var/packages"

_DROP_IN = (
    f"[Service]\nExecStart=\nExecStart=/usr/bin/hv_kvp_daemon -n --clear-stale"
    f" --transport loopback:{HOST}\n"
)


class Guest(Container):
    """``with Guest(suite, packages) as guest``: it has booted, and no package is installed.

    ``packages`` are in PACKAGES.  With ``hyperv`` it has the driver's device.  What they need
    is installed, unless it is ``clean``.
    """

    lab = LAB

    def __init__(
        self,
        suite: str,
        packages: Sequence[Path],
        *,
        hyperv: bool = True,
        clean: bool = False,
    ) -> None:
        self._suite = suite if clean else f"{suite}-ready"
        self._packages = packages
        self.hyperv = hyperv

    def _install(self) -> None:
        self.write(f"/etc/systemd/system/{OURS}.d/lab.conf", _DROP_IN)
        for package in self._packages:
            target = self.root / PACKAGES.lstrip("/") / package.name
            target.parent.mkdir(exist_ok=True)
            shutil.copy(package, target)

    def _when_booted(self) -> None:
        """There is no daemon yet."""

    def apt(self, *words: str) -> str:
        """Run apt-get; packages are names, or file names in PACKAGES."""
        words = tuple(f"{PACKAGES}/{each}" if ".deb" in each else each for each in words)
        options = "-y -q --no-install-recommends --allow-downgrades -o Dpkg::Use-Pty=0"
        return self.run(
            f"env DEBIAN_FRONTEND=noninteractive apt-get {options} {' '.join(words)}"
        )

    def pid(self, unit: str) -> int:
        """The main process of a unit, or 0."""
        return int(self.run(f"systemctl show --property=MainPID --value {unit}"))

    def is_active(self, unit: str) -> bool:
        return self.run(f"systemctl is-active {unit}", check=False) == "active\n"


def repacked(package: Path, target: Path, *, version: str = "") -> Path:
    """A copy of a package with another version and, of hyperv-daemons, a C daemon that waits.

    The real one ends where the driver's device is an empty file, and its unit is bound to a
    device that only udev announces.  The maintainer scripts stay as they are.
    """
    tree = target / "tree"
    run("dpkg-deb", "--raw-extract", package, tree)
    control = tree / "DEBIAN/control"
    text = control.read_text()
    old = next(line.split()[1] for line in text.splitlines() if line.startswith("Version:"))
    control.write_text(text.replace(old, version or old))
    daemon = tree / "usr/sbin/hv_kvp_daemon"
    if daemon.exists():
        daemon.write_text("#!/bin/sh\nexec sleep infinity\n")
        for unit in tree.glob(f"**/systemd/system/{THEIRS}"):
            lines = unit.read_text().splitlines(keepends=True)
            unit.write_text("".join(each for each in lines if not each.startswith("BindsTo=")))
    run("dpkg-deb", "--build", "--root-owner-group", "-Znone", tree, target)
    shutil.rmtree(tree)
    (made,) = target.glob("*.deb")
    return made


def run(*argv: str | Path) -> str:
    """Run a command; what it wrote is shown if it fails."""
    done = subprocess.run(
        argv, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert done.returncode == 0, f"{argv}: {done.stdout}"
    return done.stdout
