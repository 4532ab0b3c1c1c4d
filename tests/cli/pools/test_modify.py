# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""``set``, ``append``, ``delete`` and ``clear``."""

from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING

import pytest

from hv_kvp_daemon.cli.main import main
from hv_kvp_daemon.wire.record import encode
from tests.support.daemon import RunningDaemon

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.command import OrdinaryUser, Pools, Terminal


def test_set_makes_the_directory_and_the_file_that_are_missing(pools: Pools) -> None:
    assert pools("set", "k", "v") == (0, "", "")
    assert pools.data(1) == encode(b"k", b"v")
    assert stat.S_IMODE(os.stat(pools.file(1)).st_mode) == 0o644
    assert stat.S_IMODE(os.stat(pools.path).st_mode) == 0o755


def test_set_changes_the_first_record_in_place_and_removes_the_others(pools: Pools) -> None:
    """P26."""
    pools.write(0, encode(b"k", b"1") + encode(b"x", b"y") + encode(b"k", b"2"))
    inode = os.stat(pools.file(0)).st_ino
    assert pools("set", "k", "3", "--pool", "external").status == 0
    assert pools.data(0) == encode(b"k", b"3") + encode(b"x", b"y")
    assert os.stat(pools.file(0)).st_ino == inode


def test_set_takes_every_byte_of_standard_input(pools: Pools) -> None:
    assert pools("set", "k", "-", stdin=b" line\r\n").status == 0
    assert pools.data(1) == encode(b"k", b" line\r\n")


def test_set_takes_any_number_of_pairs(pools: Pools) -> None:
    pools.write(1, encode(b"b", b"1"))
    assert pools("set", "a=x=y", "b=2", "c=") == (0, "", "")
    assert pools.data(1) == encode(b"b", b"2") + encode(b"a", b"x=y") + encode(b"c", b"")


@pytest.mark.parametrize(
    ("words", "pairs"),
    [
        (["k", "a=b"], [(b"k", b"a=b")]),
        (["k=x", "v"], [(b"k=x", b"v")]),
        (["k=x"], [(b"k", b"x")]),
        (["k=x", "l=-"], [(b"k", b"x"), (b"l", b"-")]),
    ],
)
def test_two_words_are_a_key_and_a_value_unless_both_have_an_equals_sign(
    pools: Pools, words: list[str], pairs: list[tuple[bytes, bytes]]
) -> None:
    assert main(["set", *words, "--pool-dir", pools.path]) == 0
    assert pools.data(1) == b"".join(encode(*pair) for pair in pairs)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["k"], "k is not KEY=VALUE; a single pair can be KEY VALUE"),
        (["k=1", "l", "m=3"], "l is not KEY=VALUE"),
        (["k=1", "=2"], "a key has at least one character"),
        (["k=1", "l=" + "v" * 1023], "value of 1023 UTF-16 units"),
        (["--force", "k=1", "l=" + "v" * 2048], "value of 2048 bytes, 0 to 2047 allowed"),
        (["--split", "k=" + "v" * 5000, "l" * 255 + "=1"], "key of 255 UTF-16 units"),
    ],
)
def test_no_pair_is_set_if_one_of_them_cannot_be(
    pools: Pools, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["set", *words, "--pool-dir", pools.path]) == 2
    assert said in capsys.readouterr().err
    assert not os.path.exists(pools.path)


def test_several_long_values_are_split(pools: Pools) -> None:
    words = ["--split", "a=" + "1" * 1500, "b=2"]
    assert main(["set", *words, "--pool-dir", pools.path]) == 0
    parts = [(b"a.0", b"1" * 1022), (b"a.1", b"1" * 478), (b"b", b"2")]
    assert pools.data(1) == b"".join(encode(*part) for part in parts)


def test_set_takes_bytes_of_the_command_line_as_they_are(pools: Pools) -> None:
    assert pools("set", "ключ".encode(), "\U0001d11e".encode()).status == 0
    assert pools.data(1) == encode("ключ".encode(), "\U0001d11e".encode())


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("k" * 255, "v", "key of 255 UTF-16 units, a host sees 254"),
        ("k", "v" * 1023, "value of 1023 UTF-16 units, a host sees 1022"),
        ("k", "\U0001f427" * 512, "value of 1024 UTF-16 units, a host sees 1022"),
        ("k", b"\xff", "the value is not UTF-8 text"),
        (b"\xff", "v", "the key is not UTF-8 text"),
    ],
)
def test_set_refuses_what_a_host_does_not_see_whole_unless_forced(
    pools: Pools, key: str | bytes, value: str | bytes, said: str
) -> None:
    status, _, err = pools("set", key, value)
    assert status == 2
    assert said in err
    assert not os.path.exists(pools.path)
    if len(os.fsencode(value)) < 2048:
        assert pools("set", key, value, "--force").status == 0
        assert pools.data(1) == encode(os.fsencode(key), os.fsencode(value))


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("k" * 512, b"v", "key of 512 bytes, 1 to 511 allowed"),
        ("k", b"v" * 2048, "value of 2048 bytes, 0 to 2047 allowed"),
        ("k", b"a\0b", "value of 3 bytes with a NUL after 1"),
    ],
)
def test_what_a_record_cannot_hold_is_refused_even_if_forced(
    pools: Pools, key: str, value: bytes, said: str
) -> None:
    status, _, err = pools("set", key, "-", "--force", stdin=value)
    assert status == 2
    assert said in err


