# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The unit with its sandbox, the udev rule and tmpfiles.d under a booted systemd.

The first checks need a driver that is not loaded yet; the last ones examine the journal.
"""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from typing import Any, final

from tests.driver import guest
from tests.driver.deadline import slowness
from tests.driver.guest import wait_for
from tests.driver.lab.hvhost import AUTO, EXTERNAL, GUEST, S_CONT, S_OK, Host

APPEND = "hvlab.systemd hvlab.manual"
SECONDS = 480
CHECK_SECONDS = 90

SOURCES = "/payload/systemd"
INTRUDER = "/payload/tests/driver/intruder.py"
UNIT = "hv-kvp.service"
# All that the service is called by; the first is the unit, the others are its aliases.
NAMES = (UNIT, "hv_kvp_daemon.service", "hypervkvpd.service")
ALIASES = "/usr/local/lib/systemd/system"
INSTALLED = {
    UNIT: f"/etc/systemd/system/{UNIT}",
    "multi-user.target.d/hv-kvp.conf": "/etc/systemd/system/multi-user.target.d/hv-kvp.conf",
    "90-hv-kvp-daemon.rules": "/etc/udev/rules.d/90-hv-kvp-daemon.rules",
    "hv-kvp-daemon.tmpfiles.conf": "/etc/tmpfiles.d/hv-kvp-daemon.conf",
}
DROP_IN = f"/etc/systemd/system/{UNIT}.d/drop-in.conf"
LINK = guest.C_POOL_DIR  # /var/lib/hyperv, which tmpfiles.d links
POOLS = [f".kvp_pool_{number}" for number in range(5)]
FQDN = "kvp-guest.example.com"
CAP_NET_ADMIN = 1 << 12
# Traces of a forbidden operation in the journal: messages of the kernel, systemd and Python.
BLOCKED = re.compile(
    r"type=1326|SECCOMP auid|SIGSYS|avc:|denied|not permitted|Read-only file system|Traceback|"
    r"Failed at step|Failed to set up|ordering cycle|Unknown (key|section)|timed out"
)
# systemd before it starts any unit, on a slow machine.
SLOW = "Failed to configure loopback network device, ignoring: Connection timed out"
LOGGED = "code=0x7ffc0000"  # SECCOMP_RET_LOG


def setup() -> None:
    """Install the files as a distribution's package does; nothing starts yet."""
    for name in ("hv-kvp-daemon", "hv_kvp_daemon"):
        os.symlink(f"/payload/bin/{name}", f"/usr/bin/{name}")
    for name, path in INSTALLED.items():
        os.makedirs(os.path.dirname(path), exist_ok=True)
        shutil.copy(os.path.join(SOURCES, name), path)
    os.makedirs(ALIASES)
    for name in NAMES[1:]:
        os.symlink(INSTALLED[UNIT], f"{ALIASES}/{name}")
    systemctl("daemon-reload")
    systemctl("enable", UNIT)
    run("udevadm", "control", "--reload")
    run("systemd-tmpfiles", "--create")


def run(*argv: str) -> str:
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    if done.returncode:
        log = subprocess.run(
            ["journalctl", "--no-pager", "--lines=30"],
            check=False,
            capture_output=True,
            text=True,
        )
        raise AssertionError(f"{' '.join(argv)}: {done.stdout}{done.stderr}\n{log.stdout}")
    return done.stdout


def systemctl(*words: str) -> str:
    return run("systemctl", *words)


def show(name: str, unit: str = UNIT) -> str:
    return systemctl("show", unit, "--property", name, "--value").rstrip("\n")


def main_pid(unit: str = UNIT) -> int:
    return int(show("MainPID", unit))


def active() -> bool:
    return show("ActiveState") == "active"


def fresh(drop_in: str = "") -> None:
    """Restart the unit, with or without a drop-in, and wait for its registration."""
    if not os.path.exists("/dev/hvlab"):
        guest.load_driver()
    if drop_in or os.path.exists(DROP_IN):
        if drop_in:
            write(DROP_IN, drop_in)
        else:
            os.unlink(DROP_IN)
        systemctl("daemon-reload")
    systemctl("restart", UNIT)
    registered()


