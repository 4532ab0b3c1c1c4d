# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""``list`` and ``get``."""

from __future__ import annotations

import fcntl
import json
import os
from typing import TYPE_CHECKING

import pytest

from hv_kvp_daemon.wire.record import encode

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.command import OrdinaryUser, Pools, Terminal


def test_list_shows_all_pools_in_the_order_of_their_files(pools: Pools) -> None:
    pools.write(0, encode(b"from", b"the host"))
    pools.write(1, encode(b"b", b"2") + encode(b"a", b"1") + encode(b"b", b"3"))
    assert pools("list").out.splitlines() == [
        "external\tfrom\tthe host",
        "guest\tb\t2",
        "guest\ta\t1",
        "guest\tb\t3",
    ]


@pytest.mark.parametrize("name", ["guest", "1"])
def test_list_shows_one_pool_by_name_or_number(pools: Pools, name: str) -> None:
    pools.write(0, encode(b"from", b"the host"))
    pools.write(1, encode(b"k", b"v"))
    assert pools("list", name) == (0, "k\tv\n", "")


def test_a_tab_in_a_key_is_no_column(pools: Pools) -> None:
    """Defect C3."""
    pools.write(1, encode(b"a\tb", b"v\tw\n"))
    assert pools("list", "guest").out == "a\\tb\tv\\tw\\n\n"


def test_list_in_a_pipe_gives_long_values_whole(pools: Pools) -> None:
    pools.write(1, encode(b"k", b"v" * 2047))
    assert pools("list", "guest").out == f"k\t{'v' * 2047}\n"


def test_list_makes_no_file(pools: Pools) -> None:
    os.mkdir(pools.path)
    assert pools("list") == (0, "", "")
    assert os.listdir(pools.path) == []


def test_list_without_a_directory_says_so(pools: Pools) -> None:
    status, out, err = pools("list")
    assert (status, out) == (3, "")
    assert f"no pool directory {pools.path}" in err


def test_list_shows_control_characters_safely(pools: Pools) -> None:
    pools.write(0, encode(b"k\r\n", "\x1b]0;owned\x07\x9b31m\u202e\xff".encode() + b"\xff\t"))
    assert pools("list", "0").out == (
        "k\\r\\n\t\\x1b]0;owned\\x07\\x9b31m\\u202e\xff\\xff\\t\n"
    )


def test_list_as_json_gives_every_byte(pools: Pools) -> None:
    pools.write(1, encode("schlüssel".encode(), b"\xff\x1b"))
    status, out, _ = pools("list", "--json")
    assert status == 0
    assert out.isascii()
    assert json.loads(out) == [
        {"pool": "guest", "key": "schlüssel", "value_base64": "/xs="},
    ]


def test_a_pool_that_cannot_be_read_does_not_hide_the_others(pools: Pools) -> None:
    pools.write(1, encode(b"k", b"v"))
    os.mkdir(pools.file(0))
    status, out, err = pools("list")
    assert (status, out) == (3, "guest\tk\tv\n")
    assert "is a directory, not a regular file" in err


def test_an_ordinary_user_sees_what_he_may_read(user: OrdinaryUser) -> None:
    user.pools.write(0, encode(b"secret", b"of root"))
    user.pools.write(1, encode(b"k", b"v"))
    os.chmod(user.pools.file(0), 0o600)
    os.chmod(user.pools.file(1), 0o644)
    os.chmod(user.pools.path, 0o755)
    status, out, err = user("list")
    if os.geteuid():
        assert status == 0  # nobody here can be kept from his own file
    else:
        assert (status, out) == (3, "guest\tk\tv\n")
        assert "Permission denied" in err
        assert user("get", "secret").status == 3
    assert user("get", "k")[:2] == (0, "v\n")


def test_get_writes_the_first_of_duplicates(pools: Pools) -> None:
    pools.write(1, encode(b"k", b"first") + encode(b"k", b"second"))
    assert pools("get", "k") == (0, "first\n", "")


def test_get_writes_the_very_bytes_into_a_pipe(pools: Pools) -> None:
    value = "\x1b[31m\r\n\u202e".encode()
    pools.write(1, encode(b"k", value))
    assert pools("get", "k", "-n").out.encode() == value


def test_get_writes_a_safe_line_onto_a_terminal(
    pools: Pools, on_terminal: Callable[..., Terminal]
) -> None:
    pools.write(1, encode(b"k", b"\x1b[31mred\n"))
    terminal = on_terminal("get", "k")
    assert terminal.end() == 0
    assert terminal.screen == "\\x1b[31mred\\n\r\n"


def test_get_looks_through_the_pools_in_their_order(pools: Pools) -> None:
    pools.write(3, encode(b"k", b"host"))
    pools.write(1, encode(b"k", b"guest"))
    assert pools("get", "k").out == "guest\n"
    assert pools("get", "k", "--pool", "host") == (0, "host\n", "")
    assert pools("get", "k", "--pool", "0") == (1, "", "hv-kvp: no key k in pool external\n")


