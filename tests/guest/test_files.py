# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Reading files of other programs, whatever they contain or whatever takes their place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hv_kvp_daemon.guest.files import below, list_names, read_text


@pytest.mark.parametrize(
    ("root", "path", "expected"),
    [
        ("/", "/etc/hosts", "/etc/hosts"),
        ("/mnt", "/etc/hosts", "/mnt/etc/hosts"),
        ("/mnt/", "/etc/hosts", "/mnt/etc/hosts"),
        ("/mnt", "etc/hosts", "/mnt/etc/hosts"),
        ("/", "", "/"),
    ],
)
def test_a_path_is_below_its_root(root: str, path: str, expected: str) -> None:
    assert below(root, path) == expected


def test_the_text_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"caf\xc3\xa9 \xff")
    assert read_text(str(tmp_path), "/file") == "café \udcff"
    assert read_text(str(tmp_path), "/file", "replace") == "café \ufffd"


def test_a_long_file_is_read_up_to_a_limit(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * (1 << 20))
    assert read_text(str(tmp_path), "/file") == "x" * (256 * 1024)


def test_what_is_no_readable_regular_file_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "null").symlink_to("/dev/null")
    for name in ("missing", "directory", "fifo", "dangling", "loop", "null", "x" * 300):
        assert read_text(str(tmp_path), f"/{name}") is None


def test_names_are_sorted_and_none_are_no_error(tmp_path: Path) -> None:
    for name in ("b", "a", "c"):
        (tmp_path / name).touch()
    assert list_names(str(tmp_path), "/") == ["a", "b", "c"]
    assert list_names(str(tmp_path), "/a") == []
    assert list_names(str(tmp_path), "/missing") == []


def test_a_path_with_a_nul_names_nothing() -> None:
    """S4: a file that names another one, such as interfaces(5), may have any bytes."""
    assert read_text("/", "/etc/\0") is None
    assert list_names("/", "/etc/\0") == []