def registered() -> None:
    wait_for("registration", lambda: "driver version 3.1" in show("StatusText"))


def assert_served() -> None:
    with Host(timeout=10) as host:
        assert host.negotiate() == S_OK
        assert host.set(EXTERNAL, "key", "välue") == S_OK
        assert host.enumerate(EXTERNAL, 0) == (S_OK, "key", "välue")
        assert host.delete(EXTERNAL, "key") == S_OK
        assert host.enumerate(EXTERNAL, 0)[0] == S_CONT
        assert host.enumerate(AUTO, 1)[2] == "3.1"


def journal(*matches: str) -> list[dict[str, Any]]:
    """The messages in the journal, with all that programs and kernel have sent by now."""
    run("journalctl", "--sync")
    text = run("journalctl", "--output=json", "--no-pager", *matches)
    return [json.loads(line) for line in text.splitlines()]


def violations() -> list[str]:
    """All messages since the boot that are traces of a forbidden operation."""
    texts = [str(entry["MESSAGE"]) for entry in journal()]
    assert any("serves /var/opt" in text for text in texts)
    return [text for text in texts if BLOCKED.search(text) and text != SLOW]


def own_lines() -> list[tuple[int, str]]:
    """(priority, text) of each message of the daemon itself."""
    entries = journal("--unit", UNIT, "SYSLOG_IDENTIFIER=hv_kvp_daemon")
    return [(int(entry["PRIORITY"]), entry["MESSAGE"]) for entry in entries]


def seccomp_hits() -> int:
    return sum("type=1326" in str(entry["MESSAGE"]) for entry in journal("_TRANSPORT=kernel"))


def fqdn(host: Host) -> str:
    return host.enumerate(AUTO, 0)[2]


def knows_its_name(host: Host) -> bool:
    return fqdn(host) == FQDN


def capabilities(pid: int) -> int:
    """The bounding set, to which the effective one is equal."""
    status = read(f"/proc/{pid}/status")
    bounding, effective = (
        int(re.findall(rf"^{name}:\t(\w+)$", status, re.MULTILINE)[0], 16)
        for name in ("CapBnd", "CapEff")
    )
    assert bounding == effective
    return bounding


def read(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


def write(path: str, text: str) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


@final
class NameServer:
    """A DNS server on the loopback: every name has one address.  Used with ``with``."""

    def __init__(self, address: str, domain: str) -> None:
        self._address = socket.inet_aton(address)
        self._before = read("/etc/resolv.conf")
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 53))
        write("/etc/resolv.conf", f"nameserver 127.0.0.1\nsearch {domain}\n")

    def __enter__(self) -> None:
        threading.Thread(target=self._serve, daemon=True).start()

    def __exit__(self, *_: object) -> None:
        write("/etc/resolv.conf", self._before)
        self._socket.sendto(b"", self._socket.getsockname())

    def _serve(self) -> None:
        with self._socket:
            while True:
                query, client = self._socket.recvfrom(512)
                if not query:
                    return
                # The question ends after the name's empty label, the type and the class;
                # the answer points back to its name.
                question = query[12 : query.index(b"\0", 12) + 5]
                answer = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + self._address
                header = query[:2] + b"\x85\x80\0\1\0\1\0\0\0\0"
                self._socket.sendto(header + question + answer, client)


# Before the driver is loaded.


def check_nothing_starts_and_nothing_fails_without_a_driver() -> None:
    run("udevadm", "trigger")
    run("udevadm", "settle")
    assert show("ActiveState") == "inactive"
    assert guest.pids() == set()
    assert systemctl("is-enabled", UNIT) == "static\n"
    assert UNIT not in systemctl("list-units", "--failed")


def check_tmpfiles_makes_the_directory_and_its_other_name() -> None:
    status = os.stat(guest.POOL_DIR)
    assert (status.st_mode & 0o777, status.st_uid) == (0o755, 0)
    assert os.readlink(LINK) == os.path.relpath(guest.POOL_DIR, os.path.dirname(LINK))


