# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""ENUMERATE returns the contents of the file, whatever other programs do to it meanwhile."""

from __future__ import annotations

import random
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from hv_kvp_daemon.pools.directory import PoolDirectory
from hv_kvp_daemon.service.dispatch import NO_MORE, Dispatch
from hv_kvp_daemon.wire.message import Request, encode_pair, encode_request
from hv_kvp_daemon.wire.uapi import KVP_OP_ENUMERATE, KVP_POOL_GUEST
from tests.pools.concurrent_writer import KEYS, THINGS, ConcurrentWriter, content

if TYPE_CHECKING:
    from pathlib import Path

    from hv_kvp_daemon.pools.pool import PoolFile


def change(pool: PoolFile, chance: random.Random) -> None:
    """A change by the daemon, right after and right before those of other programs."""
    key = chance.choice(KEYS)
    action = chance.random()
    if action < 0.6:
        pool.store(key, b"ours %d" % chance.randrange(10**6))
    elif action < 0.8:
        pool.delete(key)
    elif action < 0.9:
        pool.append(key, b"appended")
    else:
        pool.clear()


def _fail(*_: object) -> bool:
    raise AssertionError("nothing here waits or fails")


def look(directory: str, seed: int, turns: int) -> tuple[int, int]:
    """Return how many replies were as they must be, and how many of these took no lock."""
    chance = random.Random(seed)
    pools = PoolDirectory(directory, report=lambda _: None, sync=False)
    pools.open_all()
    pool = pools[KVP_POOL_GUEST]
    dispatch = Dispatch(pools, None, _fail, _fail)  # type: ignore[arg-type]
    asked = unlocked = 0
    with closing(pools), ConcurrentWriter(pool.path, seed + 1) as neighbour:
        for _ in range(turns):
            said = chance.choice((*THINGS, *["ours"] * 4, *["nothing"] * 4))
            if said == "ours":
                change(pool, chance)
            elif said != "nothing":
                neighbour.do(said)
            pairs = content(pool.path)
            for index in chance.choices((0, 1, 2, len(pairs) - 1, len(pairs)), k=3):
                if index < 0:
                    continue
                request = Request(KVP_OP_ENUMERATE, KVP_POOL_GUEST, index=index)
                asked += 1
                unlocked += pool.read_unlocked(index) is not None
                reply = dispatch.handle(encode_request(request))
                told = encode_pair(*pairs[index], index) if index < len(pairs) else NO_MORE
                assert reply == told, (seed, said, index)
            key = chance.choice(KEYS)
            first = next((value for other, value in pairs if other == key), None)
            assert pool.find(key) == first, (seed, said, key)
    return asked, unlocked


@pytest.mark.parametrize("seed", range(3))
def test_the_host_gets_what_the_file_has(tmp_path: Path, seed: int) -> None:
    asked, unlocked = look(str(tmp_path), seed, 3000)
    assert asked > 6000
    assert unlocked > asked // 20
