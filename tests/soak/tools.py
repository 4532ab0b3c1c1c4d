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
import sys

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

_DIST_PACKAGES = "usr/lib/python3/dist-packages"


def cloud_init() -> str:
    """Return the directory to import Debian's ``cloudinit`` from."""
    return os.path.join(_unpacked("cloud-init", *_CLOUD_INIT), _DIST_PACKAGES)


def walinuxagent() -> str:
    """Return the directory to import Debian's ``azurelinuxagent`` from."""
    return os.path.join(_unpacked("waagent", "waagent", "python3-distro"), _DIST_PACKAGES)


def ohai() -> str:
    """Return the root directory of Debian's ``ohai``; ruby is installed."""
    _install("/usr/bin/ruby", "ruby")
    return _unpacked("ohai", "ohai")


def hyperkv() -> str:
    """Return the directory to import PyPI's ``hyperkv`` from."""
    return _from_pypi("hyperkv", "hyperkv==0.1.1")


def atheris() -> str:
    """Return the directory to import PyPI's ``atheris`` from, a build for this Python."""
    return _from_pypi(f"atheris-{sys.implementation.cache_tag}", "atheris>=2.3")


def _from_pypi(name: str, requirement: str) -> str:
    target = os.path.join(CACHE, name)
    if not os.path.isdir(target):
        pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps")
        _run(*pip, "--target", f"{target}.part", requirement)
        os.rename(f"{target}.part", target)
    return target


def _unpacked(name: str, *packages: str) -> str:
    """Return a directory with Debian packages in it, unpacked but not installed."""
    root = os.path.join(CACHE, name)
    if not os.path.isdir(root):
        # Complete only when it has its name.
        part = f"{root}.part"
        shutil.rmtree(part, ignore_errors=True)
        os.makedirs(part)
        _run("apt-get", "update")
        _run("apt-get", "download", *packages, cwd=part)
        for archive in sorted(os.listdir(part)):
            _run("dpkg-deb", "-x", os.path.join(part, archive), part)
        os.rename(part, root)
    return root


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
