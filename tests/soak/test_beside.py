# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""As ``tests/service/test_beside.py``, for longer, and on a clock of the kernel's ticks."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.service.test_beside import look

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TURNS = 150_000


@pytest.fixture
def coarse(tmp_path: Path) -> Iterator[Path]:
    """A ramfs: its times are the kernel's ticks, as those of all file systems before 6.13."""
    subprocess.run(["mount", "-t", "ramfs", "soak", tmp_path], check=True)
    yield tmp_path
    # Also where a failed look still has a file open.
    subprocess.run(["umount", "--lazy", tmp_path], check=True)


@pytest.mark.parametrize("where", ["tmp_path", "coarse"])
def test_the_host_is_told_what_the_file_has_beside_neighbours(
    where: str, request: pytest.FixtureRequest, tell: Callable[[str], None]
) -> None:
    asked, glanced = look(str(request.getfixturevalue(where)), 1, TURNS)
    tell(f"neighbours, {where}: {asked} replies, {glanced} without locks, wrong 0")
