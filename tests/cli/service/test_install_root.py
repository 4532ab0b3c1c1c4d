# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Changes below a root directory."""

from __future__ import annotations

import argparse
import os
import stat
from typing import TYPE_CHECKING

import pytest

from hv_kvp_daemon.cli.command import CommandError
from hv_kvp_daemon.cli.service.exec_start import ExecStart
from hv_kvp_daemon.cli.service.install_root import InstallRoot
from hv_kvp_daemon.cli.service.unit_files import UNIT_PATH, File, files
from hv_kvp_daemon.service.options import Options

if TYPE_CHECKING:
    from pathlib import Path


def root(path: Path, *, dry_run: bool = False) -> InstallRoot:
    return InstallRoot(argparse.Namespace(root=str(path), dry_run=dry_run, yes=True))


def test_a_file_is_written_with_its_mode_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        root(tmp_path).write(File("/etc/x/file", "text"))
    finally:
        os.umask(before)
    path = tmp_path / "etc/x/file"
    assert path.read_text() == "text"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert os.listdir(path.parent) == ["file"]


def test_a_dry_run_shows_the_changes_and_makes_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dry = root(tmp_path, dry_run=True)
    dry.require_writable(["/etc/file"])
    dry.write(File("/etc/file", "line\n"))
    dry.link("/etc/link", "/etc/file")
    assert dry.confirmed("Really?")
    assert os.listdir(tmp_path) == []
    assert capsys.readouterr().out.splitlines() == [
        f"write {tmp_path}/etc/file",
        "    line",
        f"link {tmp_path}/etc/link -> /etc/file",
    ]


def test_only_what_is_ours_is_removed(tmp_path: Path) -> None:
    unit = files(ExecStart("/usr/bin/hv_kvp_daemon", Options()), [])[0]
    place = root(tmp_path)
    place.write(unit)
    assert not place.is_foreign(UNIT_PATH)
    place.remove(UNIT_PATH)
    assert not place.exists(UNIT_PATH)
    place.write(File(UNIT_PATH, "# mine\n"))
    assert place.is_foreign(UNIT_PATH)
    place.remove(UNIT_PATH)
    assert place.read(UNIT_PATH) == "# mine\n"


def test_a_link_replaces_a_link_and_nothing_else(tmp_path: Path) -> None:
    place = root(tmp_path)
    place.link("/link", "/one")
    place.link("/link", "/two")
    assert place.target("/link") == "/two"
    place.unlink("/link", "/one")
    assert place.exists("/link")
    place.unlink("/link", "/two")
    assert not place.exists("/link")
    (tmp_path / "file").write_text("")
    assert place.target("/file") == ""
    with pytest.raises(CommandError, match="exists and is not a link"):
        place.link("/file", "/one")


def test_a_directory_in_the_place_of_a_file_is_named_before_anything_is_done(
    tmp_path: Path,
) -> None:
    (tmp_path / "etc/file").mkdir(parents=True)
    with pytest.raises(CommandError, match="etc/file is a directory; move it away"):
        root(tmp_path).require_writable(["/etc/file"])


def test_a_file_that_cannot_be_written_leaves_the_one_before(tmp_path: Path) -> None:
    place = root(tmp_path)
    place.write(File("/file", "before"))
    with pytest.raises(UnicodeEncodeError):
        place.write(File("/file", "\udcff"))
    assert place.read("/file") == "before"
    assert os.listdir(tmp_path) == ["file"]


def test_no_command_is_run_for_an_image(tmp_path: Path) -> None:
    root(tmp_path).run("false")


def test_a_command_that_fails_on_a_machine_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for place in (root(tmp_path), root(tmp_path, dry_run=True)):
        place.is_live = True
        place.run("true")
    assert capsys.readouterr().out == "run true\nrun true\n"
    dry = root(tmp_path, dry_run=True)
    dry.is_live = True
    dry.run("false")  # is only shown
    machine = root(tmp_path)
    machine.is_live = True
    with pytest.raises(CommandError, match="false ended with status 1"):
        machine.run("false")


def test_a_root_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="no such directory"):
        root(tmp_path / "none")
