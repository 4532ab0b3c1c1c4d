# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The status page that the daemon maps: its layout, its file, and its needs."""

from __future__ import annotations

import mmap
import os
import signal
import stat
import struct
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from hv_kvp_daemon.service.status import find
from hv_kvp_daemon.service.status_page import SIZE, StatusPage, start_ticks
from hv_kvp_daemon.wire.message import MESSAGE_SIZE, Request, encode_request
from hv_kvp_daemon.wire.uapi import (
    HV_E_FAIL,
    HV_S_CONT,
    HV_S_OK,
    KVP_OP_DELETE,
    KVP_OP_ENUMERATE,
    KVP_OP_GET,
    KVP_OP_SET,
)
from tests.support.emulator import require_own_process_image
from tests.support.namespaces import mount_namespace
from tests.support.process import RunningDaemon, connect, wait_for


def page_at(path: str, pool_dir: str = "/pools") -> StatusPage:
    return StatusPage(path, pool_dir=pool_dir, addresses="rtnetlink", report=pytest.fail)


def published(path: str) -> StatusPage:
    page = page_at(path)
    page.publish()
    return page


def test_the_layout_is_the_one_that_is_documented(tmp_path: Path) -> None:
    page = page_at(f"{tmp_path}/status", "/a/pool directory")
    page.set_driver(serving=True, transport="netlink", version=b"3.1", state="serving it")
    page.requests[KVP_OP_ENUMERATE] += 5
    page.answered[KVP_OP_ENUMERATE] = 12.5
    page.busy[0] = 1.5
    page.count_dropped()
    page.failed(KVP_OP_SET, HV_E_FAIL, 2.5, "disk full")
    page.publish()
    raw = (tmp_path / "status").read_bytes()
    assert len(raw) == SIZE == 16384
    assert raw[:8] == b"HVKVPST\0"
    assert struct.unpack_from("=IIQ", raw, 8) == (1, os.getpid(), start_ticks(os.getpid()))
    assert raw[56:66] == b"rtnetlink\0"
    assert struct.unpack_from("=Qd", raw, 128) == (1, 1.5)
    assert struct.unpack_from("=4Q", raw, 144) == (HV_E_FAIL, 1, 0, 0)
    assert struct.unpack_from("=I16s64s", raw, 260)[1].rstrip(b"\0") == b"netlink"
    assert raw[4096 : 4096 + 18] == b"/a/pool directory\0"
    assert struct.unpack_from("=Q", raw, 8192 + 8 * KVP_OP_ENUMERATE) == (5,)
    assert struct.unpack_from("=d", raw, 10240 + 8 * KVP_OP_ENUMERATE) == (12.5,)
    assert struct.unpack_from("=Q", raw, 12288 + 8 * KVP_OP_SET) == (1,)
    assert struct.unpack_from("=d", raw, 14336 + 8 * KVP_OP_SET) == (2.5,)


def test_everyone_may_read_it_whatever_the_umask(tmp_path: Path) -> None:
    former = os.umask(0o077)
    try:
        published(f"{tmp_path}/status")
    finally:
        os.umask(former)
    assert stat.S_IMODE(os.stat(f"{tmp_path}/status").st_mode) == 0o644
    assert os.listdir(tmp_path) == ["status"]


def test_it_is_removed_whether_it_was_published_or_not(tmp_path: Path) -> None:
    page_at(f"{tmp_path}/status").remove()
    page = published(f"{tmp_path}/status")
    page.remove()
    page.remove()
    assert os.listdir(tmp_path) == []


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"untouched")
    for name in ("status", "status.new"):
        (tmp_path / name).symlink_to("target")
    published(f"{tmp_path}/status")
    assert (tmp_path / "target").read_bytes() == b"untouched"
    assert find(f"{tmp_path}/status") is not None


