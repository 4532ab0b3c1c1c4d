# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""A command that cannot do what it is asked says why, in a sentence of its own.

Not in a traceback, and not in the words of the interpreter.
"""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import tempfile
from binascii import crc32
from typing import TYPE_CHECKING

import pytest

from hv_kvp_daemon import Pool
from hv_kvp_daemon.cli.main import COMMANDS
from hv_kvp_daemon.service import status_page
from hv_kvp_daemon.wire.record import encode
from tests.support.command import COMMAND, Pools, become_nobody, run_installed
from tests.support.emulator import require_memory_limit, require_own_process_image
from tests.support.namespaces import mount_namespace
from tests.support.process import DEADLINE
from tests.support.run_forked import run_forked

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.run_forked import Done

#: What a user must not see: names of Python's types and errors, its punctuation.
OF_PYTHON = re.compile(
    r"Traceback|\bErrno\b|\w+Error\b|NoneType|invalid literal|codec can't|\bobject (is|has)\b"
    r"|<class|sys\.set_int|\bint\(\)|out of range for platform"
)


def assert_is_said(done: Done, status: int, said: str = "") -> None:
    assert not OF_PYTHON.search(done.err), done.err
    assert done.status == status, done
    assert said in done.err


def fill(pools: Pools) -> None:
    for number in (0, 1, 3, 4):
        pools.write(number, encode(b"k", b"v"))


@pytest.fixture
def filled(pools: Pools) -> Pools:
    fill(pools)
    return pools


#: Each command with words that let it do its work; {pools} is the directory, {root} an image.
WORKING = {
    "list": "list --pool-dir {pools}",
    "get": "get k --pool-dir {pools}",
    "set": "set k w --pool-dir {pools}",
    "append": "append k w --pool-dir {pools}",
    "delete": "delete k --pool-dir {pools}",
    "clear": "clear guest --yes --pool-dir {pools}",
    "export": "export --pool-dir {pools}",
    "import": "import {document} --yes --pool-dir {pools}",
    "watch": "watch --until k --pool-dir {pools}",
    "auto": "auto",
    "ip": "ip",
    "check": "check --json --pool-dir {pools}",
    "doctor": "doctor",
    "install-service": "install-service --dry-run --yes --root {root}",
    "uninstall-service": "uninstall-service --yes --root {root}",
    "host": "host get external k --pool-dir {pools}",
    "status": "status",
    "overview": "overview --pool-dir {pools}",
    "help": "help list",
    "clean-image": "clean-image --dry-run --root {root}",
}

#: Those that write nothing to standard output.
QUIET = {"set", "append", "clear", "import", "status", "uninstall-service"}


def working(name: str, pools: Pools) -> list[str]:
    root = f"{pools.path}.root"
    os.makedirs(f"{root}/var/opt/hyperv", exist_ok=True)
    with open(f"{root}/var/opt/hyperv/.kvp_pool_1", "wb"):
        pass
    # The programs that a service of the image is to start.
    folder = os.path.dirname(sys.executable)
    for program in (f"{folder}/python3", f"{folder}/hv_kvp_daemon"):
        os.makedirs(root + os.path.dirname(program), exist_ok=True)
        with open(root + program, "w", encoding="ascii") as file:
            file.write(f"#!{folder}/python3\n")
        os.chmod(root + program, 0o755)
    document = f"{pools.path}.json"
    with open(document, "w", encoding="ascii") as file:
        file.write('{"version": 1, "pools": {"guest": {"records": []}}}')
    return WORKING[name].format(pools=pools.path, root=root, document=document).split()


def test_each_command_is_tried() -> None:
    """A new command has its words in the table."""
    assert set(COMMANDS) == WORKING.keys()


def full(fd: int) -> Callable[[], object]:
    """Have a standard descriptor lead to a full disk."""
    return lambda: os.dup2(os.open("/dev/full", os.O_WRONLY), fd)


@pytest.mark.parametrize("name", WORKING)
def test_closed_and_full_standard_streams(pools: Pools, name: str) -> None:
    """Defect C2: an error if something cannot be written that is the command's result.

    As usual, the installed command runs.
    """

    def run(prepare: Callable[[], object] = lambda: None, closed: tuple[int, ...] = ()) -> Done:
        fill(pools)
        done = run_forked(working(name, pools), prepare, closed=closed)
        assert not OF_PYTHON.search(done.err), done.err
        return done

    fill(pools)
    usual = run_installed(*working(name, pools))
    assert not OF_PYTHON.search(usual.err), usual.err
    assert bool(usual.out) == (name not in QUIET)
    unwritten = 3 if usual.out else usual.status
    assert run(full(1)).status == unwritten
    assert run(closed=(1,)).status == unwritten
    assert run(closed=(0, 1, 2)).status == unwritten
    assert run(full(2)).status == usual.status
    assert run(closed=(2,)).status == usual.status
    assert run(closed=(0,)).status == usual.status


def test_a_message_does_not_go_into_a_pool(filled: Pools) -> None:
    """Defect C2: the descriptor of a closed standard error is not a pool's.

    The message is about that pool, which is open.
    """
    with open(filled.file(1), "ab") as file:
        file.write(b"odd")
    before = filled.data(1)
    assert run_forked(["list", "--pool-dir", filled.path], closed=[0, 1, 2]).status == 3
    assert run_forked(["get", "k", "--pool-dir", filled.path], closed=[2]).out == "v\n"
    assert filled.data(1) == before


@pytest.mark.parametrize("words", ["set k -", "append k -", "import -", "host run -"])
def test_a_closed_standard_input_is_an_error(filled: Pools, words: str) -> None:
    """Defect C2."""
    before = filled.data(1)
    done = run_forked([*words.split(), "--pool-dir", filled.path], closed=[0])
    assert_is_said(done, 3, "hv-kvp: -: Bad file descriptor")
    assert filled.data(1) == before


@pytest.mark.parametrize("words", ["--help", "--version", "list --help", "host set --help"])
def test_help_that_cannot_be_written_is_an_error(words: str) -> None:
    """Defect C2."""
    assert_is_said(run_forked(words.split(), full(1)), 3, "No space left on device")


def test_the_installed_command_with_everything_closed() -> None:
    """Defect C2."""
    script = f'"{COMMAND}" --version <&- 2>&- | grep -q hv-kvp && ! "{COMMAND}" --version >&-'
    done = subprocess.run(
        ["sh", "-c", script], capture_output=True, text=True, check=False, timeout=DEADLINE
    )
    assert (done.returncode, done.stderr) == (0, "hv-kvp: Bad file descriptor\n")


def without(*modules: str) -> Callable[[], None]:
    """Have these modules not installed, and the commands not imported."""

    def prepare() -> None:
        for name in [name for name in sys.modules if name.startswith("hv_kvp_daemon.cli.")]:
            if name.split(".")[2] in {"service", "guest", "pools", "host"}:
                del sys.modules[name]
        for name in modules:
            sys.modules[name] = None  # type: ignore[assignment]  # what import takes for "no"

    return prepare


@pytest.mark.parametrize("name", WORKING)
def test_without_psutil_and_netifaces(filled: Pools, name: str) -> None:
    """Defect C2."""
    usual = run_forked(working(name, filled))
    fill(filled)
    done = run_forked(working(name, filled), without("psutil", "netifaces"))
    said = "this needs psutil, the package psutil (pip)" if name == "status" else ""
    assert_is_said(done, usual.status, said)


def test_help_and_getifaddrs_without_the_modules() -> None:
    """Defect C2."""
    prepare = without("psutil", "netifaces")
    assert run_forked(["--help"], prepare).status == 0
    done = run_forked(["auto", "--addresses", "getifaddrs"], prepare)
    assert_is_said(done, 3, "--addresses getifaddrs needs the Python module netifaces")


def test_without_proc(filled: Pools) -> None:
    """Defect C2: all commands, in one mount namespace without /proc."""
    commands = [" ".join(working(name, filled)) for name in WORKING]
    code = (
        "import sys; from hv_kvp_daemon.cli.main import main\n"
        "for words in sys.argv[1:]: print(words.split()[0], main(words.split()), 'END')"
    )
    script = 'mount -t tmpfs none /proc && exec "$@"'
    done = subprocess.run(
        [*mount_namespace(), "sh", "-c", script, "sh", sys.executable, "-c", code, *commands],
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE,
    )
    # What the daemon logs that `host` starts is its own matter.
    said = [line for line in done.stderr.splitlines() if "hv-kvp: daemon: " not in line]
    assert not OF_PYTHON.search("\n".join(said)), said
    found = dict(line.split()[:2] for line in done.stdout.splitlines() if line.endswith("END"))
    failed = {name for name, status in found.items() if status != "0"}
    assert found.keys() == WORKING.keys()
    assert failed <= {"status", "doctor", "check", "uninstall-service", "overview"}
    assert "without /proc it cannot be seen whether a daemon runs" in done.stderr


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ("host set external k x u32", 2, "x is not an unsigned number of 32 bits"),
        ("host set external k 1_0 u32", 2, "1_0 is not an unsigned number of 32 bits"),
        ("host set external k \u0661 u32", 2, "is not an unsigned number of 32 bits"),
        (f"host set external k {'1' * 5000} u64", 2, "is not an unsigned number of 64 bits"),
        (f"host enumerate external {'1' * 5000}", 2, "is not an index"),
        ("host enumerate external ²", 2, "is not an index"),
        ("host get external k --timeout 1e300", 1, "HV_S_CONT"),
        ("host run /", 3, "hv-kvp: /: Is a directory"),
        ("import /", 3, "hv-kvp: /: Is a directory"),
        ("import --pool-dir {pools} --exact --merge /dev/null", 2, "cannot --merge"),
        ("list --pool-dir=", 2, "a directory has a name"),
        ("status --run-dir=", 2, "a directory has a name"),
        ("clean-image --root=", 2, "a directory has a name"),
        ("install-service --root=", 2, "a directory has a name"),
        ("host get external k --pool-dir=", 2, "a directory has a name"),
        ("list --pool-dir {pools}/.kvp_pool_1", 3, "there is no pool directory"),
        (f"set k v --pool-dir {{pools}}{'/d' * 3000}", 3, "File name too long"),
        ("watch --until x --timeout 1e-300 --pool-dir {pools}", 1, "no key x within 1e-300 s"),
        ("ip " + "i" * 5000, 1, "with a MAC address"),
        ("status --run-dir /proc/self", 3, "is not a status page"),
        ("get k --pool 99999999999999999999999", 2, "no pool"),
    ],
)
def test_odd_arguments(filled: Pools, words: str, status: int, said: str) -> None:
    """Defect C2: the table of what was, or could be, met with a traceback."""
    done = run_forked(words.replace("{pools}", filled.path).split())
    assert_is_said(done, status, said)


def test_a_working_directory_that_is_gone(tmp_path: Path) -> None:
    """Defect C2."""

    def prepare() -> None:
        os.mkdir(tmp_path / "gone")
        os.chdir(tmp_path / "gone")
        os.rmdir(tmp_path / "gone")

    done = run_forked(["list", "--pool-dir", "pools"], prepare)
    assert_is_said(done, 3, "hv-kvp: No such file or directory")


@pytest.mark.parametrize("name", ["list", "export", "check", "import"])
def test_not_enough_memory_is_an_error(filled: Pools, name: str) -> None:
    """Defect C2."""
    require_memory_limit()
    filled.write(1, encode(b"k", b"v" * 2000) * 40_000)

    def prepare() -> None:
        with open("/proc/self/statm", encoding="ascii") as file:
            used = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (32 << 20), -1))

    words = working(name, filled)
    assert_is_said(run_forked(words, prepare), 3, "there is not enough memory")


@pytest.mark.parametrize("name", ["status", "doctor"])
@pytest.mark.parametrize("fill_byte", [b"\0", b"\xff", b"\x7f", b"A"])
def test_odd_numbers_in_a_status_page(tmp_path: Path, name: str, fill_byte: bytes) -> None:
    """Defect C2: a page of this very process with a good checksum, and all else one byte."""
    require_own_process_image()
    page = bytearray(fill_byte * status_page.SIZE)
    pid = os.getpid()
    ticks = status_page.start_ticks(pid)
    status_page.IDENTITY.pack_into(page, 0, status_page.MAGIC, status_page.LAYOUT, pid, ticks)
    checksum = crc32(page[status_page.STATE_BLOCK])
    status_page.CHECKSUM.pack_into(page, status_page.CHECKSUM_OFFSET, checksum)
    (tmp_path / "status").write_bytes(page)
    for words in (
        [name, "--run-dir", str(tmp_path)],
        [name, "--json", "--run-dir", str(tmp_path)],
    ):
        done = run_forked(words)
        assert_is_said(done, 3)
        assert done.out


@pytest.mark.parametrize(
    "name", ["list", "get", "set", "append", "delete", "clear", "export", "import", "check"]
)
@pytest.mark.parametrize("closed", ["pool", "directory"])
def test_what_another_user_may_not_open_is_for_root(name: str, closed: str) -> None:
    """Defect C3: the same advice from each command, about a file and about a directory."""
    if os.geteuid():
        pytest.skip("needs a file that is another user's")

    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        pools = Pools(f"{folder}/pools")
        fill(pools)
        for number in (0, 1, 3, 4):
            os.chmod(pools.file(number), 0o600 if closed == "pool" else 0o644)
        words = working(name, pools)
        os.chmod(pools.path if closed == "pool" else folder, 0o755)
        if closed == "directory":
            os.chmod(pools.path, 0o700)
        done = run_forked(words, become_nobody)
    assert not OF_PYTHON.search(done.err), done.err
    assert "run it as root" in done.out + done.err, done
    assert done.status == (0 if (name, closed) == ("check", "pool") else 3)


def test_the_library_says_what_a_value_has_to_be(filled: Pools) -> None:
    """Defect C2."""
    with Pool("guest", directory=filled.path) as pool:
        with pytest.raises(TypeError, match="keys and values are str, not int: 5"):
            pool["x"] = 5  # type: ignore[assignment]
        with pytest.raises(TypeError, match="keys and values are str, not bytes: b'x'"):
            pool.append(b"x", "v")  # type: ignore[arg-type]
        assert 5 not in pool  # type: ignore[comparison-overlap]
        assert list(pool) == ["k"]
