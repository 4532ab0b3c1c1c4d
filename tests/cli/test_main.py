# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The command line as a whole."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from hv_kvp_daemon import __version__
from hv_kvp_daemon.cli.main import COMMANDS, _parse, build_parser, main
from hv_kvp_daemon.wire.record import encode
from tests.support.command import COMMAND, run_installed
from tests.support.process import DEADLINE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.command import Pools

#: Modules that ``list`` does without: each costs a start a millisecond or more.
TOO_DEAR = {
    *("json", "shutil", "typing", "subprocess", "socket", "ctypes", "psutil", "pathlib"),
    *("dataclasses", "contextlib", "logging", "tempfile", "base64", "signal"),
}


@pytest.mark.parametrize("option", ["-V", "--version"])
def test_the_version(option: str) -> None:
    assert run_installed(option) == (0, f"hv-kvp {__version__}\n", "")


@pytest.mark.parametrize(
    ("words", "start"),
    [
        ([], "usage: hv-kvp [-h]"),
        (["list"], "usage: hv-kvp list "),
        (["host", "set"], "usage: hv-kvp host set "),
        (["help"], "usage: hv-kvp help "),
    ],
)
def test_help_shows_what_the_option_does(
    words: list[str], start: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = []
    for line in (["help", *words], [*words, "--help"]):
        try:
            assert main(line) == 0
        except SystemExit as end:
            assert not end.code  # noqa: PT017 - of either
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1]
    assert shown[0].startswith(start)


def test_help_for_a_command_that_does_not_exist_says_which_do(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["help", "lost"]) == 2
    assert "no command 'lost'; there are: list, get" in capsys.readouterr().err


@pytest.mark.parametrize(
    "line", [["--json", "list"], ["list", "--json"], ["--json", "list", "--json"]]
)
def test_json_is_asked_for_before_or_after_the_command(
    pools: Pools, line: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkdir(pools.path)
    assert main([*line, "--pool-dir", pools.path]) == 0
    assert capsys.readouterr().out == "[]\n"


@pytest.mark.parametrize(
    "line", [["--json", "host", "get"], ["host", "--json", "get"], ["host", "get", "--json"]]
)
def test_json_of_the_simulated_host(line: list[str]) -> None:
    command, options = _parse([*line, "external", "k"])
    assert (command.name, options.action, options.json) == ("host", "get", True)


def test_json_of_a_command_that_has_none_is_wrong_usage(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--json", "set", "k", "v"]) == 2
    assert capsys.readouterr().err == "hv-kvp: set takes no --json\n"


@pytest.mark.parametrize("command", ["", *COMMANDS])
@pytest.mark.parametrize("columns", ["40", "200"])
def test_help_fits_the_terminal(
    command: str,
    columns: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert main([command, "--help"] if command else ["--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"usage: hv-kvp {command}".rstrip())
    if columns != "40":  # a word may be longer than that
        assert max(map(len, out.splitlines())) <= int(columns)


def test_the_installed_command_has_its_help() -> None:
    status, out, err = run_installed("list", "--help", env={"COLUMNS": "200"})
    assert (status, err) == (0, "")
    assert out.startswith("usage: hv-kvp list ")


@pytest.mark.parametrize(
    "words", [["lost"], ["list", "lost"], ["list", "--lost"], ["get"], ["--lost"]]
)
def test_wrong_usage_ends_with_2_and_says_what_there_is(words: list[str]) -> None:
    status, out, err = run_installed(*words)
    assert (status, out) == (2, "")
    assert err.startswith("usage: hv-kvp")


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                yield from parsers(each)


def test_no_parser_takes_an_abbreviation_for_an_option(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """C6."""
    found = [*parsers(build_parser())]
    assert len(found) > len(COMMANDS) + 8  # those of `host`, too
    for parser in found:
        for option in parser._option_string_actions:
            if option.startswith("--") and option[:-1] not in parser._option_string_actions:
                with pytest.raises(SystemExit, match="2"):
                    parser.parse_args([option[:-1], "word"])
    assert "unrecognized arguments: --poo" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["list", "export"])
def test_a_pool_named_by_an_option_is_no_directory(
    pools: Pools, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, pool in ((0, b"external"), (1, b"guest")):
        pools.write(number, encode(b"of " + pool, b"v"))
    assert main([command, "--pool", "guest", "--pool-dir", pools.path]) == 0
    out = capsys.readouterr().out
    assert "of guest" in out
    assert "of external" not in out


def test_watch_waits_for_a_key_in_the_pool_that_an_option_names(pools: Pools) -> None:
    """C6."""
    pools("set", "t", "v", "--pool", "external")
    done = pools("watch", "--pool", "external", "--until", "t")
    assert done == (0, "=\texternal\tt\tv\n", "")


def test_list_imports_nothing_dear(pools: Pools) -> None:
    os.mkdir(pools.path)
    code = (
        "import sys; from hv_kvp_daemon.cli.main import main;"
        f" main(['list', '--pool-dir', {pools.path!r}]); print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}; {code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    roots = {name.split(".")[0] for name in done.stdout.split()}
    assert roots & TOO_DEAR == set()
    assert "argparse" in roots


def test_without_psutil_or_netifaces_there_is_help_and_an_error_that_names_the_package(
    tmp_path: Path,
) -> None:
    """C9."""
    code = f"""
import sys
sys.modules["psutil"] = sys.modules["netifaces"] = None
from hv_kvp_daemon.cli.main import build_parser, main
print(len(build_parser().format_help()))
print(main(["status", "--transport", "loopback:{tmp_path}/host"]))
print(main(["auto", "--addresses", "getifaddrs"]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    size, *statuses = map(int, done.stdout.split())
    assert size > 500
    assert statuses == [3, 3]
    psutil, netifaces = done.stderr.splitlines()
    assert psutil.startswith("hv-kvp: this needs psutil, the package psutil (pip) or python3-")
    assert netifaces.startswith("hv-kvp: --addresses getifaddrs needs the Python module netif")


def test_a_reader_that_goes_away_is_no_error(pools: Pools) -> None:
    for _ in range(3):
        pools("append", "k", "v" * 1000)
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [COMMAND, "list", "--pool-dir", pools.path],
        stdout=write,
        stderr=subprocess.PIPE,
        timeout=DEADLINE,
        check=False,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_full_disk_behind_standard_output_is_an_error(pools: Pools) -> None:
    pools("set", "k", "v")
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [COMMAND, "list", "--pool-dir", pools.path],
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=DEADLINE,
            check=False,
        )
    assert done.returncode == 3
    assert b"No space left on device" in done.stderr
    assert b"Traceback" not in done.stderr
