# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Checks of the unit and of tmpfiles.d with systemd's own tools, outside the VM."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.driver import machine

SOURCES = Path(machine.ROOT, "systemd")
UNIT = "hv-kvp.service"
OTHERS = (
    *("hv-kvp-ip.service", "hv-kvp-ip.socket"),
    *("hv-kvp-resolvectl.socket", "hv-kvp-resolvectl@.service"),
    *("hv-kvp-nmcli.socket", "hv-kvp-nmcli@.service"),
)
TMPFILES = SOURCES / "hv-kvp-daemon.tmpfiles.conf"
MOST_EXPOSURE = 24  # in tenths, as --threshold takes it


@pytest.fixture
def root(tmp_path: Path, lab: None) -> Path:
    """A root directory with systemd's units, ours, and programs that do nothing."""
    shutil.copytree("/lib/systemd/system", tmp_path / "lib/systemd/system", symlinks=True)
    units = tmp_path / "etc/systemd/system"
    units.mkdir(parents=True)
    for name in (UNIT, *OTHERS):
        shutil.copy(SOURCES / name, units)
    programs = tmp_path / "usr/bin"
    programs.mkdir(parents=True)
    (tmp_path / "bin").symlink_to("usr/bin")
    for name in ("hv_kvp_daemon", "hv-kvp", "kill", "systemd-tmpfiles", "resolvectl", "sh"):
        shutil.copy("/bin/true", programs / name)
    return tmp_path


def add_drop_in(root: Path) -> None:
    folder = root / f"etc/systemd/system/{UNIT}.d"
    folder.mkdir()
    shutil.copy(SOURCES / "chardev.conf", folder)


def run(*argv: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def verify(root: Path, unit: str = UNIT) -> str:
    """The output of `systemd-analyze verify`, which only warns of an unknown key."""
    done = run("systemd-analyze", "verify", "--man=no", f"--root={root}", unit)
    return done.stdout if done.returncode == 0 else f"status {done.returncode}: {done.stdout}"


def test_verify_reports_nothing(root: Path) -> None:
    assert verify(root) == ""
    add_drop_in(root)
    assert verify(root) == ""
    for name in OTHERS:
        assert verify(root, name) == ""


def test_verify_would_report_an_unknown_key(root: Path) -> None:
    with open(root / f"etc/systemd/system/{UNIT}", "a", encoding="ascii") as unit:
        unit.write("[Service]\nLockPersonalty=yes\n")
    assert "LockPersonalty" in verify(root)


def test_the_unit_fits_between_tmpfiles_and_cloud_init(root: Path) -> None:
    # As cloud-init's unit is ordered where it comes before the network.
    units = root / "etc/systemd/system"
    (units / "cloud-init-local.service").write_text(
        "[Unit]\n"
        "DefaultDependencies=no\n"
        f"Wants={UNIT}\n"
        "After=hv_kvp_daemon.service systemd-remount-fs.service\n"
        "Before=network-pre.target sysinit.target shutdown.target\n"
        "Conflicts=shutdown.target\n"
        "[Service]\n"
        "Type=oneshot\n"
        "ExecStart=/usr/bin/kill\n"
    )
    (units / "sysinit.target.wants").mkdir()
    (units / "sysinit.target.wants/cloud-init-local.service").symlink_to(
        "../cloud-init-local.service"
    )
    (units / "hv_kvp_daemon.service").symlink_to(UNIT)
    assert verify(root, "sysinit.target") == ""
    with open(units / UNIT, "a", encoding="ascii") as unit:
        unit.write("[Unit]\nAfter=sysinit.target\n")
    assert "ordering cycle" in verify(root, "sysinit.target")


def test_little_is_left_open(root: Path) -> None:
    argv = ["systemd-analyze", "security", "--offline=yes", f"--root={root}"]
    done = run(*argv, f"--threshold={MOST_EXPOSURE}", UNIT)
    assert done.returncode == 0, done.stdout
    assert run(*argv, "--threshold=10", UNIT).returncode
    for name in ("hv-kvp-resolvectl@.service", "hv-kvp-nmcli@.service"):
        done = run(*argv, f"--threshold={MOST_EXPOSURE}", name)
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"opt": "directory", "lib": "../opt/hyperv"}),
        ({"lib": "directory"}, {"opt": "directory", "lib": "directory"}),
        ({"lib": "/srv"}, {"opt": "directory", "lib": "/srv"}),
        (
            {"lib": "directory", "opt": "/var/lib/hyperv"},
            {"lib": "directory", "opt": "/var/lib/hyperv"},
        ),
    ],
    ids=["nothing", "another daemon's pools", "a link elsewhere", "a link to the others"],
)
def test_tmpfiles_respects_what_is_there(
    tmp_path: Path, lab: None, before: dict[str, str], after: dict[str, str]
) -> None:
    paths = {name: tmp_path / "var" / name / "hyperv" for name in ("opt", "lib")}
    for name, kind in before.items():
        paths[name].parent.mkdir(parents=True)
        if kind == "directory":
            paths[name].mkdir(mode=0o700)
        else:
            paths[name].symlink_to(kind)
    for _ in range(2):  # as at each boot
        done = run("systemd-tmpfiles", "--create", f"--root={tmp_path}", TMPFILES)
        assert done.returncode == 0, done.stdout
        assert {name: kind_of(path) for name, path in paths.items()} == after
    modes = {
        name: path.stat().st_mode & 0o777
        for name, path in paths.items()
        if after[name] == "directory"
    }
    # Only our own directory is given a mode.
    assert modes == {name: 0o755 if name == "opt" else 0o700 for name in modes}


def kind_of(path: Path) -> str:
    """The target of a link, or a word for a directory."""
    return str(path.readlink()) if path.is_symlink() else "directory" if path.is_dir() else ""
