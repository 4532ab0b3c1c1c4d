# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Debian's packages: what is in them, and that they are the same whoever builds them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .booted import SOURCES, run
from .build import Built, build

if TYPE_CHECKING:
    from pathlib import Path


def test_lintian_finds_no_error_and_no_warning(built: Built) -> None:
    """I13: Debian 12's hatchling refused the classifiers of newer Pythons."""
    assert [line for line in built.lintian if not line.startswith("N:")] == []


def test_the_same_commit_is_the_same_package_wherever_and_whenever_it_is_built(
    suite: str, source: Path, built: Built, tmp_path: Path
) -> None:
    zone = "Pacific/Kiritimati"
    again = build(suite, source, tmp_path, "/srv/elsewhere", umask="027", zone=zone)
    for first, second in zip(built.packages, again.packages, strict=True):
        assert first.name == second.name
        assert first.read_bytes() == second.read_bytes()


def test_the_same_commit_is_the_same_source_package(source: Path, tmp_path: Path) -> None:
    run(SOURCES / "packaging/build-deb", "--source", tmp_path)
    for file in source.iterdir():
        assert file.read_bytes() == (tmp_path / file.name).read_bytes(), file.name


def test_dependencies_are_debians(built: Built) -> None:
    daemon, modules = built.packages
    assert run("dpkg-deb", "--field", daemon, "Package") == "hv-kvp-daemon\n"
    depends = run("dpkg-deb", "--field", modules, "Depends").strip().split(", ")
    names = [each.partition(" ")[0] for each in depends]
    assert sorted(names) == [
        *("python3-netifaces", "python3-psutil", "python3-pyroute2", "python3:any"),
    ]
    assert not any("|" in each for each in depends)


def test_the_units_are_the_projects_own(built: Built, tmp_path: Path) -> None:
    run("dpkg-deb", "--extract", built.packages[0], tmp_path)
    systemd = SOURCES / "systemd"
    for pattern in ("*.service", "*.socket", "*.d/*"):
        for unit in systemd.glob(pattern):
            (packaged,) = tmp_path.glob(f"**/systemd/system/{unit.relative_to(systemd)}")
            assert packaged.read_bytes() == unit.read_bytes()
