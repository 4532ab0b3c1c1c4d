# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""``export`` and ``import``."""

from __future__ import annotations

import json
import os
import random
from typing import TYPE_CHECKING

import pytest

from hv_kvp_daemon.wire.record import RECORD_SIZE, encode
from tests.support.run_forked import run_forked

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.command import OrdinaryUser, Pools, Terminal

GARBAGE = b"k\0rubbish".ljust(512, b"r") + b"v".ljust(2048, b"\0")
UNTERMINATED = b"k" * 512 + b"v" * 2048
RECORDS = encode(b"a", b"1") + encode("ключ".encode(), b"\xff\x00"[:1]) + encode(b"a", b"2")


def guest(records: str) -> str:
    return f'{{"version": 1, "pools": {{"guest": {{"records": [{records}]}}}}}}'


def test_an_export_imports_as_the_same_files(pools: Pools) -> None:
    pools.write(0, RECORDS)
    pools.write(1, b"")
    pools.write(4, encode(b"x", b"\n"))
    document = pools("export").out
    assert document.isascii()
    other = type(pools)(pools.path + "2")
    status, out, err = other("import", stdin=document.encode())
    assert (status, out) == (0, "")
    assert "pool external: a host sees 1 records cut or changed" in err
    assert other.data(0) == RECORDS
    assert other.data(4) == pools.data(4)
    assert not os.path.exists(other.file(1))


def test_export_takes_the_pools_that_are_named(pools: Pools) -> None:
    pools.write(0, encode(b"a", b"1"))
    pools.write(1, encode(b"b", b"2"))
    assert json.loads(pools("export", "guest").out) == {
        "version": 1,
        "pools": {"guest": {"records": [{"key": "b", "value": "2"}]}},
    }


@pytest.mark.parametrize("seed", range(5))
def test_exact_brings_back_every_byte_of_any_file(pools: Pools, seed: int) -> None:
    data = random.Random(seed).randbytes(3 * RECORD_SIZE + 77)
    pools.write(1, GARBAGE + data + UNTERMINATED + b"rest"[:seed])
    whole = pools.data(1)
    document = pools("export", "guest").out.encode()
    pools.write(1, b"")
    assert pools("import", "--exact", stdin=document).status == 0
    assert pools.data(1) == whole


def test_without_exact_the_records_become_clean(pools: Pools) -> None:
    pools.write(1, GARBAGE + b"rest")
    document = pools("export", "guest").out.encode()
    pools.write(1, b"")
    assert pools("import", stdin=document).status == 0
    assert pools.data(1) == encode(b"k", b"v")


def test_an_unreadable_pool_makes_no_half_document(pools: Pools) -> None:
    pools.write(1, encode(b"b", b"2"))
    os.mkdir(pools.file(3))
    status, out, _ = pools("export")
    assert (status, out) == (3, "")


def test_merge_keeps_other_keys_and_their_places(pools: Pools) -> None:
    pools.write(1, b"".join(encode(k, b"old") for k in (b"a", b"b", b"c", b"b")))
    document = {
        "version": 1,
        "pools": {"guest": {"records": [{"key": k, "value": "new"} for k in "db"]}},
    }
    assert pools("import", "--merge", stdin=json.dumps(document).encode()).status == 0
    assert pools("list", "guest").out == "a\told\nb\tnew\nc\told\nd\tnew\n"


def test_an_import_leaves_keys_in_their_places_and_the_order_of_equal_ones(
    pools: Pools,
) -> None:
    pools.write(
        1, b"".join(encode(k, b"old") for k in (b"c", b"a", b"gone", b"a", b"a")) + b"part"
    )
    inode = os.stat(pools.file(1)).st_ino
    document = guest(
        ",".join(f'{{"key": "{k}", "value": "{v}"}}' for k, v in ("a1", "b1", "a2", "c1", "b2"))
    )
    assert pools("import", "--yes", stdin=document.encode()) == (0, "", "")
    wanted = ((b"c", b"1"), (b"a", b"1"), (b"a", b"2"), (b"b", b"1"), (b"b", b"2"))
    assert pools.data(1) == b"".join(encode(*pair) for pair in wanted)
    assert os.stat(pools.file(1)).st_ino == inode


def test_exact_keeps_a_copy_of_what_was_there(pools: Pools) -> None:
    pools.write(1, GARBAGE + b"rest")
    document = guest('{"key": "a", "value": "1"}').encode()
    status, _, err = pools("import", "--exact", "--yes", stdin=document)
    assert status == 0
    copies = [name for name in os.listdir(pools.path) if name.startswith("hv-kvp-backup")]
    assert f"the former bytes are in {pools.path}/{copies[0]}" in err
    with open(f"{pools.path}/{copies[0]}", "rb") as copy:
        assert copy.read() == GARBAGE + b"rest"
    assert pools.data(1) == encode(b"a", b"1")


