# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Pool files as other programs write them: what is served, and which bytes a change leaves.

The shapes are those of the C tool kvp_client (the stack's bytes behind each NUL), of
cloud-init, azure-init and Ignition (zero-filled, 0600 in Ignition's case), of scripts that
blank a record instead of removing it, of a copy that ended early, and of fields without NUL.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

from hv_kvp_daemon.wire.record import RECORD_SIZE, encode
from tests.support.namespaces import mount_namespace

if TYPE_CHECKING:
    from pathlib import Path

    from hv_kvp_daemon.pools.pool import PoolFile

Items = list[tuple[bytes, bytes]]

FIRST: Final = encode(b"first", b"1")
LAST: Final = encode(b"last", b"9")
BLANK: Final = bytes(RECORD_SIZE)
FULL: Final = b"k" * 512 + b"v" * 2048
KVP_CLIENT: Final = b"client\0".ljust(512, b"\xaa") + b"7\0client".ljust(2048, b"\xbb")
CLOUD_INIT: Final = encode(b"CLOUD_INIT|17|finish|modules|vm|uuid|0", b'{"name":"x","msg_i":0}')
AZURE_INIT: Final = encode(b"azure-init-0.1|vm|INFO|span|uuid", b"one ")


class Shape(NamedTuple):
    """A record between FIRST and LAST, and what the host gets for it."""

    data: bytes
    items: Items


SHAPES: Final = {
    "kvp_client": Shape(KVP_CLIENT, [(b"client", b"7")]),
    "cloud-init": Shape(CLOUD_INIT, [(CLOUD_INIT[:38], b'{"name":"x","msg_i":0}')]),
    "azure-init": Shape(AZURE_INIT * 2, [(AZURE_INIT[:32], b"one ")] * 2),
    "blank": Shape(BLANK, [(b"", b"")]),
    "blank key": Shape(bytes(512) + LAST[512:], [(b"", b"9")]),
    "no NUL": Shape(FULL, [(FULL[:512], FULL[512:])]),
    "not UTF-8": Shape(encode(b"caf\xe9", b"\xff"), [(b"caf\xe9", b"\xff")]),
}


def put(path: str, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)


def content(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def items(pool: PoolFile) -> Items:
    return [(record.key, record.value) for record in pool.records()]


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_changes_of_other_records_leave_each_byte_of_a_foreign_one(
    pool: PoolFile, shape: Shape
) -> None:
    put(pool.path, FIRST + shape.data + LAST)
    assert items(pool) == [(b"first", b"1"), *shape.items, (b"last", b"9")]
    pool.store(b"new", b"2")
    pool.store(b"first", b"3")
    assert pool.delete(b"first")
    assert content(pool.path) == shape.data + LAST + encode(b"new", b"2")
    assert items(pool) == [*shape.items, (b"last", b"9"), (b"new", b"2")]


@pytest.mark.parametrize("length", [1, 511, 512, 513, RECORD_SIZE - 1])
@pytest.mark.parametrize("rest", [FIRST, FULL, BLANK], ids=["text", "no NUL", "blank"])
def test_a_copy_that_ended_early_hides_no_record_before_its_end(
    pool: PoolFile, rest: bytes, length: int
) -> None:
    put(pool.path, FIRST + KVP_CLIENT + rest[:length])
    assert items(pool) == [(b"first", b"1"), (b"client", b"7")]
    pool.store(b"new", b"2")
    assert content(pool.path) == FIRST + KVP_CLIENT + encode(b"new", b"2")


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o777])
def test_a_change_keeps_the_mode_and_the_inode(pool: PoolFile, mode: int) -> None:
    put(pool.path, FIRST + LAST)
    os.chmod(pool.path, mode)
    inode = os.stat(pool.path).st_ino
    pool.store(b"new", b"2")
    assert pool.delete(b"first")
    assert items(pool) == [(b"last", b"9"), (b"new", b"2")]
    after = os.stat(pool.path)
    assert (after.st_mode & 0o7777, after.st_ino) == (mode, inode)


# A container can get one pool as a mount point, which can be neither renamed nor replaced.
_CHANGE = """
import sys
from hv_kvp_daemon.cli.main import main
place = ["--pool-dir", sys.argv[1]]
sys.exit(main(["set", *place, "new", "2"]) or main(["delete", *place, "first"]))
"""


def test_a_single_file_that_is_bind_mounted_is_changed_in_place(tmp_path: Path) -> None:
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    inside.mkdir()
    outside.write_bytes(FIRST + KVP_CLIENT)
    (inside / ".kvp_pool_1").touch()
    script = 'mount --bind outside inside/.kvp_pool_1 && exec "$@"'
    subprocess.run(
        [*mount_namespace(), "sh", "-c", script, "sh", sys.executable, "-c", _CHANGE, "inside"],
        cwd=tmp_path,
        check=True,
    )
    assert outside.read_bytes() == KVP_CLIENT + encode(b"new", b"2")
    assert (inside / ".kvp_pool_1").read_bytes() == b""
