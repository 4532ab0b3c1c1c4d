# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The daemon as a process: signals, systemd, detaching, stalls, descriptors."""

from __future__ import annotations

import os
import resource
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from hv_kvp_daemon import __version__
from hv_kvp_daemon.wire.message import Request, decode_reply, encode_request
from hv_kvp_daemon.wire.record import encode
from hv_kvp_daemon.wire.uapi import (
    HV_E_FAIL,
    HV_S_OK,
    KVP_OP_DELETE,
    KVP_OP_ENUMERATE,
    KVP_OP_GET,
    KVP_OP_SET,
)
from tests.support.emulator import require_memory_limit, require_own_process_image
from tests.support.process import RunningDaemon, connect, has_ended, wait_for


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[RunningDaemon]:
    with RunningDaemon(tmp_path) as daemon:
        yield daemon


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_status_0_within_a_second(tmp_path: Path, number: int) -> None:
    def took() -> float:
        with RunningDaemon(tmp_path) as daemon:
            daemon.connect().close()
            began = time.monotonic()
            assert daemon.stop(number) == 0
            assert not os.path.exists(daemon.socket_path)
            return time.monotonic() - began

    # Once is enough: a busy machine may delay it.
    wait_for("an end within a second", lambda: took() < 1.0)


def test_it_bears_the_c_daemons_name(daemon: RunningDaemon) -> None:
    daemon.connect()
    assert Path(f"/proc/{daemon.pid}/comm").read_text() == "hv_kvp_daemon\n"


def test_a_request_ends_before_the_signal_counts(daemon: RunningDaemon) -> None:
    peer = daemon.connect()
    peer.ask(KVP_OP_SET, 1, "key", "value")
    assert daemon.stop() == 0
    assert daemon.pool(1).read_bytes()[:5] == b"key\0\0"


def test_a_stopped_daemon_refuses_a_change_and_answers_a_read(
    daemon: RunningDaemon,
) -> None:
    """T11: the host may have given up the request; it has got HV_E_FAIL for it."""
    peer = daemon.connect()
    assert peer.ask(KVP_OP_SET, 1, "key", "before").status == HV_S_OK
    for operation in (KVP_OP_SET, KVP_OP_DELETE):
        _stop(daemon)
        peer.socket.send(encode_request(Request(operation, 1, b"key", b"late")))
        daemon.process.send_signal(signal.SIGCONT)
        assert decode_reply(peer.socket.recv(9000)).status == HV_E_FAIL
    _stop(daemon)
    peer.socket.send(encode_request(Request(KVP_OP_GET, 1, b"key")))
    daemon.process.send_signal(signal.SIGCONT)
    assert decode_reply(peer.socket.recv(9000)).value == b"before"
    assert "refused: it may have waited longer than the 30 s" in daemon.stderr
    assert peer.ask(KVP_OP_SET, 1, "key", "after").status == HV_S_OK


def test_a_stop_without_a_request_costs_the_next_one_nothing(daemon: RunningDaemon) -> None:
    peer = daemon.connect()
    for _ in range(5):
        _stop(daemon)
        daemon.process.send_signal(signal.SIGCONT)
        # A read is answered after the stop has been noticed.
        assert peer.ask(KVP_OP_GET, 2, "OSName").status == HV_S_OK
        assert peer.ask(KVP_OP_SET, 1, "key", "value").status == HV_S_OK


def _stop(daemon: RunningDaemon) -> None:
    daemon.process.send_signal(signal.SIGSTOP)
    wait_for("the stop", lambda: _stopped(daemon))


def _stopped(daemon: RunningDaemon) -> bool:
    return psutil.Process(daemon.pid).status() == "stopped"


def _switches(daemon: RunningDaemon) -> int:
    return psutil.Process(daemon.pid).num_ctx_switches().voluntary


