# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The daemon's command line."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hv_kvp_daemon.service.options import OPTIONS, Options, UsageError, help_text, parse


def values(options: Options) -> dict[str, object]:
    return {name: getattr(options, name) for name in Options.__slots__}


def test_every_row_sets_something_that_has_a_default() -> None:
    assert sorted(option.name for option in OPTIONS) == sorted(Options.__slots__)


def test_no_arguments_give_the_defaults() -> None:
    assert values(parse([])) == values(Options())


@pytest.mark.parametrize(
    ("words", "changed"),
    [
        ("-n", {"no_daemon": True}),
        ("-nd", {"no_daemon": True, "debug": True}),
        ("--transport chardev", {"transport": "chardev"}),
        ("--transport=chardev", {"transport": "chardev"}),
        ("--transport loopback:/a:b=c", {"transport": "loopback:/a:b=c"}),
        ("--pool-dir /x --no-sync", {"pool_dir": "/x", "no_sync": True}),
        ("--addresses=getifaddrs", {"addresses": "getifaddrs"}),
        ("--exclude-interface docker*", {"exclude_interface": ("docker*",)}),
        (
            "--exclude-interface veth* --exclude-interface=br-[0-9]*",
            {"exclude_interface": ("veth*", "br-[0-9]*")},
        ),
        ("--log-level debug --log-level error", {"log_level": "error"}),
    ],
)
def test_arguments_set_their_options(words: str, changed: dict[str, object]) -> None:
    assert values(parse(words.split())) == values(Options()) | changed


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("--frobnicate", "unrecognized argument '--frobnicate'"),
        ("serve", "unrecognized argument 'serve'"),
        ("-nx", "unrecognized argument '-x'"),
        ("--no-sync=yes", "--no-sync takes no value"),
        ("--pool-dir", "--pool-dir needs a value: DIR"),
        ("--pool-dir=", "--pool-dir needs a value: DIR"),
        ("--log-level loud", "'loud' is none of error, warning, notice, info, debug"),
        ("--exclude-interface", "--exclude-interface needs a value: GLOB"),
        ("--exclude-interface /dev/null", "no interface has a / in its name"),
        ("--transport tcp", "no transport 'tcp'"),
        ("--transport loopback:", "no transport 'loopback:'"),
        ("-n --foreground", "--foreground is not allowed with --no-daemon"),
    ],
)
def test_a_wrong_command_line_is_explained(words: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        parse(words.split())


@given(st.lists(st.text(max_size=12), max_size=6))
def test_no_command_line_raises_anything_else(words: list[str]) -> None:
    with contextlib.suppress(UsageError):
        assert parse(words).transport


def test_the_help_names_each_option_within_96_columns() -> None:
    text = help_text()
    for option in OPTIONS:
        for spelling in option.spellings:
            assert spelling in text
    assert max(map(len, text.splitlines())) <= 96
