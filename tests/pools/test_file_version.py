# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""What a file's times say of its content."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from hv_kvp_daemon.pools.file_version import RACY_NS, is_racy, version_of

if TYPE_CHECKING:
    from pathlib import Path

SECOND = 1_000_000_000
NOW = 1_800_000_000 * SECOND + 123_456_789


@pytest.mark.parametrize(
    ("mtime", "ctime", "racy"),
    [
        (NOW - RACY_NS - 1, NOW - RACY_NS - 1, False),
        (NOW - RACY_NS, NOW - RACY_NS - 1, True),
        # A time that was set back says nothing of when.
        (NOW - 100 * SECOND, NOW - RACY_NS, True),
        (NOW + SECOND, NOW - RACY_NS - 1, True),
        # Perhaps kept in whole seconds, or in pairs of them.
        (NOW - NOW % SECOND - SECOND, NOW - 2 * SECOND, True),
        (NOW - NOW % SECOND - 2 * SECOND, NOW - NOW % SECOND - 2 * SECOND, False),
    ],
)
def test_a_version_is_racy_as_long_as_either_time_is_young(
    mtime: int, ctime: int, racy: bool
) -> None:
    assert is_racy((1, 2, 3, mtime, ctime), NOW) == racy


def test_each_of_its_parts_changes_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"1")
    os.utime(path, ns=(1, 1))
    versions = {version_of(path.stat())}
    os.utime(path, ns=(1, 2))
    versions.add(version_of(path.stat()))
    path.write_bytes(b"12")
    os.utime(path, ns=(1, 2))
    versions.add(version_of(path.stat()))
    (tmp_path / "new").write_bytes(b"34")
    os.utime(tmp_path / "new", ns=(1, 2))
    os.replace(tmp_path / "new", path)
    versions.add(version_of(path.stat()))
    assert len({version[:4] for version in versions}) == 4