def test_an_idle_daemon_does_not_wake(daemon: RunningDaemon) -> None:
    peer = daemon.connect()
    peer.ask(KVP_OP_ENUMERATE, 2)
    # The look-up of the full name may still wake it once.
    ends = time.monotonic() + 20
    while True:
        before = _switches(daemon)
        assert not select.select([peer.socket], [], [], 1.0)[0]
        if _switches(daemon) == before:
            break
        assert time.monotonic() < ends


def test_two_thousand_requests_keep_the_descriptors(daemon: RunningDaemon) -> None:
    """P1: each request leaked a descriptor."""
    peer = daemon.connect()
    wait_for("no child", lambda: not psutil.Process(daemon.pid).children())
    for key in ("key", "key 1"):  # across the end of a page, which needs a journal
        peer.ask(KVP_OP_SET, 1, key, "value")
    before = psutil.Process(daemon.pid).num_fds()
    for index in range(500):
        peer.ask(KVP_OP_SET, 1, f"key {index % 7}", "value")
        peer.ask(KVP_OP_ENUMERATE, index % 6, index=index % 12)
        peer.ask(KVP_OP_GET, 2, "NetworkAddressIPv4")
        peer.ask(KVP_OP_DELETE, 1, f"key {index % 5}")
    assert psutil.Process(daemon.pid).num_fds() == before


class Manager:
    """The service manager's end of the notification socket."""

    def __init__(self, path: Path) -> None:
        self.address = str(path)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.address)
        self.socket.settimeout(60)

    def next(self, start: str, part: str = "") -> str:
        """Wait for a datagram that starts with one text and contains another."""
        while True:
            heard = self.socket.recv(4096).decode()
            if heard.startswith(start) and part in heard:
                return heard


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(tmp_path / "notify")
    yield manager
    manager.socket.close()


def test_systemd_gets_ready_reloading_status_and_stopping(
    tmp_path: Path, manager: Manager
) -> None:
    with RunningDaemon(tmp_path, env={"NOTIFY_SOCKET": manager.address}) as daemon:
        ready = manager.next("READY=1")
        assert "waiting on" in ready
        assert f"pools in {daemon.pool_dir}" in ready
        assert daemon.pool(4).exists()
        daemon.connect()
        manager.next("STATUS=serving", "driver version 3.1")
        daemon.process.send_signal(signal.SIGHUP)
        assert "MONOTONIC_USEC=" in manager.next("RELOADING=1")
        assert "driver version 3.1" in manager.next("READY=1")
        daemon.process.send_signal(signal.SIGTERM)
        manager.next("STOPPING=1")
        assert daemon.process.wait(60) == 0


def test_ready_does_not_wait_for_a_host(tmp_path: Path, manager: Manager) -> None:
    with RunningDaemon(tmp_path, env={"NOTIFY_SOCKET": manager.address}):
        manager.next("READY=1")


def test_sighup_reads_the_release_files_again(daemon: RunningDaemon) -> None:
    peer = daemon.connect()
    before = peer.ask(KVP_OP_GET, 2, "OSName").value
    for _ in range(3):
        daemon.process.send_signal(signal.SIGHUP)
        assert peer.ask(KVP_OP_GET, 2, "OSName").value == before
    wait_for("the log", lambda: daemon.stderr.count("SIGHUP") >= 1)


def test_detached_it_returns_when_it_serves(tmp_path: Path) -> None:
    """T16: the result of daemon() was ignored."""
    with RunningDaemon(tmp_path, attached="") as parent:
        assert parent.process.wait(60) == 0
        peer = parent.connect()
        (child,) = _daemons_of(tmp_path)
        assert os.getsid(child.pid) == child.pid
        assert child.cwd() == "/"
        assert {os.readlink(f"/proc/{child.pid}/fd/{fd}") for fd in (0, 1, 2)} == {"/dev/null"}
        assert peer.ask(KVP_OP_SET, 1, "key", "value").status == HV_S_OK
        child.terminate()
        # It was adopted by another process, so its end is seen by its absence.
        wait_for("the end", lambda: has_ended(child))


