# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hv_kvp_daemon.guest.os_release import read_identity

FIXTURES = Path(__file__).parent / "os-release"
SYSNAME = os.uname().sysname


def place(root: Path, path: str, content: bytes) -> None:
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)


def identity(root: Path) -> tuple[str, str, str]:
    return read_identity(str(root))


EXPECTED = {
    "debian-12": ("Debian GNU/Linux", "12"),
    "ubuntu-22.04": ("Ubuntu", "22.04"),
    "rhel-9": ("Red Hat Enterprise Linux", "9.4"),
    "sles-15": ("SLES", "15.5"),
    "alpine-3.20": ("Alpine Linux", "3.20.3"),
    "fedora-40": ("Fedora Linux", "40"),
    "arch": ("Arch Linux", ""),
    "escaped": ('A "quoted" \\$name`', "1.2"),
    "quotes": ('Bob\'s "Linux"', 'say "1"'),
    "crlf": ("Windows Editor Linux", "7"),
    "empty": (SYSNAME, ""),
    "no-name": (SYSNAME, "1"),
    "no-version": ("Versionless", ""),
    "malformed": ("Unterminated", "end"),
    "twice": ("Second", ""),
    "binary": ("Binary[31m\ufffd", "\ufffd"),
    "utf-8": ("Gefüge Linux \U0001f427", "1\xa0a"),
}


def test_every_fixture_has_an_expectation() -> None:
    assert sorted(EXPECTED) == sorted(os.listdir(FIXTURES))


@pytest.mark.parametrize("name", EXPECTED)
def test_name_and_version_id_become_name_and_major(name: str, tmp_path: Path) -> None:
    """O6: os-release is read.  O13: the minor version stays empty with it, as in C."""
    place(tmp_path, "etc/os-release", (FIXTURES / name).read_bytes())
    assert identity(tmp_path) == (*EXPECTED[name], "")


def test_etc_is_read_before_usr_lib(tmp_path: Path) -> None:
    place(tmp_path, "usr/lib/os-release", b"NAME=vendor\nVERSION_ID=1\n")
    assert identity(tmp_path) == ("vendor", "1", "")
    place(tmp_path, "etc/os-release", b"NAME=admin\n")
    assert identity(tmp_path) == ("admin", "", "")


def test_a_dangling_link_in_etc_counts_as_missing(tmp_path: Path) -> None:
    place(tmp_path, "usr/lib/os-release", b"NAME=vendor\n")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").symlink_to("nowhere")
    assert identity(tmp_path) == ("vendor", "", "")


def test_the_usual_link_from_etc_to_usr_lib_is_followed(tmp_path: Path) -> None:
    place(tmp_path, "usr/lib/os-release", b"NAME=linked\n")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").symlink_to("../usr/lib/os-release")
    assert identity(tmp_path) == ("linked", "", "")


def test_old_releases_give_three_raw_lines(tmp_path: Path) -> None:
    place(tmp_path, "etc/redhat-release", b"CentOS release 6.10 (Final)\n")
    assert identity(tmp_path) == ("CentOS release 6.10 (Final)", "", "")
    place(
        tmp_path,
        "etc/SuSE-release",
        b"SUSE Linux Enterprise Server 11 (x86_64)\nVERSION = 11\nPATCHLEVEL = 4\nfourth\n",
    )
    assert identity(tmp_path) == (
        "SUSE Linux Enterprise Server 11 (x86_64)",
        "VERSION = 11",
        "PATCHLEVEL = 4",
    )
    place(tmp_path, "etc/os-release", b"NAME=new\n")
    assert identity(tmp_path) == ("new", "", "")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", (SYSNAME, "", "")),
        (b"\n", ("", "", "")),
        (b"no newline", ("no newline", "", "")),
        (b"one\n\nthree", ("one", "", "three")),
        (b' "raw"\\ \r\n2\r\n', (' "raw"\\ ', "2", "")),
    ],
)
def test_raw_lines_are_taken_as_they_are(
    content: bytes, expected: tuple[str, str, str], tmp_path: Path
) -> None:
    """O7: a line without a newline is a line."""
    place(tmp_path, "etc/redhat-release", content)
    assert identity(tmp_path) == expected


