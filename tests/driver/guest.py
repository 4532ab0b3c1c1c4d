"""What a scenario does inside the VM: daemons, driver, pool files, kernel log.

Runs under the guest's own Python 3.11, standard library only, as root.
Helpers raise ``AssertionError`` when what they wait for does not come, and
say what that was; each wait has a deadline, none is a bare sleep.
"""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable
from typing import ClassVar, TypeVar, final

T = TypeVar("T")

DEVICE = "/dev/vmbus/hv_kvp"
CONTROL = "/dev/hvlab-control"
POOL_DIR = "/var/opt/hyperv"  # where this project's daemon keeps its pools
C_POOL_DIR = "/var/lib/hyperv"  # where the C daemon does; compiled in
KEY_BYTES, VALUE_BYTES = 512, 2048
COMM = "hv_kvp_daemon"  # both daemons' name in /proc/PID/comm

_OUTPUT_DIR = "/tmp/hvlab"
# An emulator on a busy machine stalls, and the watchdogs then complain.
_STALL = re.compile(
    r"MP-BIOS bug|soft lockup|rcu.*(stall|starved)|hrtimer: interrupt took|clocksource"
)
_FAULT = re.compile(
    r"BUG:|kernel BUG at|\bOops\b|WARNING: |general protection|Call Trace|refcount_t|"
    r"unable to handle|blocked for more than|detected buffer overflow|Kernel panic",
    re.IGNORECASE,
)


def wait_for(what: str, condition: Callable[[], T], seconds: float = 10.0) -> T:
    """Return the condition's first true value; fail after ``seconds``."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)


class Process:
    """A program under test: its output in files, its end with a deadline.

    What a check starts and does not stop, the runner stops after the check;
    what ``setup`` starts stays for all checks.
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
        return _read_text(self._output + ".out")

    @property
    def stderr(self) -> str:
        return _read_text(self._output + ".err")

    @property
    def status(self) -> int | None:
        """Exit status, minus the signal's number after a signal, None while it runs."""
        return self._popen.poll()

    def must_run(self) -> None:
        """Fail if it has ended: for ``Host(watch=daemon.must_run)``."""
        assert self.status is None, f"{self} ended"

    def send(self, number: int) -> None:
        self._popen.send_signal(number)

    def freeze(self) -> None:
        """Send SIGSTOP and see it stopped: what is sent before that would be served in time."""
        self.send(signal.SIGSTOP)
        wait_for("the stop", self._is_stopped)

    def stop(self, number: int = signal.SIGTERM, seconds: float = 10.0) -> int:
        """End it with a signal and return its status; fail if it stays."""
        self.send(number)
        return self.wait(seconds)

    def wait(self, seconds: float = 10.0) -> int:
        """Wait for its own end and return its status; fail if it stays."""
        try:
            status = self._popen.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"{self} did not end within {seconds} s") from error
        if self in Process.alive:
            Process.alive.remove(self)
        return status

    def _is_stopped(self) -> bool:
        return _read_text(f"/proc/{self.pid}/stat").rpartition(")")[2].split()[0] == "T"

    def __repr__(self) -> str:
        return f"<{' '.join(self.argv)} pid {self.pid} status {self.status}>"


def daemon(*options: str, env: dict[str, str] | None = None) -> Process:
    """Start this project's daemon, attached."""
    return Process(["hv-kvp-daemon", *options], env)


def registered(*options: str) -> Process:
    """Start it on the pools in POOL_DIR, and wait until the driver knows it or it has failed.

    A host cannot tell: the driver answers a negotiation for a netlink daemon that
    has ended, and then fails requests for want of a listener.
    """
    started = daemon("-n", "--pool-dir", POOL_DIR, *options)
    wait_for("registration", lambda: "driver version 3.1" in started.stderr or started.status)
    return started


def c_daemon(*options: str) -> Process:
    """Start Debian's C daemon, attached; it serves the char device only."""
    return Process(["/usr/sbin/hv_kvp_daemon", "-n", *options])


def pids(comm: str = COMM) -> set[int]:
    """Find the processes of a name, children of ours or not."""
    found = set()
    for entry in os.listdir("/proc"):
        if entry.isdigit() and _read_text(f"/proc/{entry}/comm").rstrip("\n") == comm:
            found.add(int(entry))
    return found


@final
class Syslog:
    """Collects what goes to /dev/log, where no systemd does; used with ``with``.

    ``lines`` gives everything so far, as ``<PRIORITY>date name[pid]: text``.
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
    """The five of them, whole."""
    found = []
    for number in range(5):
        with open(pool(number), "rb") as file:
            found.append(file.read())
    return found


def records(path: str) -> list[tuple[str, str]]:
    """Read a pool file as its other readers do: 2560 bytes a record, text up to a NUL."""
    with open(path, "rb") as file:
        raw = file.read()
    size = KEY_BYTES + VALUE_BYTES
    assert len(raw) % size == 0, f"{path}: {len(raw)} bytes are no multiple of {size}"
    return [
        (_text(raw[at : at + KEY_BYTES]), _text(raw[at + KEY_BYTES : at + size]))
        for at in range(0, len(raw), size)
    ]


def run(*argv: str) -> str:
    """What a command writes to its standard output; it must end with 0."""
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(argv)}: {done.stdout}{done.stderr}"
    return done.stdout


# The driver.


def load_driver(slow_ms: int = 0) -> None:
    """Load the driver, for scenarios with ``APPEND = "hvlab.manual"``.

    ``slow_ms`` stretches the time in which it can be reached and is not ready, as a
    virtual CPU that is preempted does.
    """
    run("modprobe", "hvlab", f"slow_ms={slow_ms}")


def unload_driver() -> None:
    """Unload it; refused with an AssertionError while its device is open."""
    run("rmmod", "hvlab")


def driver_state() -> str:
    """One of bound, unbinding, unbound, suspended."""
    return _read_text(CONTROL).rstrip("\n")


def control(word: str) -> None:
    """Tell the lab: unbind, bind, suspend or resume.  OSError if it cannot.

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
    """What the kernel itself logged; not what programs wrote to /dev/kmsg."""
    return subprocess.run(["dmesg", "-k"], check=True, capture_output=True, text=True).stdout


def kernel_faults() -> list[str]:
    """Lines of the kernel log that say that the kernel itself went wrong."""
    return [
        line
        for line in kernel_log().splitlines()
        if _FAULT.search(line) and not _STALL.search(line)
    ]


def _read_text(path: str) -> str:
    """The file's text; empty when it, or its process, is gone."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("utf-8", "replace")
