# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Measurements on this machine: each daemon serves one end of a SOCK_SEQPACKET pair.

All daemons run at the same time, in one mount namespace.  Each workload visits them in turn,
in reverse order every other round, so that what disturbs the machine disturbs all of them.

They share one CPU with the benchmark that plays the host.  Waking a process on another CPU
takes an inter-processor interrupt, which costs several times what either daemon does for a
request and is charged to the side that wakes.

`benchmarks.__main__` runs this module under unshare --mount, as root; the figures come out
as JSON on standard output.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict

from benchmarks.measure import (
    AFTER_REQUESTS,
    AT_IDLE,
    WITH_RECORDS,
    Figure,
    Host,
    ask_all,
    idle_figures,
    many_requests,
    measure,
    memory_figures,
    packets,
    wait_childless,
)
from benchmarks.workloads import (
    NATIVE,
    POOL,
    QUICK,
    Workload,
    all_workloads,
    lay_out,
    warm_up,
)
from hv_kvp_daemon.wire.message import MESSAGE_SIZE, Request, encode_register, encode_request
from hv_kvp_daemon.wire.uapi import KVP_OP_REGISTER1

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.join(os.path.dirname(HERE), "src", "hv_kvp_daemon")
PYTHON = "/usr/bin/python3"
C_DAEMON = "/usr/sbin/hv_kvp_daemon"
C_POOLS = "/var/lib/hyperv"  # compiled in
RUN_LOCK = "/run/hv-kvp-daemon/lock"
PLACE = "native"
LAUNCHER = """\
#!{python} -I
import sys
sys.path.insert(0, {lib!r})
from hv_kvp_daemon.service.main import main
raise SystemExit(main())
"""
#: C never syncs, so the daemon that is compared with it does not either.
OPTIONS = {"C": None, "ours": ["--no-sync"], "ours, synced": []}
#: The least that any Python program costs: it says that it has started, then sleeps.
BARE = "import os, time; os.write({fd}, b'x'); time.sleep(999)"
#: What a unit starts.  It runs without -I, and site-packages may have .pth files.  Both
#: count, but an interpreter of the same venv has the latter, too.
INSTALLED = os.path.join(os.path.dirname(sys.executable), "hv_kvp_daemon")
BARES = {"python": [PYTHON, "-I"], "venv's python": [sys.executable]}
START_TRIES = 4
_ANSWER_WITHIN = 120.0


class SocketHost:
    """The driver's end of the pair."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._buffer = bytearray(MESSAGE_SIZE)

    def packet(self, request: Request) -> bytes:
        return encode_request(request)

    def ask(self, packet: bytes) -> int:
        self._socket.send(packet)
        size = self._socket.recv_into(self._buffer)
        if size != MESSAGE_SIZE:
            raise RuntimeError(f"a reply of {size} bytes")
        return int.from_bytes(self._buffer[:4], "little")


class NativeDaemon:
    """A daemon process that has been started; it serves once `register` returns."""

    def __init__(self, name: str, argv: list[str], shim: str, pools: str = "") -> None:
        self.name = name
        self.pools = pools
        self.has_get = name != "C"
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(_ANSWER_WITHIN)
        self._end = ours
        self.host: Host = SocketHost(ours)
        environment = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "LD_PRELOAD": shim,
            "HV_KVP_BENCH_FD": str(theirs.fileno()),
        }
        argv = [word.replace("{fd}", str(theirs.fileno())) for word in argv]
        read, write = os.pipe()

        def about_to_exec() -> None:
            os.write(write, b"%d" % time.monotonic_ns())

        self._errors = tempfile.TemporaryFile("w+b")  # noqa: SIM115 - closed by stop
        self._process = subprocess.Popen(
            argv,
            env=environment,
            pass_fds=[theirs.fileno()],
            preexec_fn=about_to_exec,  # noqa: PLW1509 - there are no threads
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
        )
        self.pid = self._process.pid
        self._started = int(os.read(read, 32))
        for fd in (read, write):
            os.close(fd)
        theirs.close()

    def first_word(self) -> tuple[bytes, float]:
        """Wait for its first message: the bytes, and the milliseconds since its exec."""
        message = self._end.recv(MESSAGE_SIZE)
        if not message:
            self._errors.seek(0)
            said = self._errors.read().decode(errors="replace")
            raise RuntimeError(f"{self.name} ended with {self._process.wait()}: {said}")
        return message, (time.monotonic_ns() - self._started) / 1e6

    def register(self) -> float:
        """Wait for the registration and answer it: the milliseconds since its exec."""
        message, elapsed = self.first_word()
        if message[0] != KVP_OP_REGISTER1:
            raise RuntimeError(f"{self.name} begins with operation {message[0]}")
        self._end.send(encode_register(b"3.1"))
        wait_childless(self.pid)
        return elapsed

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        self._end.close()
        self._errors.close()


class Workshop:
    """A temporary directory with the preloaded shim, a copy of the package, and the pools."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.shim = os.path.join(path, "device.so")
        self.launcher = os.path.join(path, "hv-kvp-daemon")

    def build(self) -> None:
        """Compile the shim, copy and compile the package, and mount private directories."""
        source = os.path.join(HERE, "device.c")
        run("cc", "-O2", "-shared", "-fPIC", "-o", self.shim, source)
        lib = os.path.join(self.path, "lib")
        skip = shutil.ignore_patterns("__pycache__")
        shutil.copytree(SOURCE, os.path.join(lib, "hv_kvp_daemon"), ignore=skip)
        run(PYTHON, "-I", "-m", "compileall", "-q", lib)
        with open(self.launcher, "w", encoding="utf-8") as file:
            file.write(LAUNCHER.format(python=PYTHON, lib=lib))
        os.chmod(self.launcher, 0o755)
        c_pools = os.path.join(self.path, "pools of C")
        os.mkdir(c_pools)
        run("mount", "-t", "tmpfs", "bench", os.path.dirname(C_POOLS))
        os.mkdir(C_POOLS)
        run("mount", "--bind", c_pools, C_POOLS)
        os.makedirs(os.path.dirname(RUN_LOCK), 0o700, exist_ok=True)
        run("mount", "-t", "tmpfs", "bench", os.path.dirname(RUN_LOCK))

    def start(self, name: str) -> NativeDaemon:
        """Start one of OPTIONS or BARES, or the installed command; its pools are empty."""
        options = OPTIONS.get(name, [])
        if name in BARES:
            return NativeDaemon(name, [*BARES[name], "-c", BARE], self.shim)
        pools = C_POOLS if options is None else os.path.join(self.path, f"pools of {name}")
        os.makedirs(pools, exist_ok=True)
        for number in range(5):
            with open(os.path.join(pools, f".kvp_pool_{number}"), "wb"):
                pass
        if options is None:
            return NativeDaemon(name, [C_DAEMON, "-n"], self.shim, pools)
        # A second daemon of ours refuses to start while the first holds this lock, so
        # each is given a file of its own.
        if os.path.exists(RUN_LOCK):
            os.unlink(RUN_LOCK)
        command = INSTALLED if name == "installed by pip" else self.launcher
        argv = [command, "-n", "--transport", "chardev", "--pool-dir", pools, *options]
        return NativeDaemon(name, argv, self.shim, pools)


