# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The packages as a clean root of a release builds them, without a network."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.support.external import run

from .booted import LAB

if TYPE_CHECKING:
    from collections.abc import Iterator

# The daemon's demo runs in the build.
_SCRIPT = """set -e
umask {umask}
mkdir -p {place}
cp /source/* {place}
cd {place}
dpkg-source --no-check --extract *.dsc tree >/dev/null
cd tree
dpkg-buildpackage --build=binary --no-sign >../log 2>&1 || {{ tail -50 ../log; exit 1; }}
cd ..
lintian --allow-root --fail-on none *.changes >lintian
"""


class Built(NamedTuple):
    """The binary packages of one build, and lintian's lines about them."""

    packages: list[Path]
    lintian: list[str]


@contextmanager
def overlay(lower: Path, target: Path) -> Iterator[Path]:
    """A copy of a root directory, below ``target``, in memory."""
    layers = target / "layers"
    run("mkdir", "-p", layers)
    run("mount", "-t", "tmpfs", "tmpfs", layers)
    try:
        for name in ("root", "upper", "work"):
            (layers / name).mkdir()
        root = layers / "root"
        options = f"lowerdir={lower},upperdir={layers}/upper,workdir={layers}/work"
        run("mount", "-t", "overlay", "overlay", root, "-o", options)
        try:
            yield root
        finally:
            # Lazily, as an agent of gpg, for one, may outlive what has started it.
            run("umount", "--lazy", root)
    finally:
        run("umount", "--lazy", layers)


def build(
    suite: str, source: Path, target: Path, place: str, *, umask: str = "022", zone: str = "UTC"
) -> Built:
    """Build the source package at a path of the release's root, into ``target``."""
    with overlay(LAB / f"{suite}-build", target) as root:
        run(
            *("systemd-nspawn", "--quiet", "--directory", root, "--register=no"),
            *("--keep-unit", "--private-network", "--pipe", f"--machine=b{os.getpid()}"),
            *(f"--bind-ro={source}:/source", f"--setenv=TZ={zone}", "--as-pid2"),
            *("nice", "sh", "-c", _SCRIPT.format(place=place, umask=umask)),
        )
        made = root / place.lstrip("/")
        packages = [Path(shutil.copy(each, target)) for each in sorted(made.glob("*.deb"))]
        lines = (made / "lintian").read_text().splitlines()
    return Built(packages, lines)