def test_a_mapping_of_an_older_page_stays_valid(tmp_path: Path) -> None:
    published(f"{tmp_path}/status").requests[KVP_OP_GET] = 7
    with (tmp_path / "status").open("rb") as file:
        older = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    published(f"{tmp_path}/status")
    with older:
        assert struct.unpack_from("=Q", older, 8192) == (7,)
    status = find(f"{tmp_path}/status")
    assert status is not None
    assert status.requests == {}


def test_texts_that_are_too_long_end_visibly(tmp_path: Path) -> None:
    page = published(f"{tmp_path}/status")
    page.set_driver(
        serving=False, transport="t" * 99, version=b"9" * 99, state="\U0001d11e" * 999
    )
    page.failed(KVP_OP_GET, HV_E_FAIL, time.monotonic(), "a\n\x1b" * 999)
    status = find(f"{tmp_path}/status")
    assert status is not None
    assert status.last_failure is not None
    for text, size in (
        (status.transport, 16),
        (status.driver_version, 64),
        (status.state, 512),
        (status.last_failure.text, 1024),
    ):
        assert text.endswith("…")
        assert text.isprintable()
        assert size - 5 <= len(text.encode()) < size


def test_the_longest_path_of_a_pool_directory_fits(tmp_path: Path) -> None:
    longest = "/" + ("d" * 254 + "/") * 16 + "e" * 14
    assert len(longest) == 4095
    page_at(f"{tmp_path}/status", longest).publish()
    status = find(f"{tmp_path}/status")
    assert status is not None
    assert status.pool_dir == longest


def test_a_relative_pool_directory_is_stored_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    page_at(f"{tmp_path}/status", "pools").publish()
    status = find(f"{tmp_path}/status")
    assert status is not None
    assert status.pool_dir == f"{tmp_path}/pools"


def test_without_a_directory_the_counters_are_in_private_memory(tmp_path: Path) -> None:
    problems: list[str] = []
    page = StatusPage(
        f"{tmp_path}/gone/status", pool_dir="/p", addresses="rtnetlink", report=problems.append
    )
    page.requests[KVP_OP_SET] += 1
    page.set_driver(serving=True, transport="netlink", version=b"3.1", state="serving")
    page.failed(KVP_OP_SET, HV_E_FAIL, 1.0, "text")
    page.publish()
    page.remove()
    assert page.requests[KVP_OP_SET] == 1
    assert len(problems) == 1
    assert "No such file or directory" in problems[0]


# -- the daemon's


def test_the_page_is_current_when_the_reply_is_there(tmp_path: Path) -> None:
    require_own_process_image()
    with RunningDaemon(tmp_path) as daemon:
        peer = daemon.connect()
        asked = {KVP_OP_SET: 0, KVP_OP_GET: 0, KVP_OP_DELETE: 0}
        for number in range(30):
            operation = sorted(asked)[number % 3]
            peer.ask(operation, 1, "key", "value")
            asked[operation] += 1
            status = find(f"{daemon.socket_path}.status")
            assert status is not None
            assert status.requests == {op: count for op, count in asked.items() if count}
            assert status.busy_since is None
            assert status.last_request is not None
            assert status.last_request[0] == operation
            assert abs(time.time() - status.last_request[1]) < 10
            assert status.driver_version == "3.1"
        # The end of a list and a missing key are no failures.
        assert peer.ask(KVP_OP_DELETE, 1, "missing").status == HV_S_CONT
        status = find(f"{daemon.socket_path}.status")
        assert status is not None
        assert status.failures == {}