def test_get_warns_if_the_key_is_in_several_pools(pools: Pools) -> None:
    """Defect C3: after ``set k v`` the value that is shown may be the host's."""
    for number in (0, 1, 3):
        pools.write(number, encode(b"OSName", b"%d" % number))
    os.makedirs(pools.file(4))  # one that cannot be read is not asked about
    said = "hv-kvp: this is the value in pool external; the key is also in pool guest and host"
    assert pools("get", "OSName") == (0, "0\n", f"{said} and auto: choose with --pool\n")
    assert pools("get", "OSName", "--pool", "1") == (0, "1\n", "")


def test_get_of_a_missing_key_ends_with_1_and_names_it_safely(pools: Pools) -> None:
    os.mkdir(pools.path)
    assert pools("get", "a\x1b") == (1, "", "hv-kvp: no key a\\x1b in any pool\n")


def test_get_as_json_says_in_which_pool(pools: Pools) -> None:
    pools.write(3, encode(b"k", b"v"))
    document = json.loads(pools("get", "k", "--json").out)
    assert document == {"pool": "host", "key": "k", "value": "v"}


@pytest.mark.parametrize("style", ["k.%d", "k%d", "k._%d", "k|%d"])
def test_get_join_puts_parts_together(pools: Pools, style: str) -> None:
    """Defect C1."""
    parts = [encode((style % number).encode(), b"%d;" % number) for number in range(11)]
    pools.write(0, b"".join(reversed(parts)))
    assert pools("get", "k", "--join").out == "0;1;2;3;4;5;6;7;8;9;10;\n"
    assert pools("get", "k").status == 1


def test_get_join_stops_at_a_missing_part_and_prefers_the_key_itself(pools: Pools) -> None:
    parts = encode(b"k.0", b"0") + encode(b"k.1", b"1") + encode(b"k.3", b"3")
    pools.write(0, parts)
    assert pools("get", "k", "--join").out == "01\n"
    pools.write(0, parts + encode(b"k", b"whole"))
    assert pools("get", "k", "--join").out == "whole\n"


@pytest.mark.parametrize("columns", [20, 40, 80, 200])
def test_a_table_fits_the_terminal_and_marks_what_is_cut(
    pools: Pools, on_terminal: Callable[..., Terminal], columns: int
) -> None:
    pools.write(1, encode(b"short", b"v" * 300) + encode("幅".encode() * 60, "広い".encode()))
    terminal = on_terminal("list", columns=columns, env={"NO_COLOR": "1"})
    assert terminal.end() == 0
    lines = terminal.screen.splitlines()
    assert len(lines) == 3
    widths = [sum(2 if character in "幅広い" else 1 for character in line) for line in lines]
    assert max(widths) <= columns
    assert "…" in lines[1]
    assert "\x1b" not in terminal.screen


def test_a_heading_is_coloured_on_a_terminal_only_without_no_color(
    pools: Pools, on_terminal: Callable[..., Terminal]
) -> None:
    pools.write(1, encode(b"k", b"v"))
    plain = on_terminal("list", env={"NO_COLOR": "1"})
    coloured = on_terminal("list", env={"NO_COLOR": ""})
    assert (plain.end(), coloured.end()) == (0, 0)
    assert plain.screen.splitlines()[0] == "POOL   KEY  VALUE"
    assert coloured.screen.splitlines()[0] == "\x1b[1mPOOL   KEY  VALUE\x1b[0m"


def test_list_on_a_terminal_can_do_without_headings_and_cuts(
    pools: Pools, on_terminal: Callable[..., Terminal]
) -> None:
    pools.write(1, encode(b"k", b"v" * 300))
    terminal = on_terminal("list", "--no-header", "--full", columns=40)
    assert terminal.end() == 0
    assert terminal.screen == f"guest  k  {'v' * 300}\r\n"


def test_a_wait_for_a_lock_is_shown_on_a_terminal(
    pools: Pools, on_terminal: Callable[..., Terminal]
) -> None:
    pools.write(1, encode(b"k", b"v"))
    with open(pools.file(1), "rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        terminal = on_terminal("list", "guest")
        terminal.wait_for(f"waiting for {pools.path}"[:60])
    assert terminal.end() == 0
    assert terminal.screen.splitlines()[-1].split() == ["k", "v"]


def test_a_terminal_in_ascii_gets_ascii(
    pools: Pools, on_terminal: Callable[..., Terminal]
) -> None:
    pools.write(1, encode("é".encode(), b"v" * 300))
    terminal = on_terminal("list", env={"PYTHONIOENCODING": "ascii", "NO_COLOR": "1"})
    assert terminal.end() == 0
    assert terminal.screen.isascii()
    assert terminal.screen.rstrip().endswith("v...")
