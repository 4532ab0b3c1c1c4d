# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Helpers of scenarios inside the VM: daemons, driver, pool files, kernel log.

They run as root with the guest's own Python, 3.11 or 3.13, and its standard library only.
Each wait has a deadline, after which it raises ``AssertionError`` with the awaited
condition; none is a bare sleep.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable
from typing import ClassVar, TypeVar, final

from tests.driver.deadline import Deadline

T = TypeVar("T")

DEVICE = "/dev/vmbus/hv_kvp"
CONTROL = "/dev/hvlab-control"
POOL_DIR = "/var/opt/hyperv"  # the pools of this project's daemon
C_POOL_DIR = "/var/lib/hyperv"  # the pools of the C daemon; compiled in
KEY_BYTES, VALUE_BYTES = 512, 2048
COMM = "hv_kvp_daemon"  # both daemons' name in /proc/PID/comm

_OUTPUT_DIR = "/tmp/hvlab"
# An emulator on a busy machine stalls; `lab/vm` turns off the watchdogs that have an option.
_STALL = re.compile(r"MP-BIOS bug|hrtimer: interrupt took|clocksource")
_FAULT = re.compile(
    r"BUG:|kernel BUG at|\bOops\b|WARNING: |general protection|Call Trace|refcount_t|"
    r"unable to handle|blocked for more than|detected buffer overflow|Kernel panic",
    re.IGNORECASE,
)


def wait_for(what: str, condition: Callable[[], T], seconds: float = 10.0) -> T:
    """Return the condition's first true value; fail after ``seconds`` (see `deadline`).

    It is looked at once more after the last second, in which the whole VM may have stood still.
    """
    deadline = Deadline(seconds)
    while True:
        is_last = deadline.passed()
        value = condition()
        if value:
            return value
        assert not is_last, f"not in time: {what} {deadline}"
        time.sleep(0.02)


class Process:
    """A program under test: its output goes to files, and its end has a deadline.

    The runner kills a process that a check has started and not stopped; one that ``setup``
    has started runs until the end of the scenario.
    """

    alive: ClassVar[list[Process]] = []
    _count = 0

    def __init__(self, argv: Iterable[str], env: dict[str, str] | None = None) -> None:
        self.argv = list(argv)
        Process._count += 1
        os.makedirs(_OUTPUT_DIR, exist_ok=True)
        name = f"{Process._count}-{os.path.basename(self.argv[0])}"
        self._output = os.path.join(_OUTPUT_DIR, name)
        with open(self._output + ".out", "wb") as out, open(self._output + ".err", "wb") as err:
            self._popen = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={**os.environ, **(env or {})},
            )
        self.pid = self._popen.pid
        Process.alive.append(self)

    @property
    def stdout(self) -> str:
        return read_text(self._output + ".out")

    @property
    def stderr(self) -> str:
        return read_text(self._output + ".err")

    @property
    def status(self) -> int | None:
        """Exit status; minus the signal's number after a signal; None while it runs."""
        return self._popen.poll()

    def must_run(self) -> None:
        """Fail if it has ended: for ``Host(watch=daemon.must_run)``."""
        assert self.status is None, f"{self} ended"

    def send(self, number: int) -> None:
        self._popen.send_signal(number)

    def freeze(self) -> None:
        """Send SIGSTOP and wait until it is stopped; before that it would serve a request."""
        self.send(signal.SIGSTOP)
        wait_for("the stop", self._is_stopped)

    def stop(self, number: int = signal.SIGTERM, seconds: float = 10.0) -> int:
        """End it with a signal and return its status; fail if it stays."""
        self.send(number)
        return self.wait(seconds)

    def wait(self, seconds: float = 10.0) -> int:
        """Wait for its own end and return its status; fail if it stays."""
        deadline = Deadline(seconds)
        while (status := self._popen.poll()) is None:
            left = deadline.left()
            assert left > 0, f"{self} did not end in time {deadline}"
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(left)
        if self in Process.alive:
            Process.alive.remove(self)
        return status

    def _is_stopped(self) -> bool:
        return read_text(f"/proc/{self.pid}/stat").rpartition(")")[2].split()[0] == "T"

    def __repr__(self) -> str:
        return f"<{' '.join(self.argv)} pid {self.pid} status {self.status}>"


def daemon(*options: str, env: dict[str, str] | None = None) -> Process:
    """Start this project's daemon in the foreground."""
    return Process(["hv-kvp-daemon", *options], env)


