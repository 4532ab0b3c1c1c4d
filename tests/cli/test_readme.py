# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Every line of README and docs that a person would type works, or is named with the reason.

What docs/operations.md quotes of the commands' output is in test_operations.py.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hv_kvp_daemon.pools.directory import pool_path
from hv_kvp_daemon.simhost.daemon_process import DaemonProcess
from hv_kvp_daemon.simhost.simulated_driver import SimulatedDriver
from hv_kvp_daemon.simhost.simulated_host import SimulatedHost
from hv_kvp_daemon.wire.record import encode
from tests.support.command import COMMAND, call
from tests.support.daemon import RunningDaemon
from tests.support.emulator import require_own_process_image
from tests.support.process import DEADLINE
from tests.support.run_forked import Done

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PAGES = {
    path.name: path.read_text(encoding="utf-8")
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"))
}
PROGRAMS = ("hv-kvp", "hv-kvp-daemon")
BIN = os.path.dirname(COMMAND)

# The pages' placeholders, as a reader fills them in.
FILLED = {"KEY": "answer", "VALUE": "42", "SCRIPT": "script", "PROGRAM": "/bin/echo"}

# What decides about the exit status is the machine here; what is written is looked at.
# install-service refuses an installation in a private home.
OF_THIS_MACHINE = {"doctor": (0, 3), "check": (0, 3), "install-service": (0, 3)}

# Each line that no test runs, and why not.
NOT_RUN = {
    "make demo": "tests/simhost/test_demo.py runs it",
    "/opt/hv-kvp/bin/pip install -U .": "needs an index",
    "make test": "it is what runs this",
    "make bench ARGS='--fleet 100'": "needs root and some minutes",
    "make deb": "needs Debian; tests/packages builds and installs the packages",
    "apt install ./build/deb/*.deb": "as above",
    "make rpm": "needs Debian or an RPM distribution; tests/packages builds and installs them",
    "python3 -m venv /opt/hv-kvp && /opt/hv-kvp/bin/pip install .": "needs root and an index",
    "/opt/hv-kvp/bin/hv-kvp install-service": "needs root and systemd; with --root it is run in"
    " tests/cli/service/test_install.py, whole in tests/driver",
    "hv-kvp install-service": "as above",
    "hv-kvp install-service --transport chardev": "as above",
    "hv-kvp install-service --root DIR": "as above",
    "hv-kvp clean-image --yes": "this machine's pools; tests/cli/service/test_clean.py",
    "hv-kvp ip --forget eth0": "changes this machine; tests/cli/guest/test_host_settings.py",
    "hv-kvp-daemon --foreground --transport loopback:/tmp/host --pool-dir /tmp/pools"
    " --ip-backend auto": "has paths that are not this test's; in others it is run here",
    "hv-kvp host set-ip --transport loopback:/tmp/host --address 192.0.2.5 --subnet"
    " 255.255.255.0 \\": "changes this machine; tests/cli/host/test_simulate.py",
    "hv-kvp-daemon": "detaches and wants the driver; tests/service/test_process.py",
    "hv-kvp-daemon -n": "needs the driver; over loopback it is run here",
    "hv-kvp-daemon --foreground": "needs the driver; over loopback it is run here",
}


def blocks(text: str) -> list[str]:
    """The indented blocks, without their indentation."""
    found = re.findall(r"(?:^    .*\n(?:\n(?=    ))?)+", text, re.MULTILINE)
    return [re.sub(r"^    ", "", block, flags=re.MULTILINE) for block in found]


def typed(text: str) -> list[str]:
    """The lines of blocks that are commands, without what is said about them."""
    lines = [line for block in blocks(text) for line in block.splitlines()]
    return [
        re.split(r"  +", line)[0]
        for line in lines
        if re.match(r"(make|apt|python3|\S*pip|\S*hv-kvp(-daemon)?)( |$)", line)
    ]


def lines() -> list[str]:
    return list(dict.fromkeys(line for text in PAGES.values() for line in typed(text)))


def runs() -> list[str]:
    return [line for line in lines() if line not in NOT_RUN]


def examples_of(page: str) -> list[str]:
    """The lines of a man page's example blocks."""
    text = (ROOT / "docs" / "man" / page).read_text(encoding="utf-8")
    found = re.findall(r"^\.(?:EX|nf)\n(.*?)^\.(?:EE|fi)", text, re.DOTALL | re.MULTILINE)
    return [line for block in found for line in block.splitlines()]


