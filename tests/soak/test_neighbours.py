# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The daemon among those that really write pools: cloud-init, the library, the C daemon."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from hv_kvp_daemon import Pool
from hv_kvp_daemon.pools.damage import REPEATED
from hv_kvp_daemon.wire.message import (
    MESSAGE_SIZE,
    Request,
    decode_reply,
    encode_register,
    encode_request,
)
from hv_kvp_daemon.wire.uapi import (
    HV_S_CONT,
    HV_S_OK,
    KVP_OP_DELETE,
    KVP_OP_ENUMERATE,
    KVP_OP_GET,
    KVP_OP_REGISTER1,
    KVP_OP_SET,
)
from tests.pools.crash_cases import key_of, whole
from tests.soak import tools
from tests.support.process import Peer, RunningDaemon

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hv_kvp_daemon.wire.message import Reply

EVENTS = 2000

_CLOUD_INIT = """
import select, sys
sys.path.insert(0, sys.argv[1])
from cloudinit.reporting import events, handlers
handler = handlers.HyperVKvpReportingHandler(kvp_file_path=sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
for number in range(int(sys.argv[3])):
    # Every fiftieth is one that is cut into several records.
    text = f"<{number}>" * (700 if number % 50 == 7 else 3)
    handler.publish_event(
        events.FinishReportingEvent(f"event {number}", text, events.status.SUCCESS)
    )
    if number % 5 == 4:
        select.select([], [], [], 0.004)
handler.flush()
"""

_LIBRARY = """
import sys
from hv_kvp_daemon import Pool
with Pool("guest", directory=sys.argv[1], sync=False) as pool:
    print("ready", flush=True)
    rounds = 0
    while not __import__("select").select([sys.stdin], [], [], 0)[0]:
        rounds += 1
        pool[f"library {rounds % 11}"] = str(rounds) * (rounds % 300)
        pool.pop(f"library {(rounds + 5) % 11}", None)
        pool.append("library log", str(rounds))
print(rounds)
"""


def child(script: str, *arguments: str, python: str = sys.executable) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [python, "-c", script, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def test_every_event_of_cloud_init_is_there_once_and_whole(
    tmp_path: Path, tell: Callable[[str], None]
) -> None:
    packages = tools.cloud_init()
    with RunningDaemon(tmp_path, "--no-sync") as daemon:
        peer = daemon.connect()
        path = str(daemon.pool(1))
        reporter = child(_CLOUD_INIT, packages, path, str(EVENTS), python="/usr/bin/python3")
        library = child(_LIBRARY, str(daemon.pool_dir))
        go(reporter)
        rounds, state = serve(peer, lambda: reporter.poll() is None)
        rounds_of_library = int(library.communicate("end\n")[0])
        assert (reporter.returncode, library.returncode) == (0, 0)
        for stream in (reporter.stdin, reporter.stdout):
            assert stream is not None
            stream.close()
        assert daemon.stop() == 0
        # The library appends keys that are there already, which is told once.
        told = [line for line in daemon.stderr.splitlines() if "pool 1" in line]
        assert all(REPEATED in line for line in told), daemon.stderr
        assert len(told) <= 1
    with open(path, "rb") as file:
        raw = file.read()
    assert len(raw) % 2560 == 0
    found = whole(raw)
    events = read_events([r for r in found if key_of(r).startswith(b"CLOUD_INIT")])
    assert sorted(events) == sorted(f"event {number}" for number in range(EVENTS))
    for number in range(EVENTS):
        message = f"<{number}>" * (700 if number % 50 == 7 else 3)
        assert events[f"event {number}"] == message
    log = [text(r) for r in found if key_of(r) == b"library log"]
    assert log == [str(number + 1) for number in range(rounds_of_library)]
    own = {key_of(r).decode(): text(r) for r in found if key_of(r).startswith(b"host")}
    assert own == state
    tell(
        f"cloud-init: {len(events)} events in {len(found)} records, {rounds} rounds of the"
        f" host and {rounds_of_library} of the library beside it: lost 0, twice 0, torn 0"
    )


def serve(peer: Peer, goes_on: Callable[[], bool]) -> tuple[int, dict[str, str]]:
    """Set, delete and enumerate until it is over; return what must be there of it then."""
    rounds = 0
    state: dict[str, str] = {}
    while goes_on() or rounds < 50:
        rounds += 1
        key, value = f"host {rounds % 13}", str(rounds) * (rounds % 200)
        assert peer.ask(KVP_OP_SET, 1, key, value).status == HV_S_OK
        state[key] = value
        gone = f"host {(rounds + 6) % 13}"
        status = peer.ask(KVP_OP_DELETE, 1, gone).status
        assert status == (HV_S_OK if gone in state else HV_S_CONT)
        state.pop(gone, None)
        assert peer.ask(KVP_OP_GET, 1, key).value.decode() == value[:1022]
        for index in (0, rounds % 500):
            status = peer.ask(KVP_OP_ENUMERATE, 1, index=index).status
            assert status in {HV_S_OK, HV_S_CONT}
    return rounds, state


def text(record: bytes) -> str:
    return record[512:].partition(b"\0")[0].decode()


def read_events(found: list[bytes]) -> dict[str, str]:
    """The text of each event by its name; one that is there twice fails."""
    parts: dict[str, dict[int, str]] = {}
    keys = set()
    for record in found:
        assert record[512:].rstrip(b"\0").endswith(b"}")
        assert key_of(record) not in keys
        keys.add(key_of(record))
        value = json.loads(text(record))
        assert value.get("msg_i", 0) not in parts.setdefault(value["name"], {})
        parts[value["name"]][value.get("msg_i", 0)] = value["msg"]
    return {
        name: "".join(those[index] for index in range(len(those)))
        for name, those in parts.items()
    }


class CDaemon:
    """Debian's daemon on one end of a socket pair, its pools in a directory of ours."""

    def __init__(self, directory: str) -> None:
        self._end, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._end.settimeout(20)
        shim = tools.preload("device.so", "benchmarks/device.c")
        script = (
            "mount -t tmpfs soak /var/lib && mkdir /var/lib/hyperv"
            f" && mount --bind '{directory}' /var/lib/hyperv"
            f" && LD_PRELOAD={shim} exec {tools.c_daemon()} -n"
        )
        self.process = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", script],
            env={**os.environ, "HV_KVP_BENCH_FD": str(theirs.fileno())},
            pass_fds=[theirs.fileno()],
        )
        theirs.close()
        assert self._end.recv(MESSAGE_SIZE)[0] == KVP_OP_REGISTER1
        self._end.send(encode_register(b"3.1"))

    def ask(self, operation: int, key: str = "", value: str = "", index: int = 0) -> Reply:
        request = Request(operation, 1, key.encode(), value.encode(), index)
        self._end.send(encode_request(request))
        return decode_reply(self._end.recv(MESSAGE_SIZE))

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self._end.close()


