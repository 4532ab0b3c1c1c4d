# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The RPM packages, built, examined and installed on Debian, which has rpm but no RPM."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from typing import TYPE_CHECKING, NamedTuple

import pytest

from hv_kvp_daemon.cli.service.unit_files import _MARK
from tests.support.external import install, run

from .booted import HERE, OURS, PACKAGES, SOURCES, Guest
from .test_install import set_pair

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BUILD = SOURCES / "packaging/build-rpm"
SPEC = SOURCES / "packaging/rpm/hv-kvp-daemon.spec"
LINT = SOURCES / "packaging/rpm/rpmlint.toml"
SCRIPTLETS = ("prein", "postin", "preun", "postun", "posttrans")
NAMES = ("hv-kvp-daemon", "python3-hv-kvp-daemon")
POOL = "/var/lib/hyperv/.kvp_pool_0"
ADDRESSES = "hv-kvp-ip.service"
# It stands for one that waits for a carrier.
_WAITS = "[Service]\nExecStart=\nExecStart=sleep infinity\n"
# The bytecode in the packages is of this machine's Python.
RELEASE = platform.freedesktop_os_release()["VERSION_CODENAME"]

# A package of the C daemon, as Fedora has it: what its removal does to the pools, too.
_THEIRS = """
Name: {name}
Version: 6.10
Release: 1
Summary: A C daemon that waits
License: GPL-2.0-only
BuildArch: noarch
%description
As its summary says.
%install
mkdir -p %{{buildroot}}/usr/lib/systemd/system %{{buildroot}}/usr/lib/udev/rules.d
mkdir -p %{{buildroot}}/var/lib/hyperv
printf '[Service]\\nExecStart=sleep infinity\\n' >%{{buildroot}}/usr/lib/systemd/system/{unit}
echo 'ENV{{SYSTEMD_WANTS}}+="{unit}"' >%{{buildroot}}/usr/lib/udev/rules.d/70-hypervkvp.rules
%preun
if [ $1 -eq 0 ]; then systemctl --no-reload disable --now {unit} || :; fi
%postun
systemctl daemon-reload
if [ $1 -eq 0 ]; then rm -rf /var/lib/hyperv; fi
%files
/usr/lib/systemd/system/{unit}
/usr/lib/udev/rules.d/70-hypervkvp.rules
%dir /var/lib/hyperv
"""
# What dnf does where a package conflicts with an installed one.
_SWAP = """import os, rpm, sys
opened = []
def answer(reason, amount, total, key, data):
    if reason == rpm.RPMCALLBACK_INST_OPEN_FILE:
        opened.append(os.open(key, os.O_RDONLY))
        return opened[-1]
ts = rpm.TransactionSet()
ts.setVSFlags(-1)
ts.addErase(sys.argv[1])
for path in sys.argv[2:]:
    with open(path, "rb") as file:
        ts.addInstall(ts.hdrFromFdno(file), path, "i")
ts.order()
sys.exit(bool(ts.run(answer, "")))
"""


class Built(NamedTuple):
    """The packages for Fedora, and a later build of them; those for SUSE; theirs for each."""

    first: list[Path]
    later: list[Path]
    suse: list[Path]
    hypervkvpd: Path
    hyper_v: Path


def build(target: Path, *options: str, script: Path = BUILD) -> list[Path]:
    run("nice", script, *options, target)
    return sorted(target.glob("*.noarch.rpm"))


def theirs(target: Path, name: str, unit: str) -> Path:
    spec = target / "theirs.spec"
    spec.write_text(_THEIRS.format(name=name, unit=unit))
    run("rpmbuild", "-bb", "--quiet", "--define", f"_topdir {target}", spec)
    (made,) = target.glob("RPMS/noarch/*.rpm")
    return made