def check_a_late_driver_starts_it_by_way_of_udev() -> None:
    guest.load_driver()
    wait_for("a start by udev", active)
    registered()
    assert show("StatusText").startswith("serving over netlink; driver version 3.1;")
    assert systemctl("is-active", "hv_kvp_daemon.service") == "active\n"
    assert run("pgrep", "hypervkvpd|hv_kvp_daemon").split() == [str(main_pid())]
    assert read(f"/proc/{main_pid()}/comm") == "hv_kvp_daemon\n"
    assert_served()


# The sandbox.


def check_the_sandbox_is_that_of_the_unit() -> None:
    fresh()
    pid = main_pid()
    assert capabilities(pid) == CAP_NET_ADMIN
    status = read(f"/proc/{pid}/status")
    assert "\nNoNewPrivs:\t1\n" in status
    assert "\nSeccomp:\t2\n" in status
    # Of two mounts on one path the later line is the one that is seen.
    mounts = [line.split() for line in read(f"/proc/{pid}/mountinfo").splitlines()]
    writable = {fields[4]: "rw" in fields[5].split(",") for fields in mounts}
    assert [writable[path] for path in ("/", "/home", "/proc/sys")] == [False] * 3
    assert [writable[path] for path in (guest.POOL_DIR, "/run/hv-kvp-daemon")] == [True] * 2
    assert os.stat("/run/hv-kvp-daemon").st_mode & 0o777 == 0o755


def check_who_takes_it_over_gets_nothing_more_than_it_has() -> None:
    """S1, S3: the sockets of systemd, udev and D-Bus and root's secrets were in reach.

    S6: and so were the terminals of those who work as root.
    """
    for path in ("/etc/ssh/ssh_host_key", "/etc/ssl/private/key", "/etc/gshadow"):
        if not os.path.exists(path):
            write(path, "a secret\n")
    os.makedirs("/run/udev/rules.d", exist_ok=True)
    os.makedirs("/run/systemd/system", exist_ok=True)
    _, terminal = os.openpty()
    assert os.ttyname(terminal) == "/dev/pts/0"
    outcomes = intrude("/usr/bin/python3")
    assert all(outcomes.values()), outcomes
    # The same program finds each way open where there is no sandbox.
    result = "/run/intruder.json"
    run("python3", INTRUDER, result)
    assert not any(json.loads(read(result)).values()), read(result)
    fresh()
    assert_served()


def intrude(python: str) -> dict[str, str]:
    """Run the intruder in the unit's sandbox in place of the daemon."""
    result = "/run/hv-kvp-daemon/intruder.json"
    systemctl("stop", UNIT)
    write(
        DROP_IN,
        "[Service]\nType=oneshot\nRestart=no\nExecStart=\n"
        f"ExecStart={python} {INTRUDER} {result}\n",
    )
    systemctl("daemon-reload")
    systemctl("start", UNIT)
    outcomes: dict[str, str] = json.loads(read(result))
    return outcomes


def check_other_devices_are_closed_to_it() -> None:
    fresh()
    procs = f"/sys/fs/cgroup{show('ControlGroup')}/cgroup.procs"
    probe = f"echo $$ >{procs} && true <{guest.DEVICE} && ! true </dev/ttyS0"
    run("sh", "-c", probe)


def check_no_system_call_is_outside_the_filter() -> None:
    # What the filter would refuse is logged instead; and `bind`, to see that it is.
    lines = re.findall(r"^SystemCallFilter=(.+)$", read(INSTALLED[UNIT]), re.MULTILINE)
    assert lines
    refused = [line[1:] if line.startswith("~") else f"~{line}" for line in lines]
    for calls, expected in [*((calls, False) for calls in refused), ("bind", True)]:
        before = seccomp_hits()
        fresh(f"[Service]\nSystemCallFilter=\nSystemCallLog={calls}\n")
        assert_served()
        systemctl("reload", UNIT)
        with Host() as host:
            wait_for("the look-up", functools.partial(knows_its_name, host))
        systemctl("stop", UNIT)
        assert (seccomp_hits() > before) == expected, calls


