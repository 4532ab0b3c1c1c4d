# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The container of `packaging/container`, with a read-only root and no capability."""

from __future__ import annotations

import tempfile
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from hv_kvp_daemon.wire.uapi import HV_S_OK, KVP_OP_SET
from tests.support.external import install, run
from tests.support.process import connect

from .booted import LAB, SOURCES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .build import Built

FILE = SOURCES / "packaging/container/Containerfile"
TOOLS = ("buildah", "podman", "runc")
NAME = "localhost/hv-kvp-daemon-test"


@pytest.fixture
def state() -> Iterator[str]:
    """A directory with a name of at most 50 characters, as podman wants it."""
    with tempfile.TemporaryDirectory(prefix="hv-kvp-", dir="/var/tmp") as path:
        yield path


@pytest.mark.parametrize("suite", ["trixie"], indirect=True)
def test_it_serves_with_a_read_only_root_and_no_capability(
    built: Built, tmp_path: Path, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(*TOOLS)
    monkeypatch.setenv("STORAGE_DRIVER", "vfs")
    monkeypatch.setenv("BUILDAH_ISOLATION", "chroot")
    storage = ("--root", f"{state}/storage", "--runroot", f"{state}/run")
    buildah, podman = ("buildah", *storage), ("podman", *storage)
    # Debian's own image is not to be had without a registry; this is its content.
    base = run(*buildah, "from", "scratch").split()[-1]
    run(*buildah, "add", "--quiet", base, LAB / "trixie", "/")
    run(*buildah, "commit", "--quiet", "--rm", base, "localhost/base")
    context = built.packages[0].parent
    run(
        *(*buildah, "build", "--quiet", "--file", FILE, "--tag", NAME),
        *("--build-arg", "BASE=localhost/base", context),
    )
    run(*buildah, "push", "--quiet", NAME, f"docker-archive:{tmp_path}/image:{NAME}")
    run(*podman, "load", "--quiet", "--input", tmp_path / "image")
    for name in ("pools", "socket"):
        (tmp_path / name).mkdir()
    # crun needs cgroup v2, and podman's own limits may be higher than this machine's.
    container = run(
        *(*podman, "--cgroup-manager", "cgroupfs", "--runtime", "runc", "run", "--detach"),
        *("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000"),
        *("--read-only", "--network", "host", "--uts", "host", "--cap-drop", "all"),
        *("--tmpfs", "/run/hv-kvp-daemon", "--volume", f"{tmp_path}/pools:/var/opt/hyperv"),
        *("--volume", f"{tmp_path}/socket:/socket", NAME),
        *("--transport", "loopback:/socket/host"),
    ).split()[-1]
    try:
        with closing(connect(f"{tmp_path}/socket/host")) as peer:
            assert peer.ask(KVP_OP_SET, 0, "key", "value").status == HV_S_OK
        assert b"value" in (tmp_path / "pools/.kvp_pool_0").read_bytes()
        run(*podman, "stop", container)
        status = run(*podman, "inspect", "--format", "{{.State.ExitCode}}", container)
        assert status == "0\n"
    finally:
        run(*podman, "rm", "--force", container)
