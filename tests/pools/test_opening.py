# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""What is made for a pool, where others may change the directory meanwhile."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Any

import pytest

from hv_kvp_daemon.pools.opening import make_directory

if TYPE_CHECKING:
    from pathlib import Path


def test_a_directory_that_is_exchanged_for_a_link_lends_its_mode_to_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"")
    secret.chmod(0o600)
    real = os.mkdir

    def mkdir(path: Any, *rest: Any, **more: Any) -> None:
        real(path, *rest, **more)
        os.rmdir(tmp_path / path)
        os.symlink(secret, tmp_path / path)

    monkeypatch.setattr(os, "mkdir", mkdir)
    with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
        make_directory(f"{tmp_path}/pools", sync=False)
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600


def test_a_private_directory_that_is_put_in_place_of_a_new_one_stays_private(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S2: who may write above the new directory can rename one of root's."""
    tmp_path.chmod(0o777)
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    real = os.mkdir

    def mkdir(path: Any, *rest: Any, **more: Any) -> None:
        real(path, *rest, **more)
        os.rename(private, tmp_path / path)

    monkeypatch.setattr(os, "mkdir", mkdir)
    make_directory(f"{tmp_path}/pools", sync=True)
    assert stat.S_IMODE((tmp_path / "pools").stat().st_mode) == 0o700


def test_a_directory_has_its_mode_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        make_directory(f"{tmp_path}/above/pools", sync=False)
    finally:
        os.umask(before)
    for path in (tmp_path / "above", tmp_path / "above" / "pools"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o755
