"""The completions that are shipped are those of the command line as it is."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.support import completions


@pytest.mark.parametrize("shell", completions.FILES)
def test_the_file_is_up_to_date(shell: str) -> None:
    with open(
        os.path.join(completions.FOLDER, completions.FILES[shell]), encoding="utf-8"
    ) as file:
        text = file.read()
    assert text == completions.build(shell), "run: python -m tests.support.completions"


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("hv-kvp", "l"), {"list"}),
        (("hv-kvp", "list", "g"), {"guest"}),
        (("hv-kvp", "host", "enu"), {"enumerate"}),
        (("hv-kvp", "get", "--jo"), {"--join"}),
    ],
)
def test_bash_completes(words: tuple[str, ...], offered: set[str]) -> None:
    path = os.path.join(completions.FOLDER, completions.FILES["bash"])
    script = (
        f". {path}; COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1};"
        " $(complete -p hv-kvp | sed 's/.*-F \\([^ ]*\\).*/\\1/'); echo ${COMPREPLY[@]}"
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", script], capture_output=True, text=True, check=True
    )
    assert set(done.stdout.split()) == offered