def test_nothing_is_lost_without_a_yes(
    pools: Pools, on_terminal: Callable[..., Terminal]
) -> None:
    pools.write(1, encode(b"a", b"1") + encode(b"b", b"2"))
    document = guest('{"key": "a", "value": "1"}')
    status, _, err = pools("import", stdin=document.encode())
    assert status == 2
    assert "(1 records)" in err
    file = f"{pools.path}.json"
    with open(file, "w", encoding="ascii") as written:
        written.write(document)
    terminal = on_terminal("import", file)
    terminal.wait_for("[y/N]")
    terminal.type("no\n")
    assert terminal.end() == 1
    assert pools.data(1) == encode(b"a", b"1") + encode(b"b", b"2")
    assert pools("import", file, "--yes").status == 0
    assert pools.data(1) == encode(b"a", b"1")


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("", "is not JSON"),
        ('{"version": 1}x', "is not JSON: Extra data, line 1, column 15"),
        ("\udcff", "is not UTF-8 from byte 0 on"),
        ("[" * 100000, "nested too deep, or a number has too many digits"),
        ('{"version": %s}' % ("1" * 5000), "nested too deep, or a number has too many digits"),
        ("[]", "is no export of hv-kvp: it is an array, not an object"),
        ("null", "it is null, not an object"),
        ("{}", "is no export of hv-kvp: it has no version"),
        ('{"version": true}', "version is true, not an integer"),
        ('{"version": 1e400}', "version is a number, not an integer"),
        ('{"version": 1}', "it has no pools"),
        ('{"version": 1, "pools": []}', "pools is an array, not an object"),
        (
            '{"version": 1, "pools": {"guest": 3}}',
            "pool guest: it is an integer, not an object",
        ),
        ('{"version": 1, "pools": {"guest": {}}}', "pool guest: it has no records"),
        (
            '{"version": 1, "pools": {"guest": {"records": {"a": "b"}}}}',
            "pool guest: records is an object, not an array",
        ),
        (
            '{"version": 1, "pools": {"guest": {"records": []}, "1": {"records": []}}}',
            "pool 1 is there twice, by name and by number",
        ),
        (guest('"ab"'), "pool guest: record 0: it is a string, not an object"),
        (guest('{"key_base64": "é", "value": ""}'), "record 0: key_base64 is not base64"),
        ('{"version": 2, "pools": {}}', "version 2, 1 expected"),
        ('{"version": 1, "pools": {"auto": {"records": []}}}', "made for each request"),
        ('{"version": 1, "pools": {"lost": {"records": []}}}', "no pool 'lost'"),
        (guest('{"key": "a"}'), "exactly one of"),
        (
            guest('{"key": 1, "value": ""}'),
            "pool guest: record 0: key is an integer, not a string",
        ),
        (
            guest('{"key": "", "value": ""}'),
            "pool guest: record 0: key of 0 bytes, 1 to 511 allowed",
        ),
        (
            guest('{"key": "a", "value": "b"}, {"key": "a", "value_base64": "%"}'),
            "pool guest: record 1: value_base64 is not base64",
        ),
        (
            guest('{"key": "\\ud800", "value": ""}'),
            "half a surrogate pair",
        ),
    ],
)
def test_a_bad_document_changes_nothing_and_says_why(
    pools: Pools, document: str, said: str
) -> None:
    """Defect C2."""
    stdin = document.encode("utf-8", "surrogateescape")
    status, _, err = run_forked(["import", "--pool-dir", pools.path], stdin=stdin)
    assert status == 2
    assert said in err
    assert not os.path.exists(pools.path)


def test_an_import_that_may_not_write_one_pool_writes_none(user: OrdinaryUser) -> None:
    if os.geteuid():
        pytest.skip("needs a file that is another user's")
    for number in (0, 1):
        user.pools.write(number, b"")
        os.chmod(user.pools.file(number), 0o666 if number == 0 else 0o644)
    os.chmod(user.pools.path, 0o755)
    file = f"{user.pools.path}/document"
    record = [{"key": "a", "value": "b"}]
    with open(file, "w", encoding="ascii") as written:
        json.dump(
            {
                "version": 1,
                "pools": {"external": {"records": record}, "guest": {"records": record}},
            },
            written,
        )
    status, _, err = user("import", file)
    assert status == 3
    assert ".kvp_pool_1 may not be written; run it as root" in err
    assert user.pools.data(0) == b""
