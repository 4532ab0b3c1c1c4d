# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""``host``: a simulated host for daemons and images."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from hv_kvp_daemon.wire.record import encode
from tests.support.command import run
from tests.support.daemon import RunningDaemon

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.command import Pools

SCRIPT = b"""\
# A conversation.
set external greeting "hello world"   # quoted as for a shell
set external count 42 u32
get external greeting => "hello world"
get external count => 42
enumerate external 1 => count
enumerate external 2 => HV_S_CONT
delete external count
delete external count => HV_S_CONT
set auto OSName x => HV_E_FAIL
enumerate external
intrinsic
"""


def test_a_script_against_a_daemon_that_is_started_for_it() -> None:
    status, out, err = run("host", "run", "-", stdin=SCRIPT)
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].split()[:2] == ["operation", "pool"]
    assert "HV_S_OK hello world" in lines[1]
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("    ProcessorArchitecture: ") for line in lines)


def test_a_script_against_a_daemon_that_runs() -> None:
    with RunningDaemon() as daemon:
        transport = f"--transport=loopback:{daemon.path}"
        assert run("host", "run", "-", transport, stdin=SCRIPT).status == 0
        assert run("host", "get", "external", "greeting", transport).out == "hello world\n"


def test_a_script_stops_at_what_is_not_as_expected() -> None:
    script = b"set guest k v\n\nget guest k => w\ndelete guest k\n"
    status, out, err = run("host", "run", "-", "--json", stdin=script)
    assert (status, err) == (1, "hv-kvp: -:3: 'w' was expected, 'v' came\n")
    steps = [json.loads(line) for line in out.splitlines()]
    assert [step["line"] for step in steps] == [1, 3]
    assert steps[1]["problem"] == "'w' was expected, 'v' came"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("lost guest", "-:2: argument action: invalid choice: 'lost'"),
        ("set guest k", "-:2: the following arguments are required: VALUE"),
        ("get lost k", "-:2: argument POOL: no pool 'lost'"),
        ("get guest k =>", "-:2: => needs exactly one word after it"),
        ('get guest "k', "-:2: No closing quotation"),
        ("enumerate guest x", "-:2: argument INDEX: 'x' is not an index"),
    ],
)
def test_a_script_is_read_before_a_daemon_is_asked(line: str, said: str) -> None:
    status, out, err = run("host", "run", "-", stdin=f"intrinsic\n{line}\n".encode())
    assert (status, out) == (2, "")
    assert said in err


def test_one_request_uses_the_pools_that_are_named(pools: Pools) -> None:
    assert pools("host", "set", "external", "k", "v") == (0, "", "")
    assert pools("host", "get", "external", "k") == (0, "v\n", "")
    assert pools("host", "enumerate", "external").out == "k\tv\n"
    assert pools("host", "enumerate", "external", "0").out == "k\tv\n"
    assert pools("get", "k", "--pool", "external").out == "v\n"
    assert pools("host", "delete", "external", "k") == (0, "", "")
    status, _, err = pools("host", "get", "external", "k")
    assert (status, err) == (1, "hv-kvp: the daemon answers GET with HV_S_CONT\n")


def test_intrinsic_as_json() -> None:
    document = json.loads(run("host", "intrinsic", "--json").out)
    assert document["status"] == "HV_S_OK"
    assert dict(document["pairs"])["ProcessorArchitecture"] == os.uname().machine


def test_set_ip_shows_the_daemons_answer() -> None:
    status, _, err = run("host", "set-ip", "{guid}", "--address", "192.0.2.1")
    assert status == 3
    assert err.endswith(
        "the daemon answers SET_IP_INFO with HV_ERROR_NOT_SUPPORTED; with a simulated host it"
        " needs the option --ip-backend\n"
    )


def test_what_a_host_cannot_send_is_wrong_usage() -> None:
    status, _, err = run("host", "set", "external", "k" * 256, "v")
    assert status == 2
    assert "256 UTF-16 units; a host can send at most 255" in err


def test_without_a_daemon_it_says_so(tmp_path: object) -> None:
    status, _, err = run(
        *("host", "get", "0", "k", "--timeout=0.1", f"--transport=loopback:{tmp_path}/none")
    )
    assert status == 3
    assert f"{tmp_path}/none" in err


def test_a_daemon_that_cannot_start_is_named(tmp_path: object) -> None:
    with open(f"{tmp_path}/file", "w", encoding="ascii"):
        pass
    status, _, err = run("host", "get", "0", "k", "--pool-dir", f"{tmp_path}/file")
    assert status == 3
    assert "the daemon ended with status 1" in err


def test_code_in_the_current_directory_is_not_run(tmp_path: Path) -> None:
    """A downloaded image's folder may have modules of any name."""
    for name in ("hv_kvp_daemon", "select", "encodings", "site", "sitecustomize"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    assert run("host", "set", "external", "k", "v", cwd=str(tmp_path)) == (0, "", "")
    assert not (tmp_path / "ran").exists()


def test_paths_of_the_command_line_are_those_of_its_directory(tmp_path: Path) -> None:
    words = ("host", "set", "external", "k", "v", "--pool-dir", "pools")
    assert run(*words, cwd=str(tmp_path)) == (0, "", "")
    assert (tmp_path / "pools" / ".kvp_pool_0").read_bytes() == encode(b"k", b"v")
    with RunningDaemon() as daemon:
        asked = ("host", "get", "external", "k", "--transport", "loopback:host")
        assert run(*asked, cwd=daemon.directory).status == 1
        with daemon.host() as host:
            host.set(0, "k", "v")
        assert run(*asked, cwd=daemon.directory) == (0, "v\n", "")
