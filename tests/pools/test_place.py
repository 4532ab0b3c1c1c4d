# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Which directory the pools are in, by what is at the two usual places."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hv_kvp_daemon.pools.place import choose, has_records, is_read_only
from hv_kvp_daemon.wire.record import encode
from tests.support.emulator import require_own_process_image
from tests.support.namespaces import mount_namespace

RECORD = encode(b"key", b"value")
BIN = os.path.dirname(sys.executable)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    return tmp_path / "opt/hyperv"


@pytest.fixture
def other(tmp_path: Path) -> Path:
    (tmp_path / "lib").mkdir()
    (tmp_path / "opt").mkdir()
    return tmp_path / "lib/hyperv"


def fill(directory: Path, data: bytes = RECORD, number: int = 1) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f".kvp_pool_{number}").write_bytes(data)


def chosen(own: Path, other: Path) -> tuple[Path, bool]:
    place = choose(str(own), str(other))
    assert bool(place.reason) == (place.path == str(other) or place.is_split)
    return Path(place.path), place.is_split


def test_alone_the_own_directory_is_chosen_even_if_it_is_still_missing(
    own: Path, other: Path
) -> None:
    assert chosen(own, other) == (own, False)
    other.symlink_to("../opt/hyperv")
    assert chosen(own, other) == (own, False)
    own.mkdir()
    fill(own)
    assert chosen(own, other) == (own, False)


def test_what_does_not_exist_is_not_read_only(tmp_path: Path) -> None:
    assert not is_read_only(str(tmp_path / "missing"))


def test_a_link_the_other_way_round_is_one_directory(own: Path, other: Path) -> None:
    fill(other)
    own.symlink_to("../lib/hyperv")
    assert chosen(own, other) == (own, False)


@pytest.mark.parametrize("kind", ["directory", "link elsewhere"])
@pytest.mark.parametrize("mine", ["missing", "no files", "empty files", "part of a record"])
def test_without_records_of_ours_that_of_the_others_is_chosen(
    tmp_path: Path, own: Path, other: Path, mine: str, kind: str
) -> None:
    """U1: the daemon served an empty directory, and the others wrote to this one."""
    if kind == "directory":
        other.mkdir()
    else:
        (tmp_path / "elsewhere").mkdir()
        other.symlink_to(tmp_path / "elsewhere")
    if mine != "missing":
        own.mkdir()
    if mine in {"empty files", "part of a record"}:
        fill(own, RECORD[:100] if mine == "part of a record" else b"")
    assert chosen(own, other) == (other, False)
    fill(other)
    assert chosen(own, other) == (other, False)


@pytest.mark.parametrize("theirs", [b"", RECORD])
@pytest.mark.parametrize("number", [0, 1, 3, 4])
def test_records_of_ours_stay_where_the_host_sees_them(
    own: Path, other: Path, theirs: bytes, number: int
) -> None:
    fill(own, number=number)
    fill(other, theirs)
    assert chosen(own, other) == (own, True)
    assert ("both have records" in choose(str(own), str(other)).reason) == bool(theirs)


def test_a_file_in_the_place_of_the_directory_or_of_a_pool_is_none(
    own: Path, other: Path
) -> None:
    other.write_text("")
    assert chosen(own, other) == (own, False)
    (own / ".kvp_pool_0").mkdir(parents=True)
    (own / ".kvp_pool_1").symlink_to(__file__)
    assert not has_records(str(own))


def test_a_directory_of_the_others_that_is_read_only_is_not_chosen(
    own: Path, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other.mkdir()
    read_only = os.statvfs_result((4096,) * 8 + (os.ST_RDONLY, 255))
    monkeypatch.setattr(os, "statvfs", lambda _: read_only)
    assert chosen(own, other) == (own, True)
    assert "read-only" in choose(str(own), str(other)).reason


def test_what_is_missing_is_not_read_only(tmp_path: Path) -> None:
    assert not is_read_only(f"{tmp_path}/missing")
    assert not is_read_only(str(tmp_path))


# In a mount namespace of its own with empty /var/opt and /var/lib: the installed programs
# with their defaults.  Prints the path of each pool with a record in it.
_SCRIPT = """
set -e
mount -t tmpfs none /var/opt; mount -t tmpfs none /var/lib; mount -t tmpfs none /run
cd "$1"; PATH=$2:$PATH
eval "$3"
hv-kvp set --pool guest from-a-tool value
hv_kvp_daemon -n --transport "loopback:$1/host" 2>log & daemon=$!
until [ -S host ]; do sleep 0.02; done
hv-kvp host set guest from-the-host value --transport "loopback:$1/host" >/dev/null
hv-kvp list guest --pool-dir /var/opt/hyperv 2>/dev/null | sed 's,^,opt ,' || :
hv-kvp list guest --pool-dir /var/lib/hyperv 2>/dev/null | sed 's,^,lib ,' || :
kill $daemon; wait $daemon
"""


def run_in_namespace(tmp_path: Path, prepare: str) -> tuple[list[list[str]], str]:
    done = subprocess.run(
        [*mount_namespace(), "bash", "-c", _SCRIPT, "bash", tmp_path, BIN, prepare],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [line.split() for line in done.stdout.splitlines()], (tmp_path / "log").read_text()


@pytest.mark.parametrize(
    ("prepare", "places", "said"),
    [
        ("mkdir /var/opt/hyperv; ln -s ../opt/hyperv /var/lib/hyperv", "opt lib", ""),
        ("mkdir /var/opt/hyperv", "opt", ""),
        ("", "opt", ""),
        ("mkdir /var/lib/hyperv", "lib", "/var/lib/hyperv is served: it is not a link to"),
        (
            "mkdir /var/opt/hyperv /var/lib/hyperv",
            "lib",
            "/var/lib/hyperv is served: it is not a link to",
        ),
        (
            "mkdir /var/lib/hyperv; hv-kvp set k v --pool-dir /var/opt/hyperv",
            "opt",
            "warning: /var/opt/hyperv is served, though cloud-init and others use",
        ),
        (
            "mkdir /var/lib/hyperv; mount -t tmpfs -o ro none /var/lib/hyperv",
            "opt",
            "warning: /var/opt/hyperv is served, though cloud-init and others use",
        ),
    ],
    ids=["linked", "alone", "nothing", "theirs alone", "both empty", "ours", "read-only"],
)
def test_daemon_and_tools_mean_the_same_directory(
    tmp_path: Path, prepare: str, places: str, said: str
) -> None:
    """U1: the choice is made at each start, and by the tools in the same way."""
    require_own_process_image()
    lines, log = run_in_namespace(tmp_path, prepare)
    for key in ("from-a-tool", "from-the-host"):
        assert {place for place, found, _ in lines if found == key} == set(places.split())
    assert said in log
    assert ("is served" in log) == bool(said)
