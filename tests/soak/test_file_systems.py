# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Neighbours beside the daemon on each file system that a guest may have its pools on.

They differ in what the daemon relies on: how fine file times are, whether an inode number
is stable, how blocks are allocated, and what a file of another layer is.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.service.test_beside import look

from . import tools

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TURNS = 12_000
#: What makes a file system in an image; xfs wants at least 300 MiB.
MKFS = {
    "ext2": ["mkfs.ext2", "-q"],
    "ext3": ["mkfs.ext3", "-q"],
    "ext4": ["mkfs.ext4", "-q"],
    "ext4, inodes of 128 bytes": ["mkfs.ext4", "-q", "-I", "128"],
    "xfs": ["mkfs.xfs", "-q"],
    "btrfs": ["mkfs.btrfs", "-q"],
}
SIZE = 320 << 20


@pytest.fixture(params=[*MKFS, "tmpfs", "ramfs", "overlay"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """An empty directory of that file system."""
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    kind: str = request.param
    if kind in MKFS:
        tools.file_systems()
        image = tmp_path / "image"
        with open(image, "wb") as file:
            file.truncate(SIZE)
        run(*MKFS[kind], str(image))
        run("mount", "-o", "loop", str(image), str(mounted))
    elif kind == "overlay":
        # overlayfs cannot have an overlay for its upper directory, as a container's / is.
        base = tmp_path / "base"
        base.mkdir()
        run("mount", "-t", "tmpfs", "soak", str(base))
        for name in ("lower", "upper", "work"):
            (base / name).mkdir()
        layers = ",".join(
            f"{key}={base / name}"
            for key, name in (("lowerdir", "lower"), ("upperdir", "upper"), ("workdir", "work"))
        )
        run("mount", "-t", "overlay", "-o", layers, "soak", str(mounted))
    else:
        run("mount", "-t", kind, "soak", str(mounted))
    yield mounted
    # Also where a failed look still has a file open.
    run("umount", "--lazy", str(mounted))
    if kind == "overlay":
        run("umount", "--lazy", str(base))


def run(*argv: str) -> None:
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(argv)}: {done.stdout}{done.stderr}"


def test_the_host_gets_what_the_file_has(
    place: Path, request: pytest.FixtureRequest, tell: Callable[[str], None]
) -> None:
    pools = place / "pools"
    pools.mkdir()
    # Without locks none is read where file times have whole seconds.
    asked, unlocked = look(str(pools), 1, TURNS)
    name = request.node.callspec.params["place"]
    tell(f"neighbours on {name}: {asked} replies, {unlocked} without locks, wrong 0")


def test_a_lower_layers_pool_is_copied_up_and_served(tmp_path: Path) -> None:
    """An image's pools are in the lower layer: the first change gives the file a new inode."""
    base, mounted = tmp_path / "base", tmp_path / "mounted"
    base.mkdir()
    mounted.mkdir()
    run("mount", "-t", "tmpfs", "soak", str(base))
    try:
        for name in ("lower", "upper", "work"):
            (base / name).mkdir()
        shutil.copytree(seeded(tmp_path / "seed"), base / "lower" / "pools")
        layers = f"lowerdir={base}/lower,upperdir={base}/upper,workdir={base}/work"
        run("mount", "-t", "overlay", "-o", layers, "soak", str(mounted))
        try:
            look(str(mounted / "pools"), 2, TURNS // 4)
            # A neighbour may have removed the pool itself at last.
            assert os.listdir(base / "upper" / "pools")
        finally:
            run("umount", "--lazy", str(mounted))
    finally:
        run("umount", "--lazy", str(base))


def seeded(directory: Path) -> Path:
    """A pool directory in which each of the neighbours' keys has a value."""
    directory.mkdir()
    look(str(directory), 3, 50)
    return directory
