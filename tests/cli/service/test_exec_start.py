# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The daemon's command in a unit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hv_kvp_daemon.cli.command import CommandError
from hv_kvp_daemon.cli.service.exec_start import ExecStart, find, quoted, words
from hv_kvp_daemon.service.options import Options, parse

PROGRAM = "/usr/bin/hv_kvp_daemon"


def command(*arguments: str, program: str = PROGRAM) -> str:
    return str(ExecStart(program, parse(arguments)))


def test_flags_come_first_and_defaults_are_left_out() -> None:
    assert command("--transport=auto", "--pool-dir=/srv/kvp", "--no-sync", "-n") == (
        f"{PROGRAM} -n --no-sync --pool-dir /srv/kvp"
    )


def test_the_program_keeps_its_dollar_since_systemd_does_not_expand_it() -> None:
    program = "/opt/a$b%c d/hv_kvp_daemon"
    text = command("--pool-dir=/srv/a$b", program=program)
    assert text == '"/opt/a$b%%c d/hv_kvp_daemon" --pool-dir /srv/a$$b'
    found = find(f"[Service]\nExecStart={text}\n")
    assert found
    assert (found.program, found.options.pool_dir) == (program, "/srv/a$b")


@pytest.mark.parametrize("path", ["/opt/it's/hv_kvp_daemon", "/opt/a\tb/hv_kvp_daemon"])
def test_a_program_that_systemd_does_not_start_is_refused(path: str) -> None:
    """I6: the unit had a bad setting, and started nothing."""
    with pytest.raises(CommandError, match="systemd starts no program"):
        command(program=path)


@given(st.text(min_size=1))
def test_what_is_written_is_read_back_or_refused(name: str) -> None:
    path = f"/srv/{name}"
    try:
        text = command("-n", "--pool-dir", path)
    except CommandError:
        return
    assert "\n" not in text
    found = find(f"ExecStart={text}\n")
    assert found
    assert words(found.options) == ["-n", "--pool-dir", path]


def test_the_command_of_a_drop_in_is_the_last() -> None:
    text = f"ExecStart=/usr/bin/other\nExecStart=\nExecStart={PROGRAM} -n --transport chardev\n"
    found = find(text)
    assert found
    assert found.options.transport == "chardev"


@pytest.mark.parametrize(
    "line",
    [
        "",
        "ExecStart=",
        "ExecStart=hv_kvp_daemon -n",
        "ExecStart=/usr/sbin/hypervkvpd --unknown",
        'ExecStart=/usr/bin/hv_kvp_daemon "-n',
    ],
)
def test_another_projects_command_is_none(line: str) -> None:
    assert find(f"[Service]\n{line}\n") is None


def test_all_that_the_readers_cannot_hold_is_refused() -> None:
    for text in ('a"b', "a\\b", "a\nb", "a\x1fb", "a\x7fb", "a ", "a\udcffb"):
        with pytest.raises(CommandError, match="a unit cannot hold"):
            quoted(text)
    assert [quoted(text) for text in ("a'b", "a\tb", "é", "50%")] == [
        *('"a\'b"', '"a\tb"', "é", "50%%")
    ]


def test_the_default_options_have_no_words() -> None:
    assert words(Options()) == []