def test_an_empty_key_is_wrong_usage(pools: Pools) -> None:
    assert pools("set", "", "v").status == 2


def test_the_auto_pool_is_nobodys_to_write(pools: Pools) -> None:
    status, _, err = pools("set", "OSName", "v", "--pool", "auto")
    assert status == 2
    assert "made for each request" in err


def test_set_split_divides_at_characters_and_get_joins(pools: Pools) -> None:
    value = ("añ\U0001f427" * 1000).encode()
    assert pools("set", "k", "-", "--split", stdin=value).status == 0
    listed = [line.split("\t") for line in pools("list", "guest").out.splitlines()]
    assert [key for key, _ in listed] == [f"k.{number}" for number in range(len(listed))]
    assert max(len(part.encode("utf-16-le")) // 2 for _, part in listed) <= 1022
    assert pools("get", "k", "--join", "-n").out.encode() == value


def test_set_split_replaces_former_parts_and_nothing_else(pools: Pools) -> None:
    pools.write(1, encode(b"a", b"1") + encode(b"k", b"old") + encode(b"b", b"2"))
    pools("set", "k", "-", "--split", stdin=b"x" * 3000)
    assert [line.split("\t")[0] for line in pools("list", "guest").out.splitlines()] == [
        *("a", "b", "k.0", "k.1", "k.2"),
    ]
    pools("set", "k", "-", "--split", stdin=b"y" * 2000)
    assert [line.split("\t")[0] for line in pools("list", "guest").out.splitlines()] == [
        *("a", "b", "k.0", "k.1"),
    ]
    pools("set", "k", "-", "--split", stdin=b"short")
    assert pools.data(1) == encode(b"a", b"1") + encode(b"b", b"2") + encode(b"k", b"short")


def test_set_split_refuses_what_is_no_text(pools: Pools) -> None:
    status, _, err = pools("set", "k", "-", "--split", stdin=b"\xff" * 3000)
    assert status == 2
    assert "base64" in err


def test_append_adds_a_record_whatever_is_there(pools: Pools) -> None:
    pools("append", "k", "1")
    assert pools("append", "k", "2") == (0, "", "")
    assert pools.data(1) == encode(b"k", b"1") + encode(b"k", b"2")


def test_delete_removes_all_of_a_key_and_names_what_is_missing(pools: Pools) -> None:
    pools.write(1, b"".join(encode(key, b"v") for key in (b"a", b"b", b"a", b"c")))
    assert pools("delete", "a", "c", "a") == (0, "3 records removed\n", "")
    done = pools("delete", "x", "b", "--json")
    assert json.loads(done.out) == {"pool": "guest", "removed": 1}
    assert (done.status, done.err) == (1, "hv-kvp: no key x in pool guest\n")
    assert pools.data(1) == b""


def test_clear_needs_a_yes_where_nobody_can_be_asked(pools: Pools) -> None:
    pools.write(1, encode(b"k", b"v"))
    status, _, err = pools("clear", "guest")
    assert status == 2
    assert "--yes" in err
    assert pools.data(1) == encode(b"k", b"v")
    assert pools("clear", "guest", "--yes") == (0, "", "")
    assert pools.data(1) == b""


@pytest.mark.parametrize(
    ("answer", "status", "left"), [("y", 0, b""), ("n", 1, encode(b"k", b"v"))]
)
def test_clear_asks_on_a_terminal(
    pools: Pools, on_terminal: Callable[..., Terminal], answer: str, status: int, left: bytes
) -> None:
    pools.write(1, encode(b"k", b"v"))
    terminal = on_terminal("clear", "guest")
    terminal.wait_for("Remove all records of pool guest (1)? [y/N]")
    terminal.type(f"{answer}\n")
    assert terminal.end() == status
    assert pools.data(1) == left


def test_clear_of_nothing_makes_no_file(pools: Pools) -> None:
    os.mkdir(pools.path)
    assert pools("clear", "guest") == (0, "", "")
    assert os.listdir(pools.path) == []


def test_an_ordinary_user_is_told_before_anything_is_done(user: OrdinaryUser) -> None:
    if os.geteuid():
        pytest.skip("needs a file that is another user's")
    user.pools.write(1, encode(b"k", b"v"))
    os.chmod(user.pools.path, 0o755)
    for words in (("set", "k", "w"), ("delete", "k"), ("clear", "guest", "--yes")):
        status, _, err = user(*words)
        assert status == 3
        assert "may not be written; run it as root" in err
    assert user.pools.data(1) == encode(b"k", b"v")


def test_host_and_command_see_each_others_changes() -> None:
    from tests.support.command import Pools

    with RunningDaemon() as daemon, daemon.host() as host:
        pools = Pools(daemon.pool_dir)
        assert pools("set", "greeting", "from the guest").status == 0
        assert list(host.items(1)) == [("greeting", "from the guest")]
        assert host.set(0, "answer", "from the host") == 0
        assert pools("get", "answer").out == "from the host\n"
        assert pools("delete", "answer", "--pool", "external").status == 0
        assert list(host.items(0)) == []


def test_split_does_not_make_a_key_fit_that_no_record_can_hold(pools: Pools) -> None:
    status, _, err = pools("set", "k" * 512, "v", "--split", "--force")
    assert status == 2
    assert "key of 512 bytes, 1 to 511 allowed" in err
    assert not os.path.exists(pools.path)