def check_the_resolver_works_and_a_new_host_name_is_seen() -> None:
    fresh()
    with Host() as host:
        wait_for("the name in /etc/hosts", functools.partial(knows_its_name, host))
        with NameServer("192.0.2.77", "lab.example"):
            socket.sethostname("renamed")
            wait_for("the name in DNS", lambda: fqdn(host) == "renamed.lab.example")
        socket.sethostname("kvp-guest")
        wait_for("the first name again", functools.partial(knows_its_name, host))


def check_the_pool_directory_may_be_a_symbolic_link() -> None:
    fresh()
    systemctl("stop", UNIT)
    shutil.rmtree(guest.POOL_DIR)
    os.unlink(LINK)
    os.mkdir(LINK)
    os.symlink(LINK, guest.POOL_DIR)
    run("systemd-tmpfiles", "--create")
    systemctl("start", UNIT)
    assert_served()
    assert {*POOLS} <= {*os.listdir(LINK)}
    systemctl("stop", UNIT)
    os.unlink(guest.POOL_DIR)
    shutil.rmtree(LINK)
    run("systemd-tmpfiles", "--create")


def check_health_checks_find_it_among_the_processes() -> None:
    """U5."""
    fresh()
    pid = str(main_pid())
    for line in run("ps", "-ef").splitlines():
        if pid in line.split()[1:2]:
            assert "hv_kvp_daemon" in line
    assert pid in run("pgrep", "-f", "hv_kvp_daemon").split()
    assert run("pgrep", "-x", "hv_kvp_daemon").split() == [pid]


def check_a_directory_that_others_made_is_served() -> None:
    """U1: made before tmpfiles ran, it was left alone and looked at by nobody."""
    fresh()
    systemctl("stop", UNIT)
    for both in (False, True):
        shutil.rmtree(guest.POOL_DIR)
        if os.path.islink(LINK):
            os.unlink(LINK)
        else:
            shutil.rmtree(LINK)
        os.mkdir(LINK)
        if both:
            run("systemd-tmpfiles", "--create")
            run("hv-kvp", "set", "theirs", "value", "--pool-dir", LINK)
            run("hv-kvp", "set", "ours", "value", "--pool-dir", guest.POOL_DIR)
        systemctl("start", UNIT)
        registered()
        assert_served()
        place = guest.POOL_DIR if both else LINK
        status = json.loads(run("sh", "-c", "hv-kvp status --json"))
        assert status["pool_dir"] == place
        run("hv-kvp", "set", "from-a-tool", "value")
        assert ("from-a-tool", "value") in guest.records(f"{place}/.kvp_pool_1")
        # 5 and 4: chosen without loss, and with records that the host does not see.
        said = [number for number, text in own_lines() if f"{place} is served" in text]
        assert said[-1:] == [4 if both else 5]
        systemctl("stop", UNIT)
    systemctl("start", UNIT)
    registered()
    findings = json.loads(run("sh", "-c", "hv-kvp doctor --json; true"))
    mends = [each["command"] for each in findings if "records, too" in each["finding"]]
    assert len(mends) == 1, findings
    run("sh", "-c", mends[0])
    assert os.path.realpath(LINK) == guest.POOL_DIR
    with Host() as host:
        keys = {host.enumerate(GUEST, index)[1] for index in range(3)}
    assert keys == {"ours", "theirs", "from-a-tool"}
    shutil.rmtree(f"{LINK}.old")


def check_a_replaced_pool_directory_is_served_again() -> None:
    """U4: in the sandbox, every SET failed with EROFS from then on."""
    for made_again in (True, False):
        fresh()
        pid = main_pid()
        shutil.rmtree(guest.POOL_DIR)
        if made_again:
            os.mkdir(guest.POOL_DIR)
        with Host(timeout=10) as host:
            assert host.negotiate() == S_OK
            assert host.set(EXTERNAL, "key", "value") != S_OK
        wait_for("another process", functools.partial(restarted, pid))
        registered()
        assert_served()
        assert [text for number, text in own_lines() if number == 3][-1].startswith(
            f"pool directory ({guest.POOL_DIR}): it was removed or replaced"
        )


