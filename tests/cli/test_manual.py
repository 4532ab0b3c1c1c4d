# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The man pages say what the programs take, and their examples work."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hv_kvp_daemon.cli.main import build_parser
from hv_kvp_daemon.service.options import OPTIONS

FOLDER = Path(__file__).parents[2] / "docs" / "man"
PAGES = ("hv-kvp.1", "hv-kvp-daemon.8", "kvp-pool.5")


def plain(name: str) -> str:
    """A page's text without the escapes for dashes."""
    return (FOLDER / name).read_text(encoding="utf-8").replace("\\-", "-")


def options(parser: argparse.ArgumentParser) -> set[str]:
    found = set()
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, each in action.choices.items():
                found |= {name} | options(each)
        found |= {option for option in action.option_strings if option.startswith("--")}
    return found


def entries() -> dict[str, str]:
    """The text about each command in hv-kvp(1), and that about all of them as ``""``."""
    found: dict[str, str] = {}
    for part in re.split(r"\n\.(?=TP|SH)", plain("hv-kvp.1").split(".SH FILES")[0]):
        command = re.match(r'(?:TP|SH .*)\n\.BR? "?(?:hv-kvp )?([a-z][a-z-]*)', part)
        name = command[1] if command else ""
        found[name] = found.get(name, "") + part
    return found


def option_words(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text))


def test_a_commands_options_are_in_its_entry_of_the_manual() -> None:
    (commands,) = (
        action.choices
        for action in build_parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    )
    of_the_daemon = {word for option in OPTIONS for word in option.spellings}
    manual = entries()
    common = option_words(manual[""])
    assert options(build_parser()) - {*commands} > common
    for name, parser in commands.items():
        text = manual.get(name, manual[""])
        taken = option_words(" ".join(options(parser)))
        assert all(f"{name} {word}" in text for word in options(parser) - taken)
        assert name in text
        if name in manual:
            assert taken - common <= option_words(text), name
            assert option_words(text) - common - taken <= of_the_daemon, name


def test_the_daemons_options_are_those_of_its_manual() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hv_kvp_daemon", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    section = plain("hv-kvp-daemon.8").split(".SH OPTIONS")[1].split(".SH ")[0]
    headings = " ".join(re.findall(r"^\.(?:TP|TQ)\n(.*)$", section, re.MULTILINE))
    assert option_words(headings) == option_words(done.stdout)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_no_error_for_groff(name: str) -> None:
    if shutil.which("groff") is None:
        pytest.skip("no groff here")
    done = subprocess.run(
        ["groff", "-t", "-man", "-Tutf8", "-ww", "-z", FOLDER / name],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""


def examples() -> list[tuple[str, str]]:
    """(command, what it writes), in order."""
    section = plain("hv-kvp.1").split(".SH EXAMPLES")[1].split(".SH ")[0].replace("\\e", "\\")
    lines = [
        line
        for block in re.findall(r"\.EX\n(.*?)\.EE", section, re.DOTALL)
        for line in block.splitlines()
    ]
    found: list[tuple[str, str]] = []
    for line in lines:
        if line.startswith("$ "):
            found.append((line[2:], ""))
        else:
            found[-1] = (found[-1][0], found[-1][1] + line + "\n")
    return found


def test_the_examples_write_what_the_manual_says(tmp_path: Path) -> None:
    """In one shell; ``hv-kvp`` stands for the command on a directory of its own."""
    assert len(examples()) > 8
    pools = tmp_path / "pools"
    pools.mkdir()
    command = os.path.join(os.path.dirname(sys.executable), "hv-kvp")
    prelude = (
        'set -e; hv-kvp() { case $1 in host) command hv-kvp "$@";;'
        f' *) command hv-kvp "$@" --pool-dir {pools};; esac; }}\n'
    )
    script = prelude + "".join(f"{line}\necho '#'\n" for line, _ in examples())
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env={
            "PATH": f"{os.path.dirname(command)}:{os.environ['PATH']}",
            "LC_ALL": "C.UTF-8",
            "POOLS": str(pools),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.split("#\n")[:-1] == [written for _, written in examples()]