def _daemons_of(directory: Path) -> list[psutil.Process]:
    """The daemons without zombies and children; a look-up has the name for a moment."""
    named = {
        process.pid: process
        for process in psutil.process_iter(["cmdline", "status", "name", "ppid"])
        if f"loopback:{directory}/host" in (process.info["cmdline"] or [])
        and process.info["status"] != "zombie"
        and process.info["name"] == "hv_kvp_daemon"
    }
    return [process for process in named.values() if process.info["ppid"] not in named]


@pytest.mark.parametrize("attached", ["-n", ""])
def test_closed_standard_descriptors_are_not_given_to_a_pool(
    tmp_path: Path, attached: str
) -> None:
    """The pipe of the signals got number 0, and detaching put /dev/null in its place."""
    require_own_process_image()
    command = [
        *(sys.executable, "-m", "hv_kvp_daemon", *([attached] if attached else [])),
        *("--transport", f"loopback:{tmp_path}/host", "--pool-dir", f"{tmp_path}/pools"),
    ]
    with subprocess.Popen(["sh", "-c", 'exec "$@" 0<&- 1>&- 2>&-', "sh", *command]):
        try:
            wait_for("the socket", (tmp_path / "host").exists)
            (served,) = _daemons_of(tmp_path)
            for standard in (0, 1, 2):
                assert os.readlink(f"/proc/{served.pid}/fd/{standard}") == "/dev/null"
            peer = connect(f"{tmp_path}/host")
            assert peer.ask(KVP_OP_SET, 1, "key", "value").status == HV_S_OK
            peer.close()
            before = served.cpu_times()
            assert not select.select([], [], [], 0.3)[0]
            assert served.cpu_times().user - before.user < 0.1
        finally:
            for process in _daemons_of(tmp_path):
                process.terminate()
        wait_for("the end", lambda: not _daemons_of(tmp_path))


