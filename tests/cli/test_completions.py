# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""The completions that are shipped are those of the command lines as they are."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from hv_kvp_daemon.cli.service.unit_files import PATHS
from hv_kvp_daemon.wire.record import encode
from tests.support import completions
from tests.support.command import COMMAND

if TYPE_CHECKING:
    from tests.support.command import Pools

HINT = "run: python -m tests.support.completions"


def shipped(program: str, shell: str) -> str:
    name = completions.FILES[program, shell]
    with open(os.path.join(completions.FOLDER, name), encoding="utf-8") as file:
        return file.read()


@pytest.mark.parametrize("program", ["hv-kvp", "hv-kvp-daemon"])
def test_bash_offers_each_command_option_and_choice(program: str) -> None:
    """Whichever version of shtab has written the file."""
    found = completions.in_bash(shipped(program, "bash"))
    assert found == completions.expected(completions.parser_of(program)), HINT


@pytest.mark.parametrize("program", ["hv-kvp", "hv-kvp-daemon"])
def test_zsh_offers_each_command_option_and_choice(program: str) -> None:
    found = completions.in_zsh(shipped(program, "zsh"))
    wanted = completions.expected(completions.parser_of(program))
    assert (found.options, found.commands) == (wanted.options, wanted.commands), HINT
    for name, choices in wanted.choices.items():
        prefix = max((each for each in found.options if name.startswith(each)), key=len)
        assert choices <= found.choices[prefix], HINT


@pytest.mark.parametrize("program", ["hv-kvp", "hv-kvp-daemon"])
def test_the_files_are_installed_where_each_shell_looks_for_them(program: str) -> None:
    assert f"/usr/local/share/bash-completion/completions/{program}" in PATHS
    assert f"/usr/local/share/zsh/site-functions/_{program}" in PATHS
    assert shipped(program, "zsh").startswith(f"#compdef {program}\n")


def completed(program: str, *words: str) -> set[str]:
    """What bash offers at the end of a line."""
    path = os.path.join(completions.FOLDER, completions.FILES[program, "bash"])
    script = (
        f'. {path}; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1));'
        f" $(complete -p {program} | sed 's/.*-F \\([^ ]*\\).*/\\1/');"
        ' printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", script, "bash", program, *words],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PATH": f"{os.path.dirname(COMMAND)}:{os.environ['PATH']}"},
    )
    return set(done.stdout.split("\n")) - {""}


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("hv-kvp l", {"list"}),
        ("hv-kvp list g", {"guest"}),
        ("hv-kvp --json over", {"overview"}),
        ("hv-kvp help cle", {"clear", "clean-image"}),
        ("hv-kvp list --pool ho", {"host"}),
        ("hv-kvp host enu", {"enumerate"}),
        ("hv-kvp get --jo", {"--join"}),
        ("hv-kvp ip lo", {"lo"}),
        ("hv-kvp-daemon --tr", {"--transport"}),
        ("hv-kvp-daemon --transport ch", {"chardev"}),
        ("hv-kvp-daemon -n --exclude-interface lo", {"lo"}),
    ],
)
def test_bash_completes(line: str, offered: set[str]) -> None:
    assert completed(*line.split()) == offered


def test_bash_completes_keys_of_the_pool_that_is_meant(pools: Pools) -> None:
    pools.write(0, encode(b"key.external", b"v"))
    pools.write(1, encode(b"key.guest", b"v") + encode(b"key $(x)", b"") + encode(b"k\n", b""))
    here = ("--pool-dir", pools.path)
    quoted = r"key\ \$\(x\)"
    assert completed("hv-kvp", "get", *here, "ke") == {"key.external", "key.guest", quoted}
    assert completed("hv-kvp", "delete", *here, "ke") == {"key.guest", quoted}
    assert completed("hv-kvp", "delete", *here, "key\\ ") == {quoted}
    assert completed("hv-kvp", "set", *here, "--pool", "0", "k") == {"key.external"}
    assert completed("hv-kvp", "watch", *here, "--until", "key.e") == {"key.external"}