def run(*argv: str) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run(argv, check=True, env=environment, stdout=subprocess.DEVNULL)


def requests(shop: Workshop, rounds: int, *, quick: bool) -> list[Figure]:
    """CPU and wall time of every workload."""
    chance = random.Random(1)
    found = []
    for turn in range(rounds):
        daemons = []
        try:
            for name in OPTIONS:
                daemons.append(shop.start(name))
                daemons[-1].register()
            for workload in all_workloads(QUICK if quick else NATIVE):
                for daemon in daemons[:: -1 if turn % 2 else 1]:
                    if _can(daemon, workload):
                        found += measure(PLACE, daemon, workload, chance)
        finally:
            for daemon in daemons:
                daemon.stop()
        note(f"round {turn + 1} of {rounds}")
    return found


def _can(daemon: NativeDaemon, workload: Workload) -> bool:
    if daemon.name == "ours, synced":
        return workload.changes and not workload.appends
    return daemon.has_get or not workload.get


def starts(shop: Workshop, rounds: int) -> list[Figure]:
    """Milliseconds from exec to the first message."""
    found = []
    for _ in range(rounds * START_TRIES):
        for name in ("python", "C", "ours"):
            daemon = shop.start(name)
            _, elapsed = daemon.first_word()
            daemon.stop()
            found.append(Figure(PLACE, name, "start", 0, "start", elapsed))
    return found


def memories(shop: Workshop, *, quick: bool) -> list[Figure]:
    """Memory at idle, after requests, with many records; and context switches at idle."""
    # Two interpreters of a kind at all times, since a page that only one process maps
    # counts as private to it.
    bare = [shop.start(name) for name in BARES for _ in range(2)]
    for each in bare:
        each.first_word()
    found = []
    for each in bare[::2]:
        found += memory_figures(PLACE, each.name, each.pid, AT_IDLE)
    installed = shop.start("installed by pip")
    installed.register()
    found += memory_figures(PLACE, installed.name, installed.pid, AT_IDLE)
    installed.stop()
    daemons = [shop.start(name) for name in ("C", "ours")]
    for daemon in daemons:
        daemon.register()
        found += memory_figures(PLACE, daemon.name, daemon.pid, AT_IDLE)
    idle = [(daemon.name, daemon.pid) for daemon in daemons]
    found += idle_figures(PLACE, idle, 3 if quick else 60)
    for daemon in daemons:
        lay_out(os.path.join(daemon.pools, f".kvp_pool_{POOL}"), 50)
        number = 1000 if quick else 10000
        many_requests(daemon.host, number)
        found += memory_figures(PLACE, daemon.name, daemon.pid, AFTER_REQUESTS, number)
        daemon.stop()
    for daemon in (shop.start(name) for name in ("C", "ours")):
        daemon.register()
        lay_out(os.path.join(daemon.pools, f".kvp_pool_{POOL}"), 10000)
        ask_all(daemon.host, packets(daemon.host, warm_up(10000)))
        found += memory_figures(PLACE, daemon.name, daemon.pid, WITH_RECORDS, 10000)
        daemon.stop()
    for each in bare:
        each.stop()
    return found


def note(text: str) -> None:
    print(f"native: {text}", file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    # On a real disk, where /var/lib is.
    with tempfile.TemporaryDirectory(prefix="hv-kvp-bench-", dir="/var/tmp") as path:
        shop = Workshop(path)
        shop.build()
        found = requests(shop, options.rounds, quick=options.quick)
        note("starts")
        found += starts(shop, options.rounds)
        note("memory, and idling")
        found += memories(shop, quick=options.quick)
        run("umount", C_POOLS)
    print(json.dumps([asdict(figure) for figure in found]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
