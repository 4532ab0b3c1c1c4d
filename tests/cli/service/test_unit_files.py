# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The files of a service."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hv_kvp_daemon.cli.command import CommandError
from hv_kvp_daemon.cli.service import unit_files
from hv_kvp_daemon.cli.service.exec_start import ExecStart
from hv_kvp_daemon.cli.service.unit_files import DROP_IN_PATH, UNIT_PATH, File
from hv_kvp_daemon.service.options import parse

if TYPE_CHECKING:
    from collections.abc import Collection

DAEMON = "/usr/bin/hv_kvp_daemon"


def files(program: str, pool_dir: str, transport: str, aliases: Collection[str]) -> list[File]:
    words = ["-n", "--clear-stale", "--transport", transport]
    words += ["--pool-dir", pool_dir] if pool_dir else []
    return unit_files.files(ExecStart(program, parse(words)), aliases)


def text(path: str, pool_dir: str = "/var/opt/hyperv", transport: str = "auto") -> str:
    made = {
        file.path: file.text for file in files(DAEMON, pool_dir, transport, unit_files.ALIASES)
    }
    return made[path]


@pytest.mark.parametrize("transport", ["auto", "netlink", "chardev"])
def test_all_files_are_ours_and_among_the_known_paths(transport: str) -> None:
    made = files(DAEMON, "/var/opt/hyperv", transport, [])
    assert {file.path for file in made} <= set(unit_files.PATHS)
    assert all(unit_files.is_ours(file.text) for file in made)
    assert (DROP_IN_PATH in {file.path for file in made}) == (transport == "chardev")


def test_a_file_of_somebody_else_is_not_ours() -> None:
    assert not unit_files.is_ours("# mine\n[Service]\n")
    assert not unit_files.is_ours("")


def test_the_unit_conflicts_with_units_that_are_no_alias_of_it() -> None:
    lines = text(UNIT_PATH).splitlines()
    assert "Conflicts=shutdown.target hyperv-daemons.hv-kvp-daemon.service" in lines
    all_of_them = files(DAEMON, "/srv/kvp", "auto", unit_files.OTHER_UNITS)[0].text
    assert "Conflicts=shutdown.target" in all_of_them.splitlines()


def test_a_path_is_quoted_for_systemd() -> None:
    unit = text(UNIT_PATH, "/srv/a b%c", "netlink")
    words = f'ExecStart={DAEMON} -n --clear-stale --transport netlink --pool-dir "/srv/a b%%c"'
    assert words in unit.splitlines()
    with pytest.raises(CommandError, match="a unit cannot hold this path"):
        text(UNIT_PATH, "/a\nb")


def test_the_watch_has_the_command_and_the_pools_of_the_installation() -> None:
    start = "ExecStart=/usr/bin/hv-kvp watch external --key=%I --present --exec"
    lines = text(unit_files.WATCH_PATH, "/srv/a b").splitlines()
    assert f'{start} /etc/hv-kvp-watch/%i --pool-dir "/srv/a b"' in lines
    assert 'RequiresMountsFor="/srv/a b"' in lines
    assert f"{start} /etc/hv-kvp-watch/%i" in text(unit_files.WATCH_PATH, "").splitlines()


def test_a_daemon_in_a_home_needs_it_readable() -> None:
    unit = files("/home/u/bin/hv_kvp_daemon", "/var/opt/hyperv", "auto", [])[0].text
    assert "ProtectHome=read-only" in unit.splitlines()