@pytest.fixture(scope="session")
def rpms(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return Built(
        build(tmp_path_factory.mktemp("first")),
        build(tmp_path_factory.mktemp("later"), "--define", "dist .later"),
        build(tmp_path_factory.mktemp("suse"), "--define", "suse_version 1600"),
        theirs(tmp_path_factory.mktemp("fedora"), "hypervkvpd", "hypervkvpd.service"),
        theirs(tmp_path_factory.mktemp("suse"), "hyper-v", "hv_kvp_daemon.service"),
    )


def test_rpmlint_finds_no_error_and_no_warning(rpms: Built) -> None:
    install("rpmlint")
    found = run("rpmlint", "--config", LINT, *rpms.first[0].parent.glob("*.rpm"), SPEC)
    assert "3 packages and 1 specfiles checked; 0 errors, 0 warnings" in found


def test_the_same_commit_is_the_same_rpm_wherever_and_whenever_it_is_built(
    rpms: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("git", "clone", "--quiet", SOURCES, tmp_path / "source")
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    before = os.umask(0o027)
    try:
        build(tmp_path / "again", script=tmp_path / "source/packaging/build-rpm")
    finally:
        os.umask(before)
    made = [*rpms.first[0].parent.glob("*.rpm")]
    assert len(made) == 3
    for package in made:
        assert package.read_bytes() == (tmp_path / "again" / package.name).read_bytes()


def test_scriptlets_are_shell(rpms: Built, tmp_path: Path) -> None:
    for package in (*rpms.first, *rpms.suse):
        for name in SCRIPTLETS:
            script = run("rpm", "-qp", "--queryformat", f"%{{{name}}}", package)
            (tmp_path / "script").write_text("" if script == "(none)" else script)
            run("sh", "-n", tmp_path / "script")


def test_they_conflict_with_fedoras_package_and_not_with_suses(rpms: Built) -> None:
    assert run("rpm", "-qp", "--conflicts", rpms.first[0]) == "hypervkvpd\n"
    assert run("rpm", "-qp", "--conflicts", rpms.suse[0]) == ""


def unpack(packages: list[Path], target: Path) -> None:
    target.mkdir()
    for package in packages:
        archive = subprocess.run(["rpm2cpio", package], check=True, stdout=subprocess.PIPE)
        subprocess.run(
            ["cpio", "-idm", "--quiet"], check=True, cwd=target, input=archive.stdout
        )


def test_they_have_the_projects_own_files(rpms: Built, tmp_path: Path) -> None:
    root = tmp_path / "root"
    unpack(rpms.first, root)
    share, systemd = root / "usr/share", SOURCES / "systemd"
    (modules,) = root.glob("usr/lib/python3/dist-packages/hv_kvp_daemon")
    pairs = {
        **{
            root / "usr/lib/systemd/system" / each.relative_to(systemd): each
            for pattern in ("*.s*", "*.d/*")
            for each in systemd.glob(pattern)
        },
        root / "usr/lib/udev/rules.d/90-hv-kvp-daemon.rules": next(systemd.glob("90-*")),
        root / "usr/lib/tmpfiles.d/hv-kvp-daemon.conf": next(systemd.glob("*.tmpfiles.conf")),
        **{
            share / "zsh/site-functions" / each.name: each
            for each in SOURCES.glob("completions/_*")
        },
        **{
            share / "bash-completion/completions" / each.stem: each
            for each in SOURCES.glob("completions/*.bash")
        },
        **{
            modules / each.relative_to(SOURCES / "src/hv_kvp_daemon"): each
            for each in SOURCES.glob("src/hv_kvp_daemon/**/*.py")
        },
    }
    assert len(pairs) > 150
    for packaged, own in pairs.items():
        assert packaged.read_bytes() == own.read_bytes(), packaged
    for page in SOURCES.glob("docs/man/*"):
        packaged = share / f"man/man{page.suffix[1:]}/{page.name}.gz"
        assert run("zcat", packaged) == page.read_text()
    for name in ("hv-kvp", "hv-kvp-daemon", "hv_kvp_daemon"):
        assert (root / "usr/bin" / name).read_text().startswith("#!/usr/bin/python3 -I\n")
    for alias in ("hypervkvpd.service", "hv_kvp_daemon.service"):
        assert os.readlink(root / "usr/lib/systemd/system" / alias) == OURS


@pytest.fixture
def guest() -> Iterator[Guest]:
    """A booted Debian with rpm, in which no package of ours is installed."""
    run(HERE / "setup", RELEASE)
    with Guest(RELEASE, []) as guest:
        guest.apt("install", "rpm", "python3-rpm")
        (guest.root / PACKAGES.lstrip("/")).mkdir()
        yield guest


def bring(guest: Guest, *packages: Path) -> str:
    """Copy packages into a guest; return their paths there."""
    for package in packages:
        shutil.copy(package, guest.root / PACKAGES.lstrip("/"))
    return " ".join(f"{PACKAGES}/{package.name}" for package in packages)


def test_fedoras_daemon_is_replaced_and_the_pairs_stay(guest: Guest, rpms: Built) -> None:
    """The removal of hypervkvpd deletes /var/lib/hyperv.

    I21: an upgrade left what waits for a carrier as it was, of another version.
    """
    guest.run(f"rpm -i --nodeps {bring(guest, rpms.hypervkvpd)}")
    guest.run("systemctl start hypervkvpd.service")
    record = b"old".ljust(512, b"\0") + b"pair".ljust(2048, b"\0")
    (guest.root / POOL.lstrip("/")).write_bytes(record)
    guest.run("mkdir -p /var/opt/hyperv")
    guest.write("/root/swap", _SWAP)
    ours = bring(guest, *rpms.first)
    guest.run(f"python3 /root/swap hypervkvpd {ours}")
    installed = guest.run("rpm -qa --queryformat %{name}\\n").split()
    assert sorted(installed) == sorted(NAMES)
    assert guest.is_active(OURS)
    assert os.readlink(guest.root / "var/lib/hyperv") == "../opt/hyperv"
    assert guest.run("hv-kvp get old --pool external") == "pair\n"
    set_pair(guest, "first")
    assert guest.run("systemd-analyze verify --man=no hv-kvp.service hv-kvp-ip.service") == ""
    assert "without bytecode" not in guest.run("hv-kvp doctor", check=False)
    for program in ("hv-kvp", "hv-kvp-daemon", "hv_kvp_daemon"):
        assert guest.run(f"{program} --version").split()[-1]
    # An upgrade starts both services again, unless an administrator has stopped them.
    guest.write(f"/etc/systemd/system/{ADDRESSES}.d/lab.conf", _WAITS)
    guest.run("systemctl daemon-reload")
    guest.run(f"systemctl start {ADDRESSES}")
    pids = {guest.pid(OURS), guest.pid(ADDRESSES)}
    later = bring(guest, *rpms.later)
    guest.run(f"rpm -U --nodeps {later}")
    assert not {0, *pids} & {guest.pid(OURS), guest.pid(ADDRESSES)}
    assert guest.run("hv-kvp get key --pool external") == "first\n"
    # Back again.
    back = f"{PACKAGES}/{rpms.hypervkvpd.name}"
    guest.run("rpm -e --nodeps python3-hv-kvp-daemon")
    guest.run(f"python3 /root/swap hv-kvp-daemon {back}")
    assert guest.is_active("hypervkvpd.service")
    assert not guest.is_active(OURS)
    assert "first" in guest.run(f"cat {POOL}")


def test_suses_daemon_does_not_start_until_the_package_is_removed(
    guest: Guest, rpms: Built
) -> None:
    unit = "hv_kvp_daemon.service"
    guest.run(f"rpm -i --nodeps {bring(guest, rpms.hyper_v)}")
    guest.run(f"systemctl start {unit}")
    guest.run(f"rpm -i --nodeps {bring(guest, *rpms.suse)}")
    assert (guest.is_active(OURS), guest.is_active(unit)) == (True, False)
    guest.run(f"systemctl start {unit}")
    assert (guest.is_active(OURS), guest.is_active(unit)) == (True, False)
    assert "starts another daemon" not in guest.run("hv-kvp doctor", check=False)
    set_pair(guest, "ours")
    guest.run(f"rpm -e --nodeps {' '.join(NAMES)}")
    assert (guest.is_active(OURS), guest.is_active(unit)) == (False, True)
    assert "ours" in guest.run(f"cat {POOL}")


def test_an_installation_of_install_service_outlives_the_package(
    guest: Guest, rpms: Built
) -> None:
    """I19: its daemon was stopped, and its pools were moved."""
    guest.run(f"rpm -i --nodeps {bring(guest, *rpms.first)}")
    set_pair(guest, "ours")
    # As it is after `hv-kvp install-service` of another installation.
    unit = guest.run(f"cat /usr/lib/systemd/system/{OURS}")
    guest.write(f"/etc/systemd/system/{OURS}", f"# {_MARK}\n{unit}")
    guest.run("systemctl daemon-reload")
    pid = guest.pid(OURS)
    guest.run(f"rpm -e --nodeps {NAMES[0]}")
    assert guest.pid(OURS) == pid
    assert os.readlink(guest.root / "var/lib/hyperv") == "../opt/hyperv"
    assert "ours" in guest.run("cat /var/opt/hyperv/.kvp_pool_0")
