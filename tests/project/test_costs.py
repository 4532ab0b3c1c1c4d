# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""System calls and written bytes of a request, and the modules of the resident daemon.

A daemon serves a SOCK_SEQPACKET pair in place of the device, and records which C functions
it calls between two polls.  The bounds catch a cost that returns unnoticed; times are
measured by `make bench`.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import statistics
import subprocess
import sys
import termios
from pathlib import Path

import psutil
import pytest

from hv_kvp_daemon.wire.message import MESSAGE_SIZE, Request, encode_register, encode_request
from hv_kvp_daemon.wire.record import RECORD_SIZE, encode
from hv_kvp_daemon.wire.uapi import (
    HV_S_OK,
    KVP_OP_ENUMERATE,
    KVP_OP_GET,
    KVP_OP_SET,
    KVP_POOL_AUTO,
    KVP_POOL_GUEST,
)
from tests.support.process import wait_for
from tests.support.settled import wait_until_settled

SOURCE = Path(__file__).parents[2] / "src"

#: The allowed modules.  Each is written in C, or a thin wrapper of a module in C.
ALLOWED = {
    *(
        "__future__",
        "_bisect",
        "_socket",
        "_struct",
        "binascii",
        "errno",
        "fcntl",
        "mmap",
        "select",
        "struct",
    ),
    "encodings.ascii",  # /proc is read with it
}

#: Packages and modules that only commands and tests need.
NOT_RESIDENT = ("simhost", "cli", "transport.loopback")

#: C functions that are one system call each.
SYSTEM_CALLS = {
    *(
        "read",
        "readinto",
        "readv",
        "pread",
        "preadv",
        "recv",
        "recv_into",
        "recvfrom_into",
        "recvmsg_into",
    ),
    *("write", "writev", "pwrite", "pwritev", "send", "sendto", "sendmsg"),
    *("poll", "open", "close", "stat", "lstat", "fstat", "flock", "fcntl", "ioctl"),
    *("ftruncate", "fsync", "fdatasync", "unlink", "rename", "utime"),
}

DAEMON = """
import sys
import os
bare = set(sys.modules)
sys.path.insert(0, sys.argv[1])
fd = int(sys.argv[2])
from hv_kvp_daemon.service import main as daemon
from hv_kvp_daemon.transport.driver import DEVICE

real_open = os.open
os.open = lambda path, *rest, **more: (
    os.dup(fd) if path == DEVICE else real_open(path, *rest, **more)
)
turns = []

def on_event(frame, event, function):
    if event == "c_call":
        if function.__name__ == "poll":
            turns.append([])
        if turns:
            turns[-1].append(function.__name__)

sys.setprofile(on_event)
# With a lock of its own, beside a daemon of the machine and those of other tests.
where = ["--pool-dir", sys.argv[3], "--run-dir", sys.argv[3] + "/run"]
status = daemon.main(["-n", "--transport", "chardev", "--no-sync", *where])
sys.setprofile(None)
modules = sorted(set(sys.modules) - bare)
import json
print(json.dumps({"status": status, "modules": modules, "turns": turns}))
"""


def unread(end: socket.socket) -> int:
    """Bytes in a socket pair that the other end has not read, with the kernel's overhead."""
    return int.from_bytes(fcntl.ioctl(end, termios.TIOCOUTQ, bytes(4)), sys.byteorder)


