# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Counts the Python functions that the daemon calls for one request: ``--calls``.

The count is a measure of machinery that no clock and no other program disturbs, so it
can be compared from one commit to the next.  It needs no root and takes a few seconds.

A daemon serves a SOCK_SEQPACKET pair in place of the device, with a profile function that
adds one for each function that is entered and each generator that is resumed.  A request's
count is what was added between two rests: the daemon slept before the request was sent, and
sleeps again after its reply has come.  Work that follows the reply therefore counts, and so
does work while a program is waited for.  Calls into Python's own library are shown apart.
C functions, system calls and modules that are imported on first use are not counted.

The table shows the median of nine requests of a kind, since the first ones open the pool and
build its index.  Counts differ a little between versions of Python (3.12 and later enter no
function for a comprehension), so compare within one version.

The guest's network decides how much GET_IP_INFO has to do.  All is therefore measured in
namespaces: one adapter with an IPv4 and an IPv6 address, a default route and one name server,
without the distribution's scripts and without a network manager.
"""

from __future__ import annotations

import json
import mmap
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass

from pyroute2 import IPRoute

from benchmarks.measure import wait_asleep, wait_childless
from benchmarks.targets import CALLS
from hv_kvp_daemon.wire.ipinfo import IpInfo, encode_ip_request
from hv_kvp_daemon.wire.message import MESSAGE_SIZE, Request, encode_register, encode_request
from hv_kvp_daemon.wire.record import encode
from hv_kvp_daemon.wire.uapi import (
    HV_S_OK,
    KVP_OP_DELETE,
    KVP_OP_ENUMERATE,
    KVP_OP_GET,
    KVP_OP_SET,
    KVP_POOL_AUTO,
    KVP_POOL_GUEST,
)
from tests.support.network import IFA_F_NODAD, link

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PACKAGE = os.path.join(ROOT, "src", "hv_kvp_daemon")
MAC = "02:15:5d:00:00:01"
RECORDS, TIMES = 50, 9
_OS_NAME, _IPV4 = 5, 2
#: Where distributions keep scripts that know an adapter's DHCP state and name servers.
_SCRIPTS = "/usr/libexec/hypervkvpd"
_REPLY_WITHIN = 60.0

#: Runs the daemon: sources, the socket, the counter's memory and the pools are arguments.
_DAEMON = """
import json, mmap, os, sys
sys.path.insert(0, sys.argv[1])
driver, memory = int(sys.argv[2]), int(sys.argv[3])
from hv_kvp_daemon.service.main import main

open_file = os.open
def open_device(path, *rest, **options):
    if path == "/dev/vmbus/hv_kvp":
        return os.dup(driver)
    return open_file(path, *rest, **options)
os.open = open_device
total = memoryview(mmap.mmap(memory, 8)).cast("Q")
entered = []

def on_event(frame, event, argument):
    if event == "call" and frame.f_code is not open_device.__code__:
        entered.append(frame.f_code.co_filename)
        total[0] = len(entered)

sys.setprofile(on_event)
status = main(["-n", "--transport", "chardev", "--no-sync", "--pool-dir", sys.argv[4]])
sys.setprofile(None)
print(json.dumps(entered))
raise SystemExit(status)
"""


@dataclass(frozen=True)
class Count:
    """Calls for one kind of request: of the package, in so many modules, and of the library."""

    request: str
    package: int
    library: int
    modules: int


class CountedDaemon:
    """A daemon that serves a pool of 50 records, and the host that asks it."""

    def __init__(self, directory: str) -> None:
        with open(os.path.join(directory, f".kvp_pool_{KVP_POOL_GUEST}"), "wb") as pool:
            pool.writelines(encode(b"key %d" % n, b"a value") for n in range(RECORDS))
        # A file that has just been written may change again within one tick of its times.
        os.utime(pool.name, (0, 0))
        memory = os.memfd_create("calls")
        os.ftruncate(memory, 8)
        self._total = memoryview(mmap.mmap(memory, 8)).cast("Q")
        self._end, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._end.settimeout(_REPLY_WITHIN)
        # -S: a .pth file in site-packages may import modules of its own.
        words = ["-S", "-c", _DAEMON, os.path.dirname(PACKAGE), theirs.fileno(), memory]
        self._process = subprocess.Popen(
            [sys.executable, *map(str, words), directory],
            pass_fds=[theirs.fileno(), memory],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        theirs.close()
        os.close(memory)
        self._end.recv(MESSAGE_SIZE)
        self._end.send(encode_register(b"3.1"))

    def ask(self, message: bytes) -> tuple[int, int]:
        """Send a request: where its calls begin and end among all that were counted.

        :raises RuntimeError: the reply is not HV_S_OK.
        """
        wait_asleep(self._process.pid)
        before = self._total[0]
        self._end.send(message)
        status = int.from_bytes(self._end.recv(MESSAGE_SIZE)[:4], "little")
        if status != HV_S_OK:
            raise RuntimeError(f"status 0x{status:08x}: {message[:40]!r}")
        wait_asleep(self._process.pid)
        return before, self._total[0]

    def wait_for_the_name(self) -> None:
        """Wait until the look-up of the guest's full name has ended."""
        self.ask(_enumerate(KVP_POOL_AUTO, 0))
        wait_childless(self._process.pid)

    def end(self) -> list[str]:
        """Stop the daemon: the file of each function that was entered, in order."""
        wait_asleep(self._process.pid)
        self._process.terminate()
        output, errors = self._process.communicate(timeout=_REPLY_WITHIN)
        self._end.close()
        if self._process.returncode:
            raise RuntimeError(f"the daemon ended with {self._process.returncode}: {errors}")
        entered: list[str] = json.loads(output)
        return entered