def restarted(pid: int) -> bool:
    return main_pid() not in {0, pid}


# Starting, reloading, stopping.


def check_it_has_started_when_the_pools_are_there() -> None:
    fresh()
    systemctl("stop", UNIT)
    shutil.rmtree(guest.POOL_DIR)
    run("systemd-tmpfiles", "--create")
    write(
        "/etc/systemd/system/cloud-init-local.service",
        f"[Unit]\nDefaultDependencies=no\nWants={UNIT}\nAfter=hv_kvp_daemon.service\n"
        f"[Service]\nType=oneshot\nExecStart=sh -c 'ls -A -l {guest.POOL_DIR} >/run/seen'\n",
    )
    systemctl("daemon-reload")
    systemctl("start", "cloud-init-local.service")
    seen = [line.split() for line in read("/run/seen").splitlines()]
    modes = {fields[-1]: fields[0] for fields in seen}
    assert [modes.get(pool) for pool in POOLS] == ["-rw-r--r--"] * 5, modes


def check_a_reload_reads_the_guest_again() -> None:
    fresh()
    pid = main_pid()
    before = read("/etc/hosts")
    with Host() as host:
        wait_for("the first name", functools.partial(knows_its_name, host))
        write("/etc/hosts", before.replace("example.com", "example.net"))
        systemctl("reload", UNIT)
        wait_for("the new name", lambda: fqdn(host) == "kvp-guest.example.net")
    write("/etc/hosts", before)
    assert active()
    assert main_pid() == pid


def check_five_restarts_in_a_row_are_served() -> None:
    fresh()
    for _ in range(5):
        systemctl("restart", UNIT)
    registered()
    assert_served()


def check_it_stops_within_a_second_and_has_not_failed() -> None:
    fresh()
    seconds = []
    # The quickest of three, as an emulator on a busy machine stalls.
    for _ in range(3):
        start = time.monotonic()
        systemctl("stop", UNIT)
        seconds.append(time.monotonic() - start)
        results = [show(name) for name in ("ActiveState", "Result", "ExecMainStatus")]
        assert results == ["inactive", "success", "0"]
        systemctl("start", UNIT)
    assert min(seconds) < slowness(), seconds


def check_a_killed_daemon_is_started_again_and_serves() -> None:
    fresh()
    first = main_pid()
    os.kill(first, signal.SIGKILL)
    wait_for("another process", lambda: main_pid() not in {0, first})
    registered()
    assert_served()


def check_a_wrong_option_is_not_tried_again() -> None:
    fresh()
    write(DROP_IN, "[Service]\nExecStart=\nExecStart=/usr/bin/hv_kvp_daemon -n --no-such\n")
    systemctl("daemon-reload")
    assert subprocess.run(["systemctl", "restart", UNIT], check=False).returncode
    assert [show(name) for name in ("ActiveState", "ExecMainStatus")] == ["failed", "2"]


# Reloads of the driver, and other daemons.


def check_a_reloaded_driver_is_served_by_the_same_process() -> None:
    fresh()
    pid = main_pid()
    guest.unload_driver()
    wait_for("word of it", lambda: show("StatusText").startswith("waiting for the driver; "))
    guest.load_driver()
    registered()
    assert_served()
    assert main_pid() == pid


def check_the_drop_in_takes_the_char_device() -> None:
    fresh(read(os.path.join(SOURCES, "chardev.conf")))
    pid = main_pid()
    assert show("StatusText").startswith("serving over the char device; driver version 3.1;")
    assert guest.DEVICE in guest.open_files(pid)
    assert capabilities(pid) == 0
    assert_served()
    for at_once in (True, False):
        guest.unbind()
        if not at_once:
            run("udevadm", "settle")
            wait_for("word of it", lambda: show("StatusText").startswith("waiting for /dev"))
        guest.control("bind")
        run("udevadm", "settle")
        registered()
        assert_served()
    assert active()
    assert main_pid() == pid