@pytest.fixture
def c_daemon(tmp_path: Path) -> Iterator[CDaemon]:
    (tmp_path / "pools").mkdir()
    daemon = CDaemon(str(tmp_path / "pools"))
    yield daemon
    daemon.stop()


def test_the_c_daemon_sees_whole_records_and_keeps_what_this_one_acknowledged(
    tmp_path: Path, c_daemon: CDaemon, tell: Callable[[str], None]
) -> None:
    """It reads while this one writes; and both are asked to write, one after the other.

    Not at the same time: it reads and rewrites the file under two holds of its lock,
    so it drops what came in between, whoever wrote that.
    """
    with RunningDaemon(tmp_path, "--no-sync") as daemon:
        peer = daemon.connect()
        over = threading.Event()
        read: list[tuple[bytes, bytes]] = []

        def enumerate_all() -> None:
            while not over.is_set():
                index = 0
                while (reply := c_daemon.ask(KVP_OP_ENUMERATE, index=index)).status == HV_S_OK:
                    read.append((reply.key, reply.value))
                    index += 1

        for number in range(30):
            assert peer.ask(KVP_OP_SET, 1, f"key {number}", "0" * 900).status == HV_S_OK
        reader = threading.Thread(target=enumerate_all)
        reader.start()
        for number in range(3000):
            key, value = f"key {number % 30}", str(number % 10) * 900
            if number % 7 == 3:
                assert peer.ask(KVP_OP_DELETE, 1, key).status == HV_S_OK
            assert peer.ask(KVP_OP_SET, 1, key, value).status == HV_S_OK
        over.set()
        reader.join()
        assert len(read) > 100
        for raw_key, raw_value in read:
            assert raw_key.startswith(b"key ")
            assert len(raw_value) == 900
            assert len(set(raw_value)) == 1
        for number in range(300):
            turn: Callable[[str, str], Reply] = (
                (lambda key, value: c_daemon.ask(KVP_OP_SET, key, value))
                if number % 2
                else (lambda key, value: peer.ask(KVP_OP_SET, 1, key, value))
            )
            assert turn(f"turn {number % 40}", str(number) * 50).status == HV_S_OK
        with Pool(1, directory=str(daemon.pool_dir)) as pool:
            for number in range(260, 300):
                assert pool[f"turn {number % 40}"] == str(number) * 50
            assert len(pool.records()) == 70
    tell(f"C daemon: {len(read)} records read beside 3,000 changes, torn 0; 300 turns, lost 0")