def _enumerate(pool: int, index: int) -> bytes:
    return encode_request(Request(KVP_OP_ENUMERATE, pool, index=index))


def _requests() -> dict[str, list[bytes]]:
    def of_keys(operation: int, first: int, name: bytes, value: bytes = b"") -> list[bytes]:
        return [
            encode_request(Request(operation, KVP_POOL_GUEST, name % n, value))
            for n in range(first, first + TIMES)
        ]

    return {
        "ENUMERATE auto, OSName": [_enumerate(KVP_POOL_AUTO, _OS_NAME)] * TIMES,
        "ENUMERATE auto, IPv4": [_enumerate(KVP_POOL_AUTO, _IPV4)] * TIMES,
        "ENUMERATE a record": [_enumerate(KVP_POOL_GUEST, n) for n in range(TIMES)],
        "GET": of_keys(KVP_OP_GET, 0, b"key %d"),
        "SET of a short value": of_keys(KVP_OP_SET, 10, b"key %d", b"another value"),
        "SET of a new key": of_keys(KVP_OP_SET, 0, b"new %d", b"a value"),
        "DELETE": of_keys(KVP_OP_DELETE, 20, b"key %d"),
        "GET_IP_INFO": [encode_ip_request(IpInfo(adapter_id=MAC.encode()))] * TIMES,
    }


def count(directory: str) -> list[Count]:
    """Ask everything of a daemon whose pools are in a directory."""
    daemon = CountedDaemon(directory)
    daemon.wait_for_the_name()
    spans = {
        name: [daemon.ask(message) for message in messages]
        for name, messages in _requests().items()
    }
    entered = daemon.end()
    return [_count(name, [entered[a:b] for a, b in asked]) for name, asked in spans.items()]


def _count(name: str, asked: list[list[str]]) -> Count:
    """The request whose number of calls is the median of all of its kind."""
    median = statistics.median_low(map(len, asked))
    files = next(each for each in reversed(asked) if len(each) == median)
    package = [file for file in files if file.startswith(PACKAGE)]
    return Count(name, len(package), len(files) - len(package), len(set(package)))


def table(counts: list[Count]) -> str:
    """The counts as text, one kind of request a line."""
    rows = [("", "calls", "modules", "of the library", "target")]
    rows += [
        (each.request, str(each.package), str(each.modules), str(each.library), _target(each))
        for each in counts
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip()
        for row in rows
    )


def _target(counted: Count) -> str:
    """The most calls that this kind of request may take, and whether it takes no more."""
    most = CALLS.get(counted.request)
    if most is None:
        return ""
    return f"<= {most} {'met' if counted.package <= most else 'NOT MET'}"


def main() -> int:
    """Count in namespaces of our own, which an ordinary user can make."""
    user = [] if os.geteuid() == 0 else ["--map-root-user"]
    command = ["unshare", *user, "--net", "--mount", sys.executable, "-m", "benchmarks.calls"]
    return subprocess.run(command, check=False, cwd=ROOT).returncode


def _make_the_network() -> None:
    """One adapter, and no program or state of this machine's that would be asked about it."""
    run = ["mount", "-t", "tmpfs", "calls"]
    subprocess.run([*run, "/run"], check=True)
    if os.path.isdir(_SCRIPTS):
        subprocess.run([*run, _SCRIPTS], check=True)
    with IPRoute() as ip:
        ip.link("set", index=socket.if_nametoindex("lo"), state="up")
        index = link(ip, "eth0", "peer0")
        ip.link("set", index=index, address=MAC)
        ip.addr("add", index=index, address="192.0.2.10", prefixlen=24)
        ip.addr("add", index=index, address="2001:db8::10", prefixlen=64, flags=IFA_F_NODAD)
        ip.route("add", dst="0.0.0.0/0", gateway="192.0.2.1")
    # This adapter's own address: the look-up of the guest's name is refused at once.
    with open("/run/resolv.conf", "w", encoding="ascii") as file:
        file.write("nameserver 192.0.2.10\n")
    # It may lead into /run, where nothing is any more.
    target = os.path.realpath("/etc/resolv.conf")
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if not os.path.exists(target):
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
    subprocess.run(["mount", "--bind", file.name, target], check=True)


def _count_here() -> int:
    _make_the_network()
    with tempfile.TemporaryDirectory(prefix="hv-kvp-calls-") as directory:
        counts = count(directory)
    print(f"Python {platform.python_version()}: functions called for one request")
    print(table(counts))
    return 0


if __name__ == "__main__":
    sys.exit(_count_here())
