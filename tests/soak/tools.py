# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Other people's programs, as Debian packages them, without installing what would start.

Kept in ``~/.cache/hv-kvp-soak`` (or ``$HV_KVP_SOAK_DIR``).  Needs root and Debian's
package registry.
"""

from __future__ import annotations

import os
import shutil
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
CACHE = os.environ.get("HV_KVP_SOAK_DIR") or os.path.join(
    os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "hv-kvp-soak"
)
#: cloud-init and what its reporting handlers import.
_CLOUD_INIT = (
    *("cloud-init", "python3-requests", "python3-yaml", "libyaml-0-2", "python3-urllib3"),
    *("python3-certifi", "python3-idna", "python3-chardet", "python3-charset-normalizer"),
    *("python3-configobj", "python3-six", "python3-jinja2", "python3-markupsafe"),
    *("python3-jsonpatch", "python3-json-pointer", "python3-oauthlib"),
    *("python3-jsonschema", "python3-attr", "python3-pyrsistent"),
)


def cloud_init() -> str:
    """Return the directory to import Debian's ``cloudinit`` from."""
    root = os.path.join(CACHE, "cloud-init")
    packages = os.path.join(root, "usr/lib/python3/dist-packages")
    if not os.path.isdir(os.path.join(packages, "cloudinit")):
        download = os.path.join(CACHE, "download")
        shutil.rmtree(download, ignore_errors=True)
        os.makedirs(download)
        _run("apt-get", "update")
        _run("apt-get", "download", *_CLOUD_INIT, cwd=download)
        for name in sorted(os.listdir(download)):
            _run("dpkg-deb", "-x", os.path.join(download, name), root)
    return packages


def c_daemon() -> str:
    """Return the path of Debian's own daemon."""
    _install("/usr/sbin/hv_kvp_daemon", "hyperv-daemons")
    return "/usr/sbin/hv_kvp_daemon"


def strace() -> str:
    """Return the path of strace."""
    _install("/usr/bin/strace", "strace")
    return "/usr/bin/strace"


def file_systems() -> None:
    """Install what makes the file systems of `test_file_systems`."""
    _install("/usr/sbin/mkfs.ext4", "e2fsprogs")
    _install("/usr/sbin/mkfs.xfs", "xfsprogs")
    _install("/usr/sbin/mkfs.btrfs", "btrfs-progs")


def debian(suite: str, *packages: str) -> str:
    """Return the root directory of a small Debian with systemd, which is to be booted."""
    root = os.path.join(CACHE, suite)
    _install("/usr/bin/systemd-nspawn", "systemd-container")
    if not os.path.exists(f"{root}/usr/bin/{packages[0]}"):
        _install("/usr/sbin/debootstrap", "debootstrap")
        shutil.rmtree(root, ignore_errors=True)
        names = ",".join(("systemd", "systemd-sysv", "udev", "dbus", "kmod", *packages))
        # In a mount namespace: it mounts /proc, which must not stay if it is ended.
        _run(
            "unshare",
            "--mount",
            "debootstrap",
            "--variant=minbase",
            f"--include={names}",
            suite,
            root,
        )
    return root


def preload(name: str, source: str) -> str:
    """Compile a library for LD_PRELOAD and return its path."""
    _install("/usr/bin/gcc", "gcc", "libc6-dev")
    os.makedirs(CACHE, exist_ok=True)
    path = os.path.join(CACHE, name)
    _run("gcc", "-O2", "-shared", "-fPIC", "-o", path, os.path.join(ROOT, source))
    return path


def _install(path: str, *packages: str) -> None:
    if not os.path.exists(path):
        _run("apt-get", "update")
        _run("apt-get", "install", "--yes", "--no-install-recommends", *packages)


def _run(*argv: str, cwd: str | None = None) -> None:
    # RUNLEVEL keeps Debian's scripts from starting what they install.
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    done = subprocess.run(
        argv, cwd=cwd, env=environment, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{' '.join(argv)}\n{done.stdout}{done.stderr}"