def test_a_failure_is_counted_with_its_reason_until_a_request_succeeds(tmp_path: Path) -> None:
    require_own_process_image()
    with RunningDaemon(tmp_path) as daemon:
        peer = daemon.connect()
        assert peer.ask(KVP_OP_SET, 1, "first", "value").status == HV_S_OK
        daemon.pool(1).unlink()
        daemon.pool(1).mkdir()
        assert peer.ask(KVP_OP_SET, 1, "secret", "secret").status == HV_E_FAIL
        status = find(f"{daemon.socket_path}.status")
        assert status is not None
        assert status.failures == {KVP_OP_SET: 1}
        assert status.failed[KVP_OP_SET] == status.answered[KVP_OP_SET]
        failure = status.last_failure
        assert failure is not None
        assert (failure.operation, failure.status) == (KVP_OP_SET, HV_E_FAIL)
        assert "a directory, not a regular file" in failure.text
        assert abs(time.time() - failure.time) < 10
        assert b"secret" not in Path(f"{daemon.socket_path}.status").read_bytes()
        daemon.pool(1).rmdir()
        assert peer.ask(KVP_OP_SET, 1, "key", "value").status == HV_S_OK
        status = find(f"{daemon.socket_path}.status")
        assert status is not None
        assert status.failures == {KVP_OP_SET: 1}
        assert status.failed[KVP_OP_SET] < status.answered[KVP_OP_SET]
        # No message explains this one: the auto pool cannot be changed.
        assert peer.ask(KVP_OP_SET, 2, "key", "value").status == HV_E_FAIL
        status = find(f"{daemon.socket_path}.status")
        assert status is not None
        assert status.last_failure is not None
        assert status.last_failure.text == ""


def test_a_request_that_is_being_handled_is_seen(tmp_path: Path) -> None:
    require_own_process_image()
    code = (
        "import fcntl, sys; f = open(sys.argv[1], 'rb+'); fcntl.flock(f, fcntl.LOCK_EX);"
        "fcntl.lockf(f, fcntl.LOCK_EX); print('held', flush=True); sys.stdin.read()"
    )

    def busy() -> bool:
        status = find(f"{daemon.socket_path}.status")
        assert status is not None
        return status.busy_since is not None

    with RunningDaemon(tmp_path) as daemon:
        peer = daemon.connect()
        peer.ask(KVP_OP_SET, 1, "key", "value")
        argv = [sys.executable, "-c", code, str(daemon.pool(1))]
        with subprocess.Popen(argv, stdin=-1, stdout=-1, text=True) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            assert not busy()
            peer.socket.send(encode_request(Request(KVP_OP_SET, 1, b"key", b"other")))
            wait_for("the request to be handled", busy)
            holder.communicate("")
        peer.socket.recv(MESSAGE_SIZE)
        assert not busy()


def test_a_page_that_cannot_be_created_does_not_stop_the_daemon(tmp_path: Path) -> None:
    (tmp_path / "host.status.new").mkdir()
    with RunningDaemon(tmp_path) as daemon:
        peer = daemon.connect()
        assert peer.ask(KVP_OP_SET, 1, "key", "value").status == HV_S_OK
        assert daemon.stderr.count("no status page") == 1
        assert daemon.stop() == 0


_CREATES = """
import sys
from hv_kvp_daemon.service.status_page import StatusPage
page = StatusPage(sys.argv[1] + "/status", pool_dir="/p", addresses="x", report=print)
page.publish()
page.requests[3] += 1
print(page.requests[3])
"""

_FILLS = """
try:
    with open(sys.argv[1] + "/fill", "wb", 0) as fill:
        while fill.write(bytes(4096)):
            pass
except OSError as error:
    print(error.strerror)
for number in range(256):
    page.requests[number] += 1
    page.answered[number] = 1.0
    page.failed(number, 1, 1.0, "text")
print("alive")
"""


