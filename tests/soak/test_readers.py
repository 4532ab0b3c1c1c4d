# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Readers that give up where a lock is refused, beside 40 SETs a second that wait for the disk.

.NET opens a file for reading with flock(LOCK_SH|LOCK_NB) and throws where that is refused.
"""

from __future__ import annotations

import select
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hv_kvp_daemon.wire.uapi import HV_S_OK, KVP_OP_DELETE, KVP_OP_SET
from tests.pools.conftest import start
from tests.support.process import RunningDaemon

if TYPE_CHECKING:
    from collections.abc import Callable

SECONDS = 20
SETS_A_SECOND = 40
MOST_REFUSED = 0.01

#: Opens, locks, reads and closes the file about a thousand times a second, until its
#: standard input ends; then prints how often, and how often the lock was refused.
_READER = """
import select
opened = refused = 0
print("held", flush=True)
while not select.select([sys.stdin], [], [], 0.001)[0]:
    fd = os.open(sys.argv[1], os.O_RDONLY | os.O_CLOEXEC)
    try:
        opened += 1
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        while os.read(fd, 65536):
            pass
    except BlockingIOError:
        refused += 1
    finally:
        os.close(fd)
print(opened, refused)
"""

#: By number: what is set, or deleted where there is no value.
REQUESTS: dict[str, Callable[[int], tuple[str, str | None]]] = {
    "SET of new keys": lambda n: (f"new {n}", "a value"),
    "SET of short values": lambda n: (f"key {n % 50}", f"value {n}"),
    "SET of long values": lambda n: (f"key {n % 50}", f"{n}" * 250),
    "SET and DELETE": lambda n: ("in turn", f"value {n}" if n % 2 else None),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_few_readers_are_refused(name: str, tell: Callable[[str], None]) -> None:
    """On the disk of the temporary directory, which should be a real one."""
    shares = []
    for options in ((), ("--no-sync",)):
        with (
            tempfile.TemporaryDirectory() as directory,
            RunningDaemon(Path(directory), *options) as daemon,
        ):
            opened, refused, waited = _beside(daemon, REQUESTS[name])
        shares.append(refused / opened)
        tell(
            f"{name}, {' '.join(options) or 'sync'}: {refused} of {opened} readers refused"
            f" ({refused / opened:.2%}), {waited * 1000:.1f} ms a request"
        )
    assert shares[0] <= MOST_REFUSED


def _beside(
    daemon: RunningDaemon, request: Callable[[int], tuple[str, str | None]]
) -> tuple[int, int, float]:
    """How many readers there were, how many were refused, and how long a request took."""
    peer = daemon.connect()
    for number in range(50):
        assert peer.ask(KVP_OP_SET, 1, f"key {number}", "first").status == HV_S_OK
    waited, ends, count = 0.0, time.monotonic() + SECONDS, 0
    with start(_READER, str(daemon.pool(1))) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "held\n"
        while (began := time.monotonic()) < ends:
            key, value = request(count + 1)
            count += 1
            if value is None:
                status = peer.ask(KVP_OP_DELETE, 1, key).status
            else:
                status = peer.ask(KVP_OP_SET, 1, key, value).status
            assert status == HV_S_OK
            took = time.monotonic() - began
            waited += took
            select.select([], [], [], max(1 / SETS_A_SECOND - took, 0))
        output, _ = reader.communicate()
    opened, refused = map(int, output.split())
    return opened, refused, waited / count