class Served:
    """A daemon that records its calls: ``ask`` it, then ``end`` it to get them."""

    def __init__(self, pools: Path) -> None:
        self._end, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._end.settimeout(60)
        # -S: a site-packages with .pth files imports on its own account.
        argv = [sys.executable, "-S", "-c", DAEMON, SOURCE, theirs.fileno(), pools]
        self._process = subprocess.Popen(
            [str(word) for word in argv],
            pass_fds=[theirs.fileno()],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        theirs.close()
        assert self._end.recv(MESSAGE_SIZE) == encode_register()
        self._end.send(encode_register(b"3.1"))
        # The driver has no second message before the first is read, so the daemon reads one
        # message for each wake-up.
        wait_for("the version to be read", lambda: not unread(self._end))
        self._seen = psutil.Process(self._process.pid)
        self.ask(Request(KVP_OP_ENUMERATE, KVP_POOL_AUTO, index=9))

    def ask(self, request: Request) -> None:
        self._end.send(encode_request(request))
        assert int.from_bytes(self._end.recv(MESSAGE_SIZE)[:4], "little") == HV_S_OK

    def rest(self) -> None:
        """Wait for its next poll: a reply can be read before its write has returned."""
        wait_for("rest", lambda: self._seen.status() == psutil.STATUS_SLEEPING)

    def written(self) -> int:
        """The number of bytes that it has written so far, by any system call."""
        self.rest()
        text = Path(f"/proc/{self._process.pid}/io").read_text(encoding="ascii")
        return int(dict(line.split(": ") for line in text.splitlines())["wchar"])

    def end(self) -> tuple[set[str], list[list[str]]]:
        """Return the modules beyond a bare interpreter's, and the C functions of each turn."""
        # A signal before its next poll would make the end part of the last turn.
        self.rest()
        self._process.terminate()
        out, errors = self._process.communicate()
        self._end.close()
        record = json.loads(out)
        assert record["status"] == 0, errors
        return set(record["modules"]), record["turns"]


def served(tmp_path: Path, records: int = 50) -> Served:
    pool = tmp_path / f".kvp_pool_{KVP_POOL_GUEST}"
    pool.write_bytes(b"".join(encode(b"key %d" % n, b"value") for n in range(records)))
    # A file that has just been written may change again within one tick of its times.
    os.utime(pool, (0, 0))
    daemon = Served(tmp_path)
    wait_until_settled(str(pool))
    return daemon


def system_calls(turns: list[list[str]], reply: str = "write") -> list[int]:
    """The number of system calls of each turn that ended with a reply."""
    called = [[name for name in turn if name in SYSTEM_CALLS] for turn in turns]
    return [len(names) for names in called if names and names[-1] == reply]


def test_the_serving_daemon_has_imported_nothing_else(tmp_path: Path) -> None:
    daemon = served(tmp_path)
    daemon.ask(Request(KVP_OP_ENUMERATE, KVP_POOL_AUTO, index=2))
    daemon.ask(Request(KVP_OP_ENUMERATE, KVP_POOL_GUEST, index=2))
    daemon.ask(Request(KVP_OP_SET, KVP_POOL_GUEST, b"key", b"value"))
    modules, _ = daemon.end()
    ours = {name for name in modules if name.startswith("hv_kvp_daemon")}
    assert modules - ours <= ALLOWED
    below = {name.removeprefix("hv_kvp_daemon.") for name in ours}
    assert not {name for name in below if name.startswith(NOT_RESIDENT)}


@pytest.mark.parametrize(
    ("request_", "bound"),
    [
        # poll, read, write.
        (Request(KVP_OP_ENUMERATE, KVP_POOL_AUTO, index=5), 3),
        # Also a read of the record and a stat of the file, but no locks.
        (Request(KVP_OP_ENUMERATE, KVP_POOL_GUEST, index=5), 5),
        (Request(KVP_OP_GET, KVP_POOL_GUEST, b"key 5"), 5),
    ],
    ids=["auto key", "one record", "one key"],
)
def test_a_read_makes_no_more_system_calls_than_it_must(
    tmp_path: Path, request_: Request, bound: int
) -> None:
    daemon = served(tmp_path)
    for _ in range(9):
        daemon.ask(request_)
    _, turns = daemon.end()
    # The first of these requests opens the file.
    assert statistics.median(system_calls(turns)) == bound, turns


@pytest.mark.parametrize("records", [50, 2000])
def test_a_modify_writes_no_more_than_some_records(tmp_path: Path, records: int) -> None:
    daemon = served(tmp_path, records)
    daemon.ask(Request(KVP_OP_SET, KVP_POOL_GUEST, b"key 7", b"first"))
    before = daemon.written()
    daemon.ask(Request(KVP_OP_SET, KVP_POOL_GUEST, b"key 40", b"second"))
    written = daemon.written() - before
    daemon.end()
    # The reply and the value; the value twice, with headers, if the journal has it first.
    assert MESSAGE_SIZE < written <= MESSAGE_SIZE + 3 * RECORD_SIZE


def test_a_look_up_makes_the_same_system_calls_whatever_the_number_of_records(
    tmp_path: Path,
) -> None:
    requests = [
        *(Request(KVP_OP_GET, KVP_POOL_GUEST, b"key %d" % n) for n in (3, 30, 45)),
        *(Request(KVP_OP_SET, KVP_POOL_GUEST, b"key %d" % n, b"modified") for n in (4, 40, 44)),
        *(Request(KVP_OP_SET, KVP_POOL_GUEST, b"new %d" % n, b"value") for n in range(8)),
        *(Request(KVP_OP_GET, KVP_POOL_GUEST, b"new %d" % n) for n in range(3)),
    ]
    counts = []
    for records in (50, 2002):
        (tmp_path / str(records)).mkdir()
        daemon = served(tmp_path / str(records), records)
        # The first search builds the index, the first change makes the journal.
        for _ in range(3):
            daemon.ask(Request(KVP_OP_SET, KVP_POOL_GUEST, b"key 7", b"value"))
        for request in requests:
            daemon.ask(request)
        _, turns = daemon.end()
        counts.append(system_calls(turns)[-len(requests) :])
    assert counts[0] == counts[1]