def on_tmpfs(mount: Path, prepare: str, code: str) -> list[str]:
    """What Python code prints that gets a small file system, prepared by a shell command."""
    script = (
        f'mount -t tmpfs -o size=64k page "$0"; {prepare} 2>/dev/null; exec "$1" -c "$2" "$0"'
    )
    argv = [*mount_namespace(), "sh", "-c", script, str(mount), sys.executable, code]
    return subprocess.run(
        argv, stdout=subprocess.PIPE, text=True, check=True
    ).stdout.splitlines()


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        ('head -c 1M /dev/zero >"$0/fill"', "No space left on device"),
        ('mount -o remount,bind,ro "$0"', "Read-only file system"),
    ],
    ids=["full", "read-only"],
)
def test_a_full_or_read_only_file_system_costs_no_more_than_the_page(
    tmp_path: Path, prepare: str, said: str
) -> None:
    names = "import os; print(sorted(set(os.listdir(sys.argv[1])) - {'fill'}))"
    problem, count, left = on_tmpfs(tmp_path, prepare, _CREATES + names)
    assert problem.startswith("no status page")
    assert said in problem
    assert count == "1"
    assert left == "[]"


def test_a_file_system_that_fills_up_later_does_not_matter(tmp_path: Path) -> None:
    """A store into a page of a file that has no block raises SIGBUS."""
    assert on_tmpfs(tmp_path, "true", _CREATES + _FILLS) == [
        "1",
        "No space left on device",
        "alive",
    ]


def test_messages_that_are_dropped_are_counted(tmp_path: Path) -> None:
    require_own_process_image()
    code = (
        "import sys\n"
        "from hv_kvp_daemon.service import main\n"
        "made = main.TransportSelector\n"
        "def make(transport, report, drop, trace=None):\n"
        "    for port in (1, 2): drop('not sent by the kernel', str(port))\n"
        "    return made(transport, report, drop, trace)\n"
        "main.TransportSelector = make\n"
        "main.main(sys.argv[1:])\n"
    )
    path = f"{tmp_path}/host"
    options = ["-n", f"--transport=loopback:{path}", f"--pool-dir={tmp_path}/pools"]
    with subprocess.Popen([sys.executable, "-c", code, *options]) as process:
        try:
            with closing(connect(path)) as peer:
                peer.ask(KVP_OP_SET, 1, "key", "value")
                status = find(f"{path}.status")
        finally:
            process.kill()
    assert status is not None
    assert status.dropped == 2


def test_no_timer_and_no_alarm_is_used(tmp_path: Path) -> None:
    require_own_process_image()
    code = (
        "import signal, sys\n"
        "from hv_kvp_daemon.service.main import main\n"
        "main(sys.argv[1:])\n"
        "print(signal.getitimer(signal.ITIMER_REAL))\n"
    )
    path = f"{tmp_path}/host"
    options = ["-n", f"--transport=loopback:{path}", f"--pool-dir={tmp_path}/pools"]
    argv = [sys.executable, "-c", code, *options]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            with closing(connect(path)) as peer:
                for _ in range(3):
                    peer.ask(KVP_OP_SET, 1, "key", "value")
            state = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
            caught = int(dict(line.split(":\t") for line in state.splitlines())["SigCgt"], 16)
            process.terminate()
            out, _ = process.communicate()
        finally:
            process.kill()
    assert out == "(0.0, 0.0)\n"
    assert caught & 1 << signal.SIGTERM - 1
    assert not caught & 1 << signal.SIGALRM - 1


def test_to_be_read_does_not_wake_the_daemon(tmp_path: Path) -> None:
    require_own_process_image()

    def switches() -> int:
        state = Path(f"/proc/{daemon.pid}/status").read_text(encoding="ascii")
        fields = dict(line.split(":\t", 1) for line in state.splitlines())
        return int(fields["voluntary_ctxt_switches"])

    def sleeps_on() -> bool:
        before = switches()
        for _ in range(1000):
            assert find(f"{daemon.socket_path}.status") is not None
        return switches() == before

    with RunningDaemon(tmp_path) as daemon:
        peer = daemon.connect()
        peer.ask(KVP_OP_SET, 1, "key", "value")
        # Once is enough: the machine may wake the daemon for other reasons.
        wait_for("a thousand reads without a wake-up", sleeps_on)