def registered(*options: str) -> Process:
    """Start it on the pools in POOL_DIR; wait until it is registered or has failed.

    A host cannot observe that: the driver answers a negotiation for a netlink daemon that
    has ended, and fails the requests after it, since there is no listener.
    """
    started = daemon("-n", "--pool-dir", POOL_DIR, *options)
    wait_for("registration", lambda: "driver version 3.1" in started.stderr or started.status)
    return started


def c_daemon(*options: str) -> Process:
    """Start Debian's C daemon in the foreground; it serves the character device only."""
    return Process(["/usr/sbin/hv_kvp_daemon", "-n", *options])


def pids(comm: str = COMM) -> set[int]:
    """Find all processes with a name, not only our children."""
    found = set()
    for entry in os.listdir("/proc"):
        if entry.isdigit() and read_text(f"/proc/{entry}/comm").rstrip("\n") == comm:
            found.add(int(entry))
    return found


def usage(pid: int) -> tuple[int, int]:
    """The number of a process's descriptors, and its resident memory in KiB."""
    status = read_text(f"/proc/{pid}/status")
    return len(os.listdir(f"/proc/{pid}/fd")), int(status.partition("VmRSS:")[2].split()[0])


def open_files(pid: int) -> list[str]:
    """What the descriptors of a process refer to, sorted."""
    directory = f"/proc/{pid}/fd"
    found = []
    for fd in os.listdir(directory):
        # It may be closed between listdir and readlink.
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(f"{directory}/{fd}"))
    return sorted(found)


@final
class Syslog:
    """Collects the messages to /dev/log where systemd does not; a context manager.

    ``lines`` returns all messages so far, as ``<PRIORITY>date name[pid]: text``.
    """

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self._socket.bind("/dev/log")

    def lines(self) -> list[str]:
        while select.select([self._socket], [], [], 0)[0]:
            self._lines.append(
                self._socket.recv(65536).rstrip(b"\0\n").decode(errors="replace")
            )
        return self._lines

    def __enter__(self) -> Syslog:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        os.unlink("/dev/log")


def pool(number: int) -> str:
    """The path of a pool of this project's daemon."""
    return os.path.join(POOL_DIR, f".kvp_pool_{number}")


def contents() -> list[bytes]:
    """The contents of all five pool files."""
    found = []
    for number in range(5):
        with open(pool(number), "rb") as file:
            found.append(file.read())
    return found


def records(path: str) -> list[tuple[str, str]]:
    """Read a pool file as other programs do: records of 2560 bytes, text up to a NUL."""
    with open(path, "rb") as file:
        raw = file.read()
    size = KEY_BYTES + VALUE_BYTES
    assert len(raw) % size == 0, f"{path}: {len(raw)} bytes are no multiple of {size}"
    return [
        (_text(raw[at : at + KEY_BYTES]), _text(raw[at + KEY_BYTES : at + size]))
        for at in range(0, len(raw), size)
    ]


def run(*argv: str) -> str:
    """Run a command, which must exit with 0, and return its standard output."""
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(argv)}: {done.stdout}{done.stderr}"
    return done.stdout


# The driver.


def load_driver(slow_ms: int = 0) -> None:
    """Load the driver, for scenarios with ``APPEND = "hvlab.manual"``.

    ``slow_ms`` extends the time in which the driver can be reached but is not ready, as
    preemption of the virtual CPU does.
    """
    run("modprobe", "hvlab", f"slow_ms={slow_ms}")


def unload_driver() -> None:
    """Unload the driver; raises AssertionError while its device is open."""
    run("rmmod", "hvlab")


def driver_state() -> str:
    """One of bound, unbinding, unbound, suspended."""
    return read_text(CONTROL).rstrip("\n")


def control(word: str) -> None:
    """Let the lab unbind, bind, suspend or resume the driver; raises OSError on failure.

    unbind returns at once; the driver then waits until its device is closed.
    """
    fd = os.open(CONTROL, os.O_WRONLY)
    try:
        os.write(fd, word.encode())
    finally:
        os.close(fd)


def unbind(seconds: float = 10.0) -> None:
    """Unbind the driver and wait until it is gone."""
    control("unbind")
    wait_for("driver unbound", lambda: driver_state() == "unbound", seconds)


def kernel_log() -> str:
    """The kernel's own log messages, without those that programs wrote to /dev/kmsg."""
    return subprocess.run(["dmesg", "-k"], check=True, capture_output=True, text=True).stdout


def kernel_faults() -> list[str]:
    """The lines of the kernel log that report a fault of the kernel itself."""
    return [
        line
        for line in kernel_log().splitlines()
        if _FAULT.search(line) and not _STALL.search(line)
    ]


def read_text(path: str) -> str:
    """The text of a file; empty if the file or its process is gone."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("utf-8", "replace")
