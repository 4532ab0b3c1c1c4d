# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Measurements inside the driver VM, where the kernel's own driver passes on each request.

The driver serves one daemon at a time.  A round is therefore all workloads with one daemon,
then with the next, in reverse order every other round; all on one CPU, as natively.  Each
figure goes to the console as a line of JSON.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import struct
import sys
from dataclasses import asdict

from benchmarks.measure import Host as RequestHost
from benchmarks.measure import measure, wait_childless
from benchmarks.workloads import QUICK, VM, all_workloads
from hv_kvp_daemon.wire.uapi import KVP_OP_DELETE, KVP_OP_ENUMERATE, KVP_OP_GET, KVP_OP_SET
from tests.driver import guest
from tests.driver.guest import Process, wait_for
from tests.driver.lab.hvhost import S_OK, Host, key_body, value_body, wide

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hv_kvp_daemon.wire.message import Request

#: Marks the lines of JSON, since the kernel writes to the console, too.
MARK = "figure: "
PLACE = "vm"


class DriverHost:
    """A host that asks through the driver, in UTF-16."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def packet(self, request: Request) -> bytes:
        return bytes([request.operation, request.pool, 0, 0]) + _body(request)

    def ask(self, packet: bytes) -> int:
        return self._host.kvp(packet[0], packet[1], packet[4:])[0]


def _body(request: Request) -> bytes:
    key = wide(request.key.decode())
    if request.operation == KVP_OP_ENUMERATE:
        return struct.pack("<I", request.index)
    if request.operation == KVP_OP_SET:
        return value_body(key, wide(request.value.decode()))
    if request.operation == KVP_OP_GET:
        return value_body(key, b"")
    if request.operation == KVP_OP_DELETE:
        return key_body(key)
    raise ValueError(f"operation {request.operation}")


class GuestDaemon:
    """A daemon that has registered with the driver: ``C``, ``netlink`` or ``device``."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.has_get = name != "C"
        self.pools = guest.C_POOL_DIR if name == "C" else guest.POOL_DIR
        shutil.rmtree(self.pools, ignore_errors=True)
        self._process = guest.c_daemon() if name == "C" else _ours(name)
        self.pid = self._process.pid
        self._host = Host(watch=self._process.must_run)
        if self._host.negotiate() != S_OK:
            raise RuntimeError(f"{self._process} does not serve")
        self.host: RequestHost = DriverHost(self._host)
        os.sched_setaffinity(self.pid, os.sched_getaffinity(0))
        wait_childless(self.pid)

    def stop(self) -> None:
        self._host.close()
        self._process.stop()


def _ours(name: str) -> Process:
    transport = {"netlink": "netlink", "device": "chardev"}[name]
    daemon = guest.daemon(
        "-n", "--no-sync", "--transport", transport, "--pool-dir", guest.POOL_DIR
    )
    wait_for("registration", lambda: "driver version" in daemon.stderr or daemon.status, 30)
    return daemon


def main(rounds: int, *, quick: bool) -> int:
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    chance = random.Random(1)
    names = ["C", "netlink", "device"]
    for turn in range(rounds):
        for name in names[:: -1 if turn % 2 else 1]:
            daemon = GuestDaemon(name)
            for workload in all_workloads(QUICK if quick else VM):
                if daemon.has_get or not workload.get:
                    for figure in measure(PLACE, daemon, workload, chance):
                        print(MARK + json.dumps(asdict(figure)), flush=True)
            daemon.stop()
            print(f"round {turn + 1} of {rounds}: {name}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), quick="quick" in sys.argv))