@pytest.fixture(scope="module")
def daemon() -> Iterator[RunningDaemon]:
    with RunningDaemon() as running, running.host() as host:
        assert host.set(0, "answer", "from the host") == 0
        Path(running.directory, "script").write_text(
            "set external k v\nget external k => v\n", encoding="utf-8"
        )
        yield running


def words_of(line: str) -> list[str]:
    """The words that run it here: an optional word is used, a placeholder filled."""
    words = [FILLED.get(word, word) for word in line.replace("[", "").replace("]", "").split()]
    program = os.path.basename(words[0])
    assert program in PROGRAMS
    return [os.path.join(BIN, program), *words[1:]]


def run(words: list[str], daemon: RunningDaemon) -> Done:
    if os.path.basename(words[0]) == "hv-kvp" and words[1] != "watch":
        return call(*words[1:])
    done = subprocess.run(
        words,
        cwd=daemon.directory,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE,
    )
    return Done(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("line", runs())
def test_a_line_of_a_page_works(
    daemon: RunningDaemon, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if line in {"hv-kvp", "hv-kvp status"}:
        require_own_process_image()
    monkeypatch.chdir(daemon.directory)
    words = words_of(line)
    if len(words) == 1:
        words.append("overview")  # what it stands for
    name = words[1]
    if name in {"status", "overview"}:
        words += ["--transport", f"loopback:{daemon.path}"]
    elif name == "doctor" or (
        name not in {"auto", "ip", "host", "install-service"} and not name.startswith("-")
    ):
        words += ["--pool-dir", daemon.pool_dir]
    done = run(words, daemon)
    assert done.status in OF_THIS_MACHINE.get(name, (0,)), done
    assert "Traceback" not in done.err
    # A change is quiet, and so is a check that finds nothing; the others show something.
    if name == "install-service":
        assert bool(done.out) == (done.status == 0), done
    elif name != "check":
        assert bool(done.out) == (name != "set"), done


def test_each_line_of_a_page_is_run_or_named_with_the_reason() -> None:
    assert NOT_RUN.keys() <= {*lines()}
    # What the search would miss: a program's name at the start of any indented line.
    seen = {
        line.split()[0]
        for text in PAGES.values()
        for block in blocks(text)
        for line in block.splitlines()
        if line.strip()
    }
    programs = {word for word in seen if os.path.basename(word).startswith("hv-kvp")}
    found = {line.split()[0] for line in lines()}
    assert programs == {word for word in found if os.path.basename(word).startswith("hv-kvp")}
    assert len(runs()) >= 14


@pytest.mark.parametrize("option", ["-n", "--foreground"])
def test_the_daemon_starts_as_the_page_says(daemon: RunningDaemon, option: str) -> None:
    """Over loopback; it shows an exchange, with its time, in the foreground only."""
    assert f"hv-kvp-daemon {option}" in lines()
    path = f"{daemon.directory}/of-its-own"
    words = (option, "--transport", f"loopback:{path}", "--pool-dir", f"{path}.pools")
    with DaemonProcess(*words) as running:
        with SimulatedHost(SimulatedDriver(path, DEADLINE)) as host:
            assert host.set(0, "shown.key", "v") == 0
        shown = re.search(r"^\d\d:\d\d:\d\d\.\d{3} .*shown\.key", running.stderr, re.MULTILINE)
        assert bool(shown) == ("shown.key" in running.stderr) == (option == "--foreground")


def test_the_other_man_pages_hold_no_example_that_is_not_run() -> None:
    assert examples_of("hv-kvp.1")
    assert examples_of("hv-kvp-daemon.8") == examples_of("kvp-pool.5") == []


def test_the_python_of_the_pages_works(tmp_path: Path) -> None:
    """As written, but for the directory, which only root may make."""
    (snippet,) = {
        block.rstrip()
        for text in PAGES.values()
        for block in blocks(text)
        if "from hv_kvp_daemon import" in block
    }
    place = 'Pool("guest"'
    assert place in snippet
    here = snippet.replace(place, f"{place}, directory={str(tmp_path)!r}")
    subprocess.run([sys.executable, "-W", "error", "-c", here], check=True, timeout=DEADLINE)
    assert Path(pool_path(str(tmp_path), 1)).read_bytes() == encode(b"build", b"2026.11")
