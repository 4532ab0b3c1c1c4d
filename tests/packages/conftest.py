# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Fixtures that build the lab and the packages, and boot a guest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.external import run

from .booted import HERE, LAB, SOURCES, SUITES, Guest, repacked
from .build import Built, build

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="session", params=SUITES)
def suite(request: pytest.FixtureRequest) -> str:
    """A Debian release, for which the lab is built; without one the tests fail."""
    run(HERE / "setup", request.param)
    return str(request.param)


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the source package of the last commit."""
    directory = tmp_path_factory.mktemp("source")
    run(SOURCES / "packaging/build-deb", "--source", directory)
    return directory


@pytest.fixture(scope="session")
def built(suite: str, source: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The binary packages, and what lintian says of them."""
    return build(suite, source, tmp_path_factory.mktemp("built"), "/build")


@pytest.fixture(scope="session")
def packages(suite: str, built: Built, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Ours and hyperv-daemons, each also as a later version."""
    (theirs,) = (LAB / suite / "var/cache/apt/archives").glob("hyperv-daemons_*.deb")
    made = [repacked(theirs, tmp_path_factory.mktemp("theirs"))]
    for package in (*built.packages, theirs):
        directory = tmp_path_factory.mktemp("later")
        made.append(repacked(package, directory, version="99.0-1"))
    return [*built.packages, *made]


@pytest.fixture(autouse=True)
def unified(monkeypatch: pytest.MonkeyPatch) -> None:
    """Boot with cgroup v2 alone, which sid's systemd needs; this machine may have v1."""
    monkeypatch.setenv("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1")


@pytest.fixture
def boot(suite: str, packages: list[Path]) -> Iterator[Callable[[], Guest]]:
    """Boot a guest: see `Guest`."""
    guests: list[Guest] = []

    def begin(*, hyperv: bool = True, clean: bool = False) -> Guest:
        guest = Guest(suite, packages, hyperv=hyperv, clean=clean)
        guest.__enter__()
        guests.append(guest)
        return guest

    yield begin
    for guest in guests:
        guest.__exit__()