def test_detached_it_reports_why_it_cannot_serve(tmp_path: Path) -> None:
    (tmp_path / "pools").write_text("no directory")
    with RunningDaemon(tmp_path, attached="") as parent:
        assert parent.process.wait(60) == 1
        lines = parent.stderr.splitlines()
        assert len(lines) == 1
        assert str(tmp_path / "pools") in lines[0]


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (["--version"], 0, f"hv-kvp-daemon {__version__}"),
        (["-h"], 0, "--transport"),
        (["--help"], 0, "--pool-dir"),
        (["--transport", "carrier-pigeon"], 2, "no transport 'carrier-pigeon'"),
        (["--transport", "loopback:"], 2, "no transport"),
        (["--frobnicate"], 2, "unrecognized"),
        (["-n", "--foreground"], 2, "not allowed with"),
    ],
)
def test_the_command_line(arguments: list[str], status: int, text: str) -> None:
    """T17: -h ended with 1, errors with 255."""
    done = subprocess.run(
        [sys.executable, "-m", "hv_kvp_daemon", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status
    assert text in done.stdout + done.stderr


def test_foreground_writes_a_line_for_each_exchange_and_no_values(tmp_path: Path) -> None:
    with RunningDaemon(tmp_path, attached="--foreground") as daemon:
        peer = daemon.connect()
        peer.ask(KVP_OP_SET, 1, "secret\x1b[2J", "hunter2")
        peer.ask(KVP_OP_GET, 1, "secret\x1b[2J")
        peer.ask(KVP_OP_ENUMERATE, 1, index=7)
        assert "SET guest 'secret\\x1b[2J' = (7 bytes) -> HV_S_OK" in daemon.stderr
        assert "ENUMERATE guest [7] -> HV_S_CONT" in daemon.stderr
        assert "hunter2" not in daemon.stderr


def test_debug_shows_values_of_world_readable_pools_only(tmp_path: Path) -> None:
    with RunningDaemon(tmp_path, "--debug") as daemon:
        peer = daemon.connect()
        daemon.pool(0).chmod(0o600)
        peer.ask(KVP_OP_SET, 0, "key", "of-a-private-pool")
        peer.ask(KVP_OP_SET, 1, "key", "of-a-public-pool")
        assert "of-a-public-pool" in daemon.stderr
        assert "of-a-private-pool" not in daemon.stderr


def test_a_journal_that_hangs_does_not_hang_the_daemon(tmp_path: Path) -> None:
    read, write = os.pipe2(os.O_NONBLOCK)
    try:
        while True:
            os.write(write, bytes(4096))
    except BlockingIOError:
        os.set_blocking(write, True)
    status = os.fstat(write)
    socket_path = tmp_path / "host"
    with subprocess.Popen(
        [
            *(sys.executable, "-m", "hv_kvp_daemon", "-n", "--debug"),
            *("--transport", f"loopback:{socket_path}", "--pool-dir", f"{tmp_path}/pools"),
        ],
        stderr=write,
        env={**os.environ, "JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"},
    ) as process:
        try:
            peer = connect(str(socket_path))
            assert peer.ask(KVP_OP_SET, 1, "key", "value").status == HV_S_OK
            peer.close()
            process.terminate()
            assert process.wait(60) == 0
        finally:
            process.kill()
    os.close(read)
    os.close(write)


def test_a_lock_that_is_held_does_not_delay_the_end(tmp_path: Path) -> None:
    """P15: F_SETLKW waited forever.  Now the wait is one of 5 s, which a signal ends."""
    pool = tmp_path / "pools/.kvp_pool_1"
    pool.parent.mkdir()
    pool.write_bytes(encode(b"key", b"value"))
    code = (
        "import fcntl, sys; f = open(sys.argv[1], 'rb+'); fcntl.flock(f, fcntl.LOCK_EX);"
        "fcntl.lockf(f, fcntl.LOCK_EX); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(pool)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"

        def took() -> float:
            with RunningDaemon(tmp_path) as daemon:
                peer = daemon.connect()
                peer.socket.send(encode_request(Request(KVP_OP_SET, 1, b"key", b"late")))
                began = time.monotonic()
                assert daemon.stop() == 0
                return time.monotonic() - began

        wait_for("an end before that of the wait", lambda: took() < 1.5)
        holder.communicate("")


def test_an_uncaught_error_is_logged_whole_and_ends_with_1(tmp_path: Path) -> None:
    code = (
        "from hv_kvp_daemon.service import log as logs\n"
        "logs.log_uncaught(logs.Log(logs.to_terminal))\n"
        "raise RuntimeError('two\\nlines')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert all(line.startswith("error: ") for line in lines)
    assert "error: RuntimeError: two" in lines


def test_a_request_for_which_there_is_no_memory_fails_and_the_next_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """O31: it ended the daemon, at each request for a large pool."""
    require_memory_limit()
    # The measuring of coverage takes memory at any line.
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
    path = tmp_path / "pools" / ".kvp_pool_1"
    path.parent.mkdir()
    path.write_bytes(b"".join(encode(b"key %d" % number, b"1") for number in range(1000)))
    with RunningDaemon(tmp_path) as daemon:
        peer = daemon.connect()
        assert peer.ask(KVP_OP_ENUMERATE, 1, index=7).status == HV_S_OK
        _, hard = resource.prlimit(daemon.pid, resource.RLIMIT_AS)
        used = psutil.Process(daemon.pid).memory_info().vms
        resource.prlimit(daemon.pid, resource.RLIMIT_AS, (used, hard))
        # Each reads a block of records, which the limit does not allow.
        for operation in (KVP_OP_GET, KVP_OP_SET, KVP_OP_DELETE):
            assert peer.ask(operation, 1, "key 999", "2").status == HV_E_FAIL
        assert peer.ask(KVP_OP_ENUMERATE, 1, index=999).value == b"1"
        assert peer.ask(KVP_OP_SET, 0, "key", "value").status == HV_S_OK
        resource.prlimit(daemon.pid, resource.RLIMIT_AS, (hard, hard))
        assert peer.ask(KVP_OP_GET, 1, "key 999").value == b"1"
        assert "GET for pool 1 failed: out of memory" in daemon.stderr
        assert daemon.stop() == 0
