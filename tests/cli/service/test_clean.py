# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""``clean-image`` on an image's root, on a machine with a daemon, and beside others."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hv_kvp_daemon.wire.record import encode
from hv_kvp_daemon.wire.uapi import HV_S_OK, KVP_OP_SET
from tests.support.command import run
from tests.support.namespaces import mount_namespace
from tests.support.process import RunningDaemon

BIN = os.path.dirname(sys.executable)
SECRET = b"secret of this machine"
LEFT = [".hv_kvp_boot", ".hv_kvp_journal_1", ".kvp_pool_0", ".kvp_pool_1", ".kvp_pool_3"]
COPY = "hv-kvp-backup-1-20261126T060000-7"


def fill(directory: Path) -> None:
    directory.mkdir(parents=True)
    for name in [*LEFT, COPY]:
        # A journal has nothing to do, and what is left of an entry that was half cleared.
        start = bytes(60) if "journal" in name else b""
        (directory / name).write_bytes(start + encode(b"HostName", SECRET))
    (directory / "theirs").write_text("stays")


@pytest.fixture
def image(tmp_path: Path) -> Path:
    image = tmp_path / "image"
    fill(image / "var/opt/hyperv")
    (image / "var/lib").mkdir(parents=True)
    (image / "var/lib/hyperv").symlink_to("../opt/hyperv")
    return image


def test_an_image_has_nothing_of_the_machine_any_more(image: Path) -> None:
    """U7: the host of a machine made from the image saw the old HostName."""
    (image / "run/hv-kvp-daemon").mkdir(parents=True)
    (image / "run/hv-kvp-daemon/status").write_bytes(SECRET)
    status, out, err = run("clean-image", f"--root={image}", "--yes")
    assert (status, err) == (0, "")
    assert len(out.splitlines()) == len(LEFT) + 2
    assert os.listdir(image / "var/opt/hyperv") == ["theirs"]
    assert os.path.islink(image / "var/lib/hyperv")
    files = [path for path in image.rglob("*") if path.is_file()]
    assert not [path for path in files if SECRET in path.read_bytes()]
    assert run("clean-image", f"--root={image}", "--yes") == (0, "", "")


def test_a_directory_of_the_others_and_one_of_ones_own_are_cleaned(image: Path) -> None:
    (image / "var/lib/hyperv").unlink()
    fill(image / "var/lib/hyperv")
    fill(image / "srv/kvp")
    words = ("clean-image", f"--root={image}", "--pool-dir=/srv/kvp", "--yes")
    assert run(*words).status == 0
    for place in ("var/lib/hyperv", "srv/kvp", "var/opt/hyperv"):
        assert os.listdir(image / place) == ["theirs"]


@pytest.mark.parametrize("kind", ["directory", "parent", "pool", "relative"])
def test_no_link_leads_out_of_the_image(tmp_path: Path, image: Path, kind: str) -> None:
    """U7: the pools of the machine that builds the image are no part of it."""
    outside = tmp_path / "outside"
    fill(outside / "hyperv")
    if kind == "directory":
        (image / "var/lib/hyperv").unlink()
        (image / "var/lib/hyperv").symlink_to(outside / "hyperv")
    elif kind == "parent":
        os.rename(image / "var", image / "old")
        (image / "var").mkdir()
        (image / "var/lib").symlink_to(outside)
    elif kind == "relative":
        (image / "var/lib/hyperv").unlink()
        (image / "var/lib/hyperv").symlink_to("../../../outside/hyperv")
    else:
        (image / "var/opt/hyperv/.kvp_pool_1").unlink()
        (image / "var/opt/hyperv/.kvp_pool_1").symlink_to(outside / "hyperv/.kvp_pool_1")
    assert run("clean-image", f"--root={image}", "--yes").status == 0
    for name in [*LEFT, COPY]:
        assert SECRET in (outside / "hyperv" / name).read_bytes()
    assert not os.path.lexists(image / "var/opt/hyperv/.kvp_pool_1")


def test_an_absolute_link_leads_to_the_images_own_pools(image: Path) -> None:
    (image / "var/lib/hyperv").unlink()
    (image / "var/lib/hyperv").symlink_to("/srv/kvp")
    fill(image / "srv/kvp")
    assert run("clean-image", f"--root={image}", "--yes").status == 0
    assert os.listdir(image / "srv/kvp") == ["theirs"]


def test_what_is_no_pool_is_removed_or_named(image: Path) -> None:
    pools = image / "var/opt/hyperv"
    (pools / ".kvp_pool_0").unlink()
    os.mkfifo(pools / ".kvp_pool_0")
    (pools / ".kvp_pool_3").unlink()
    (pools / ".kvp_pool_3").mkdir()
    status, _, err = run("clean-image", f"--root={image}", "--yes")
    assert status == 3
    assert f"{pools}/.kvp_pool_3: " in err
    assert sorted(os.listdir(pools)) == [".kvp_pool_3", "theirs"]


def test_a_damaged_journal_does_not_stay_under_another_name(image: Path) -> None:
    pools = image / "var/opt/hyperv"
    (pools / ".hv_kvp_journal_1").write_bytes(SECRET * 9)
    assert run("clean-image", f"--root={image}", "--yes").status == 0
    assert os.listdir(pools) == ["theirs"]


def test_a_pool_that_another_program_holds_is_named(image: Path) -> None:
    pool = image / "var/opt/hyperv/.kvp_pool_1"
    with pool.open("r+b") as held, pool.open("r+b") as also:
        fcntl.flock(held, fcntl.LOCK_EX)
        fcntl.lockf(also, fcntl.LOCK_EX)
        status, _, err = run("clean-image", f"--root={image}", "--yes")
    assert status == 3
    assert f"{pool}: no lock within" in err
    assert SECRET in pool.read_bytes()


def test_it_asks_first_and_a_dry_run_only_shows(image: Path) -> None:
    status, _, err = run("clean-image", f"--root={image}")
    assert status == 2
    assert f"Remove all pairs and journals from {image}?" in err
    status, out, _ = run("clean-image", f"--root={image}", "--dry-run")
    assert status == 0
    assert f"remove {image}/var/opt/hyperv/.kvp_pool_1\n" in out
    assert len(os.listdir(image / "var/opt/hyperv")) == len(LEFT) + 2
    assert run("clean-image", f"--root={image}/missing", "--yes").status == 3


def test_a_daemon_beside_it_goes_on_serving(tmp_path: Path) -> None:
    with RunningDaemon(tmp_path, "--clear-stale") as daemon:
        peer = daemon.connect()
        for key in ("key", "another key", "third"):
            assert peer.ask(KVP_OP_SET, 1, key, SECRET.decode()).status == HV_S_OK
        words = ("clean-image", "--root=/", f"--pool-dir={daemon.pool_dir}", "--yes")
        # This machine's own pools, if it has any, stay as they are.
        script = 'mount -t tmpfs none /var/opt; mount -t tmpfs none /var/lib; exec "$@"'
        command = [*mount_namespace(), "sh", "-c", script, "sh", f"{BIN}/hv-kvp", *words]
        subprocess.run(command, check=True, capture_output=True)
        assert os.listdir(daemon.pool_dir) == []
        assert peer.ask(KVP_OP_SET, 1, "new", "value").status == HV_S_OK
        assert daemon.pool(1).read_bytes() == encode(b"new", b"value")
        assert daemon.stop() == 0
    assert "Traceback" not in daemon.stderr
