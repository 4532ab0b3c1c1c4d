# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Paths of an image lead nowhere else."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from hv_kvp_daemon.cli.command import CommandError
from hv_kvp_daemon.cli.service import root_path
from hv_kvp_daemon.cli.service.root_path import open_directory, resolve


@pytest.fixture
def image(tmp_path: Path) -> Path:
    image = tmp_path / "image"
    (image / "var/opt/hyperv").mkdir(parents=True)
    (image / "var/lib").mkdir()
    return image


@pytest.mark.parametrize(
    "target",
    [
        "/var/opt/hyperv",
        "../opt/hyperv",
        "../../../../../../../var/opt/hyperv",
        "/var/lib/../opt/./hyperv/",
    ],
)
def test_a_link_is_read_as_the_image_reads_it(image: Path, target: str) -> None:
    (image / "var/lib/hyperv").symlink_to(target)
    link = f"{image}/var/lib/hyperv"
    assert resolve(str(image), "/var/lib/hyperv") == link
    assert resolve(str(image), "/var/lib/hyperv", follow=True) == f"{image}/var/opt/hyperv"
    assert resolve(str(image), "/var/lib/hyperv/x") == f"{image}/var/opt/hyperv/x"
    fd = open_directory(str(image), "/var/lib/hyperv")
    assert os.path.samestat(os.fstat(fd), os.stat(image / "var/opt/hyperv"))
    os.close(fd)


def test_an_absolute_link_above_leads_into_the_image_too(image: Path) -> None:
    os.rename(image / "var", image / "writable")
    (image / "var").symlink_to("/writable")
    found = resolve(str(image), "/var/opt/hyperv/.kvp_pool_0")
    assert found == f"{image}/writable/opt/hyperv/.kvp_pool_0"


def test_the_root_of_the_machine_is_a_root(image: Path) -> None:
    (image / "link").symlink_to(image / "var")
    assert resolve("/", f"{image}/link/opt") == f"{image}/var/opt"


def test_a_loop_is_an_error(image: Path) -> None:
    (image / "a").symlink_to("b")
    (image / "b").symlink_to("/a")
    with pytest.raises(CommandError, match="too many symbolic links"):
        resolve(str(image), "/a/file")


def test_directories_are_made_inside_the_image(image: Path) -> None:
    (image / "etc").symlink_to("/var/new")
    before = os.umask(0o077)
    try:
        fd = open_directory(str(image), "/etc/systemd/system", create=True)
    finally:
        os.umask(before)
    made = image / "var/new/systemd/system"
    assert os.path.samestat(os.fstat(fd), made.stat())
    assert stat.S_IMODE(made.stat().st_mode) == 0o755
    os.close(fd)


def test_a_component_that_becomes_a_link_after_the_look_is_not_followed(
    tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I5: the owner of the image exchanges a directory while root works in it."""
    (tmp_path / "outside").mkdir()
    looked = root_path.resolve

    def resolve_then_exchange(root: str, path: str, *, follow: bool = False) -> str:
        found = looked(root, path, follow=follow)
        os.rename(image / "var/opt", image / "var/old")
        (image / "var/opt").symlink_to(tmp_path / "outside")
        return found

    monkeypatch.setattr(root_path, "resolve", resolve_then_exchange)
    with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
        open_directory(str(image), "/var/opt/new", create=True)
    assert os.listdir(tmp_path / "outside") == []


@pytest.mark.usefixtures("no_garbage")
def test_a_directory_that_is_missing_leaves_no_descriptor(image: Path) -> None:
    before = os.listdir("/proc/self/fd")
    (image / "file").write_text("")
    for path in ("/var/missing/hyperv", "/file", "/file/below"):
        with pytest.raises(OSError, match=r"No such file|Not a directory"):
            open_directory(str(image), path)
    assert len(os.listdir("/proc/self/fd")) == len(before)
