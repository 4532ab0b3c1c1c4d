# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The examples of `packaging/images`, as far as they run without Hyper-V, Azure and Packer."""

from __future__ import annotations

import platform
import shutil
from typing import TYPE_CHECKING

import hcl2
import pytest

from tests.support.external import run

from .booted import LAB, OURS, PACKAGES, SOURCES, Guest
from .build import overlay
from .test_install import set_pair

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .build import Built

EXAMPLES = SOURCES / "packaging/images"
RELEASE = platform.freedesktop_os_release()["VERSION_CODENAME"]
# mkosi adds archives that a copy of Debian's may not have, such as that of debug symbols.
_APT = """Types: deb
URIs: {address}
Suites: trixie
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
"""
# In a mount namespace, so that no mount of /dev is left below a directory that is removed.
_INSIDE = """
for name in proc sys dev; do mount --rbind --make-rslave /$name "$0/$name"; done
exec chroot "$0" "$@"
"""


@pytest.mark.parametrize("suite", ["trixie"], indirect=True)
def test_mkosi_builds_an_image_that_has_the_daemon_and_no_pair(
    built: Built, tmp_path: Path
) -> None:
    """Without kernel and boot loader, whose download takes longer than all of this."""
    with overlay(LAB / "trixie", tmp_path) as root:
        project = root / "project"
        shutil.copytree(EXAMPLES / "mkosi", project / "packaging/images/mkosi")
        (project / "build/deb").mkdir(parents=True)
        for package in built.packages:
            shutil.copy(package, project / "build/deb")
        sources = root / "sandbox/etc/apt/sources.list.d/mkosi.sources"
        sources.parent.mkdir(parents=True)
        _, address, *_ = (root / "etc/apt/sources.list").read_text().split()
        sources.write_text(_APT.format(address=address))
        inside = ("nice", "unshare", "--mount", "sh", "-euc", _INSIDE, root)
        apt = (*inside, "apt-get", "-y", "-q")
        run(*apt, "update")
        packages = ("mkosi", "reprepro", "debian-archive-keyring")
        run(*apt, "install", "--no-install-recommends", *packages)
        made = run(
            *(*inside, "sh", "-c", 'cd /project && exec "$@"', "sh", "mkosi"),
            *("--directory", "packaging/images/mkosi", "--sandbox-tree", "/sandbox"),
            *("--format=directory", "--bootable=no", "build"),
        )
        assert "GET       external build.check" in made
        image = project / "build/image/hv-kvp-guest"
        version = run("chroot", image, "hv-kvp", "--version")
        assert version.split()[-1] in built.packages[0].name
        assert (image / "usr/lib/systemd/system" / OURS).is_file()
        assert list((image / "var/opt/hyperv").iterdir()) == []


def test_the_packer_template_is_hcl_and_names_files_that_exist() -> None:
    """`packer validate` needs the plugin for Azure, too."""
    folder = EXAMPLES / "packer"
    with (folder / "guest.pkr.hcl").open(encoding="utf-8") as file:
        template = hcl2.load(file)
    (build,) = template["build"]
    assert "source.azure-arm.debian" in build["sources"][0]
    steps = str(build["provisioner"])
    assert steps.index("/build/deb/") < steps.index("/provision.sh")
    assert (folder / "provision.sh").is_file()


@pytest.mark.parametrize("suite", [RELEASE], indirect=True)
def test_the_packer_script_leaves_a_stopped_daemon_and_no_pair(
    boot: Callable[..., Guest],
) -> None:
    guest = boot()
    guest.run("mkdir /tmp/packages")
    for package in (guest.root / PACKAGES.lstrip("/")).glob("*hv-kvp-daemon_1*.deb"):
        guest.run(f"cp {PACKAGES}/{package.name} /tmp/packages")
    script = EXAMPLES / "packer/provision.sh"
    guest.write("/root/provision", script.read_text())
    guest.write("/var/opt/hyperv/.kvp_pool_1", "x" * 2560)
    done = guest.run("sh /root/provision")
    assert "GET       external build.check" in done
    assert not guest.is_active(OURS)
    assert not [*(guest.root / "var/opt/hyperv").iterdir()]
    guest.reboot()
    set_pair(guest, "in the new machine")


@pytest.mark.parametrize("suite", [RELEASE], indirect=True)
def test_cloud_init_installs_the_package_at_the_first_boot(
    boot: Callable[..., Guest],
) -> None:
    guest = boot()
    guest.apt("install", "cloud-init", "apt-utils")
    seed = "/var/lib/cloud/seed/nocloud"
    address = "http://packages.example.com/hv-kvp"
    text = (EXAMPLES / "cloud-init/user-data").read_text()
    assert address in text
    guest.write(f"{seed}/user-data", text.replace(address, f"file:{PACKAGES}"))
    guest.write(f"{seed}/meta-data", "instance-id: first\n")
    guest.write("/etc/cloud/cloud.cfg.d/lab.cfg", "locale: false\n")  # no package locales
    guest.run(f"cloud-init schema --config-file {seed}/user-data")
    packages = guest.root / PACKAGES.lstrip("/")
    for other in {*packages.glob("*.deb")} - {*packages.glob("*hv-kvp-daemon_1*.deb")}:
        other.unlink()
    index = guest.run(f"env -C {PACKAGES} apt-ftparchive packages .")
    (packages / "Packages").write_text(index)
    guest.reboot()
    assert "status: done" in guest.run("cloud-init status --wait", check=False), guest.run(
        "cat /run/cloud-init/result.json"
    )
    assert "kvp pool" not in guest.run("cat /var/log/cloud-init.log")
    set_pair(guest, "first boot")
    assert guest.run("hv-kvp get provisioned --pool guest") == "true\n"
    assert "hyperv" in guest.run("cat /etc/cloud/cloud.cfg.d/50-hyperv-reporting.cfg")