def check_all_its_names_do_what_the_caller_means() -> None:
    """U6: scripts and kickstarts say hypervkvpd, which was masked."""
    fresh()
    theirs = "/usr/lib/systemd/system/hypervkvpd.service"
    write(theirs, "[Service]\nExecStart=/bin/false\n[Install]\nWantedBy=multi-user.target\n")
    systemctl("daemon-reload")
    for name in NAMES:
        assert systemctl("is-active", name) == "active\n"
        pid = main_pid()
        systemctl("restart", name)
        assert main_pid(name) not in {0, pid}
        systemctl("stop", name)
        assert show("ActiveState") == "inactive"
        systemctl("start", name)
        assert active()
        # A second time as well: what enabling leaves must not keep it from succeeding.
        for _ in range(2):
            systemctl("enable", "--now", name)
        assert systemctl("is-enabled", name).strip() in {"static", "alias"}
    os.unlink(theirs)
    systemctl("daemon-reload")
    registered()
    assert_served()


def check_it_replaces_a_distributions_daemon() -> None:
    """I17: their start includes that of what sysinit.target wants."""
    fresh()
    theirs = "hyperv-daemons.hv-kvp-daemon.service"
    rule = "/etc/udev/rules.d/70-hypervkvp.rules"
    write(
        f"/etc/systemd/system/{theirs}",
        "[Service]\nExecStart=/usr/sbin/hv_kvp_daemon -n\nCapabilityBoundingSet=\n",
    )
    write(rule, f'KERNEL=="vmbus/hv_kvp", TAG+="systemd", ENV{{SYSTEMD_WANTS}}+="{theirs}"\n')
    systemctl("daemon-reload")
    run("udevadm", "control", "--reload")
    systemctl("start", theirs)
    # The start of the one is not ordered after the stop of the other.
    wait_for("our end", lambda: show("ActiveState") == "inactive")
    systemctl("start", UNIT)
    wait_for("their end", lambda: show("ActiveState", theirs) == "inactive")
    systemctl("stop", UNIT)
    guest.unload_driver()
    guest.load_driver()
    wait_for("a start by udev", active)
    registered()
    assert show("ActiveState", theirs) == "inactive"
    os.unlink(rule)
    run("udevadm", "control", "--reload")


def check_the_holder_of_the_device_is_named() -> None:
    fresh()
    systemctl("stop", UNIT)
    # As Debian's unit does; one with more capabilities than ours is hidden by the kernel.
    lean = "--property=CapabilityBoundingSet="
    run("systemd-run", "--unit=holder", lean, "/usr/sbin/hv_kvp_daemon", "-n")
    holder = main_pid("holder")
    wait_for("the holder", lambda: guest.DEVICE in guest.open_files(holder))
    systemctl("start", UNIT)
    name = f"held by hv_kvp_daemon (pid {holder})"
    wait_for("its name in the status", lambda: name in show("StatusText"))
    systemctl("stop", "holder")
    registered()
    assert_served()


# The journal.


def check_messages_have_their_priorities() -> None:
    fresh()
    path = os.path.join(guest.POOL_DIR, POOLS[4])
    os.unlink(path)
    os.mkdir(path)
    systemctl("restart", UNIT)
    registered()
    os.rmdir(path)
    lines = own_lines()
    for priority, part in [(4, path), (5, "registered over"), (6, "serves /var/opt")]:
        assert {number for number, text in lines if part in text} == {priority}, part
    assert not [text for _, text in lines if text.startswith("<")]
    begun = max(index for index, (_, text) in enumerate(lines) if "stopped by" in text)
    assert [text for number, text in lines[begun:] if number <= 4 and path not in text] == []


def check_the_journal_has_no_violation_of_the_sandbox() -> None:
    # What was logged and let through comes from the check of system calls.
    # So does one line of what the check of a replaced directory has provoked.
    expected = re.compile(
        f"{LOGGED}|pool 0 .{guest.POOL_DIR}/.kvp_pool_0.: Read-only file system"
    )
    found = [text for text in violations() if not expected.search(text)]
    assert found == []