def test_without_any_file_the_name_is_that_of_the_kernel(tmp_path: Path) -> None:
    assert identity(tmp_path) == (SYSNAME, "", "")
    assert identity(tmp_path / "no such root") == (SYSNAME, "", "")


def test_what_is_no_regular_file_counts_as_missing(tmp_path: Path) -> None:
    place(tmp_path, "usr/lib/os-release", b"NAME=vendor\n")
    etc = tmp_path / "etc"
    etc.mkdir()
    path = etc / "os-release"
    path.mkdir()
    assert identity(tmp_path) == ("vendor", "", "")
    path.rmdir()
    os.mkfifo(path)
    assert identity(tmp_path) == ("vendor", "", "")
    path.unlink()
    path.symlink_to("/dev/zero")
    assert identity(tmp_path) == ("vendor", "", "")
    path.unlink()
    path.symlink_to("os-release")
    assert identity(tmp_path) == ("vendor", "", "")


def test_an_unreadable_file_counts_as_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place(tmp_path, "etc/os-release", b"NAME=admin\n")
    place(tmp_path, "usr/lib/os-release", b"NAME=vendor\n")
    before = sorted(os.listdir("/proc/self/fd"))
    real = os.read
    first = [OSError(5, "Input/output error")]

    def read_fails_once(fd: int, size: int) -> bytes:
        if first:
            raise first.pop()
        return real(fd, size)

    monkeypatch.setattr(os, "read", read_fails_once)
    assert identity(tmp_path) == ("vendor", "", "")
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_a_process_without_free_descriptors_gets_the_kernels_name(tmp_path: Path) -> None:
    place(tmp_path, "etc/os-release", b"NAME=admin\n")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        found = identity(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert found == (SYSNAME, "", "")


def test_only_the_start_of_a_huge_file_is_read(tmp_path: Path) -> None:
    place(tmp_path, "etc/os-release", b"NAME=early\n" + b"#" * (256 * 1024) + b"\nNAME=late\n")
    os.truncate(tmp_path / "etc/os-release", 1 << 40)
    assert identity(tmp_path) == ("early", "", "")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One root for all examples of a property; hypothesis has no fixture per example."""
    path = tmp_path_factory.mktemp("root")
    (path / "etc").mkdir()
    return path


pieces = st.sampled_from(
    [
        b"NAME=",
        b"VERSION_ID=",
        b"\n",
        b"\r",
        b'"',
        b"'",
        b"\\",
        b"#",
        b" ",
        b"=",
        b"\0",
        b"\xff",
    ]
)
contents = st.binary() | st.lists(pieces | st.binary(max_size=3)).map(b"".join)


@pytest.mark.parametrize("path", ["etc/os-release", "etc/redhat-release"])
@given(content=contents)
def test_arbitrary_bytes_give_text_without_control_characters(
    path: str, content: bytes, root: Path
) -> None:
    place(root, path, content)
    try:
        found = read_identity(str(root))
    finally:
        (root / path).unlink()
    for text in found:
        assert not any(ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0 for c in text)
        text.encode()


texts = st.text(st.characters(exclude_categories=["Cc", "Cs"]))


@given(name=texts, version=texts)
def test_a_value_written_as_in_os_release_5_is_read_back(
    name: str, version: str, root: Path
) -> None:
    escape = str.maketrans({c: f"\\{c}" for c in "\"'\\$`"})
    content = f"VERSION_ID='{version.translate(escape)}'\nNAME=\"{name.translate(escape)}\"\n"
    place(root, "etc/os-release", content.encode())
    assert identity(root) == (name, version, "")
